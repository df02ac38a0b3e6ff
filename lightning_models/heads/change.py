"""The change head: by how much the price moves, and between which bounds."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["QUANTILES", "ChangeHead"]

QUANTILES: Final[tuple[float, float, float]] = (0.10, 0.50, 0.90)

# A standard normal's 10 % quantile lies 1.28 below its median: where bounds start.
START_DISTANCE = 1.28


class ChangeHead(nn.Module):
    """Three quantiles of the return over trailing volatility, which cannot cross.

    The median is free; the outer quantiles lie a positive distance from it.

    Parameters
    ----------
    inputs
        Width of the trunk's output.
    horizons
        Length of the horizon axis.
    """

    levels: Tensor

    def __init__(self, inputs: int, horizons: int) -> None:
        super().__init__()
        self.projection = nn.Linear(inputs, horizons * len(QUANTILES))
        self.register_buffer("levels", torch.tensor(QUANTILES), persistent=False)
        # softplus(b) = START_DISTANCE where the projection gives b.
        start = float(torch.log(torch.expm1(torch.tensor(START_DISTANCE))))
        with torch.no_grad():
            self.projection.bias.view(horizons, len(QUANTILES))[:, 0].fill_(start)
            self.projection.bias.view(horizons, len(QUANTILES))[:, 1].zero_()
            self.projection.bias.view(horizons, len(QUANTILES))[:, 2].fill_(start)

    def forward(self, trunk: Tensor) -> Tensor:
        """Return quantiles ``[batch, horizon, 3]``, rising along the last axis."""
        raw = self.projection(trunk).unflatten(-1, (-1, len(QUANTILES)))
        median = raw[..., 1]
        lower = median - functional.softplus(raw[..., 0])
        upper = median + functional.softplus(raw[..., 2])
        return torch.stack([lower, median, upper], dim=-1)

    def loss(self, quantiles: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the mean pinball loss (Koenker and Bassett, 1978).

        Parameters
        ----------
        quantiles
            ``[batch, horizon, 3]``.
        target
            ``[batch, horizon]``, returns over trailing volatility.
        weight
            ``[batch, horizon]``; by default all count alike.

        Returns
        -------
        torch.Tensor
            A scalar, in units of trailing volatility.
        """
        error = target.unsqueeze(-1) - quantiles
        losses = torch.maximum(self.levels * error, (self.levels - 1.0) * error)
        if weight is None:
            return losses.mean()
        return (losses.mean(dim=-1) * weight).sum() / weight.sum().clamp(min=1e-6)
