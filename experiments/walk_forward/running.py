"""Fit the folds, each by itself, side by side where there are cores for it."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from experiments.fitting import fit_model, needs_checkpoints
from experiments.walk_forward.carried_features import unpack_features
from experiments.walk_forward.folds import fold_seed
from experiments.workers import side_by_side
from lightning_models.bundle import Bundle, read_bundle, write_bundle
from lightning_models.data import SliceConfig
from lightning_models.data.datamodule import CandleDataModule
from lightning_models.errors import StorageError, TooFewCandlesError
from lightning_models.evaluation.barriers import barrier_metrics
from lightning_models.evaluation.baselines import baseline_forecasts, rows_of
from lightning_models.evaluation.collect import collect_outcomes
from lightning_models.evaluation.coverage import coverage_metrics, measure_coverage
from lightning_models.evaluation.scores import ForecastScores, evaluate
from lightning_models.export import export_bundle
from lightning_models.features.compute import warmup_of
from lightning_models.inference import runner_of
from lightning_models.predictor import Predictor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from experiments.config import TrainConfig
    from experiments.walk_forward.folds import Fold
    from lightning_models.candles import Candles
    from lightning_models.evaluation import Outcomes
    from lightning_models.evaluation.comparison import BaselineForecasts
    from lightning_models.training import EpochMetrics, FitResult

__all__ = [
    "FittedFold",
    "FoldTask",
    "fit_fold",
    "fit_of_fold",
    "fold_config",
    "fold_data",
    "outcomes_of_fold",
    "run_folds",
    "symbols_present",
]


@dataclass(frozen=True)
class FoldTask:
    """Everything that a process needs to fit one fold.

    Parameters
    ----------
    fold
        Which one.
    config
        Of the whole walk-forward.
    candles
        All of them, sorted by symbol.
    folder
        Where the fold's bundle goes.
    run_id
        MLflow run that its metrics will come from.
    """

    fold: Fold
    config: TrainConfig
    candles: tuple[Candles, ...]
    folder: Path
    run_id: str


@dataclass(frozen=True)
class FittedFold:
    """A fold's model and what it said of candles it had not seen.

    Parameters
    ----------
    fold
        Which one.
    config
        That it was fitted by: the fold's seed and shares.
    bundle
        With the metrics of its own test.
    folder
        Where the bundle lies.
    history
        Metrics of each epoch.
    outcomes
        Of the bars that are the fold's own, symbols counted as in `FoldTask.candles`.
    scores
        Of these.
    compared
        ``bool [N]``, the outcomes that the baselines speak of.
    baselines
        Fitted on the fold's train slice.
    """

    fold: Fold
    config: TrainConfig
    bundle: Bundle
    folder: Path
    history: tuple[EpochMetrics, ...]
    outcomes: Outcomes
    scores: ForecastScores
    compared: npt.NDArray[np.bool_]
    baselines: tuple[BaselineForecasts, ...]


def run_folds(
    tasks: Sequence[FoldTask],
    *,
    features: bytes = b"",
    jobs: int | None = None,
    on_fold: Callable[[FittedFold], None] | None = None,
) -> list[FittedFold]:
    """Fit folds, several at a time, here or on machines that share no disk with this one.

    A fold whose worker was lost is fitted anew by another one.

    Parameters
    ----------
    tasks
        One for each fold.
    features
        The user's own, as `pack_features` returns them.
    jobs
        Processes, as `side_by_side` takes them. Threads cannot serve: a fit seeds generators
        that they would share.
    on_fold
        Called as each fold is done, in whatever order that is.

    Returns
    -------
    list of FittedFold
        In order of time. The same numbers whatever the number of processes.

    Raises
    ------
    LSTMStrategiesError
        If a fold fails, of the fold's own kind and with its name; the others are ended.
    KeyboardInterrupt, TrainingInterrupted
        On Ctrl-C; the workers are ended.
    """
    finished = []
    running = side_by_side(
        _fit_and_send,
        tasks,
        name=attrgetter("fold.name"),
        prepare=partial(unpack_features, features),
        jobs=jobs,
    )
    with closing(running):
        for task, sent in running:
            one = _received(task, sent)
            finished.append(one)
            if on_fold is not None:
                on_fold(one)
    return sorted(finished, key=lambda one: one.fold.number)


@dataclass(frozen=True)
class _Sent:
    fitted: FittedFold
    files: dict[str, bytes]


def _fit_and_send(task: FoldTask) -> _Sent:
    # A folder of its own: an attempt whose worker was lost may have left files behind, or go on.
    beside = task.folder.parent
    folder = Path(
        tempfile.mkdtemp(prefix=f"{task.folder.name}-", dir=beside if beside.is_dir() else None)
    )
    try:
        fitted = fit_fold(replace(task, folder=folder))
        return _Sent(fitted, {one.name: one.read_bytes() for one in fitted.folder.iterdir()})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _received(task: FoldTask, sent: _Sent) -> FittedFold:
    folder = task.folder / "bundle"
    try:
        folder.mkdir(parents=True)
        for name, content in sent.files.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise StorageError(
            f"the bundle of {task.fold.name} could not be written to {folder}: {error}. Make "
            "room, or name another folder with TMPDIR"
        ) from error
    return replace(sent.fitted, folder=folder)


def fit_fold(task: FoldTask) -> FittedFold:
    """Fit, calibrate and evaluate one fold.

    Checkpoints and bundle are written below the task's folder.

    Scaler, network and calibration see candles that close by the end of the calibration slice:
    the others are not given to them.

    Parameters
    ----------
    task
        Which fold, of what.

    Returns
    -------
    FittedFold

    Raises
    ------
    LSTMStrategiesError
        As training does.
    """
    fold, config = task.fold, fold_config(task.config, task.fold)
    # Workers begin with other numbers of threads, and sums in another order differ.
    torch.set_num_threads(config.training.threads)
    data = fold_data(config, fold, task.candles)
    result = fit_of_fold(config, data, task.folder)
    bundle = export_bundle(result.network, config.network, data, evaluated_by=task.run_id)
    runner = runner_of(result.network, lookback=bundle.lookback, burn_in=bundle.burn_in)
    outcomes = outcomes_of_fold(Predictor(bundle, runner, model="", sha256=""), task)
    scores = evaluate(outcomes, seed=task.config.training.seed)
    compared, baselines = _baselines(config, task, outcomes)
    tested = bundle.slices["test"].model_copy(update={"samples": len(outcomes)})
    bundle = bundle.model_copy(
        update={
            "metrics": result.metrics()
            | scores.metrics()
            | barrier_metrics(outcomes, data, seed=task.config.training.seed)
            | coverage_metrics(measure_coverage(outcomes, seed=task.config.training.seed)),
            "slices": {**bundle.slices, "test": tested},
        }
    )
    folder = write_bundle(task.folder / "bundle", bundle, result.network)
    return FittedFold(
        fold,
        config,
        read_bundle(folder),
        folder,
        result.history,
        outcomes,
        scores,
        compared,
        baselines,
    )


def fold_config(config: TrainConfig, fold: Fold) -> TrainConfig:
    """Return the configuration that a fold is fitted by: its seed and the shares of its slices."""
    edges = fold.slices.edges
    known = edges[3] - edges[0]
    validation, calibration = (edges[2] - edges[1]) / known, (edges[3] - edges[2]) / known
    shares = SliceConfig(
        train=1.0 - validation - calibration,
        validation=validation,
        calibration=calibration,
        test=0.0,
    )
    return config.model_copy(
        update={
            "data": config.data.model_copy(update={"slices": shares}),
            "training": config.training.model_copy(
                update={"seed": fold_seed(config.training.seed, fold)}
            ),
        }
    )


def fold_data(config: TrainConfig, fold: Fold, candles: Sequence[Candles]) -> CandleDataModule:
    """Return what a fold is fitted on: no candle of it closes after its calibration slice.

    Parameters
    ----------
    config
        As `fold_config` returns it.
    fold
        Where to cut.
    candles
        All there are. A symbol that has too few of them in the fold is left out of it.

    Raises
    ------
    TooFewCandlesError
        If no symbol has enough candles, or a slice holds too few samples.
    """
    return CandleDataModule(
        config.data,
        [
            one.between(fold.slices.edges[0], fold.known_until)
            for one in symbols_present(config, fold, candles)
        ],
        batch_size=config.training.batch_size,
        seed=config.training.seed,
        slices=fold.slices,
    )


def symbols_present(config: TrainConfig, fold: Fold, candles: Sequence[Candles]) -> list[Candles]:
    """Return the symbols with enough candles in a fold for a first sample, of each all candles.

    Parameters
    ----------
    config
        As `fold_config` returns it.
    fold
        Where to look.
    candles
        All there are.

    Raises
    ------
    TooFewCandlesError
        If no symbol has enough candles.
    """
    least = warmup_of(config.data.features) + config.data.lookback + 2
    present = [
        one for one in candles if len(one.between(fold.slices.edges[0], fold.known_until)) >= least
    ]
    if not present:
        raise TooFewCandlesError(
            f"no symbol has the {least} candles that a first sample needs. Give more candles or "
            "fewer --folds"
        )
    return present


def fit_of_fold(config: TrainConfig, data: CandleDataModule, folder: Path) -> FitResult:
    """Fit a network to a fold.

    Parameters
    ----------
    config
        As `fold_config` returns it.
    data
        As `fold_data` returns it.
    folder
        For ``checkpoints``, where the configuration needs them.

    Raises
    ------
    LSTMStrategiesError
        As training does.
    """
    checkpoints = folder / "checkpoints"
    if needs_checkpoints(config):
        checkpoints.mkdir(parents=True, exist_ok=True)
    return fit_model(config, data, checkpoints=checkpoints)


def outcomes_of_fold(predictor: Predictor, task: FoldTask) -> Outcomes:
    """Return what a fold's model says of its own bars, and what became of them.

    Those are the bars from the first that the model has not seen to the next model's first.

    Parameters
    ----------
    predictor
        Of the fold's model.
    task
        Which fold, of what.

    Returns
    -------
    Outcomes
        Symbols counted as in `FoldTask.candles`.

    Raises
    ------
    TooFewCandlesError
        If no symbol has as many candles as a forecast needs.
    """
    fold, cut, places = task.fold, [], []
    reach = max(horizon.candles for horizon in predictor.bundle.horizons)
    for place, one in enumerate(task.candles):
        if fold.replaced_at is not None:
            # Some more for the labels, counted in candles, which sessions do not stretch.
            last = int(np.searchsorted(one.time, fold.replaced_at)) + reach
            one = one.between(None, int(one.time[last]) if last < len(one) else None)
        if len(one) >= predictor.required_bars:
            cut.append(one)
            places.append(place)
    if not cut:
        raise TooFewCandlesError(
            f"no symbol has the {predictor.required_bars} candles that a forecast needs"
        )
    found = collect_outcomes(predictor, cut, start=fold.slices.unseen_from)
    found = replace(found, symbol=np.array(places)[found.symbol])
    if fold.replaced_at is None:
        return found
    return found.take(found.time < fold.replaced_at - 1)


def _baselines(
    config: TrainConfig, task: FoldTask, outcomes: Outcomes
) -> tuple[npt.NDArray[np.bool_], tuple[BaselineForecasts, ...]]:
    present = symbols_present(config, task.fold, task.candles)
    start, end = task.fold.slices.edges[0], task.fold.slices.edges[4]
    data = CandleDataModule(
        config.data,
        [one.between(start, end) for one in present],
        batch_size=config.training.batch_size,
        slices=task.fold.slices,
    )
    position = {symbol: place for place, symbol in enumerate(data.symbols)}
    own = np.array([position.get(one.symbol, -1) for one in task.candles])
    renumbered = replace(outcomes, symbol=own[outcomes.symbol])
    rows = rows_of(data, renumbered)
    compared = rows >= 0
    if not compared.any():
        return compared, ()
    return compared, baseline_forecasts(
        data, renumbered.take(compared), rows[compared], seed=config.training.seed
    )
