"""The technical readings as a backtrader indicator."""

from __future__ import annotations

import math
from typing import Any, Final

import backtrader as bt
import numpy as np
import numpy.typing as npt

from lstm_strategies.feed_checks import MILLISECOND, read_ahead_error
from lstm_strategies.parameters import CheckedParameters
from lstm_strategies.signals.technical import WARMUP, TechnicalArrays, technical_arrays

__all__ = ["TechnicalIndicator"]

Floats = npt.NDArray[np.float64]

LINES: Final = ("score", "rsi", "macd", "bollinger", "trend")
NO_READINGS: Final = (math.nan,) * len(LINES)


class TechnicalIndicator(bt.Indicator, CheckedParameters):
    """RSI, MACD, Bollinger bands and trend at each bar's close, and the score they make.

    The same numbers in every run mode, from one causal function of the last `WARMUP` bars. All
    lines are NaN while there are fewer, and while one of them lacks a price. Bars are taken as
    they come: a hole between two is not filled, and an unfinished bar is read as it stands.

    Lines:
      - ``score``: mean of the four readings' scores, from -1 (sell) to 1 (buy).
      - ``rsi``: 0 to 100.
      - ``macd``: histogram, percent of the close.
      - ``bollinger``: %b, 0 at the lower band and 1 at the upper one.
      - ``trend``: SMA(20) over SMA(50), less 1, percent.

    Raises
    ------
    ParameterError
        While it runs, if the feed shows a bar before its time, as backtrader does with
        ``exactbars=1`` of a feed that has to wait for others.

    See Also
    --------
    lstm_strategies.signals.technical.technical_arrays : The formulas, and each reading's score.
    """

    lines: Any = LINES
    plotinfo: Any = {"subplot": True, "plotyhlines": [-1.0, 0.0, 1.0], "plotlinelabels": True}
    # Of four scales in one panel only the score's can be read.
    plotlines: Any = {
        "score": {"_fill_gt": (0, ("tab:green", 0.35)), "_fill_lt": (0, ("tab:red", 0.35))},
        "rsi": {"_plotskip": True},
        "macd": {"_plotskip": True},
        "bollinger": {"_plotskip": True},
        "trend": {"_plotskip": True},
    }

    def __init__(self) -> None:
        super().__init__()
        self._cerebro = bt.metabase.findowner(self, bt.Cerebro)
        self._last_bar: tuple[float, ...] = ()
        self._last_lines: tuple[float, ...] = NO_READINGS
        self.addminperiod(WARMUP)

    def oncestart(self, start: int, end: int) -> None:
        """Leave all bars to `once`, which backtrader would otherwise call twice."""

    def once(self, start: int, end: int) -> None:
        """Read every bar at once."""
        del start
        # Data shorter than the minimum period has fewer bars than are asked for.
        count = min(end, len(self.data.close.array))
        ohlcv = np.column_stack([np.array(line.array[:count]) for line in _candles(self.data)])
        for line, column in zip(self.lines, _columns(technical_arrays(ohlcv)), strict=True):
            line.array[:count] = type(line.array)("d", column.tobytes())

    def next(self) -> None:
        """Read the present bar; asked again for the same bar, answer the same."""
        self._check_time()
        candles = _candles(self.data)
        bar = (float(len(self.data)), self.data.datetime[0], *(line[0] for line in candles))
        # NaN never equals itself: a bar without a price is read again, and says the same.
        if bar != self._last_bar:
            # With exactbars=1 the feed keeps no more than the minimum period.
            size = min(WARMUP, len(self.data))
            ohlcv = np.column_stack([np.array(line.get(size=size)) for line in candles])
            columns = _columns(technical_arrays(ohlcv))
            self._last_lines = tuple(float(column[-1]) for column in columns)
            self._last_bar = bar
        for line, value in zip(self.lines, self._last_lines, strict=True):
            line[0] = value

    def _check_time(self) -> None:
        # A resampler hands out what it has at the end of the data; that is early, not ahead.
        now = getattr(self._cerebro, "_udtmaster", None)
        if now is None or self.data.resampling or self.data.replaying:
            return
        if self.data.datetime[0] > bt.date2num(now) + MILLISECOND:
            raise read_ahead_error(self.data, now)


def _candles(data: Any) -> tuple[Any, ...]:
    return data.open, data.high, data.low, data.close, data.volume


def _columns(arrays: TechnicalArrays) -> tuple[Floats, ...]:
    readings = (arrays.rsi, arrays.macd, arrays.bollinger, arrays.trend)
    return arrays.score, *(reading.value for reading in readings)
