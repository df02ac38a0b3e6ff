"""Fit a direct forecaster: one pass in place of epochs, told like one epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch

from lightning_models.errors import ConfigError
from lightning_models.forecasters.samples import window_batches
from lightning_models.heads import ChangeHead, DirectionHead
from lightning_models.training import EpochMetrics, FitResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_models.data.datamodule import CandleDataModule
    from lightning_models.data.slices import SliceName
    from lightning_models.forecasters.base import DirectForecaster

__all__ = ["fit_forecaster"]


def fit_forecaster(
    forecaster: DirectForecaster,
    data: CandleDataModule,
    *,
    on_epoch: Callable[[int, EpochMetrics], None] | None = None,
) -> FitResult:
    """Fit a direct forecaster on the train slice.

    Parameters
    ----------
    forecaster
        Fitted in place.
    data
        The slices, in window mode.
    on_epoch
        Called once, with 1 and the metrics.

    Returns
    -------
    FitResult
        With one row of history: the losses that a network reports, after the fit.

    Raises
    ------
    ConfigError
        If the data is cut for sequence mode, or does not serve the forecaster.
    TrainingError
        If the train slice cannot be learned from.
    """
    if data.config.mode != "window":
        raise ConfigError(
            f"a {forecaster.config.kind} forecaster reads windows and carries no state: use "
            "--set data.mode=window"
        )
    forecaster.fit_to(data)
    row = _losses(forecaster, data, "train", "train")
    if len(data.samples["validation"]):
        row |= _losses(forecaster, data, "validation", "val")
    if on_epoch is not None:
        on_epoch(1, row)
    return FitResult((row,), 1, cast("Any", forecaster.eval()))


def _losses(
    forecaster: DirectForecaster, data: CandleDataModule, name: SliceName, stage: str
) -> EpochMetrics:
    # The heads' own losses, of which their projections are no part.
    direction, change = DirectionHead(1, 1), ChangeHead(1, 1)
    sums, weights = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    with torch.inference_mode():
        for batch in window_batches(data, name):
            raw = forecaster(batch.window)
            weight = torch.ones_like(batch.target) if batch.weight is None else batch.weight
            counts = torch.stack([weight[batch.target != 0].sum(), weight.sum()])
            losses = torch.stack(
                [
                    direction.loss(raw.logits, batch.target, weight),
                    change.loss(raw.quantiles, batch.target, weight),
                ]
            )
            sums += losses * counts
            weights += counts
    log_loss, pinball = (sums / weights.clamp(min=1)).tolist()
    return {
        f"{stage}/loss": log_loss + pinball,
        f"{stage}/log_loss": log_loss,
        f"{stage}/pinball": pinball,
    }
