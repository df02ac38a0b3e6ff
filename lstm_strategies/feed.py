"""Candles as a backtrader data feed, loaded in bulk where nothing needs a look at each row."""

from __future__ import annotations

import datetime as dt
from array import array
from typing import Final

import backtrader as bt
import numpy as np
import numpy.typing as npt

from lightning_models.candles import Candles, Market, read_candles
from lightning_models.timeframes import DAY_MS, TIMEFRAMES, bar_stamp
from lstm_strategies.errors import ParameterError
from lstm_strategies.parameters import CheckedParameters, takes_params

__all__ = [
    "CandleData",
    "backtrader_dates",
    "candle_timeframe_of",
    "milliseconds_of_date",
    "milliseconds_of_dates",
]

# Day 1 of backtrader's calendar is 0001-01-01; this is the number of 1970-01-01.
_EPOCH: Final = 719_163

_MINUTE_MS: Final = 60_000

# What backtrader turns an omitted session start and end into.
_WHOLE_DAY: Final = (dt.time.min, dt.time(23, 59, 59, 999990))

_UNNAMED: Final = "UNKNOWN"


def _backtrader_timeframe(timeframe: str) -> tuple[int, int]:
    if timeframe == "1w":
        return bt.TimeFrame.Weeks, 1
    if timeframe == "1d":
        return bt.TimeFrame.Days, 1
    return bt.TimeFrame.Minutes, TIMEFRAMES[timeframe] // _MINUTE_MS


_BY_BACKTRADER: Final = {_backtrader_timeframe(name): name for name in TIMEFRAMES}


