"""The bidirectional LSTM: a closed window read from both ends."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from lightning_models.networks.trunk import Trunk, TrunkConfig

__all__ = ["BidirectionalConfig", "BidirectionalTrunk"]


class BidirectionalConfig(TrunkConfig):
    """Width and depth.

    Parameters
    ----------
    hidden_size
        Units of each layer and direction.
    layers
        How many.
    dropout
        Between layers and before the heads.
    """

    kind: Literal["bidirectional"] = "bidirectional"
    hidden_size: PositiveInt = 64
    layers: PositiveInt = 2
    dropout: float = Field(default=0.2, ge=0, lt=1)


class BidirectionalTrunk(Trunk):
    """Reads a window forwards and backwards; never run over a whole series.

    Both directions end inside the window, whose last candle has closed: nothing later is
    seen. The forward pass is taken at the last step and the backward one at the first,
    where each has read all of the window.

    Parameters
    ----------
    config
        Width, depth and dropout.
    features
        Width of the input.
    """

    Config = BidirectionalConfig

    def __init__(self, config: BidirectionalConfig, features: int) -> None:
        super().__init__()
        self.hidden_size = config.hidden_size
        self.lstm = nn.LSTM(
            features,
            config.hidden_size,
            num_layers=config.layers,
            batch_first=True,
            bidirectional=True,
            dropout=config.dropout if config.layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.output_size = 2 * config.hidden_size

    def forward(self, window: Tensor) -> Tensor:
        """Return ``[batch, 2 * hidden_size]`` from ``[batch, time, feature]``."""
        output, _ = self.lstm(window)
        forwards = output[:, -1, : self.hidden_size]
        backwards = output[:, 0, self.hidden_size :]
        vector: Tensor = self.dropout(torch.cat([forwards, backwards], dim=-1))
        return vector
