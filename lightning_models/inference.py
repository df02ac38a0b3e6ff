"""Run a network over scaled features, in evaluation mode, on one thread."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import torch

from lightning_models.data.windows import gather_windows
from lightning_models.errors import ConfigError
from lightning_models.networks.forecast_network import RawForecast
from lightning_models.single_window import single_window_of
from lightning_models.stepper import Stepper
from lightning_models.stream import CarriedStream, WindowStream

if TYPE_CHECKING:
    from lightning_models.networks import ForecastNetwork
    from lightning_models.predictor import Predictor
    from lightning_models.single_window import SingleWindow
    from lightning_models.stream import Stream

__all__ = ["NetworkRunner", "Runner", "SequenceRunner", "runner_of"]

THREADS_VARIABLE = "LSTM_THREADS"
ROWS_AT_ONCE = 512

# More rows side by side gain little and fill the cache.
BLOCK_STEPS = 1024
BLOCKS_AT_ONCE = 16

Floats = npt.NDArray[np.float64]


class Runner(Protocol):
    """Runs a network over scaled features, in its mode."""

    network: ForecastNetwork

    def run(
        self,
        features: npt.NDArray[np.float32],
        ends: npt.NDArray[np.int64],
        *,
        starts: npt.NDArray[np.int64] | None = None,
    ) -> tuple[Floats, Floats]:
        """Return logits and quantiles at the given rows.

        Parameters
        ----------
        features
            ``float32 [rows, feature]``, scaled.
        ends
            ``int64 [N]``, rising.
        starts
            ``int64 [S]``, rows at which a state begins; by default the first alone. A window
            has no state.

        Returns
        -------
        tuple
            ``float64 [N, H]`` logits and ``float64 [N, H, 3]`` quantiles over trailing
            volatility.
        """

    def run_one(self, features: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
        """Return logits ``[1, H]`` and quantiles ``[1, H, 3]`` after the last row."""

    def stream(self, predictor: Predictor) -> Stream:
        """Return what forecasts a predictor's bars as they come."""


