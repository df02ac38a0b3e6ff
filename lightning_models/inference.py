"""Run a network over scaled features, in evaluation mode, on one thread."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from lightning_models.data.windows import gather_windows
from lightning_models.errors import ConfigError

if TYPE_CHECKING:
    from lightning_models.networks import ForecastNetwork

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
    """

    def __init__(self, network: ForecastNetwork, lookback: int) -> None:
        self._network = network.eval().requires_grad_(False)
        self._lookback = lookback

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


def _threads() -> int:
    text = os.environ.get(THREADS_VARIABLE) or "1"
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"${THREADS_VARIABLE} is {text!r}: give a number of threads, such as 1")
    return int(text)
