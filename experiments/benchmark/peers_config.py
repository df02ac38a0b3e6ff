"""What the comparison with other libraries trains, and where their packages are."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

__all__ = ["PeersConfig"]


class PeersConfig(BaseModel):
    """How much the peers and this project learn.

    Parameters
    ----------
    python
        An interpreter that has the peers, Python 3.11 or newer; by default the one that runs.
    candles
        Of one simulated symbol.
    hidden_size, layers
        Of the LSTM.
    batch_size
        Windows a step.
    epochs
        At most, until the best validation loss.
    patience
        Epochs without a better validation loss before training stops.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    python: Path | None = None
    candles: int = Field(default=6_000, ge=1_000)
    hidden_size: PositiveInt = 64
    layers: PositiveInt = 2
    batch_size: int = Field(default=64, ge=2)
    epochs: PositiveInt = 12
    patience: PositiveInt = 3
