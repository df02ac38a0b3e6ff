"""From features to batches: slices in time, labels, windows.

`CandleDataModule` is imported from `lightning_models.data.datamodule`: it needs Lightning, which
a forecast does not.
"""

from __future__ import annotations

from lightning_models.data.horizons import Horizon, resolve_horizons
from lightning_models.data.labels import Labels, label_returns
from lightning_models.data.scaling import Scaler, ScalerFit
from lightning_models.data.slices import SLICE_NAMES, SliceConfig, Slices, cut_slices
from lightning_models.data.targets import HorizonReturn, Target, TripleBarrier, label_candles
from lightning_models.data.triple_barrier import BarrierLabels, label_barriers
from lightning_models.data.uniqueness import average_uniqueness
from lightning_models.data.windows import Batch, WindowLoader

__all__ = [
    "SLICE_NAMES",
    "BarrierLabels",
    "Batch",
    "Horizon",
    "HorizonReturn",
    "Labels",
    "Scaler",
    "ScalerFit",
    "SliceConfig",
    "Slices",
    "Target",
    "TripleBarrier",
    "WindowLoader",
    "average_uniqueness",
    "cut_slices",
    "label_barriers",
    "label_candles",
    "label_returns",
    "resolve_horizons",
]
