"""Fit a model again and again as time goes on, and join what it said of candles to come."""

from __future__ import annotations

import logging
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow

from experiments.config import flatten
from experiments.tracking import (
    log_candles,
    log_metrics,
    log_parameters,
    set_tags,
    tracked_run,
)
from experiments.walk_forward.carried_features import pack_features
from experiments.walk_forward.folds import Fold, plan_folds
from experiments.walk_forward.joining import assess_joined, join_outcomes
from experiments.walk_forward.recording import FoldRuns
from experiments.walk_forward.result import FoldRecord, WalkForwardResult, spread_over_folds
from experiments.walk_forward.running import FittedFold, FoldTask, run_folds
from lightning_models.bundle import bundle_sha256
from lightning_models.candles import Candles, fingerprint_of
from lightning_models.candles.validation import validate
from lightning_models.errors import (
    CandleError,
    ConfigError,
    TooFewCandlesError,
    TrainingInterrupted,
)
from lightning_models.evaluation import confusion_figure, reliability_bins, reliability_figure
from lightning_models.evaluation.coverage import coverage_metrics, measure_coverage
from lightning_models.home import find_home
from lightning_models.loading import load_predictor_from
from lightning_models.registry import Registry, check_name
from lightning_models.series_folder import model_sha256, write_series

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from experiments.config import TrainConfig
    from experiments.walk_forward.config import WalkForwardConfig
    from lightning_models.evaluation import Outcomes
    from lightning_models.evaluation.assessment import Assessment
    from lightning_models.evaluation.coverage import Coverage
    from lightning_models.home import Home
    from lightning_models.registry import RegisteredModel

__all__ = ["walk_forward"]

_log = logging.getLogger(__name__)


