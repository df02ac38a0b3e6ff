"""What every trunk is: a module from a window to one vector."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

__all__ = ["Trunk"]


class Trunk(nn.Module):
    """Reads a window ``[batch, time, feature]`` and returns ``[batch, output_size]``.

    Attributes
    ----------
    output_size : int
        Width of what the heads are given.
    """

    output_size: int

    @abstractmethod
    def forward(self, window: Tensor) -> Tensor:
        """Return ``[batch, output_size]`` from ``[batch, time, feature]``."""
