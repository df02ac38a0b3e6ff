"""Prices as log ratios to their own past."""

from __future__ import annotations

import numpy as np

from lightning_models.features.definition import FeatureDefinition, Floats
from lightning_models.features.windowed import lagged

__all__ = ["CLOSE", "HIGH", "LOW", "OPEN"]


def _close(ohlcv: Floats) -> Floats:
    close = ohlcv[:, 3]
    return np.log(close / lagged(close, 1))


def _open(ohlcv: Floats) -> Floats:
    return np.log(ohlcv[:, 0] / lagged(ohlcv[:, 3], 1))


def _high(ohlcv: Floats) -> Floats:
    return np.log(ohlcv[:, 1] / ohlcv[:, 3])


def _low(ohlcv: Floats) -> Floats:
    return np.log(ohlcv[:, 2] / ohlcv[:, 3])


CLOSE = FeatureDefinition(_close, warmup=lambda: 1)
OPEN = FeatureDefinition(_open, warmup=lambda: 1)
HIGH = FeatureDefinition(_high, warmup=lambda: 0)
LOW = FeatureDefinition(_low, warmup=lambda: 0)