def walk_forward(
    config: TrainConfig,
    walk: WalkForwardConfig,
    candles: Candles | Sequence[Candles],
    *,
    name: str,
    home: str | Path | Home | None = None,
    jobs: int | None = None,
    promote: bool = False,
    on_fold: Callable[[Fold], None] | None = None,
) -> WalkForwardResult:
    """Fit, calibrate and test a model fold by fold, join the tests, and register the series.

    Each fold fits scaler, network and calibration anew, on candles that close before its test
    begins. The joined forecasts are one model whose version changes over time, which loads and
    runs in a backtest under its name like any other.

    Parameters
    ----------
    config
        Network, features, horizons, training. The shares of its slices divide each fold's
        history; its seed is the first fold's, and each later fold's is one more.
    walk
        Number, scheme and length of the folds.
    candles
        One entry for each symbol, all of one timeframe; every fold is cut at the same time for
        all of them.
    name
        To register under, and of the MLflow experiment.
    home
        Folder of the tracking database; by default ``$LSTM_HOME`` or the user's data folder.
    jobs
        Processes, as `run_folds` takes them. The numbers are the same for any.
    promote
        Whether the series becomes the champion although there is one.
    on_fold
        Called as each fold is done, in whatever order that is.

    Returns
    -------
    WalkForwardResult

    Raises
    ------
    TooFewCandlesError
        If there are fewer candles than the folds need; the message says how many.
    CandleError, FeatureError, ConfigError, TrainingError
        If the candles or the configuration cannot be trained on. Where a fold fails, the
        message names it, the others are stopped and nothing is registered, because the series
        would have a hole; the folds that were finished keep their runs and bundles.
    TrainingInterrupted
        On Ctrl-C; the message says which folds were kept.
    StorageError
        If anything cannot be written.
    """
    check_name(name)
    given = _sorted_by_symbol(candles)
    folds = plan_folds(walk, config.data, given)
    carried = pack_features(config.data.features)
    place = find_home(home).create()
    registry = Registry(place)
    scratch = Path(tempfile.mkdtemp(prefix="lstm-walk-forward-"))
    try:
        with tracked_run(place, name, run_name=f"walk-forward {config.preset}") as run:
            _describe(run, config, walk, given)
            runs = FoldRuns(run, folds)
            tasks = [
                FoldTask(fold, config, given, scratch / f"fold-{fold.number}", runs.id_of(fold))
                for fold in folds
            ]
            fitted = _run(tasks, carried, runs, jobs, on_fold, name)
            return _joined(fitted, runs, run, config, walk, given, registry, name, promote, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _sorted_by_symbol(candles: Candles | Sequence[Candles]) -> tuple[Candles, ...]:
    listed = [candles] if isinstance(candles, Candles) else list(candles)
    for one in listed:
        if not isinstance(one, Candles):
            raise ConfigError(
                f"a walk-forward runs on Candles, not on a {type(one).__name__}: read it with "
                "read_candles(…) first"
            )
    given = tuple(sorted((validate(one) for one in listed), key=lambda one: one.symbol))
    for what in ("timeframe", "market"):
        values = sorted({getattr(one, what) for one in given})
        if len(values) > 1:
            raise CandleError(
                f"the symbols differ in {what}: {', '.join(values)}; one model takes one. "
                f"Give --{what}"
            )
    symbols = [one.symbol for one in given]
    doubled = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
    if doubled:
        raise ConfigError(f"symbol {doubled[0]} was given more than once: name each file once")
    return given


def _describe(
    run: str, config: TrainConfig, walk: WalkForwardConfig, candles: Sequence[Candles]
) -> None:
    log_parameters(
        run,
        flatten(config.model_dump(mode="json"))
        | flatten({"walk_forward": walk.model_dump(mode="json")}),
    )
    set_tags(
        run,
        {
            "kind": "walk_forward",
            "preset": config.preset,
            "symbols": ",".join(one.symbol for one in candles),
            "timeframe": candles[0].timeframe,
            "data_fingerprint": fingerprint_of(candles),
        },
    )
    log_candles(run, candles, context="walk_forward")


def _run(
    tasks: Sequence[FoldTask],
    features: bytes,
    runs: FoldRuns,
    jobs: int | None,
    on_fold: Callable[[Fold], None] | None,
    name: str,
) -> list[FittedFold]:
    def keep(fitted: FittedFold) -> None:
        runs.finish(fitted)
        _log.info("%s: %s", fitted.fold.name, fitted.scores.verdict)
        if on_fold is not None:
            on_fold(fitted.fold)

    status = "FAILED"
    try:
        return run_folds(tasks, features=features, jobs=jobs, on_fold=keep)
    except (KeyboardInterrupt, TrainingInterrupted) as stop:
        status = "KILLED"
        raise TrainingInterrupted(_stopped(runs, len(tasks), name)) from stop
    finally:
        runs.stop(status)


def _stopped(runs: FoldRuns, of: int, name: str) -> str:
    finished = runs.finished
    if not finished:
        return f"the walk-forward was stopped before any of its {of} folds was done; nothing kept"
    numbers = ", ".join(str(number) for number in finished)
    return (
        f"the walk-forward was stopped with {len(finished)} of {of} folds done: fold {numbers} "
        f"{'are' if len(finished) > 1 else 'is'} kept, with metrics and bundle, as runs of the "
        f"MLflow experiment {name}; nothing was registered, because the joined series would have "
        "a hole. Run the same command again to begin anew"
    )


def _joined(
    fitted: Sequence[FittedFold],
    runs: FoldRuns,
    run: str,
    config: TrainConfig,
    walk: WalkForwardConfig,
    candles: Sequence[Candles],
    registry: Registry,
    name: str,
    promote: bool,
    scratch: Path,
) -> WalkForwardResult:
    outcomes = join_outcomes(fitted)
    if not len(outcomes):
        raise TooFewCandlesError(
            "no forecast of any fold met an outcome: too many candles of the tests are missing"
        )
    assessment = assess_joined(fitted, candles, seed=config.training.seed)
    records = tuple(_record(one, runs, candles) for one in fitted)
    coverage = measure_coverage(outcomes, seed=config.training.seed)
    metrics = assessment.metrics() | coverage_metrics(coverage)
    folder = write_series(
        scratch / "series",
        [one.folder for one in fitted],
        metrics=metrics,
        evaluated_by=run,
        data_fingerprint=fingerprint_of(candles),
        created_at=datetime.now(UTC),
    )
    load_predictor_from(folder, name)
    spread = spread_over_folds(records)
    log_metrics(run, metrics)
    for one in spread:
        place = f"folds/{one.metric}"
        log_metrics(run, {f"{place}_mean": one.mean, f"{place}_deviation": one.deviation})
    set_tags(run, {"bundle_sha256": model_sha256(folder), "verdict": assessment.verdict})
    _log_figures(outcomes)
    model = registry.register(folder, name=name, run_id=run, promote=promote)
    result = _result(model, run, config, walk, candles, records, assessment, coverage)
    mlflow.log_text(result.model_dump_json(indent=1), "walk_forward.json")
    return result


def _result(
    model: RegisteredModel,
    run: str,
    config: TrainConfig,
    walk: WalkForwardConfig,
    candles: Sequence[Candles],
    folds: tuple[FoldRecord, ...],
    joined: Assessment,
    coverage: tuple[Coverage, ...],
) -> WalkForwardResult:
    return WalkForwardResult(
        model=model.uri,
        alias=model.alias,
        run_id=run,
        preset=config.preset,
        timeframe=candles[0].timeframe,
        symbols=tuple(one.symbol for one in candles),
        config=walk,
        data_fingerprint=fingerprint_of(candles),
        folds=folds,
        joined=joined,
        coverage=coverage,
        spread=spread_over_folds(folds),
        verdict=joined.verdict,
    )


def _record(one: FittedFold, runs: FoldRuns, candles: Sequence[Candles]) -> FoldRecord:
    edges, fold = one.fold.slices.edges, one.fold
    ends = max(int(each.time[-1]) for each in candles) + candles[0].period_ms
    return FoldRecord(
        number=fold.number,
        seed=one.config.training.seed,
        symbols=one.bundle.symbols,
        train_from=_moment(edges[0]),
        known_until=_moment(fold.known_until),
        tested_from=one.bundle.unseen_from,
        tested_to=_moment(ends if fold.replaced_at is None else fold.replaced_at),
        samples={name: span.samples for name, span in one.bundle.slices.items()},
        best_epoch=int(one.bundle.metrics["best_epoch"] or 0),
        epochs_trained=int(one.bundle.metrics["epochs_trained"] or 0),
        scores=one.scores,
        run_id=runs.id_of(fold),
        bundle_sha256=bundle_sha256(one.folder),
    )


def _log_figures(outcomes: Outcomes) -> None:
    moved = outcomes.actual != 0
    went_up = outcomes.actual[moved] > 0
    bins = reliability_bins(outcomes.probability_up[moved], went_up)
    mlflow.log_figure(reliability_figure(bins), "figures/reliability.png")
    mlflow.log_figure(
        confusion_figure(outcomes.probability_up, outcomes.actual), "figures/confusion.png"
    )


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
