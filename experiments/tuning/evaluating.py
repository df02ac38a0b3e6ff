"""Evaluate a trial: fit its folds, score each on what its model has not seen, and sum up."""

from __future__ import annotations

import math
import shutil
import tempfile
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from joblib import parallel_config

from experiments.fitting import needs_checkpoints
from experiments.tuning.fold_cache import inputs_of
from experiments.tuning.fold_fitting import FoldFit, FoldToFit, fit_fold, fit_fold_to_trade
from experiments.tuning.forecast_folds import (
    followed,
    forecast_fold,
    forecast_metrics,
    why_no_score,
)
from experiments.tuning.score import FoldScore, TrialScore
from experiments.walk_forward.carried_features import pack_features, unpack_features
from experiments.walk_forward.folds import plan_folds
from experiments.walk_forward.running import fold_config
from experiments.workers import side_by_side
from lightning_models.errors import ConfigError, TrainingError
from lightning_models.home import Home

if TYPE_CHECKING:
    from experiments.config import BacktestConfig, TrainConfig
    from experiments.tuning.candidate import Candidate
    from experiments.tuning.config import Objective, StudyConfig
    from experiments.tuning.forecast_folds import FoldForecasts
    from experiments.tuning.pruning import Watch
    from experiments.tuning.trading_folds import TradedSymbol
    from lightning_models.candles import Candles

__all__ = ["SEED_STEP", "evaluate"]

SEED_STEP: Final = 1_000_003
"""Between the seeds of one fold's fits: more than there are folds, so that none comes twice."""


@dataclass(frozen=True)
class _Task:
    # Everything that a process needs to fit and score one fold with one seed.
    position: int
    one: FoldToFit
    number: int
    of: int
    backtest: BacktestConfig | None
    objectives: tuple[Objective, ...]
    fits: bool
    trades_model: bool
    folder: Path
    home: Home
    cache: Path | None

    @property
    def name(self) -> str:
        seed = f", seed {self.number} of {self.of}" if self.of > 1 else ""
        return self.one.fold.name + seed


@dataclass(frozen=True)
class _Scored:
    # With the reason why there is no value, for each objective; empty where there is one.
    score: FoldScore
    missing: tuple[str, ...]


def evaluate(
    candidate: Candidate,
    study: StudyConfig,
    candles: Sequence[Candles],
    *,
    folder: Path,
    home: Home | None = None,
    jobs: int | None = None,
    watch: Watch | None = None,
    cache: Path | None = None,
    features: bytes = b"",
) -> TrialScore:
    """Fit and score every fold of a trial.

    Each fold is fitted with each of the study's seeds, once for all objectives, and not at all
    where nothing asks for a model. The seeds of fold k are those of a walk-forward's fold k,
    `experiments.walk_forward.folds.fold_seed`, plus multiples of `SEED_STEP`.

    Parameters
    ----------
    candidate
        The configuration to try.
    study
        Objectives, folds and seeds.
    candles
        Of development, one entry for each symbol: the holdout is cut off.
    folder
        For checkpoints and bundles of folds that are not kept; what lies there afterwards
        may be deleted.
    home
        Whose cache keeps forecasts and a language model's answers. By default they lie beside
        the fitted folds in `cache`, or in `folder`.
    jobs
        Folds at a time, as `experiments.workers.side_by_side` takes them; the numbers are the
        same for any.
    watch
        Follows the trial and may end it. Where it follows epochs, folds with epochs come one
        after another in this process.
    cache
        Where the fits of a trading study are kept: trials that only trade differently fit
        nothing. Without one each trial fits its own.
    features
        The user's own, as `pack_features` returns them; by default packed here.

    Returns
    -------
    TrialScore
        For each objective the mean over the folds, all seeds averaged, plus (what is minimised)
        or minus (what is maximised) its `dispersion` times the standard deviation over the
        folds, of one degree of freedom; of a single fold that is 0.

    Raises
    ------
    TooFewCandlesError
        If there are fewer candles than the folds need.
    TrainingError
        If a fold has no score; the message names the fold and says why.
    optuna.TrialPruned
        If the watch ends the trial; the watch has the folds that were done.
    LSTMStrategiesError
        As training and backtests do, with the name of the fold; the others are ended.
    """
    given = tuple(sorted(candles, key=lambda one: one.symbol))
    if study.trades and candidate.backtest is None:
        raise ConfigError(
            f"study {study.name}: an objective trades and the trial has no backtest: give one"
        )
    folder.mkdir(parents=True, exist_ok=True)
    tasks = _tasks(candidate, study, given, folder, home, cache, features)
    by_epochs = (
        watch is not None
        and watch.by_epochs
        and tasks[0].fits
        and needs_checkpoints(candidate.train)
    )
    if by_epochs:
        jobs = 1
    # A backend may send a single job elsewhere too, where nobody would hear of the epochs.
    here = parallel_config(backend="loky") if by_epochs else nullcontext()
    running = side_by_side(
        partial(_score, watch=watch if by_epochs else None),
        tasks,
        name=attrgetter("name"),
        prepare=partial(unpack_features, _packed(candidate.train, features, jobs)),
        jobs=jobs,
    )
    scores = []
    with here, _ended_quietly(running):
        for task, found in running:
            if found is None:
                assert watch is not None
                watch.end()
            _check_values(study, task, found)
            scores.append(found.score)
            if watch is not None:
                watch.take(found.score, seeds=task.of)
    scores.sort(key=lambda one: (one.fold, one.seed))
    return TrialScore(_summed_up(study, scores), tuple(scores))


