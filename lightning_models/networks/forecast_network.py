"""A trunk under its heads; knows nothing of training."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor, nn

from lightning_models.errors import ConfigError
from lightning_models.heads import DIRECTION_HEADS, BarrierHead, ChangeHead
from lightning_models.networks.trunk import SequenceTrunk

if TYPE_CHECKING:
    from lightning_models.networks.trunk import State, Trunk

__all__ = ["ForecastNetwork", "NetworkLoss", "RawForecast"]


class RawForecast(NamedTuple):
    """What a network says, before calibration.

    Parameters
    ----------
    logits
        ``[batch, horizon]``, of P(up). Under triple-barrier labels ``[batch, 2 * horizon]``:
        after them those of P(time-out).
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
    timeout
        Cross-entropy of P(time-out) in nats; None without barriers.
    """

    total: Tensor
    direction: Tensor
    change: Tensor
    timeout: Tensor | None = None


class ForecastNetwork(nn.Module):
    """Direction and change for each horizon, from one trunk.

    Parameters
    ----------
    trunk
        From a window to a vector.
    horizons
        Length of the horizon axis that both heads share.
    target
        Name of what it is trained on, which chooses the direction's head.
    """

    def __init__(self, trunk: Trunk, horizons: int, *, target: str = "horizon-return") -> None:
        super().__init__()
        self.trunk = trunk
        self.direction = DIRECTION_HEADS[target](trunk.output_size, horizons)
        self.change = ChangeHead(trunk.output_size, horizons)

    def forward(self, window: Tensor) -> RawForecast:
        """Return the raw forecast of windows ``[batch, time, feature]``."""
        vector = self.trunk(window)
        return RawForecast(self.direction(vector), self.change(vector))

    def steps(self, sequence: Tensor, state: State | None = None) -> tuple[RawForecast, State]:
        """Return the raw forecast after each step of a stretch, and the state after it.

        Parameters
        ----------
        sequence
            ``[batch, time, feature]``.
        state
            What an earlier stretch left; None starts from zero.

        Returns
        -------
        tuple
            `RawForecast` of ``[batch, time, horizon]`` logits and ``[batch, time, horizon, 3]``
            quantiles, and the state.

        Raises
        ------
        ConfigError
            If the network does not look back only.
        """
        if not isinstance(self.trunk, SequenceTrunk):
            raise ConfigError(
                "this network reads closed windows and cannot run as a stream: use "
                "--set data.mode=window, or a network such as multi-layer"
            )
        vectors, left = self.trunk.steps(sequence, state)
        return RawForecast(self.direction(vectors), self.change(vectors)), left

    def loss(
        self,
        raw: RawForecast,
        target: Tensor,
        *,
        weight: Tensor | None = None,
        timed_out: Tensor | None = None,
    ) -> NetworkLoss:
        """Return the losses of a batch.

        Parameters
        ----------
        raw
            What the network said.
        target
            ``[batch, horizon]``, returns over trailing volatility.
        weight
            ``[batch, horizon]``, of each label; by default all count alike.
        timed_out
            ``[batch, horizon]``, 1 where no barrier was reached; None without barriers.
        """
        direction = self.direction.loss(raw.logits, target, weight)
        change = self.change.loss(raw.quantiles, target, weight)
        if timed_out is None or not isinstance(self.direction, BarrierHead):
            return NetworkLoss(direction + change, direction, change)
        timeout = self.direction.timeout_loss(raw.logits, timed_out, weight)
        return NetworkLoss(direction + change + timeout, direction, change, timeout)
