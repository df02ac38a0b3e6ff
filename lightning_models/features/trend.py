"""Distances of the price from its averages, and the strength of a trend."""

from __future__ import annotations

import math

import numpy as np
import talib

from lightning_models.features.definition import FeatureDefinition, Floats, decay_bars
from lightning_models.features.momentum import activity, enlarged
from lightning_models.features.windowed import lagged, windowed_mean

__all__ = ["ADX", "EMA", "EMA_FAST", "EMA_SLOW", "MACD", "MACD_HISTOGRAM", "MACD_SIGNAL", "SMA"]

TIED_MOVES = 1e-9
MACD_DEFAULTS = {"fast_period": 12, "slow_period": 26, "signal_period": 9}


def _ema(ohlcv: Floats, *, period: float) -> Floats:
    close = np.ascontiguousarray(ohlcv[:, 3])
    return np.log(close / talib.EMA(close, timeperiod=int(period)))


def _ema_warmup(period: float) -> int:
    return int(period) + decay_bars(1 - 2 / (period + 1))


def _sma(ohlcv: Floats, *, period: float) -> Floats:
    close = ohlcv[:, 3]
    return np.log(close / windowed_mean(close, int(period)))


def _macd_lines(
    ohlcv: Floats, fast_period: float, slow_period: float, signal_period: float
) -> tuple[Floats, Floats, Floats, Floats]:
    close = np.ascontiguousarray(ohlcv[:, 3])
    line, signal, histogram = talib.MACD(
        close,
        fastperiod=int(fast_period),
        slowperiod=int(slow_period),
        signalperiod=int(signal_period),
    )
    return close, line, signal, histogram


def _macd(ohlcv: Floats, **periods: float) -> Floats:
    close, line, _, _ = _macd_lines(ohlcv, **periods)
    return line / close


def _macd_signal(ohlcv: Floats, **periods: float) -> Floats:
    close, _, signal, _ = _macd_lines(ohlcv, **periods)
    return signal / close


def _macd_histogram(ohlcv: Floats, **periods: float) -> Floats:
    close, _, _, histogram = _macd_lines(ohlcv, **periods)
    return histogram / close


def _macd_warmup(fast_period: float, slow_period: float, signal_period: float) -> int:
    # The slow average's start runs through the signal's average too.
    slow = decay_bars(1 - 2 / (slow_period + 1))
    signal = decay_bars(1 - 2 / (signal_period + 1))
    return int(max(slow_period, fast_period) + signal_period) + slow + signal // 2


def _wilder(values: Floats, period: float) -> Floats:
    # Wilder's average of n is an exponential one of 2n - 1.
    return talib.EMA(np.nan_to_num(values), timeperiod=2 * int(period) - 1)


def _adx(ohlcv: Floats, *, period: float) -> Floats:
    high, low, close = enlarged(ohlcv)
    up, down = high - lagged(high, 1), lagged(low, 1) - low
    # Equal moves cancel. TA-Lib compares them exactly, so that rounding decides many ties of
    # prices that move in ticks, differently for each unit that prices are quoted in.
    tied = np.abs(up - down) <= TIED_MOVES * close
    rising = _wilder(np.where((up > down) & (up > 0) & ~tied, up, 0.0), period)
    falling = _wilder(np.where((down > up) & (down > 0) & ~tied, down, 0.0), period)
    total = rising + falling
    movement = np.divide(np.abs(rising - falling), total, out=np.zeros_like(total), where=total > 0)
    # Weighed before it is averaged: on a flat stretch the movement index stays where it was,
    # and its average would carry that over into whatever comes after.
    weight = activity(talib.ATR(high, low, close, timeperiod=int(period)), close)
    return 2.0 * _wilder(movement * weight, period) - 1.0


def _adx_warmup(period: float) -> int:
    # An average of ratios of averages: the second forgets only what the first has forgotten.
    return int(period) + math.ceil(1.5 * decay_bars(1 - 1 / period))


EMA = FeatureDefinition(_ema, warmup=_ema_warmup, defaults={"period": 26})
EMA_FAST = FeatureDefinition(_ema, warmup=_ema_warmup, defaults={"period": 12})
EMA_SLOW = FeatureDefinition(_ema, warmup=_ema_warmup, defaults={"period": 26})
SMA = FeatureDefinition(_sma, warmup=lambda period: int(period) - 1, defaults={"period": 20})
MACD = FeatureDefinition(_macd, warmup=_macd_warmup, defaults=MACD_DEFAULTS)
MACD_SIGNAL = FeatureDefinition(_macd_signal, warmup=_macd_warmup, defaults=MACD_DEFAULTS)
MACD_HISTOGRAM = FeatureDefinition(_macd_histogram, warmup=_macd_warmup, defaults=MACD_DEFAULTS)
ADX = FeatureDefinition(_adx, warmup=_adx_warmup, defaults={"period": 14})