def backtrader_dates(time: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return backtrader's dates, in days, of moments in milliseconds since the epoch.

    Bit for bit what ``backtrader.date2num`` gives, which adds correctly rounded parts exactly:
    to whole milliseconds the quotient here rounds to the same number.

    Examples
    --------
    >>> backtrader_dates(np.array([0, 43_200_000])).tolist()
    [719163.0, 719163.5]
    """
    days = time // DAY_MS
    return np.asarray((days + _EPOCH) + (time - days * DAY_MS) / DAY_MS, dtype=np.float64)


def milliseconds_of_date(date: float) -> int:
    """Return the moment of a backtrader date in milliseconds since the epoch.

    Examples
    --------
    >>> milliseconds_of_date(719163.5)
    43200000
    """
    days = int(date // 1.0)
    # backtrader ends a day 10 microseconds before midnight, which must not round into the next.
    return (days - _EPOCH) * DAY_MS + min(round((date - days) * DAY_MS), DAY_MS - 1)


def milliseconds_of_dates(dates: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return moments in milliseconds since the epoch of an array of backtrader dates.

    Examples
    --------
    >>> milliseconds_of_dates(np.array([719163.5])).tolist()
    [43200000]
    """
    days = np.floor(dates)
    within = np.minimum(np.rint((dates - days) * DAY_MS), DAY_MS - 1)
    return np.asarray((days - _EPOCH) * DAY_MS + within, dtype=np.int64)


def candle_timeframe_of(data: bt.feed.AbstractDataBase) -> str | None:
    """Return the timeframe of any backtrader feed by what it states, or None if it has no name."""
    return _BY_BACKTRADER.get((data._timeframe, data._compression))


class CandleData(bt.feed.DataBase, CheckedParameters):
    """Candles as a data feed; each bar is stamped at its open time + its period - 1 ms.

    Params:
      - ``dataname``: path of a Parquet or CSV file, ``pandas.DataFrame`` or `Candles`, read by
        `lightning_models.candles.read_candles`.
      - ``timeframe`` (""): such as ``6h``; by default the source's own, and a coarser one is
        resampled to. backtrader's own ``bt.TimeFrame.Minutes`` with ``compression`` is
        understood too.
      - ``market`` ("continuous"): or ``sessions``, where closing hours are no holes. `Candles`
        keep their own.
      - the others as in ``backtrader.feed.DataBase``. Without ``name`` the feed is called by
        the symbol of its candles.

    Raises
    ------
    ParameterError
        If there is no ``dataname``, or backtrader's timeframe and compression make none of the
        known timeframes.
    ConfigError, CandleError
        As `read_candles` does.

    Notes
    -----
    Missing candles stay missing: no bar is made up for them. With ``preload`` and no filter,
    ``fromdate``, ``todate``, session times or time zone all bars are loaded at once from NumPy,
    otherwise one by one; both give the same bars.

    Examples
    --------
    >>> from lightning_models.candles import simulate_market
    >>> data = CandleData(dataname=simulate_market(candles=12, timeframe="1h")[0], timeframe="6h")
    >>> data.symbol, data.candle_timeframe, data.p.compression, len(data.candles)
    ('SIM/USDT', '6h', 360, 2)
    """

    params = (
        ("timeframe", ""),
        ("market", "continuous"),
    )

    @takes_params
    def __init__(self) -> None:
        super().__init__()
        if self.p.dataname is None:
            raise ParameterError("CandleData needs dataname: a path, a DataFrame or Candles")
        candles = read_candles(
            self.p.dataname, timeframe=self._requested_timeframe(), market=self.p.market
        )
        if candles.symbol == _UNNAMED and self.p.name:
            candles = read_candles(candles, symbol=self.p.name)
        self._candles = candles
        self._dates = backtrader_dates(bar_stamp(candles.time, candles.timeframe))
        self._row = 0
        self._name = self.p.name or candles.symbol
        # A string here would crash cerebro.run(), which sorts the feeds by these two.
        self.p.timeframe, self.p.compression = _backtrader_timeframe(candles.timeframe)
        self._timeframe, self._compression = self.p.timeframe, self.p.compression

    @property
    def candles(self) -> Candles:
        """The candles of the feed, all of them: a strategy that reads past its bar cheats."""
        return self._candles

    @property
    def symbol(self) -> str:
        """Symbol of the candles, such as ``BTC/USDT``."""
        return self._candles.symbol

    @property
    def market(self) -> Market:
        """Either ``continuous`` or ``sessions``."""
        return self._candles.market

    @property
    def candle_timeframe(self) -> str:
        """Timeframe of the candles, such as ``6h``."""
        return self._candles.timeframe

    def start(self) -> None:
        """Go back to the first candle."""
        super().start()
        self._row = 0

    def preload(self) -> None:
        """Load every bar: at once if no row needs a look of its own."""
        if not self._bulk_loadable():
            super().preload()
            return
        columns = np.empty((self.lines.size(), len(self._candles)))
        columns[self.DateTime] = self._dates
        for line, column in zip(
            (self.Open, self.High, self.Low, self.Close, self.Volume),
            self._candles.ohlcv.T,
            strict=True,
        ):
            columns[line] = column
        columns[self.OpenInterest] = 0.0
        for line, column in zip(self.lines, columns, strict=True):
            # The room that cerebro's lookahead asked for lies behind the bars.
            room = [float("nan")] * line.extension
            line.array = array("d", column.tobytes()) + array("d", room)
        self._row = len(self._candles)
        self.home()

    def _load(self) -> bool:
        row = self._row
        if row >= len(self._candles):
            return False
        self._row = row + 1
        lines = self.lines
        lines.datetime[0] = float(self._dates[row])
        (
            lines.open[0],
            lines.high[0],
            lines.low[0],
            lines.close[0],
            lines.volume[0],
        ) = self._candles.ohlcv[row].tolist()
        lines.openinterest[0] = 0.0
        return True

    def _tick_nullify(self) -> None:
        if self.lines.size() != len(_LINES):
            super()._tick_nullify()  # a subclass's further lines
            return
        self.tick_open = self.tick_high = self.tick_low = self.tick_close = None
        self.tick_volume = self.tick_openinterest = self.tick_last = None

    def _tick_fill(self, force: bool = False) -> None:
        # backtrader's own builds the name of each attribute anew on each bar, which took an
        # eighth of a backtest.
        if self.lines.size() != len(_LINES):
            super()._tick_fill(force)
        elif force or self.tick_close is None:
            lines = self.lines
            self.tick_open = lines.open[0]
            self.tick_high = lines.high[0]
            self.tick_low = lines.low[0]
            self.tick_close = self.tick_last = lines.close[0]
            self.tick_volume = lines.volume[0]
            self.tick_openinterest = lines.openinterest[0]

    def _bulk_loadable(self) -> bool:
        kind = type(self)
        return (
            not self._filters
            and not self._barstack
            and not self._barstash
            and self.p.fromdate is None
            and self.p.todate is None
            and (self.p.sessionstart, self.p.sessionend) == _WHOLE_DAY
            and self.p.tz is None
            and self.p.tzinput is None
            and self._tzinput is None
            # A subclass that adds a line or loads in its own way wants its own rows.
            and self.lines.fullsize() == self.lines.size() == len(_LINES)
            and kind._load is CandleData._load
            and kind.load is bt.feed.DataBase.load
            and all(line.mode == line.UnBounded and not line.bindings for line in self.lines)
        )

    def _requested_timeframe(self) -> str | None:
        timeframe, compression = self.p.timeframe, self.p.compression
        if timeframe in ("", None):
            return None
        if isinstance(timeframe, str):
            return timeframe
        name = _BY_BACKTRADER.get((timeframe, compression))
        if name is None:
            raise ParameterError(
                f"timeframe={timeframe!r} with compression={compression!r} is none of "
                f"{', '.join(TIMEFRAMES)}; give one of those names"
            )
        return name


_LINES: Final = ("datetime", "open", "high", "low", "close", "volume", "openinterest")
