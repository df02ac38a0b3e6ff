"""A trunk under its heads; knows nothing of training."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor, nn

from lightning_models.heads import ChangeHead, DirectionHead

if TYPE_CHECKING:
    from lightning_models.networks.trunk import Trunk

__all__ = ["ForecastNetwork", "NetworkLoss", "RawForecast"]


class RawForecast(NamedTuple):
    """What a network says, before calibration.

    Parameters
    ----------
    logits
        ``[batch, horizon]``, of P(up).
    quantiles
        ``[batch, horizon, 3]``, of the return over trailing volatility.
    """

    logits: Tensor
    quantiles: Tensor


class NetworkLoss(NamedTuple):
    """The losses of a batch, scalars.

    Parameters
    ----------
    total
        What is minimised.
    direction
        Cross-entropy in nats.
    change
        Pinball loss in units of trailing volatility.
    """

    total: Tensor
    direction: Tensor
    change: Tensor


class ForecastNetwork(nn.Module):
    """Direction and change for each horizon, from one trunk.

    Parameters
    ----------
    trunk
        From a window to a vector.
    horizons
        Length of the horizon axis that both heads share.
    """

    def __init__(self, trunk: Trunk, horizons: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.direction = DirectionHead(trunk.output_size, horizons)
        self.change = ChangeHead(trunk.output_size, horizons)

    def forward(self, window: Tensor) -> RawForecast:
        """Return the raw forecast of windows ``[batch, time, feature]``."""
        vector = self.trunk(window)
        return RawForecast(self.direction(vector), self.change(vector))

    def loss(self, raw: RawForecast, target: Tensor) -> NetworkLoss:
        """Return the losses against ``[batch, horizon]`` returns over trailing volatility."""
        direction = self.direction.loss(raw.logits, target)
        change = self.change.loss(raw.quantiles, target)
        return NetworkLoss(direction + change, direction, change)
