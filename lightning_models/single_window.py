"""One window at a time through ONNX Runtime, where it is installed."""

from __future__ import annotations

import io
import logging
import warnings
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from lightning_models.networks import ForecastNetwork

__all__ = ["SingleWindow", "single_window_of"]

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]


class SingleWindow:
    """A network compiled for one window, which torch's own calls take four times as long for.

    Parameters
    ----------
    model
        The network as an ONNX graph over ``float32 [1, time, feature]``.
    """

    def __init__(self, model: bytes) -> None:
        # Imported here: an extra that a plain installation lacks.
        import onnxruntime

        self._model = model
        options = onnxruntime.SessionOptions()
        # No pool of threads: it would not survive a fork, and one window is too small for two.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )

    def __reduce__(self) -> tuple[type[SingleWindow], tuple[bytes]]:
        """Travel between processes as the graph: a session cannot."""
        return type(self), (self._model,)

    def run(self, window: Floats) -> tuple[Floats, Floats]:
        """Return logits ``[1, H]`` and quantiles ``[1, H, 3]``.

        Parameters
        ----------
        window
            ``float32 [1, time, feature]``, contiguous.
        """
        logits, quantiles = self._session.run(None, {"window": window})
        return logits, quantiles


class _Plain(nn.Module):
    # The exporter wants tensors in a plain tuple.
    def __init__(self, network: ForecastNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, window: Tensor) -> tuple[Tensor, Tensor]:
        raw = self.network(window)
        return raw.logits, raw.quantiles


def single_window_of(
    network: ForecastNetwork, *, lookback: int, features: int
) -> SingleWindow | None:
    """Compile a network for one window.

    Parameters
    ----------
    network
        In evaluation mode.
    lookback
        Rows of the window.
    features
        Columns of the window.

    Returns
    -------
    SingleWindow or None
        None where ONNX Runtime is not installed, or, with a line in the log, cannot run this
        network: torch then does.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError:
        return None
    graph = io.BytesIO()
    example = torch.zeros(1, lookback, features)
    try:
        with warnings.catch_warnings():
            # The newer exporter needs two packages more and gives the same graph.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                _Plain(network).eval(),
                (example,),
                cast("Any", graph),
                dynamo=False,
                input_names=["window"],
                output_names=["logits", "quantiles"],
            )
        return SingleWindow(graph.getvalue())
    except Exception as error:
        logger.warning("ONNX Runtime cannot run this network, torch does: %s", error)
        return None
