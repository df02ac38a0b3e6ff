"""What a study found: its best trial, what of it the search alone explains, and the report."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from experiments.tuning.candidate import Candidate, value_at
from experiments.tuning.earlier_looks import earlier_looks
from experiments.tuning.holdout import HoldoutOpening, chosen_trial, holdout_opened
from experiments.tuning.holdout_look import EarlierLook, no_first_look
from experiments.tuning.luck import StudyLuck, study_luck
from experiments.tuning.orphans import retried
from experiments.tuning.ownership import live_workers
from experiments.tuning.progress import best_trials, error_of
from experiments.tuning.study_record import StudyRecord
from experiments.tuning.study_report import (
    ObjectiveName,
    ParameterRow,
    StudyReport,
    TrialSummary,
)
from experiments.tuning.trial_runs import StudyRuns, TrialReturns
from experiments.tuning.written_preset import (
    backtest_command,
    heading_of,
    preset_file,
    preset_text,
    train_command,
)
from lightning_models.candles import iso_utc
from lightning_models.home import Home
from lightning_models.registry import storage_error, use_tracking_server
from lstm_strategies.performance import periods_per_year

if TYPE_CHECKING:
    import optuna

    from experiments.tuning.study_figures import StudyFigures

__all__ = ["StudyReport", "aligned", "report_study"]

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]

_STATES: Final = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


def report_study(
    study: optuna.Study,
    record: StudyRecord,
    runs: StudyRuns,
    *,
    home: Home,
    folder: str | Path | None = None,
    seed: int = 0,
    replications: int = 1000,
) -> StudyReport | None:
    """Say what a study has found so far, in a folder and in MLflow.

    Every file is put in its place whole, so that workers that end at once leave one report. In
    MLflow each figure is a file of its own too, written where no worker is left at the study:
    each holds the library that draws it, of five megabytes.

    Parameters
    ----------
    study
        Optuna's.
    record
        Of the study.
    runs
        The study in MLflow.
    home
        Whose reports they are.
    folder
        For ``report.html``, ``result.json`` and ``STUDY-best.yaml``; by default one of the
        study's name in the home.
    seed, replications
        Of the bootstraps.

    Returns
    -------
    StudyReport or None
        None while no trial is complete; nothing is written then.

    Raises
    ------
    StorageError
        If the folder or the tracking server cannot be written or reached.

    Notes
    -----
    Of two objectives the chosen trial is the best in the first, among those that no other one
    is better than in both. The other trials of that front are named beside it.
    """
    best = chosen_trial(study)
    if best is None:
        return None
    from experiments.report.study_page import write_study
    from experiments.report.summary_table import folder_of
    from experiments.tuning.study_figures import study_figures

    place = home.reports / folder_of(study.study_name) if folder is None else Path(folder)
    candidate = record.candidate_of(best.params)
    report = _report(study, record, runs, home, place, best, candidate, seed, replications)
    figures = study_figures(
        study,
        [one.name for one in report.objectives],
        best=best.number,
        own=None if report.own is None else report.own.number,
        by_epochs=record.config.pruning.kind == "epochs",
    )
    text = preset_text(candidate, heading_of(report), report.commands)
    files = write_study(report, record, figures, folder=place, preset=text)
    runs.log_metrics(_metrics(report))
    runs.tag({"verdict": report.verdict, "best_trial": str(best.number)})
    for path in (files.html, files.result, files.preset):
        runs.log_file(path)
    if not live_workers(study):
        _log_figures(report, figures, runs)
    return report


def aligned(kept: Sequence[TrialReturns]) -> tuple[Times, Floats, Floats]:
    """Return the returns of several trials over the same bars.

    Parameters
    ----------
    kept
        Of each trial.

    Returns
    -------
    tuple
        ``int64 [T]``, all stamps that any trial has; ``float64 [T, N]``, returns, 0 where a
        trial lacks the bar, since it held nothing then; ``float64 [T]``, those of buy-and-hold,
        as the first trial with that bar has them.
    """
    if not kept:
        return np.zeros(0, dtype=np.int64), np.zeros((0, 0)), np.zeros(0)
    time, first = np.unique(np.concatenate([one.time for one in kept]), return_index=True)
    returns = np.zeros((len(time), len(kept)))
    for column, one in enumerate(kept):
        returns[np.searchsorted(time, one.time), column] = one.returns
    return time, returns, np.concatenate([one.market for one in kept])[first]


def _log_figures(report: StudyReport, figures: StudyFigures, runs: StudyRuns) -> None:
    from experiments.report.study_page import render_figure

    with tempfile.TemporaryDirectory(prefix="lstm-figures-") as scratch:
        for picture in figures.pictures:
            path = Path(scratch) / f"{picture.chart.key}.html"
            path.write_text(render_figure(report, picture), encoding="utf-8")
            runs.log_file(path, "figures")


def _report(
    study: optuna.Study,
    record: StudyRecord,
    runs: StudyRuns,
    home: Home,
    place: Path,
    best: FrozenTrial,
    candidate: Candidate,
    seed: int,
    replications: int,
) -> StudyReport:
    trials = study.get_trials(deepcopy=False)
    again = retried(trials)
    known = _runs_of(home, runs, record.key)
    summaries = {one.number: _summary(one, one.number in again, known) for one in trials}
    states = [one.state for one in summaries.values()]
    complete, pruned = states.count("complete"), states.count("pruned")
    counted = complete + pruned + record.earlier
    own = _own_trial(trials, record)
    gain = None
    if own is not None:
        gain = tuple(
            (value - before) * (1.0 if one.name == "MAXIMIZE" else -1.0)
            for value, before, one in zip(best.values, own.values, study.directions, strict=True)
        )
    luck, no_luck = _luck(trials, best, record, runs, candidate, pruned, seed, replications)
    opening = holdout_opened(study)
    # A look that is finished says itself what came before it.
    seen_before = (
        earlier_looks(study, record, home)
        if opening is None or opening.look is None
        else opening.look.seen_before
    )
    holdout_words = _holdout_words(record, opening, seen_before)
    preset = place / preset_file(study.study_name)
    commands = [train_command(study.study_name, str(preset), record.data)]
    if candidate.backtest is not None:
        commands.append(
            backtest_command(study.study_name, candidate, record.data, trials=max(1, counted))
        )
    return StudyReport(
        study=study.study_name,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        symbols=record.data.symbols,
        timeframe=record.data.timeframe,
        data_fingerprint=record.data.fingerprint,
        holdout_from=iso_utc(record.data.holdout_from) if record.config.holdout else None,
        objectives=tuple(
            ObjectiveName(name=one.metric, direction=one.direction)
            for one in record.config.objective
        ),
        wanted=record.config.stopping.trials,
        complete=complete,
        pruned=pruned,
        failed=states.count("failed"),
        again=states.count("again"),
        earlier=record.earlier,
        counted=counted,
        best=summaries[best.number],
        front=_front(study, trials),
        own=None if own is None else summaries[own.number],
        gain=gain,
        parameters=_parameters(record, best, own),
        luck=luck,
        no_luck=no_luck,
        holdout=None if opening is None else opening.look,
        holdout_words=holdout_words,
        seen_before=seen_before,
        verdict=f"{no_luck if luck is None else luck.verdict} {holdout_words}",
        trials=tuple(summaries.values()),
        preset=str(preset),
        commands=tuple(commands),
        run_id=runs.parent,
    )


def _luck(
    trials: Sequence[FrozenTrial],
    best: FrozenTrial,
    record: StudyRecord,
    runs: StudyRuns,
    candidate: Candidate,
    pruned: int,
    seed: int,
    replications: int,
) -> tuple[StudyLuck | None, str]:
    complete = [one for one in trials if one.state == TrialState.COMPLETE]
    kept = runs.returns_of(complete)
    numbers = [one.number for one in kept]
    if best.number not in numbers:
        whose = f"trial {best.number}" if numbers else "no trial"
        return None, (
            f"How much of the best trial is luck cannot be told: {whose} kept its returns, as "
            "where the objective is the user's own and returns no TrialScore."
            if not numbers
            else "How much of the best trial is luck cannot be told: it kept no returns."
        )
    time, returns, market = aligned(kept)
    if not len(time):
        return None, "How much of the best trial is luck cannot be told: there are no bars."
    data = record.data
    return (
        study_luck(
            returns,
            market,
            numbers.index(best.number),
            trials=len(complete) + pruned + record.earlier,
            pruned=pruned,
            earlier=record.earlier,
            periods_per_year=periods_per_year(data.timeframe, data.market, time),  # type: ignore[arg-type]
            costs_included=_has_costs(record, candidate),
            objective=_chosen_by(record),
            seed=seed,
            replications=replications,
        ),
        "",
    )


def _chosen_by(record: StudyRecord) -> str | None:
    # What is tested is the Sharpe ratio.
    names = [one.metric for one in record.config.objective]
    return None if names == ["sharpe_ratio"] else " and ".join(names)


def _has_costs(record: StudyRecord, candidate: Candidate) -> bool:
    # The returns that are kept are the strategy's where one trades.
    if record.config.trades:
        account = candidate.backtest
        return account is not None and max(account.taker_fee, account.slippage) > 0.0
    costs = [one.cost for one in record.config.objective if one.kind == "forecast"]
    return bool(costs) and costs[0] > 0.0


def _holdout_words(
    record: StudyRecord, opening: HoldoutOpening | None, seen_before: Sequence[EarlierLook]
) -> str:
    if not record.config.holdout:
        return "Nothing was held out: no candles are left that no trial has seen."
    if opening is None:
        words = f"The holdout from {iso_utc(record.data.holdout_from)[:10]} on was not opened."
    elif opening.look is None:
        words = opening.words
    else:
        return opening.words
    return f"{words} {no_first_look(seen_before)}".rstrip()


def _own_trial(trials: Sequence[FrozenTrial], record: StudyRecord) -> FrozenTrial | None:
    if not record.config.preset_first:
        return None
    for one in trials:
        if one.state == TrialState.COMPLETE and one.user_attrs.get("preset") is True:
            return one
    return None


def _front(study: optuna.Study, trials: Sequence[FrozenTrial]) -> tuple[int, ...]:
    if len(study.directions) < 2:
        return ()
    return tuple(one.number for one in best_trials(study, trials))


def _parameters(
    record: StudyRecord, best: FrozenTrial, own: FrozenTrial | None
) -> tuple[ParameterRow, ...]:
    start: Mapping[str, Any] = {} if own is None else own.params
    if own is None:
        before = record.space.configure({})
        for name in record.config.space:
            try:
                start = {**start, name: value_at(before, name)}
            except (KeyError, IndexError, TypeError, ValueError):
                continue
    names = [name for name in record.config.space if name in best.params or name in start]
    return tuple(
        ParameterRow(name=name, best=best.params.get(name), own=start.get(name)) for name in names
    )


def _summary(trial: FrozenTrial, again: bool, known: Mapping[int, Any]) -> TrialSummary:
    run = known.get(trial.number)
    complete = trial.state == TrialState.COMPLETE
    epochs = None if run is None else run.data.metrics.get("epochs_trained")
    length = trial.duration
    return TrialSummary.model_validate(
        {
            "number": trial.number,
            "state": "again" if again else _STATES[trial.state],
            "values": tuple(trial.values) if complete else (),
            "parameters": dict(trial.params),
            "epochs": None if epochs is None else int(epochs),
            "seconds": None if length is None else max(0.0, length.total_seconds()),
            "error": error_of(trial) if trial.state == TrialState.FAIL else "",
            "run_id": None if run is None else str(run.info.run_id),
        }
    )


def _runs_of(home: Home, runs: StudyRuns, key: str) -> dict[int, Any]:
    # One search for all, the oldest run of each trial, as `StudyRuns` counts them.
    use_tracking_server(home)
    client, token = MlflowClient(), None
    found: dict[int, Any] = {}
    wanted = f"tags.`lstm.study` = '{key}' and tags.`lstm.kind` = 'trial'"
    try:
        experiment = client.get_run(runs.parent).info.experiment_id
        while True:
            page = client.search_runs(
                [experiment],
                wanted,
                run_view_type=ViewType.ACTIVE_ONLY,
                max_results=1_000,
                page_token=token,
            )
            for run in page:
                held = found.setdefault(int(run.data.tags["lstm.trial"]), run)
                found[int(run.data.tags["lstm.trial"])] = min(held, run, key=_age)
            token = page.token
            if not token:
                return found
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise storage_error(home, error) from error


def _age(run: Any) -> tuple[int, str]:
    return int(run.info.start_time), str(run.info.run_id)


def _metrics(report: StudyReport) -> dict[str, float | None]:
    several = len(report.best.values) > 1
    found: dict[str, float | None] = {
        f"best/value_{place}" if several else "best/value": value
        for place, value in enumerate(report.best.values)
    }
    for place, value in enumerate(report.gain or ()):
        found[f"best/gain_{place}" if several else "best/gain"] = value
    for name in ("complete", "pruned", "failed", "counted"):
        found[f"trials/{name}"] = float(getattr(report, name))
    luck = report.luck
    if luck is not None:
        found |= {
            "luck/sharpe": luck.sharpe,
            "luck/sharpe_low": luck.sharpe_low,
            "luck/sharpe_high": luck.sharpe_high,
            "luck/expected_maximum": luck.expected_maximum,
            "luck/deflated_sharpe": luck.deflated.probability,
            "luck/buy_and_hold": luck.buy_and_hold,
            "luck/market_p": luck.market_p,
            "luck/chosen_market_p": luck.chosen_market_p,
            "luck/overfitting": luck.overfitting.probability,
        }
    return {name: value for name, value in found.items() if value is None or math.isfinite(value)}
