"""Train samples as plain arrays, for estimators that take all of them at once."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from lightning_models.data.windows import WindowLoader, gather_windows
from lightning_models.errors import ConfigError, TrainingError

if TYPE_CHECKING:
    from lightning_models.data.datamodule import CandleDataModule
    from lightning_models.data.slices import SliceName

__all__ = [
    "TrainSamples",
    "one_thread",
    "require_both_directions",
    "train_samples",
    "window_batches",
]

Floats = npt.NDArray[np.float64]

WINDOWS_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class TrainSamples:
    """The train slice, or samples spread evenly over it.

    Parameters
    ----------
    inputs
        ``float64 [N, rows * feature]``, the last rows of each window, oldest first.
    targets
        ``float64 [N, H]``, returns over trailing volatility.
    weights
        ``float64 [N, H]``, how much each label counts; None where all count alike.
    """

    inputs: Floats
    targets: Floats
    weights: Floats | None


def train_samples(data: CandleDataModule, *, rows: int, most: int) -> TrainSamples:
    """Return the train slice's samples.

    Parameters
    ----------
    data
        The slices.
    rows
        How many of a window's last rows to take.
    most
        Samples at most; more are thinned evenly.

    Raises
    ------
    ConfigError
        If windows have fewer rows.
    """
    if rows > data.config.lookback:
        raise ConfigError(
            f"the forecaster reads the last {rows} rows of windows that have "
            f"{data.config.lookback}: lower --set network.rows or raise --set data.lookback"
        )
    ends = data.samples["train"].ends
    if len(ends) > most:
        ends = ends[np.linspace(0, len(ends) - 1, most).round().astype(np.int64)]
    windows = gather_windows(data.features, torch.from_numpy(ends), rows)
    targets = data.targets.numpy()[ends].astype(np.float64)
    weights = None if data.weights is None else data.weights.numpy()[ends].astype(np.float64)
    return TrainSamples(windows.flatten(1).numpy().astype(np.float64), targets, weights)


def window_batches(data: CandleDataModule, name: SliceName) -> WindowLoader:
    """Return all windows of a slice with their labels, in order."""
    return WindowLoader(
        data.features,
        data.targets,
        torch.from_numpy(data.samples[name].ends),
        lookback=data.config.lookback,
        batch_size=WINDOWS_AT_ONCE,
        weights=data.weights,
    )


def require_both_directions(data: CandleDataModule, targets: Floats) -> None:
    """Refuse labels that all point the same way.

    Parameters
    ----------
    data
        Whose horizons to name.
    targets
        ``[N, H]``, of the train slice.

    Raises
    ------
    TrainingError
        If at some horizon none rises, or none falls.
    """
    for horizon, column in zip(data.horizons, targets.T, strict=True):
        for word, count in (("rises", (column > 0).sum()), ("falls", (column < 0).sum())):
            if not count:
                raise TrainingError(
                    f"none of the {len(column)} labels of the train slice {word} over "
                    f"{horizon.name}: a direction cannot be learned from one side alone. Give "
                    "more candles, or another period"
                )


def one_thread() -> AbstractContextManager[Any]:
    """Return a context in which estimators run on one thread.

    With more, sums are added up in another order: the same seed would give other numbers on
    another machine.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    context: AbstractContextManager[Any] = threadpool_limits(limits=1)
    return context