def _tasks(
    candidate: Candidate,
    study: StudyConfig,
    candles: tuple[Candles, ...],
    folder: Path,
    home: Home | None,
    cache: Path | None,
    features: bytes,
) -> list[_Task]:
    train = candidate.train
    backtest = candidate.backtest if study.trades else None
    trades_model = backtest is not None and _needs_model(backtest)
    fits = trades_model or any(one.kind == "forecast" for one in study.objective)
    # Of forecasts alone no two trials fit the same.
    kept = cache if trades_model else None
    inputs = ""
    if kept is not None:
        packed = features or pack_features(train.data.features)
        inputs = inputs_of(candles, train.data.features, packed=packed)
    # Without a fit there is nothing that a seed would change.
    seeds = study.seeds if fits else 1
    found: list[_Task] = []
    for fold in plan_folds(study.walk_forward, train.data, candles):
        for number in range(seeds):
            seed = (train.training.seed + SEED_STEP * number) % 2**32
            training = train.training.model_copy(update={"seed": seed})
            config = fold_config(train.model_copy(update={"training": training}), fold)
            task = _Task(
                position=len(found),
                one=FoldToFit(fold, config, candles, inputs),
                number=number + 1,
                of=seeds,
                backtest=backtest,
                objectives=study.objective,
                fits=fits,
                trades_model=trades_model,
                folder=folder,
                home=home or Home(folder if cache is None else cache),
                cache=kept,
            )
            found.append(task)
    return found


def _needs_model(backtest: BacktestConfig) -> bool:
    from lstm_strategies.strategies import strategy_named  # backtrader takes its time

    needed: bool = strategy_named(backtest.strategy).needs_model
    return needed


@contextmanager
def _ended_quietly(running: Generator[Any, None, None]) -> Iterator[None]:
    # joblib warns of folds that are ended before they are done, as those of a pruned trial are.
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*iterator to limit unnecessary computation")
            running.close()


def _packed(train: TrainConfig, features: bytes, jobs: int | None) -> bytes:
    # In this process they are there already, whatever they hold.
    return features if features or jobs == 1 else pack_features(train.data.features)


