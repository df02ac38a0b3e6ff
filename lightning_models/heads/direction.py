"""The direction head: whether the price rises."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["DirectionHead"]


class DirectionHead(nn.Module):
    """One logit of P(up) for each horizon.

    Parameters
    ----------
    inputs
        Width of the trunk's output.
    horizons
        Length of the horizon axis.
    """

    def __init__(self, inputs: int, horizons: int) -> None:
        super().__init__()
        self.projection = nn.Linear(inputs, horizons)

    def forward(self, trunk: Tensor) -> Tensor:
        """Return logits ``[batch, horizon]`` from the trunk's output ``[batch, inputs]``."""
        logits: Tensor = self.projection(trunk)
        return logits

    def loss(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the mean cross-entropy over labels that are up or down.

        Parameters
        ----------
        logits
            ``[batch, horizon]``.
        target
            ``[batch, horizon]``, returns of any unit: positive is up, negative down. Exactly
            zero is neither and takes no part.
        weight
            ``[batch, horizon]``; by default all that take part count alike.

        Returns
        -------
        torch.Tensor
            A scalar, in nats; 0 where no label takes part.
        """
        moved = (target != 0).to(logits.dtype)
        up = (target > 0).to(logits.dtype)
        counting = moved if weight is None else moved * weight
        losses = functional.binary_cross_entropy_with_logits(
            logits, up, weight=counting, reduction="sum"
        )
        return losses / counting.sum().clamp(min=1.0 if weight is None else 1e-6)
