"""The barrier head: whether the exit lies above the entry, and whether time runs out first."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_models.heads.direction import DirectionHead

__all__ = ["BarrierHead"]


class BarrierHead(DirectionHead):
    """Two logits for each horizon: of P(up), and of P(time-out).

    Parameters
    ----------
    inputs
        Width of the trunk's output.
    horizons
        Length of the horizon axis.
    """

    def __init__(self, inputs: int, horizons: int) -> None:
        super().__init__(inputs, horizons)
        self.horizons = horizons
        # One projection, which steppers and compiled graphs take as they take the direction's.
        self.projection = nn.Linear(inputs, 2 * horizons)

    def forward(self, trunk: Tensor) -> Tensor:
        """Return ``[batch, 2 * horizon]``: all horizons' logits of P(up), then of P(time-out)."""
        return super().forward(trunk)

    def loss(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the cross-entropy of the direction, as `DirectionHead.loss` does."""
        return super().loss(logits[..., : self.horizons], target, weight)

    def timeout_loss(
        self, logits: Tensor, timed_out: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """Return the mean cross-entropy of P(time-out).

        Parameters
        ----------
        logits
            ``[batch, 2 * horizon]``.
        timed_out
            ``[batch, horizon]``, 1 where no barrier was reached, otherwise 0.
        weight
            ``[batch, horizon]``; by default all count alike.

        Returns
        -------
        torch.Tensor
            A scalar, in nats.
        """
        weight = torch.ones_like(timed_out) if weight is None else weight
        losses = functional.binary_cross_entropy_with_logits(
            logits[..., self.horizons :], timed_out, weight=weight, reduction="sum"
        )
        return losses / weight.sum().clamp(min=1e-6)
