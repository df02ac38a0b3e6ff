"""What every trunk is: a module from a window to one vector."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

__all__ = ["Trunk", "TrunkConfig"]


class TrunkConfig(BaseModel):
    """What every network's configuration has.

    Parameters
    ----------
    kind
        The network's name in files and in the table; a subclass fixes it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str


class Trunk(nn.Module):
    """Reads a window ``[batch, time, feature]`` and returns ``[batch, output_size]``.

    Built from its configuration and the width of the input.

    Attributes
    ----------
    Config : type
        The class of its configuration.
    output_size : int
        Width of what the heads are given.
    """

    Config: ClassVar[type[TrunkConfig]]
    output_size: int

    @abstractmethod
    def forward(self, window: Tensor) -> Tensor:
        """Return ``[batch, output_size]`` from ``[batch, time, feature]``."""
