"""What every trunk is: a module from a window to one vector."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

__all__ = ["SequenceTrunk", "State", "Steps", "Trunk", "TrunkConfig"]

State = tuple[Tensor, ...]
"""Hidden and cell state of each recurrent layer in turn, each ``[layers, batch, units]``."""


class TrunkConfig(BaseModel):
    """What every network's configuration has.

    Parameters
    ----------
    kind
        The network's name in files and in the table; a subclass fixes it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

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


class Steps(NamedTuple):
    """What a trunk gives while it reads a stretch of candles.

    Parameters
    ----------
    vectors
        ``[batch, time, output_size]``: after each step, from that step and earlier ones alone.
    state
        After the last step; handed to the next stretch.
    """

    vectors: Tensor
    state: State


class SequenceTrunk(Trunk):
    """A trunk that may also run step by step over a whole series, carrying its state.

    Unidirectional, and without anything that mixes steps of a chunk, as batch normalisation
    does. Its window mode is the same computation from a zero state.
    """

    @abstractmethod
    def steps(self, sequence: Tensor, state: State | None = None) -> Steps:
        """Return the vectors after each step of ``[batch, time, feature]``.

        Parameters
        ----------
        sequence
            ``[batch, time, feature]``.
        state
            What an earlier stretch left; None starts from zero.
        """

    @abstractmethod
    def step_layers(self) -> list[nn.Module]:
        """Return the layers that `steps` applies, in order, for a stepper outside torch.

        Each is one of ``nn.LSTM``, ``nn.LayerNorm``, ``nn.Linear``, ``nn.ReLU`` and
        ``nn.Dropout``, which does nothing in evaluation.
        """

    def forward(self, window: Tensor) -> Tensor:
        """Return ``[batch, output_size]`` from ``[batch, time, feature]``."""
        return self.steps(window).vectors[:, -1]
