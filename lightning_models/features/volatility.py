"""Bands and ranges, as shares of the price."""

from __future__ import annotations

import numpy as np
import talib

from lightning_models.features.definition import FeatureDefinition, Floats, decay_bars
from lightning_models.features.windowed import lagged, windowed_deviation, windowed_mean

__all__ = ["ATR", "BB_LOWER", "BB_MIDDLE", "BB_UPPER", "trailing_volatility"]

BAND_DEFAULTS = {"period": 20, "deviations": 2}


def trailing_volatility(close: Floats, window: int, floor: float) -> Floats:
    """Return the deviation of the last `window` log returns of the close, a candle.

    Parameters
    ----------
    close
        ``[B]``, quote currency.
    window
        Number of returns.
    floor
        Smallest value returned: a flat stretch must not divide by zero.

    Returns
    -------
    numpy.ndarray
        ``[B]``, a fraction; NaN for the first `window` rows.
    """
    deviation = windowed_deviation(np.log(close / lagged(close, 1)), window)
    return np.maximum(deviation, floor)


def _band(ohlcv: Floats, period: float, width: float) -> Floats:
    # A ratio and no logarithm: after a crash the lower band may lie below zero.
    close = ohlcv[:, 3]
    middle = windowed_mean(close, int(period))
    return (middle + width * windowed_deviation(close, int(period))) / close - 1.0


def _band_warmup(period: float, **_: float) -> int:
    return int(period) - 1


def _bb_upper(ohlcv: Floats, *, period: float, deviations: float) -> Floats:
    return _band(ohlcv, period, deviations)


def _bb_middle(ohlcv: Floats, *, period: float) -> Floats:
    return _band(ohlcv, period, 0.0)


def _bb_lower(ohlcv: Floats, *, period: float, deviations: float) -> Floats:
    return _band(ohlcv, period, -deviations)


def _atr(ohlcv: Floats, *, period: float) -> Floats:
    high, low, close = (np.ascontiguousarray(ohlcv[:, column]) for column in (1, 2, 3))
    return talib.ATR(high, low, close, timeperiod=int(period)) / close


BB_UPPER = FeatureDefinition(_bb_upper, warmup=_band_warmup, defaults=BAND_DEFAULTS)
BB_MIDDLE = FeatureDefinition(
    _bb_middle, warmup=lambda period: int(period) - 1, defaults={"period": 20}
)
BB_LOWER = FeatureDefinition(_bb_lower, warmup=_band_warmup, defaults=BAND_DEFAULTS)
ATR = FeatureDefinition(
    _atr, warmup=lambda period: int(period) + decay_bars(1 - 1 / period), defaults={"period": 14}
)
