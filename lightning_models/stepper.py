"""One step of a recurrent network in NumPy, where torch's calls cost more than its arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import nn

from lightning_models.networks.trunk import SequenceTrunk

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from lightning_models.networks import ForecastNetwork

__all__ = ["Stepper", "StepperState"]

Floats = npt.NDArray[np.float32]
StepperState = tuple[Floats, ...]
"""Hidden state and cell of each recurrent layer in turn, each ``float32 [units]``."""


_HALF: Final = np.float32(0.5)


class _Recurrent(NamedTuple):
    # Input, forget, candidate and output gate side by side, as torch keeps them.
    inputs: Floats
    hidden: Floats
    bias: Floats
    units: int


class Stepper:
    """A network's weights, applied to one candle at a time.

    Parameters
    ----------
    network
        Over a `SequenceTrunk`; later changes of its weights do not reach the stepper.

    Notes
    -----
    The same numbers as torch's, to 1e-5: a test holds both against each other.
    """

    def __init__(self, network: ForecastNetwork) -> None:
        assert isinstance(network.trunk, SequenceTrunk)
        self._layers = [layer for each in network.trunk.step_layers() for layer in _parts_of(each)]
        self._direction = _linear(network.direction.projection)
        self._change = _linear(network.change.projection)
        self._units = [part.units for part in self._layers if isinstance(part, _Recurrent)]

    def start(self) -> StepperState:
        """Return the state before the first candle."""
        return tuple(np.zeros(units, np.float32) for units in self._units for _ in "hc")

    def step(self, features: Floats, state: StepperState) -> StepperState:
        """Return the state after a candle, without asking for a forecast.

        Parameters
        ----------
        features
            ``float32 [feature]``, scaled.
        state
            Before the candle; it is not changed.
        """
        return self._advance(features, state)[1]

    def forecast(
        self, features: Floats, state: StepperState
    ) -> tuple[Floats, Floats, StepperState]:
        """Return logits ``[H]``, quantiles ``[H, 3]`` and the state after a candle."""
        vector, left = self._advance(features, state)
        raw = self._change(vector).reshape(-1, 3)
        median = raw[:, 1]
        quantiles = np.stack(
            [median - _softplus(raw[:, 0]), median, median + _softplus(raw[:, 2])], axis=1
        )
        return self._direction(vector), quantiles, left

    def _advance(self, vector: Floats, state: StepperState) -> tuple[Floats, StepperState]:
        left: list[Floats] = []
        for layer in self._layers:
            if not isinstance(layer, _Recurrent):
                vector = layer(vector)
                continue
            hidden, cell = state[len(left)], state[len(left) + 1]
            gates = layer.inputs @ vector + layer.hidden @ hidden + layer.bias
            units = layer.units
            # One tanh over all gates: sigmoid(x) = (1 + tanh(x / 2)) / 2, which the weights of
            # the three gates carry already.
            squashed = np.tanh(gates)
            opened = _HALF + _HALF * squashed
            cell = (
                opened[units : 2 * units] * cell + opened[:units] * squashed[2 * units : 3 * units]
            )
            vector = opened[3 * units :] * np.tanh(cell)
            left += [vector, cell]
        return vector, tuple(left)


def _parts_of(layer: nn.Module) -> list[_Recurrent | Callable[[Floats], Floats]]:
    if isinstance(layer, nn.Dropout):
        return []
    if isinstance(layer, nn.LSTM):
        return [_recurrent(layer, position) for position in range(layer.num_layers)]
    if isinstance(layer, nn.Linear):
        return [_linear(layer)]
    if isinstance(layer, nn.ReLU):
        return [lambda vector: np.maximum(vector, np.float32(0.0))]
    if isinstance(layer, nn.LayerNorm):
        return [_layer_norm(layer)]
    raise TypeError(f"no step in NumPy for {type(layer).__name__}")


def _recurrent(lstm: nn.LSTM, position: int) -> _Recurrent:
    inputs, hidden, first, second = (
        _array(getattr(lstm, f"{name}_l{position}"))
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    units = lstm.hidden_size
    half = np.full(4 * units, 0.5, np.float32)
    half[2 * units : 3 * units] = 1.0
    return _Recurrent(
        inputs * half[:, None], hidden * half[:, None], (first + second) * half, units
    )


def _linear(linear: nn.Linear) -> Callable[[Floats], Floats]:
    weight, bias = _array(linear.weight), _array(linear.bias)
    return lambda vector: weight @ vector + bias


def _layer_norm(norm: nn.LayerNorm) -> Callable[[Floats], Floats]:
    weight, bias, epsilon = _array(norm.weight), _array(norm.bias), np.float32(norm.eps)

    def normalised(vector: Floats) -> Floats:
        centred = vector - vector.mean()
        scaled: Floats = centred / np.sqrt((centred * centred).mean() + epsilon)
        return weight * scaled + bias

    return normalised


def _softplus(values: Floats) -> Floats:
    softened: Floats = np.logaddexp(np.float32(0.0), values)
    return softened


def _array(tensor: Tensor) -> Floats:
    return np.array(tensor.detach().cpu().numpy(), dtype=np.float32, order="C")
