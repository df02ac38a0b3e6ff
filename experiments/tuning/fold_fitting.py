"""Fit one fold of a trial, or take the fit that an earlier trial has left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytorch_lightning as pl

from experiments.fitting import fit_model, needs_checkpoints
from experiments.tuning.fold_cache import BUNDLE_FOLDER, FoldCache, KeptFit, fold_key
from experiments.walk_forward.running import fold_data
from lightning_models.bundle import bundle_sha256, write_bundle
from lightning_models.export import export_bundle
from lightning_models.inference import runner_of
from lightning_models.module import ForecastModule
from lightning_models.predictor import Predictor

if TYPE_CHECKING:
    from experiments.config import TrainConfig
    from experiments.tuning.pruning import Watch
    from experiments.walk_forward.folds import Fold
    from lightning_models.bundle import Bundle
    from lightning_models.candles import Candles
    from lightning_models.home import Home
    from lightning_models.networks import ForecastNetwork

__all__ = ["EpochLosses", "FoldFit", "FoldToFit", "fit_fold", "fit_fold_to_trade"]


@dataclass(frozen=True)
class FoldToFit:
    """What decides the fit of a fold.

    Parameters
    ----------
    fold
        Which one.
    config
        As `experiments.walk_forward.running.fold_config` returns it, with the fit's seed.
    candles
        All of them, sorted by symbol.
    inputs
        Of the candles and the user's own features, as `experiments.tuning.fold_cache.inputs_of`
        returns it; only a cache asks for it.
    """

    fold: Fold
    config: TrainConfig
    candles: tuple[Candles, ...]
    inputs: str = ""


@dataclass(frozen=True)
class FoldFit:
    """A fitted fold.

    Parameters
    ----------
    predictor
        Of its model, which has a name where its bundle was written.
    metrics
        As `lightning_models.training.FitResult.metrics` returns them.
    epochs
        Log-loss of each epoch that was trained now.
    """

    predictor: Predictor
    metrics: dict[str, float]
    epochs: tuple[float, ...]


class EpochLosses(pl.Callback):
    """Keeps the log-loss of each epoch, and ends the fit where a watch says so.

    The log-loss is that on the validation slice. Without one it is that on the train slice,
    which the watch is not told of: it says nothing of how good a trial is.

    Parameters
    ----------
    watch
        What is told of each epoch when it was validated.

    Attributes
    ----------
    losses : list
        For each network that was trained, an ensemble's one after another, those of its epochs.
    """

    def __init__(self, watch: Watch | None = None) -> None:
        self.losses: list[list[float]] = []
        self._watch = watch

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the epochs of another network."""
        del trainer, pl_module
        self.losses.append([])
        if self._watch is not None:
            self._watch.begin_fit()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell the watch, but not of Lightning's check before the first epoch."""
        del pl_module
        if self._watch is None or trainer.sanity_checking:
            return
        epoch = _epoch_of_fold(len(self.losses) - 1, trainer.current_epoch, trainer.max_epochs)
        if self._watch.epoch(epoch, float(trainer.callback_metrics["val/log_loss"])):
            # An error raised in here would end the fit before the epoch is counted.
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the epoch's log-loss."""
        loss = trainer.callback_metrics.get("val/log_loss")
        if loss is None and isinstance(pl_module, ForecastModule):
            self.losses[-1].append(pl_module.train_losses().get("train/log_loss", math.nan))
        else:
            self.losses[-1].append(math.nan if loss is None else float(loss))


def fit_fold(one: FoldToFit, *, scratch: Path, watch: Watch | None = None) -> FoldFit | None:
    """Fit and calibrate a fold whose model nobody trades.

    Parameters
    ----------
    one
        What to fit.
    scratch
        A folder for checkpoints.
    watch
        Follows the epochs.

    Returns
    -------
    FoldFit or None
        None where the watch ended it.

    Raises
    ------
    LSTMStrategiesError
        As training does.
    """
    trained = _train(one, scratch, watch)
    if trained is None:
        return None
    bundle = trained.bundle
    runner = runner_of(trained.network, lookback=bundle.lookback, burn_in=bundle.burn_in)
    predictor = Predictor(bundle, runner, model="", sha256="")
    return FoldFit(predictor, trained.metrics, _flat(trained.losses))