class NetworkRunner:
    """A network as a function from features to logits and quantiles.

    Torch is held to one thread (or ``$LSTM_THREADS``): a single window took 14 times longer
    with two, and workers forked from a process whose torch used several wait for ever.

    Parameters
    ----------
    network
        Put into evaluation mode.
    lookback
        Rows of a window.

    Notes
    -----
    Windows that come one at a time go through ONNX Runtime where it is installed: 1.0 ms in
    place of torch's 4.0 for the price predictor, and the same numbers to 1e-6.
    """

    def __init__(self, network: ForecastNetwork, lookback: int) -> None:
        self.network = network.eval().requires_grad_(False)
        self._lookback = lookback
        self._single: SingleWindow | None = None
        self._asked_for_single = False

    def run(
        self,
        features: npt.NDArray[np.float32],
        ends: npt.NDArray[np.int64],
        *,
        starts: npt.NDArray[np.int64] | None = None,
    ) -> tuple[Floats, Floats]:
        """Return logits and quantiles of the windows that end at the given rows."""
        del starts
        torch.set_num_threads(_threads())
        rows = torch.from_numpy(np.ascontiguousarray(features))
        logits, quantiles = [], []
        with torch.inference_mode():
            for part in torch.split(torch.from_numpy(ends), ROWS_AT_ONCE):
                raw = self.network(gather_windows(rows, part, self._lookback))
                logits.append(raw.logits.numpy())
                quantiles.append(raw.quantiles.numpy())
        return (
            np.concatenate(logits).astype(np.float64),
            np.concatenate(quantiles).astype(np.float64),
        )

    def run_one(self, window: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
        """Return logits ``[1, H]`` and quantiles ``[1, H, 3]`` of one window.

        Parameters
        ----------
        window
            ``float32 [time, feature]``, scaled.
        """
        threads = _threads()  # a wrong setting is told here as it is in bulk
        if not self._asked_for_single:
            self._asked_for_single = True
            # Compiling runs the network once.
            torch.set_num_threads(threads)
            self._single = single_window_of(
                self.network, lookback=self._lookback, features=window.shape[1]
            )
        if self._single is None:
            return self.run(window, np.array([self._lookback - 1]))
        logits, quantiles = self._single.run(np.ascontiguousarray(window)[None])
        return logits.astype(np.float64), quantiles.astype(np.float64)

    def stream(self, predictor: Predictor) -> Stream:
        """Return a stream that reads each bar's window anew."""
        return WindowStream(predictor)


class SequenceRunner:
    """A network that reads a series once, carrying its state.

    Parameters
    ----------
    network
        Over a `SequenceTrunk`; put into evaluation mode.
    burn_in
        Steps after which its state has forgotten where it started.

    Notes
    -----
    A long series is read as overlapping blocks side by side, several times faster than step
    after step. The overlap is twice the burn-in, which leaves no difference that matters: a
    test holds it against one pass.
    """

    def __init__(self, network: ForecastNetwork, burn_in: int) -> None:
        self.network = network.eval().requires_grad_(False)
        self._overlap = 2 * burn_in
        self._stepper: Stepper | None = None

    def run(
        self,
        features: npt.NDArray[np.float32],
        ends: npt.NDArray[np.int64],
        *,
        starts: npt.NDArray[np.int64] | None = None,
    ) -> tuple[Floats, Floats]:
        """Return logits and quantiles at the given rows, from the start before each."""
        torch.set_num_threads(_threads())
        rows = torch.from_numpy(np.ascontiguousarray(features))
        begins = np.zeros(1, np.int64) if starts is None else starts
        owners = np.searchsorted(begins, ends, side="right") - 1
        logits, quantiles = [], []
        with torch.inference_mode():
            for owner in np.unique(owners):
                wanted = torch.from_numpy(ends[owners == owner])
                parts = self._stretch(rows[int(begins[owner]) : int(wanted[-1]) + 1])
                chosen = wanted - int(begins[owner])
                logits.append(parts.logits[chosen].numpy())
                quantiles.append(parts.quantiles[chosen].numpy())
        return (
            np.concatenate(logits).astype(np.float64),
            np.concatenate(quantiles).astype(np.float64),
        )

    def run_one(self, features: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
        """Return logits ``[1, H]`` and quantiles ``[1, H, 3]`` after the last row."""
        return self.run(features, np.array([len(features) - 1]))

    def stream(self, predictor: Predictor) -> Stream:
        """Return a stream that carries the state; each has its own."""
        if self._stepper is None:
            self._stepper = Stepper(self.network)
        return CarriedStream(predictor, self._stepper)

    def _stretch(self, rows: torch.Tensor) -> RawForecast:
        # Blocks that lie at fixed places from the start, so that later rows move none of them.
        block = max(BLOCK_STEPS, self._overlap)
        first, _ = self.network.steps(rows[None, :block])
        logits, quantiles = [first.logits[0]], [first.quantiles[0]]
        begins = torch.arange(block, max(len(rows), block), block)
        for part in torch.split(begins, BLOCKS_AT_ONCE) if len(begins) else ():
            steps = part[:, None] + torch.arange(-self._overlap, block)
            raw, _ = self.network.steps(rows[steps.clamp(max=len(rows) - 1)])
            logits.append(raw.logits[:, self._overlap :].flatten(0, 1))
            quantiles.append(raw.quantiles[:, self._overlap :].flatten(0, 1))
        return RawForecast(torch.cat(logits)[: len(rows)], torch.cat(quantiles)[: len(rows)])


def runner_of(network: ForecastNetwork, *, lookback: int, burn_in: int | None) -> Runner:
    """Return what runs a network: over windows, or, with a burn-in, over the series."""
    return NetworkRunner(network, lookback) if burn_in is None else SequenceRunner(network, burn_in)


def _threads() -> int:
    text = os.environ.get(THREADS_VARIABLE) or "1"
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"${THREADS_VARIABLE} is {text!r}: give a number of threads, such as 1")
    return int(text)
