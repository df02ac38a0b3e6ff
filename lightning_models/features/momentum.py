"""Oscillators, centred on zero."""

from __future__ import annotations

import numpy as np
import talib

from lightning_models.features.definition import FeatureDefinition, Floats, decay_bars

__all__ = ["RSI", "STOCHASTIC_K", "activity", "enlarged"]

# Wilder's averages of gains and losses decay at the same rate on a flat stretch, so their
# ratio would remember for ever a start that their sizes have long forgotten. Weighing the
# oscillator by how much the price moves at all, against this share of the price, lets it
# fade to zero instead.
QUIET_MOVE = 1e-5


# TA-Lib takes sums below an absolute bound for zero, which a coin quoted at 1e-6 runs into.
LARGE_PRICE_EXPONENT = 30


def enlarged(ohlcv: Floats) -> tuple[Floats, Floats, Floats]:
    """Return high, low and close multiplied, exactly, by a power of two that makes them large."""
    factor = np.ldexp(1.0, LARGE_PRICE_EXPONENT - int(np.frexp(ohlcv[0, 3])[1]))
    high, low, close = (np.ascontiguousarray(ohlcv[:, column]) * factor for column in (1, 2, 3))
    return high, low, close


def activity(moves: Floats, close: Floats) -> Floats:
    """Return a weight in [0, 1): near 1 where the average move is far above `QUIET_MOVE`."""
    relative = moves / close
    return relative / (relative + QUIET_MOVE)


def _rsi(ohlcv: Floats, *, period: float) -> Floats:
    _, _, close = enlarged(ohlcv)
    centred = talib.RSI(close, timeperiod=int(period)) / 50.0 - 1.0
    # With high = low = close the true range is |change|: Wilder's average of absolute moves.
    moves = talib.ATR(close, close, close, timeperiod=int(period))
    return np.nan_to_num(centred) * activity(moves, close)


def _stochastic_k(ohlcv: Floats, *, fastk_period: float, slowk_period: float) -> Floats:
    high, low, close = enlarged(ohlcv)
    slow_k, _ = talib.STOCH(
        high,
        low,
        close,
        fastk_period=int(fastk_period),
        slowk_period=int(slowk_period),
        slowd_period=1,
    )
    # TA-Lib calls a window without range 0; centred it says nothing, which is 0 here.
    span = talib.MAX(high, int(fastk_period)) - talib.MIN(low, int(fastk_period))
    return np.where(span > 0, slow_k / 50.0 - 1.0, 0.0)


RSI = FeatureDefinition(
    _rsi, warmup=lambda period: decay_bars(1 - 1 / period) + 1, defaults={"period": 14}
)
STOCHASTIC_K = FeatureDefinition(
    _stochastic_k,
    warmup=lambda fastk_period, slowk_period: int(fastk_period + slowk_period) - 1,
    defaults={"fastk_period": 14, "slowk_period": 3},
)
