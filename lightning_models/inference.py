"""Run a network over scaled features, in evaluation mode, on one thread."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from lightning_models.data.windows import gather_windows
from lightning_models.errors import ConfigError
from lightning_models.single_window import single_window_of

if TYPE_CHECKING:
    from lightning_models.networks import ForecastNetwork
    from lightning_models.single_window import SingleWindow

__all__ = ["NetworkRunner"]

THREADS_VARIABLE = "LSTM_THREADS"
ROWS_AT_ONCE = 512

Floats = npt.NDArray[np.float64]


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
        self._network = network.eval().requires_grad_(False)
        self._lookback = lookback
        self._single: SingleWindow | None = None
        self._asked_for_single = False

    def run(
        self, features: npt.NDArray[np.float32], ends: npt.NDArray[np.int64]
    ) -> tuple[Floats, Floats]:
        """Return logits and quantiles of the windows that end at the given rows.

        Parameters
        ----------
        features
            ``float32 [rows, feature]``, scaled.
        ends
            ``int64 [N]``.

        Returns
        -------
        tuple
            ``float64 [N, H]`` logits and ``float64 [N, H, 3]`` quantiles over trailing
            volatility.
        """
        torch.set_num_threads(_threads())
        rows = torch.from_numpy(np.ascontiguousarray(features))
        logits, quantiles = [], []
        with torch.inference_mode():
            for part in torch.split(torch.from_numpy(ends), ROWS_AT_ONCE):
                raw = self._network(gather_windows(rows, part, self._lookback))
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
                self._network, lookback=self._lookback, features=window.shape[1]
            )
        if self._single is None:
            return self.run(window, np.array([self._lookback - 1]))
        logits, quantiles = self._single.run(np.ascontiguousarray(window)[None])
        return logits.astype(np.float64), quantiles.astype(np.float64)


def _threads() -> int:
    text = os.environ.get(THREADS_VARIABLE) or "1"
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"${THREADS_VARIABLE} is {text!r}: give a number of threads, such as 1")
    return int(text)
