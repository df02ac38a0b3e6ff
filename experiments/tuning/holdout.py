"""The final holdout: candles that no trial has seen, looked at once, for one trial."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState

from experiments.config import TrainConfig
from experiments.tuning.candidate import Candidate
from experiments.tuning.config import ForecastObjective, NoPruning
from experiments.tuning.development import cut_holdout
from experiments.tuning.earlier_looks import earlier_looks, opened_before
from experiments.tuning.holdout_judging import look_of, metrics_of
from experiments.tuning.holdout_look import HoldoutLook
from experiments.tuning.holdout_opening import (
    LOOK,
    HoldoutOpening,
    claimed_for,
    holdout_opened,
    opening_of,
    refuse_another,
    refuse_if_opened,
    write_opening,
)
from experiments.tuning.ownership import live_workers
from experiments.tuning.progress import best_trials
from experiments.walk_forward.config import WalkForwardConfig
from experiments.walk_forward.folds import plan_folds
from lightning_models.candles import iso_utc
from lightning_models.errors import ConfigError
from lightning_models.home import find_home

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import optuna
    from optuna.trial import FrozenTrial

    from experiments.tuning.config import StudyConfig
    from experiments.tuning.development import Development
    from experiments.tuning.study_record import StudyRecord
    from experiments.tuning.trial_runs import StudyRuns
    from lightning_models.candles import Candles
    from lightning_models.home import Home

__all__ = [
    "HoldoutLook",
    "HoldoutOpening",
    "chosen_trial",
    "holdout_opened",
    "open_holdout",
    "refuse_if_opened",
]


def chosen_trial(study: optuna.Study) -> FrozenTrial | None:
    """Return the trial that a study found; None while none is complete.

    It is the best one. Of two objectives it is the one that is best in the first, among those
    that no other one is better than.

    Parameters
    ----------
    study
        Whichever.
    """
    found = best_trials(study, study.get_trials(deepcopy=False))
    if not found:
        return None
    sign = 1.0 if study.directions[0].name == "MINIMIZE" else -1.0
    return min(found, key=lambda one: (sign * one.values[0], one.number))


def open_holdout(
    study: optuna.Study,
    record: StudyRecord,
    candles: Candles | Sequence[Candles],
    *,
    home: str | os.PathLike[str] | Home | None = None,
    runs: StudyRuns,
    trial: int | None = None,
    jobs: int | None = 1,
    features: bytes = b"",
    seed: int = 0,
    replications: int = 1000,
) -> HoldoutLook:
    """Judge a study's best trial on the candles that no trial has seen: once.

    Its configuration is fitted on the development candles and asked about the holdout. That it
    was opened is written down before anything is computed. If that is cut short, the same trial
    may be computed again, and comes to the same; a look that is finished is given as it was.
    Of two processes that open it at once for different trials one at the most has its way.

    Parameters
    ----------
    study
        Optuna's. Nobody may be at work on it.
    record
        Of the study.
    candles
        The study's own, the holdout included.
    home
        Folder of the caches.
    runs
        The study in MLflow, which is told.
    trial
        Of two objectives, number of another trial that no other one is better than, in place of
        `chosen_trial`'s. Once for all: the first one it is opened for stays the only one.
    jobs
        Seeds at a time, as `experiments.workers.side_by_side` takes them.
    features
        The user's own, as `pack_features` returns them.
    seed, replications
        Of the bootstrap.

    Returns
    -------
    HoldoutLook

    Raises
    ------
    ConfigError
        If the candles are not the study's, nothing was held out, no trial is complete, the one
        that is asked for does not lead, workers are at it, it was opened for another trial or is
        about to be, or that of a study that this one comes after was opened.
    TooFewCandlesError
        If the holdout is too short to judge anything by; it counts as unopened.
    TrainingError, StorageError
        As training and tracking do.

    Notes
    -----
    Fit, validation and calibration lie before the cut. After it, as many candles as the furthest
    label reaches, and the study's embargo, are left out before the first one that is judged. A
    study whose folds roll fits here on a stretch as long as theirs.
    """
    development = cut_holdout(record.data.known_of(candles), record.config.holdout)
    _check_candles(record, development)
    kept_in = find_home(home).create()
    opening = opening_of(study.user_attrs)
    chosen = _trial_to_judge(study, trial, opening)
    if opening is not None:
        refuse_another(study, opening, chosen.number)
        if opening.look is not None:
            return opening.look
    else:
        _refuse_spoilt(study, record, kept_in)
    candidate = record.candidate_of(chosen.params)
    config, seen = _one_fold(record.config, candidate, development)
    # What takes torch and Lightning is loaded before the holdout counts as opened.
    from experiments.tuning.evaluating import evaluate

    if opening is None:
        with claimed_for(study, chosen.number):
            # Whoever came meanwhile sees the claim, and is seen here.
            _refuse_spoilt(study, record, kept_in)
            _refuse_outdone(study, chosen, _trial_to_judge(study, trial, None))
            opening = write_opening(study, chosen.number)
    before = earlier_looks(study, record, kept_in)
    runs.tag(
        {"holdout": f"opened on {opening.opened_at} for trial {opening.trial} on {opening.host}"}
    )
    cache = kept_in.cache / "folds" if config.trades else None
    options: dict[str, Any] = {"home": kept_in, "jobs": jobs, "features": features}
    majority = None
    with tempfile.TemporaryDirectory(prefix="lstm-holdout-") as scratch:
        place = Path(scratch)
        score = evaluate(candidate, config, seen, folder=place / "trial", cache=cache, **options)
        if any(one.kind == "forecast" for one in config.objective):
            known, asked = _majority_class(candidate), _log_loss_alone(config)
            majority = evaluate(
                known, asked, seen, folder=place / "majority", cache=None, **options
            ).values[0]
    # Another process may have been at the same trial, and what it found was told to somebody.
    opening = opening_of(study.user_attrs) or opening
    refuse_another(study, opening, chosen.number)
    if opening.look is not None:
        return opening.look
    look = look_of(
        score,
        record,
        candidate,
        opening,
        before,
        majority=majority,
        seed=seed,
        replications=replications,
    )
    study.set_user_attr(LOOK, look.model_dump(mode="json"))
    runs.log_metrics(metrics_of(look))
    runs.tag({"holdout_verdict": look.words})
    return look


def _check_candles(record: StudyRecord, development: Development) -> None:
    held = record.data
    first = development.whole[0]
    told = []
    for what, before, now in (
        ("symbols", ", ".join(held.symbols), ", ".join(one.symbol for one in development.whole)),
        ("timeframe", held.timeframe, first.timeframe),
        ("market", held.market, first.market),
        ("holdout from", iso_utc(held.holdout_from), iso_utc(development.holdout_from)),
        ("fingerprint", held.fingerprint[:12], development.fingerprint[:12]),
    ):
        if before != now:
            told.append(f"{what} {before}, now {now}")
    if told:
        raise ConfigError(
            f"these are not the candles of the study {record.config.name}: {'; '.join(told)}. "
            "Give those that it was run on, no later ones"
        )
    if not development.holdout:
        raise ConfigError(
            f"the study {record.config.name} has no holdout to open: its trials saw all candles. "
            "A study with holdout above 0 keeps one"
        )


def _trial_to_judge(
    study: optuna.Study, number: int | None, opening: HoldoutOpening | None
) -> FrozenTrial:
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    chosen = chosen_trial(study)
    if chosen is None:
        raise ConfigError(
            f"the study {study.study_name} has no complete trial to open its holdout for: run "
            "some first"
        )
    if number is None or number == chosen.number:
        return chosen
    named = next((one for one in trials if one.number == number), None)
    if named is None:
        raise ConfigError(
            f"the study {study.study_name} has no complete trial {number}: choose one of those in "
            "its report"
        )
    # What it was opened for already is no choice any more.
    if opening is None and number not in _leading(study, trials):
        raise ConfigError(_no_choice(study, number, chosen, trials))
    return named


def _leading(study: optuna.Study, trials: Sequence[FrozenTrial]) -> list[int]:
    return [one.number for one in best_trials(study, trials)]


def _no_choice(
    study: optuna.Study, number: int, chosen: FrozenTrial, trials: Sequence[FrozenTrial]
) -> str:
    whose = f"the holdout of the study {study.study_name} cannot be opened for trial {number}"
    if len(study.directions) == 1:
        return (
            f"{whose}: the search found trial {chosen.number}, and to look at another one would "
            "be a choice that its report knows nothing of. Give no trial"
        )
    leading = ", ".join(map(str, _leading(study, trials)))
    return (
        f"{whose}: another one is at least as good in both objectives. Those that no other one "
        f"is better than are {leading}: choose one of them"
    )


def _refuse_outdone(study: optuna.Study, chosen: FrozenTrial, now: FrozenTrial) -> None:
    if now.number != chosen.number:
        raise ConfigError(
            f"trial {now.number} of the study {study.study_name} ended meanwhile and is better "
            f"than trial {chosen.number}, for which its holdout was about to be opened: ask again"
        )


def _refuse_spoilt(study: optuna.Study, record: StudyRecord, home: Home) -> None:
    _refuse_while_working(study)
    found = opened_before(record.config, record.data, storage=study._storage, home=home)
    if found is not None:
        before, opening = found
        raise ConfigError(
            f"the holdout of the study {study.study_name} is that of {before.study_name} too, "
            f"which it comes after, and that one was opened on {opening.opened_at[:10]} for its "
            f"trial {opening.trial}: a second look would be a choice among looks. Candles that "
            "come later are unseen"
        )


def _refuse_while_working(study: optuna.Study) -> None:
    at_it = live_workers(study)
    if at_it:
        named = ", ".join(str(one.owner) for one in at_it)
        hint = ""
        if any(one.owner.is_alive() is None for one in at_it):
            hint = (
                ". If those of other machines were killed, say so: `lstm-strategies tune resume "
                f"--study {study.study_name} --other-hosts`"
            )
        raise ConfigError(
            f"{len(at_it)} worker{'' if len(at_it) == 1 else 's'} of the study {study.study_name} "
            f"may be at work ({named}), and a better trial may come yet: wait for the end, or "
            f"stop them, before its holdout is opened{hint}"
        )


def _one_fold(
    config: StudyConfig, candidate: Candidate, development: Development
) -> tuple[StudyConfig, tuple[Candles, ...]]:
    candles = development.whole
    if config.walk_forward.scheme == "rolling":
        # As long a stretch as the trial's score comes from.
        searched = plan_folds(config.walk_forward, candidate.train.data, development.candles)
        edges = searched[-1].slices.edges
        start = development.holdout_from - (edges[3] - edges[0])
        cut = (one.between(start, None) for one in candles)
        candles = tuple(one for one in cut if len(one))
    folds = WalkForwardConfig(
        folds=1, test_length=development.holdout, embargo=config.walk_forward.embargo
    )
    (fold,) = plan_folds(folds, candidate.train.data, candles)
    # A candle of the holdout in the fit would make the look worthless.
    assert fold.known_until == development.holdout_from
    changed = config.model_copy(update={"walk_forward": folds, "pruning": NoPruning()})
    return changed, candles


def _majority_class(candidate: Candidate) -> Candidate:
    # On the same data, which it reads nothing of but the labels.
    train = candidate.train
    content = train.model_dump()
    content["network"] = {"kind": "majority-class"}
    content["data"]["mode"] = "window"
    return Candidate(TrainConfig.model_validate(content), None)


def _log_loss_alone(config: StudyConfig) -> StudyConfig:
    return config.model_copy(
        update={"objective": (ForecastObjective(metric="log_loss", dispersion=0.0),), "seeds": 1}
    )
