"""Tune: run a study's trials, alone or beside other workers, and say what the best one is worth."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState
from pydantic import BaseModel, ConfigDict

from experiments.config import flatten
from experiments.tuning.candidate import StartingPoint
from experiments.tuning.config import StudyConfig
from experiments.tuning.development import Development, cut_holdout
from experiments.tuning.earlier_looks import opened_before, refuse_if_looked_at
from experiments.tuning.holdout import refuse_if_opened
from experiments.tuning.loading import load_study, space_of, starting_point
from experiments.tuning.orphans import reap
from experiments.tuning.ownership import Owner, live_workers, this_process
from experiments.tuning.progress import StudyProgress, best_trials, standing
from experiments.tuning.pruning import pruner_of
from experiments.tuning.reporting import StudyReport, report_study
from experiments.tuning.sampling import sampler_of
from experiments.tuning.space import SearchSpace
from experiments.tuning.storage import free_name, journal_path, open_storage, quiet_optuna
from experiments.tuning.study_record import (
    StudyData,
    StudyRecord,
    clear_stop,
    find_record,
    is_asked_to_stop,
    open_study,
    want,
)
from experiments.tuning.trial_runs import StudyRuns
from experiments.tuning.worker import Evaluation, Work, Worker
from experiments.walk_forward.carried_features import pack_features
from experiments.walk_forward.folds import plan_folds
from lightning_models.candles import Candles, iso_utc
from lightning_models.errors import ConfigError, StorageError
from lightning_models.home import Home, find_home
from lightning_models.registry import check_name

__all__ = ["STORAGE_VARIABLE", "StudyResult", "tune"]

STORAGE_VARIABLE: Final = "LSTM_STORAGE"
"""Where studies are kept, where nothing else is said."""

_log = logging.getLogger(__name__)


class StudyResult(BaseModel):
    """What a worker leaves when it ends.

    Parameters
    ----------
    study
        The name that the study was given.
    ended
        Why the worker ended, in words.
    progress
        How the study stands.
    report
        What the best trial is worth; None while no trial is complete.
    run_id
        The study's MLflow run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    study: str
    ended: str
    progress: StudyProgress
    report: StudyReport | None
    run_id: str


