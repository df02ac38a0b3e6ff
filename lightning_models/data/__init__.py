"""From features to batches: slices in time, labels, windows.

`CandleDataModule` is imported from `lightning_models.data.datamodule`: it needs Lightning, which
a forecast does not.
"""

from __future__ import annotations

from lightning_models.data.horizons import Horizon, resolve_horizons
from lightning_models.data.labels import Labels, label_returns
from lightning_models.data.scaling import Scaler, ScalerFit
from lightning_models.data.slices import SLICE_NAMES, SliceConfig, Slices, cut_slices
from lightning_models.data.windows import Batch, WindowLoader

__all__ = [
    "SLICE_NAMES",
    "Batch",
    "Horizon",
    "Labels",
    "Scaler",
    "ScalerFit",
    "SliceConfig",
    "Slices",
    "WindowLoader",
    "cut_slices",
    "label_returns",
    "resolve_horizons",
]
