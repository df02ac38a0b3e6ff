"""Technical readings of a market: RSI, MACD, Bollinger bands and trend, each with a score."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import talib
from pydantic import BaseModel, ConfigDict, Field

from lightning_models.errors import CandleError
from lightning_models.features.windowed import windowed_deviation, windowed_mean

__all__ = [
    "READING_NAMES",
    "WARMUP",
    "Reading",
    "ReadingArrays",
    "ReadingName",
    "TechnicalArrays",
    "readings_at",
    "technical_arrays",
]

Floats = npt.NDArray[np.float64]
ReadingName = Literal["rsi", "macd", "bollinger", "trend"]

READING_NAMES: Final[tuple[ReadingName, ...]] = ("rsi", "macd", "bollinger", "trend")

# A weight below this share of the newest one is forgotten altogether: a recursive average
# becomes one of a window, and the same whatever came before.
FORGOTTEN: Final = 1e-6

# Beside an average move of this share of the price, a ratio of moves means nothing: it fades
# out here instead of keeping the last move's side for as long as the price stands still.
STANDSTILL: Final = 1e-9

# Wilder's average of 14 is an exponential one of 27.
WILDER: Final = 2 * 14 - 1
MACD_FAST, MACD_SLOW, MACD_SIGNAL = 12, 26, 9
BAND_PERIOD, BAND_WIDTH = 20, 2.0
TREND_FAST, TREND_SLOW = 20, 50
OVERSOLD, OVERBOUGHT = 30.0, 70.0


def _decay(period: int) -> float:
    return 1.0 - 2.0 / (period + 1.0)


def _reach(period: int) -> int:
    return math.ceil(math.log(FORGOTTEN) / math.log(_decay(period)))


WARMUP: Final = max(_reach(WILDER) + 1, _reach(MACD_SLOW) + _reach(MACD_SIGNAL))
"""Bars that a reading is made of, the present one included."""


class Reading(BaseModel):
    """One technical reading of one bar.

    Parameters
    ----------
    name
        ``rsi``, ``macd``, ``bollinger`` or ``trend``; a strategy of its own indicators has
        others.
    value
        In the unit that `technical_arrays`, or the strategy, states.
    score
        From -1, which speaks for selling, to 1, which speaks for buying.
    reading
        The value in words, such as ``oversold``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    value: float
    score: float = Field(ge=-1.0, le=1.0)
    reading: str


@dataclass(frozen=True, eq=False)
class ReadingArrays:
    """One reading of every bar, NaN where there is none.

    Parameters
    ----------
    value, score
        ``float64 [T]``.
    """

    value: Floats
    score: Floats


@dataclass(frozen=True, eq=False)
class TechnicalArrays:
    """The four readings of every bar, NaN where there are none.

    Parameters
    ----------
    rsi, macd, bollinger, trend
        Values and scores.
    score
        ``float64 [T]``, mean of the four scores.
    """

    rsi: ReadingArrays
    macd: ReadingArrays
    bollinger: ReadingArrays
    trend: ReadingArrays
    score: Floats

    def __len__(self) -> int:
        """Return the number of bars."""
        return len(self.score)


def technical_arrays(ohlcv: npt.ArrayLike) -> TechnicalArrays:
    """Return the technical readings at each bar's close.

    ========= ============================== ==================================== =========
    reading   value                          score, cut to [-1, 1]                speaks of
    ========= ============================== ==================================== =========
    rsi       RSI(14), 0 to 100              ``(50 - rsi) / 20``: 1 from 30 down  reversion
    macd      histogram of MACD(12, 26, 9),  histogram over Wilder's average of   trend
              percent of the close           14 absolute changes of the close
    bollinger %b of Bollinger(20, 2): 0 at   ``1 - 2 * %b``: 1 from the lower     reversion
              the lower band, 1 at the upper band down
    trend     SMA(20) over SMA(50), less 1,  SMA(20) less SMA(50), over the       trend
              percent                        deviation of the last 50 closes
    ========= ============================== ==================================== =========

    A positive score speaks for buying. Two readings bet on a return to the average and two on
    going on: in a steady trend they contradict each other, and their mean is small.

    Each row is a function of the last `WARMUP` bars alone: weights of an exponential average
    that fall below a millionth of the newest one are left out. The numbers are TA-Lib's to
    that accuracy once its own start has decayed.

    Parameters
    ----------
    ohlcv
        ``float64 [T, 5]``: open, high, low, close, volume; without holes, as bars come.

    Returns
    -------
    TechnicalArrays
        NaN on each row whose last `WARMUP` bars are not there or hold a price that is missing,
        infinite, or not above zero. Where no price moves, RSI is 50, %b 0.5, and every score 0.

    Raises
    ------
    CandleError
        If the array has another shape.

    References
    ----------
    Wilder, New Concepts in Technical Trading Systems, 1978 (RSI). Appel, The Moving Average
    Convergence-Divergence Trading Method, 1979. Bollinger, Bollinger on Bollinger Bands, 2001.

    Examples
    --------
    >>> close = 100.0 * 1.001 ** np.arange(300)
    >>> rising = technical_arrays(np.column_stack([close] * 4 + [np.ones(300)]))
    >>> [reading.reading for reading in readings_at(rising, -1)]
    ['overbought', 'bullish', 'between the bands', 'uptrend']
    >>> readings_at(rising, WARMUP - 2)
    ()
    """
    bars = np.asarray(ohlcv, dtype=np.float64)
    if bars.ndim != 2 or bars.shape[1] != 5:
        raise CandleError(
            f"an array of shape {list(bars.shape)} holds no candles: give [T, 5] with open, high, "
            "low, close and volume"
        )
    table = np.full((2 * len(READING_NAMES), len(bars)), np.nan)
    prices = bars[:, :4]
    whole = np.all(np.isfinite(prices) & (prices > 0.0), axis=1)
    for first, last in _runs(whole):
        if last - first >= WARMUP:
            rows = _readings(np.ascontiguousarray(bars[first:last, 3]))
            table[:, first + WARMUP - 1 : last] = rows[:, WARMUP - 1 :]
    rsi, macd, bollinger, trend = (
        ReadingArrays(value, score) for value, score in table.reshape(4, 2, len(bars))
    )
    return TechnicalArrays(rsi, macd, bollinger, trend, score=table[1::2].mean(axis=0))