def tune(
    study: str | os.PathLike[str] | StudyConfig,
    candles: Candles | Sequence[Candles],
    *,
    sampler: BaseSampler | None = None,
    objective: Evaluation | None = None,
    callbacks: Sequence[Callable[[optuna.Study, FrozenTrial], None]] = (),
    pruner: optuna.pruners.BasePruner | None = None,
    storage: str | None = None,
    home: str | Path | Home | None = None,
    settings: Sequence[str] = (),
    name: str | None = None,
    new: bool = False,
    jobs: int | None = 1,
    report: str | Path | None = None,
    sources: Sequence[str] = (),
    heartbeat: int = 10,
    other_hosts: bool = False,
    on_change: Callable[[StudyProgress], None] | None = None,
) -> StudyResult:
    """Work on a study until it is done; more workers may work on it at the same time.

    Parameters
    ----------
    study
        A shipped name, a YAML file, or the configuration itself.
    candles
        One entry for each symbol, all of one timeframe. No trial sees the holdout at their end.
    sampler
        Any of Optuna's, in place of the study's own.
    objective
        The user's own, called with Optuna's trial, the trial's configuration and the candles of
        development, and returning a number for each of the study's objectives, or a
        `TrialScore`, whose returns the report on luck is made of.
    callbacks
        Called with Optuna's study and trial after each trial; ``study.stop()`` ends the worker.
    pruner
        Any of Optuna's, in place of the study's own.
    storage
        A database such as ``postgresql+psycopg://…``, or a journal's path; by default
        ``$LSTM_STORAGE``, or a journal in the home.
    home
        Folder of the tracking database, the journals and the caches.
    settings
        ``a.b=value`` options laid over the study's file.
    name
        In place of the study's own.
    new
        Whether to begin a study beside the one there is, under the next free name.
    jobs
        Folds at a time, as `experiments.workers.side_by_side` takes them. Where epochs are
        watched for pruning the folds come one after another.
    report
        Folder for ``report.html``, ``result.json`` and the best trial's preset; by default one
        in the home.
    sources
        Where the candles were read from, for ``tune resume``.
    heartbeat
        Seconds between a worker's signs of life in a database; without one for three times as
        long its trial is run again.
    other_hosts
        Whether every worker of other machines is known to be dead, so that their trials are run
        again; a journal tells nothing of them.
    on_change
        Called as a trial begins or ends, with how the study stands.

    Returns
    -------
    StudyResult

    Raises
    ------
    ConfigError
        If the study is wrong, another one of its name is there, or it is being stopped.
    TooFewCandlesError, CandleError
        If the candles cannot be cut into folds.
    TrainingError
        If every trial fails; the message says why.
    KeyboardInterrupt
        On Ctrl-C or SIGTERM; the study goes on when this is called again.
    StorageError
        If the storage or the tracking server cannot be reached or written.

    Examples
    --------
    ::

        import optuna
        from experiments.tuning import tune
        from lightning_models import read_candles

        result = tune("study.yaml", read_candles("BTC_USDT.parquet"),
                      sampler=optuna.samplers.GPSampler(seed=1))
        print(result.report.verdict)
    """
    quiet_optuna()
    config = load_study(study, settings, name=name)
    check_name(config.name)
    place = find_home(home).create()
    storage = storage or os.environ.get(STORAGE_VARIABLE) or None
    if new:
        free = free_name(storage, home=place, name=config.name)
        config = config.model_copy(update={"name": free})
    _check_unmade(config, candles, storage, place)
    kept = open_storage(
        storage, home=place, name=config.name, heartbeat=heartbeat, grace=3 * heartbeat
    )
    known = find_record(kept, config.name)
    given = candles if known is None else known.data.known_of(candles)
    development = cut_holdout(given, config.holdout)
    data = StudyData.of(development, sources)
    start, earlier = _start_of(
        config, data, kept, storage, place, resumed=isinstance(study, StudyConfig)
    )
    space = space_of(config, start)
    own = space.own_values() if config.preset_first else None
    _check_folds(space, config, development)
    opened, record = open_study(
        config,
        start,
        data,
        storage=kept,
        make_run=lambda key: StudyRuns.make_parent(place, config.name, key=key),
        earlier=earlier,
        sampler=sampler,
        pruner=pruner or pruner_of(config, start.train),
    )
    if sampler is None:
        opened.sampler = sampler_of(config.sampler)
    refuse_if_opened(opened)
    _take_back_stop(opened, other_hosts=other_hosts)
    want(opened, config.stopping.trials)
    runs = StudyRuns(place, config.name, key=record.key, parent=record.run_id)
    runs.start(_parameters(config), _tags(record))
    if own is not None and not _has_first(opened):
        opened.enqueue_trial(own, user_attrs={"preset": True}, skip_if_exists=True)

    def spoilt() -> bool:
        return opened_before(config, data, storage=kept, home=place) is not None

    with tempfile.TemporaryDirectory(prefix="lstm-study-") as scratch:
        work = Work(
            config,
            config.stopping,
            space,
            development.candles,
            place,
            Path(scratch),
            jobs=jobs,
            cache=place.cache / "folds" if config.trades else None,
            features=pack_features(space.features),
            objective=objective,
            other_hosts=other_hosts,
            opened_before=None if config.after is None else spoilt,
        )
        worker = Worker(opened, runs, work, callbacks=callbacks, on_change=on_change)
        status = "FAILED"
        try:
            ended = worker.run()
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            _end(runs, opened, status)
    return StudyResult(
        study=config.name,
        ended=ended,
        progress=standing(opened, config.stopping.trials),
        report=report_study(opened, _as_read_here(record, data), runs, home=place, folder=report),
        run_id=runs.parent,
    )


def _check_unmade(
    config: StudyConfig, candles: Candles | Sequence[Candles], storage: str | None, home: Home
) -> None:
    # What cannot work is told before a journal is made that nothing would ever be in.
    if storage is not None and "://" in storage:
        return
    own = journal_path(home, config.name) if storage is None else Path(storage).expanduser()
    if own.exists():
        return
    if config.after is not None:
        before = own if storage is not None else journal_path(home, config.after)
        if not before.exists():
            raise _no_earlier_study(config)
        return
    space = space_of(config, starting_point(config))
    if config.preset_first:
        space.own_values()
    _check_folds(space, config, cut_holdout(candles, config.holdout))


