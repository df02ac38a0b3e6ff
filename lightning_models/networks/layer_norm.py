"""The price predictor's stack with layer normalisation, which may run as a stream."""

from __future__ import annotations

import itertools
from typing import Literal

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from lightning_models.networks.trunk import SequenceTrunk, State, Steps, TrunkConfig

__all__ = ["LayerNormConfig", "LayerNormTrunk"]


class LayerNormConfig(TrunkConfig):
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

    kind: Literal["layer-norm"] = "layer-norm"
    units: tuple[PositiveInt, PositiveInt, PositiveInt] = (128, 64, 32)
    dense: tuple[PositiveInt, PositiveInt] = (32, 16)
    dropout: float = Field(default=0.2, ge=0, lt=1)


class LayerNormTrunk(SequenceTrunk):
    """Three stacked LSTMs, each with dropout and layer normalisation, then two dense layers.

    Layer normalisation (Ba, Kiros and Hinton, 2016) looks at one step at a time. Batch
    normalisation, in its place in the price predictor, takes its statistics over all steps of
    a batch, later ones too: what a step gives in training would depend on its future.

    Parameters
    ----------
    config
        Widths and dropout.
    features
        Width of the input.
    """

    Config = LayerNormConfig

    def __init__(self, config: LayerNormConfig, features: int) -> None:
        super().__init__()
        recurrent: list[nn.Module] = []
        for inputs, units in itertools.pairwise((features, *config.units)):
            recurrent += [
                nn.LSTM(inputs, units, batch_first=True),
                nn.Dropout(config.dropout),
                nn.LayerNorm(units),
            ]
        first, second = config.dense
        self.layers = nn.ModuleList(
            [
                *recurrent,
                nn.Linear(config.units[-1], first),
                nn.ReLU(),
                nn.Dropout(config.dropout),
                nn.Linear(first, second),
                nn.ReLU(),
            ]
        )
        self.output_size = second

    def steps(self, sequence: Tensor, state: State | None = None) -> Steps:
        """Return the last dense layer's output after each step."""
        vectors = sequence
        left: list[Tensor] = []
        for layer in self.layers:
            if isinstance(layer, nn.LSTM):
                before = None if state is None else (state[len(left)], state[len(left) + 1])
                vectors, after = layer(vectors, before)
                left += after
            else:
                vectors = layer(vectors)
        return Steps(vectors, tuple(left))

    def step_layers(self) -> list[nn.Module]:
        """Return all of its layers."""
        return list(self.layers)