def readings_at(arrays: TechnicalArrays, row: int) -> tuple[Reading, ...]:
    """Return the readings of one bar, in the order of `READING_NAMES`.

    Parameters
    ----------
    arrays
        Of `technical_arrays`.
    row
        Which bar; -1 is the last.

    Returns
    -------
    tuple of Reading
        Empty where there are none.

    Raises
    ------
    IndexError
        If there is no such row.
    """
    if np.isnan(arrays.score[row]):
        return ()
    readings = []
    for name in READING_NAMES:
        columns: ReadingArrays = getattr(arrays, name)
        value, score = float(columns.value[row]), float(columns.score[row])
        readings.append(Reading(name=name, value=value, score=score, reading=_word(name, value)))
    return tuple(readings)


def _word(name: ReadingName, value: float) -> str:
    match name:
        case "rsi":
            low, middle, high = "oversold", "neutral", "overbought"
            lower, upper = OVERSOLD, OVERBOUGHT
        case "macd":
            low, middle, high = "bearish", "flat", "bullish"
            lower = upper = 0.0
        case "bollinger":
            low, middle, high = "below the lower band", "between the bands", "above the upper band"
            lower, upper = 0.0, 1.0
        case "trend":
            low, middle, high = "downtrend", "sideways", "uptrend"
            lower = upper = 0.0
    if value < lower:
        return low
    return high if value > upper else middle


def _runs(whole: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    # Stretches without a missing price, each a series of its own.
    edges = np.flatnonzero(np.diff(np.concatenate(([False], whole, [False])).astype(np.int8)))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]


def _readings(close: Floats) -> Floats:
    # Value and score of each reading in turn, [8, T]; rows before the warm-up mean nothing.
    change = np.diff(close, prepend=close[0])
    rise = _windowed_ema(np.maximum(change, 0.0), WILDER)
    fall = _windowed_ema(np.maximum(-change, 0.0), WILDER)
    move = rise + fall + STANDSTILL * close
    rsi = 50.0 + 50.0 * (rise - fall) / move

    # A close lies (period - 1) / 2 averages of its changes above its exponential average.
    line = 0.5 * (
        (MACD_SLOW - 1) * _windowed_ema(change, MACD_SLOW)
        - (MACD_FAST - 1) * _windowed_ema(change, MACD_FAST)
    )
    histogram = line - _windowed_ema(line, MACD_SIGNAL)
    # What is left of sums that cancel has a sign, and must not be taken for a side.
    still = ~_has_moved(close, WARMUP)
    rsi[still], histogram[still] = 50.0, 0.0

    deviations = _ratio(
        close - windowed_mean(close, BAND_PERIOD), windowed_deviation(close, BAND_PERIOD)
    )
    deviations[~_has_moved(close, BAND_PERIOD)] = 0.0
    percent_b = 0.5 + deviations / (2.0 * BAND_WIDTH)

    slow = windowed_mean(close, TREND_SLOW)
    gap = windowed_mean(close, TREND_FAST) - slow
    gap[~_has_moved(close, TREND_SLOW)] = 0.0
    trend = _ratio(gap, windowed_deviation(close, TREND_SLOW))

    half_span = 0.5 * (OVERBOUGHT - OVERSOLD)
    table: Floats = np.stack(
        [
            rsi,
            np.clip((50.0 - rsi) / half_span, -1.0, 1.0),
            100.0 * histogram / close,
            np.clip(histogram / move, -1.0, 1.0),
            percent_b,
            np.clip(1.0 - 2.0 * percent_b, -1.0, 1.0),
            100.0 * gap / slow,
            np.clip(trend, -1.0, 1.0),
        ]
    )
    return table


def _windowed_ema(values: Floats, period: int) -> Floats:
    # TA-Lib starts with the mean of the first `period` values: zeros, so that the sum starts
    # from nothing and its oldest part can be taken away again.
    padded = np.concatenate((np.zeros(period), values))
    average: Floats = talib.EMA(padded, timeperiod=period)[period:]
    reach = _reach(period)
    windowed = average.copy()
    windowed[reach:] -= _decay(period) ** reach * average[:-reach]
    return windowed


def _has_moved(close: Floats, window: int) -> npt.NDArray[np.bool_]:
    # The mean of equal numbers may differ from them in its last bit; their extremes don't.
    moved: npt.NDArray[np.bool_] = talib.MAX(close, window) > talib.MIN(close, window)
    return moved


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0.0)
