"""From features to batches: slices in time, labels, windows."""

from __future__ import annotations

from lightning_models.data.datamodule import CandleDataModule, DataConfig, SampleSet
from lightning_models.data.horizons import Horizon, resolve_horizons
from lightning_models.data.labels import Labels, label_returns
from lightning_models.data.scaling import Scaler, ScalerFit
from lightning_models.data.slices import SLICE_NAMES, SliceConfig, Slices, cut_slices
from lightning_models.data.windows import Batch, WindowLoader

__all__ = [
    "SLICE_NAMES",
    "Batch",
    "CandleDataModule",
    "DataConfig",
    "Horizon",
    "Labels",
    "SampleSet",
    "Scaler",
    "ScalerFit",
    "SliceConfig",
    "Slices",
    "WindowLoader",
    "cut_slices",
    "label_returns",
    "resolve_horizons",
]