def _take_back_stop(study: optuna.Study, *, other_hosts: bool) -> None:
    # Whoever was asked to stop and is still at a trial would go on with the next one.
    if not is_asked_to_stop(study):
        return
    reap(study, other_hosts=other_hosts)
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    busy = {owner.id for owner in map(Owner.of, running) if owner is not None}
    here = this_process().id
    asked = [
        one.owner
        for one in live_workers(study)
        if one.id != here and (one.owner.is_alive() or one.id in busy)
    ]
    if asked:
        unseen = any(one.is_alive() is None for one in asked)
        raise ConfigError(
            f"the study {study.study_name} is being stopped, and still at a trial: "
            f"{', '.join(map(str, asked))}. Join it again when `lstm-strategies tune status` says "
            "that no worker is at it"
            + (", or give --other-hosts if those machines' workers are dead" if unseen else "")
        )
    clear_stop(study)


def _no_earlier_study(config: StudyConfig) -> ConfigError:
    return ConfigError(
        f"study {config.name}: it comes after {config.after}, and there is no such study: run "
        "that one first, or give a preset"
    )


def _start_of(
    config: StudyConfig,
    data: StudyData,
    kept: BaseStorage,
    storage: str | None,
    home: Home,
    *,
    resumed: bool,
) -> tuple[StartingPoint, int]:
    refuse_if_looked_at(config, data, storage=kept, home=home)
    known = find_record(kept, config.name)
    if known is not None and resumed:
        # As the storage has it: the file of its preset may be another machine's.
        return known.starting_point, known.earlier
    if config.after is None:
        return starting_point(config), 0
    if known is not None:
        # It goes on from where it began, whatever the earlier study has found since.
        return known.starting_point, known.earlier
    before = open_storage(storage, home=home, name=config.after)
    record = find_record(before, config.after)
    if record is None:
        raise _no_earlier_study(config)
    if record.data.holdout_from > data.holdout_from or record.data.symbols != data.symbols:
        raise ConfigError(
            f"study {config.name}: it comes after {config.after}, whose trials have seen "
            f"{', '.join(record.data.symbols)} until {iso_utc(record.data.holdout_from)}, and its "
            f"own holdout begins at {iso_utc(data.holdout_from)}: give the same candles and "
            "holdout"
        )
    study = optuna.load_study(study_name=config.after, storage=before)
    trials = study.get_trials(deepcopy=False)
    best = best_trials(study, trials)
    if not best:
        raise ConfigError(
            f"study {config.name}: it comes after {config.after}, which has no complete trial yet"
        )
    found = record.candidate_of(best[0].params)
    counted = sum(one.state in (TrialState.COMPLETE, TrialState.PRUNED) for one in trials)
    return starting_point(config, found=found.train), record.earlier + counted


def _check_folds(space: SearchSpace, config: StudyConfig, development: Development) -> None:
    # What cannot be cut into folds is told before the first trial, not by each of them.
    plan_folds(config.walk_forward, space.configure({}).train.data, development.candles)


def _as_read_here(record: StudyRecord, data: StudyData) -> StudyRecord:
    # The files that the study was begun with may be another machine's.
    return record.model_copy(update={"data": data}) if data.sources else record


def _has_first(study: optuna.Study) -> bool:
    return any("preset" in one.user_attrs for one in study.get_trials(deepcopy=False))


def _parameters(config: StudyConfig) -> dict[str, Any]:
    # Each of the space whole: MLflow takes the names of choices as values, and not as keys.
    content = config.model_dump(mode="json")
    space = content.pop("space")
    told = flatten({"study": content})
    return told | {f"study.space.{name}": json.dumps(one) for name, one in space.items()}


def _tags(record: StudyRecord) -> dict[str, str]:
    return {
        "preset": record.start["train"]["preset"],
        "symbols": ",".join(record.data.symbols),
        "timeframe": record.data.timeframe,
        "data_fingerprint": record.data.fingerprint,
    }


def _end(runs: StudyRuns, study: optuna.Study, status: str) -> None:
    # The study's run ends with its last worker.
    try:
        if status == "FINISHED" and live_workers(study):
            return
        runs.end(status)
    except StorageError as error:
        _log.warning("the study's run could not be ended: %s", error)
