"""The price predictor: LSTM 128, 64, 32, each with dropout and batch normalisation."""

from __future__ import annotations

import itertools
from typing import Literal

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from lightning_models.networks.trunk import Trunk, TrunkConfig

__all__ = ["PricePredictorConfig", "PricePredictorTrunk"]


class PricePredictorConfig(TrunkConfig):
    """Widths of the stack.

    Parameters
    ----------
    units
        Of the recurrent layers, first to last.
    dense
        Of the two dense layers after them.
    dropout
        After each recurrent layer and the first dense one.
    """

    kind: Literal["price-predictor"] = "price-predictor"
    units: tuple[PositiveInt, PositiveInt, PositiveInt] = (128, 64, 32)
    dense: tuple[PositiveInt, PositiveInt] = (32, 16)
    dropout: float = Field(default=0.2, ge=0, lt=1)


class _NormalisedLSTM(nn.Module):
    # One recurrent layer, dropout, then batch normalisation over batch and time.
    def __init__(self, inputs: int, units: int, dropout: float) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, units, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.BatchNorm1d(units)

    def forward(self, sequence: Tensor, *, last_only: bool) -> Tensor:
        output, _ = self.lstm(sequence)
        if last_only:
            normalised: Tensor = self.norm(self.dropout(output[:, -1]))
            return normalised
        flat = self.dropout(output).flatten(0, 1)
        return self.norm(flat).unflatten(0, output.shape[:2])  # type: ignore[no-any-return]


class PricePredictorTrunk(Trunk):
    """Three stacked LSTMs, then dense 32 and dense 16 with rectifiers.

    Parameters
    ----------
    config
        Widths and dropout.
    features
        Width of the input.
    """

    Config = PricePredictorConfig

    def __init__(self, config: PricePredictorConfig, features: int) -> None:
        super().__init__()
        widths = (features, *config.units)
        self.layers = nn.ModuleList(
            _NormalisedLSTM(inputs, units, config.dropout)
            for inputs, units in itertools.pairwise(widths)
        )
        self.dense = nn.Sequential(
            nn.Linear(config.units[-1], config.dense[0]),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.dense[0], config.dense[1]),
            nn.ReLU(),
        )
        self.output_size = config.dense[1]

    def forward(self, window: Tensor) -> Tensor:
        """Return ``[batch, 16]`` from ``[batch, time, feature]``."""
        sequence = window
        for position, layer in enumerate(self.layers):
            sequence = layer(sequence, last_only=position == len(self.layers) - 1)
        vector: Tensor = self.dense(sequence)
        return vector