def _score(task: _Task, watch: Watch | None) -> _Scored | None:
    # None where the watch ended the trial. A folder of its own: an attempt whose worker was lost
    # may have left files behind, or go on.
    beside = task.folder if task.folder.is_dir() else None
    scratch = Path(tempfile.mkdtemp(prefix=f"fold-{task.one.fold.number}-", dir=beside))
    # Workers begin with other numbers of threads, and sums in another order differ.
    torch.set_num_threads(task.one.config.training.threads)
    try:
        if not task.fits:
            return _scored(task, None)
        if watch is not None:
            watch.begin_fold(task.position, task.one.config)
        if task.trades_model:
            fitted = fit_fold_to_trade(
                task.one, scratch=scratch, home=task.home, watch=watch, cache=task.cache
            )
        else:
            fitted = fit_fold(task.one, scratch=scratch, watch=watch)
        return None if fitted is None else _scored(task, fitted)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _scored(task: _Task, fitted: FoldFit | None) -> _Scored:
    metrics: dict[str, float] = {}
    forecasts: FoldForecasts | None = None
    symbols: tuple[TradedSymbol, ...] = ()
    if fitted is not None:
        metrics |= fitted.metrics
    asked = next((one for one in task.objectives if one.kind == "forecast"), None)
    if asked is not None and fitted is not None:
        forecasts = forecast_fold(fitted.predictor, task.one.fold, task.one.candles)
        metrics |= forecast_metrics(forecasts)
        time, returns, market, held = followed(forecasts, task.one.fold, cost=asked.cost)
    if task.backtest is not None:
        from experiments.tuning.trading_folds import (
            trade_fold,
            traded,
            trading_metrics,
        )

        symbols = trade_fold(
            task.backtest,
            task.one.fold,
            task.one.candles,
            predictor=None if fitted is None else fitted.predictor,
            home=task.home,
        )
        metrics |= trading_metrics(symbols)
        # With both objectives it is the account that tells what was earned.
        time, returns, market = traded(symbols)
        held = tuple(one.held for one in symbols)
    valued = [_valued(one, metrics, forecasts, symbols) for one in task.objectives]
    score = FoldScore(
        fold=task.one.fold.number,
        seed=task.one.config.training.seed,
        values=tuple(value for value, _ in valued),
        time=time,
        returns=returns,
        market=market,
        metrics=metrics,
        epochs=() if fitted is None else fitted.epochs,
        trades=sum(one.metrics["total_trades"] for one in symbols),
        held=held,
    )
    return _Scored(score, tuple(reason for _, reason in valued))


def _valued(
    objective: Objective,
    metrics: dict[str, float],
    forecasts: FoldForecasts | None,
    symbols: Sequence[TradedSymbol],
) -> tuple[float, str]:
    if objective.kind == "trading":
        from experiments.tuning.trading_folds import figure

        value = figure(objective.metric, symbols, min_trades=objective.min_trades)
        return value, "" if math.isfinite(value) else "its equity is none"
    assert forecasts is not None
    value = metrics.get(objective.metric, math.nan)
    if math.isfinite(value):
        return value, ""
    if objective.metric in metrics:
        return value, "a forecast of it is none"
    return value, why_no_score(forecasts, objective.metric)


def _check_values(study: StudyConfig, task: _Task, found: _Scored) -> None:
    for one, reason in zip(study.objective, found.missing, strict=True):
        if reason:
            raise TrainingError(f"{one.metric} is not a number in {task.name}, because {reason}")


def _summed_up(study: StudyConfig, scores: Sequence[FoldScore]) -> tuple[float, ...]:
    by_fold: dict[int, list[tuple[float, ...]]] = {}
    for one in scores:
        by_fold.setdefault(one.fold, []).append(one.values)
    # [fold, objective], the seeds averaged.
    means = np.array([np.mean(values, axis=0) for values in by_fold.values()])
    spread: Any = means.std(axis=0, ddof=1) if len(means) > 1 else np.zeros(means.shape[1])
    worse = np.array(
        [
            one.dispersion if one.direction == "minimize" else -one.dispersion
            for one in study.objective
        ]
    )
    return tuple((means.mean(axis=0) + worse * spread).tolist())
