"""The univariate LSTM: one small layer, drawn by Xavier's rule."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from lightning_models.networks.trunk import SequenceTrunk, State, Steps, TrunkConfig

__all__ = ["UnivariateConfig", "UnivariateTrunk"]

# In the order in which torch stacks them.
GATES = ("input", "forget", "candidate", "output")


class UnivariateConfig(TrunkConfig):
    """Width of the layer.

    Parameters
    ----------
    hidden_size
        Units.
    dropout
        Before the heads.
    """

    kind: Literal["univariate"] = "univariate"
    hidden_size: PositiveInt = 32
    dropout: float = Field(default=0.0, ge=0, lt=1)


class UnivariateTrunk(SequenceTrunk):
    """One LSTM layer, small enough to be trained on demand.

    Weights of each gate are drawn by Xavier's rule from the widths of that gate alone (Glorot
    and Bengio, 2010). Biases start at 0 and the forget gate's at 1, so that a fresh cell keeps
    most of what it holds (Gers, Schmidhuber and Cummins, 2000).

    Parameters
    ----------
    config
        Width and dropout.
    features
        Width of the input; its preset gives it the close alone.
    """

    Config = UnivariateConfig

    def __init__(self, config: UnivariateConfig, features: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, config.hidden_size, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)
        self.output_size = config.hidden_size
        _draw_weights(self.lstm)

    def steps(self, sequence: Tensor, state: State | None = None) -> Steps:
        """Return the layer's output after each step."""
        output, left = self.lstm(sequence, state)
        return Steps(self.dropout(output), left)

    def step_layers(self) -> list[nn.Module]:
        """Return the layer."""
        return [self.lstm, self.dropout]


def _draw_weights(lstm: nn.LSTM) -> None:
    with torch.no_grad():
        for name, weight in lstm.named_parameters():
            by_gate = dict(zip(GATES, weight.chunk(len(GATES)), strict=True))
            if name.startswith("weight"):
                for gate in by_gate.values():
                    nn.init.xavier_uniform_(gate)
                continue
            weight.zero_()
            # torch adds two biases: one of them carries the 1.
            if name.startswith("bias_ih"):
                by_gate["forget"].fill_(1.0)
