"""Fit whatever a configuration names: a network by gradients, a forecaster in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from lightning_models.ensemble import fit_ensemble
from lightning_models.forecasters import FORECASTERS
from lightning_models.forecasters.fitting import fit_forecaster
from lightning_models.networks import build_network
from lightning_models.training import fit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import pytorch_lightning as pl

    from experiments.config import TrainConfig
    from lightning_models.data.datamodule import CandleDataModule
    from lightning_models.forecasters import DirectForecaster
    from lightning_models.networks import ForecastNetwork
    from lightning_models.training import EpochMetrics, FitResult

__all__ = ["fit_model", "needs_checkpoints", "unfitted"]


def unfitted(config: TrainConfig, data: CandleDataModule) -> ForecastNetwork:
    """Return the configured network with fresh weights."""
    return build_network(
        config.network,
        features=len(config.data.features),
        horizons=len(data.horizons),
        target=config.data.target.name,
    )


def needs_checkpoints(config: TrainConfig) -> bool:
    """Return whether a fit has epochs that a later one could go on from."""
    return config.network.kind not in FORECASTERS


def fit_model(
    config: TrainConfig,
    data: CandleDataModule,
    *,
    checkpoints: Path,
    resume: bool = False,
    resume_hint: str = "",
    on_epoch: Callable[[int, EpochMetrics], None] | None = None,
    progress: bool = False,
    callbacks: Sequence[pl.Callback] = (),
) -> FitResult:
    """Fit a configuration on its slices.

    Parameters
    ----------
    config
        Which network, and how it is trained.
    data
        Its slices.
    checkpoints
        A folder that exists; a forecaster without gradients leaves it empty, an ensemble has
        one in it for each member.
    resume, resume_hint, on_epoch, progress, callbacks
        As `lightning_models.training.fit` takes them; a forecaster without gradients has no epochs
        for callbacks.

    Raises
    ------
    TrainingInterrupted, TrainingError, StorageError
        As `lightning_models.training.fit` does.
    """
    if not needs_checkpoints(config):
        return fit_forecaster(
            cast("DirectForecaster", unfitted(config, data)), data, on_epoch=on_epoch
        )
    fitting = fit_ensemble if config.network.kind == "ensemble" else fit
    return fitting(
        lambda: unfitted(config, data),
        data,
        config.training,
        checkpoints=checkpoints,
        resume=resume,
        resume_hint=resume_hint,
        on_epoch=on_epoch,
        progress=progress,
        callbacks=callbacks,
    )
