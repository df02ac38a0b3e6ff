"""Volume as log ratios to its own past."""

from __future__ import annotations

import numpy as np

from lightning_models.features.definition import FeatureDefinition, Floats
from lightning_models.features.windowed import lagged, windowed_median, windowed_sum

__all__ = ["OBV", "VOLUME"]

# A candle without volume would be minus infinity; e^5 = 148 times the median is rare enough.
LARGEST_LOG_RATIO = 5.0


def _volume(ohlcv: Floats, *, period: float) -> Floats:
    volume = ohlcv[:, 4]
    median = windowed_median(volume, int(period))
    ratio = np.zeros_like(volume)
    traded = (median > 0) & (volume > 0)
    ratio[traded] = np.log(volume[traded] / median[traded])
    ratio[(median > 0) & (volume <= 0)] = -LARGEST_LOG_RATIO
    ratio[np.isnan(median)] = np.nan
    return np.clip(ratio, -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)


def _obv(ohlcv: Floats, *, period: float) -> Floats:
    close, volume = ohlcv[:, 3], ohlcv[:, 4]
    signed = np.sign(close - lagged(close, 1)) * volume
    total = windowed_sum(volume, int(period))
    balance = windowed_sum(signed, int(period))
    return np.divide(balance, total, out=np.zeros_like(total), where=total > 0)


VOLUME = FeatureDefinition(
    _volume,
    warmup=lambda period: int(period) - 1,
    defaults={"period": 60},
    needs_volume=True,
)
OBV = FeatureDefinition(
    _obv, warmup=lambda period: int(period), defaults={"period": 20}, needs_volume=True
)
