"""A bidirectional LSTM that weighs the candles of its window by additive attention."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from lightning_models.networks.trunk import Trunk, TrunkConfig

__all__ = ["AttentionConfig", "AttentionTrunk"]


class AttentionConfig(TrunkConfig):
    """Width and depth.

    Parameters
    ----------
    hidden_size
        Units of each layer and direction.
    layers
        How many.
    attention_size
        Units that compare a candle with the whole window.
    dropout
        Between layers and before the heads.
    """

    kind: Literal["attention"] = "attention"
    hidden_size: PositiveInt = 64
    layers: PositiveInt = 2
    attention_size: PositiveInt = 32
    dropout: float = Field(default=0.2, ge=0, lt=1)


class AttentionTrunk(Trunk):
    """Reads a window from both ends and returns the weighted mean of what it read.

    The weight of step ``t`` is the softmax over time of ``v · tanh(W h_t + U q)``, where
    ``h_t`` is what both directions give at that step and ``q`` what each gives at its end of
    the window (Bahdanau, Cho and Bengio, 2015). The heads see the weighted mean of ``h`` and
    nothing else, so a forecast is made of what the weights let through. A recurrent layer
    carries what it read along: a weight on a step speaks for its neighbourhood too.

    Parameters
    ----------
    config
        Widths, depth and dropout.
    features
        Width of the input.
    """

    Config = AttentionConfig

    def __init__(self, config: AttentionConfig, features: int) -> None:
        super().__init__()
        self.hidden_size = config.hidden_size
        self.output_size = 2 * config.hidden_size
        self.lstm = nn.LSTM(
            features,
            config.hidden_size,
            num_layers=config.layers,
            batch_first=True,
            bidirectional=True,
            # torch warns of dropout that has no layer after it.
            dropout=config.dropout if config.layers > 1 else 0.0,
        )
        self.key = nn.Linear(self.output_size, config.attention_size)
        self.query = nn.Linear(self.output_size, config.attention_size, bias=False)
        # A bias would raise all scores alike, which the softmax takes out again.
        self.score = nn.Linear(config.attention_size, 1, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, window: Tensor) -> Tensor:
        """Return ``[batch, 2 * hidden_size]`` from ``[batch, time, feature]``."""
        read, _ = self.lstm(window)
        mean = (self._weights(read).unsqueeze(-1) * read).sum(dim=1)
        vector: Tensor = self.dropout(mean)
        return vector

    def attention(self, window: Tensor) -> Tensor:
        """Return the weights ``[batch, time]`` of the steps of ``[batch, time, feature]``.

        Each is positive, and those of a window sum to 1.
        """
        read, _ = self.lstm(window)
        return self._weights(read)

    def _weights(self, read: Tensor) -> Tensor:
        ends = [read[:, -1, : self.hidden_size], read[:, 0, self.hidden_size :]]
        query = self.query(torch.cat(ends, dim=-1)).unsqueeze(1)
        scores = self.score(torch.tanh(self.key(read) + query)).squeeze(-1)
        return torch.softmax(scores, dim=-1)