def fit_fold_to_trade(
    one: FoldToFit,
    *,
    scratch: Path,
    home: Home,
    watch: Watch | None = None,
    cache: Path | None = None,
) -> FoldFit | None:
    """Fit and calibrate a fold and write its model, unless the cache has it.

    Parameters
    ----------
    one, scratch, watch
        As for `fit_fold`. Without a cache, or if it cannot be written, the bundle lies in
        `scratch`.
    home
        That the strategy will load the model for.
    cache
        Where fits are kept.

    Returns
    -------
    FoldFit or None
        None where the watch ended it. The epochs of a fit that was kept are told to the watch
        again, so that a trial is judged by the same steps with and without a cache.

    Raises
    ------
    LSTMStrategiesError
        As training does.
    StorageError
        If the bundle cannot be written.
    """
    from lstm_strategies.models import predictor_of  # backtrader takes its time

    fit = partial(_fit_to_keep, one=one, scratch=scratch, watch=watch)
    if cache is None:
        made = fit(scratch)
        found = None if made is None else (scratch, made, False)
    else:
        key = fold_key(one.config, one.fold, inputs=one.inputs)
        found = FoldCache(cache).fold(key, fit, scratch=scratch)
    if found is None:
        return None
    entry, kept, was_there = found
    if was_there and watch is not None and _told_again(one.config, watch, kept):
        return None
    # The strategy asks for it by the same name, and is given the same object.
    predictor = predictor_of(str(entry / BUNDLE_FOLDER), str(home.path))
    return FoldFit(predictor, kept.metrics, () if was_there else _flat(kept.losses))


@dataclass(frozen=True)
class _Trained:
    network: ForecastNetwork
    bundle: Bundle
    metrics: dict[str, float]
    losses: tuple[tuple[float, ...], ...]


def _train(one: FoldToFit, scratch: Path, watch: Watch | None) -> _Trained | None:
    data = fold_data(one.config, one.fold, one.candles)
    checkpoints = scratch / "checkpoints"
    if needs_checkpoints(one.config):
        checkpoints.mkdir()
    epochs = EpochLosses(watch)
    result = fit_model(one.config, data, checkpoints=checkpoints, callbacks=[epochs])
    if watch is not None and watch.pruned:
        return None
    return _Trained(
        result.network,
        export_bundle(result.network, one.config.network, data),
        {name: value for name, value in result.metrics().items() if value is not None},
        tuple(tuple(losses) for losses in epochs.losses),
    )


def _fit_to_keep(
    entry: Path, *, one: FoldToFit, scratch: Path, watch: Watch | None
) -> KeptFit | None:
    trained = _train(one, scratch, watch)
    if trained is None:
        return None
    folder = write_bundle(entry / BUNDLE_FOLDER, trained.bundle, trained.network)
    return KeptFit(trained.losses, trained.metrics, bundle_sha256(folder))


def _told_again(config: TrainConfig, watch: Watch, kept: KeptFit) -> bool:
    # Without a validation slice there was nothing to tell.
    for network, losses in enumerate(kept.losses if config.data.slices.validation else ()):
        watch.begin_fit(kept=True)
        for epoch, loss in enumerate(losses):
            if watch.epoch(_epoch_of_fold(network, epoch, config.training.epochs), loss):
                return True
    return False


def _epoch_of_fold(network: int, epoch: int, at_most: int | None) -> int:
    # The networks of an ensemble follow one another, each with room for all of its epochs.
    return network * (at_most or 0) + epoch


def _flat(losses: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(loss for one in losses for loss in one)
