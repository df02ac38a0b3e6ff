"""The multi-layer LSTM: 128 units in each of three layers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from lightning_models.networks.trunk import SequenceTrunk, State, Steps, TrunkConfig

__all__ = ["MultiLayerConfig", "MultiLayerTrunk"]


class MultiLayerConfig(TrunkConfig):
    """Width and depth of the stack.

    Parameters
    ----------
    hidden_size
        Units of each layer.
    layers
        How many.
    dropout
        Between layers and before the heads.
    """

    kind: Literal["multi-layer"] = "multi-layer"
    hidden_size: PositiveInt = 128
    layers: PositiveInt = 3
    dropout: float = Field(default=0.2, ge=0, lt=1)


class MultiLayerTrunk(SequenceTrunk):
    """Stacked LSTM layers; the last layer's last step goes to the heads.

    Parameters
    ----------
    config
        Width, depth and dropout.
    features
        Width of the input.
    """

    Config = MultiLayerConfig

    def __init__(self, config: MultiLayerConfig, features: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(
            features,
            config.hidden_size,
            num_layers=config.layers,
            batch_first=True,
            # torch warns of dropout that has no layer after it.
            dropout=config.dropout if config.layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.output_size = config.hidden_size

    def steps(self, sequence: Tensor, state: State | None = None) -> Steps:
        """Return the top layer's output after each step."""
        output, left = self.lstm(sequence, state)
        return Steps(self.dropout(output), left)

    def step_layers(self) -> list[nn.Module]:
        """Return the stack."""
        return [self.lstm, self.dropout]
