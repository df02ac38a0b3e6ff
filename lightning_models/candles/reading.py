"""Candles from a file or a frame: read, dated, checked, and resampled if asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from lightning_models.candles.candles import Candles, Market, check_market
from lightning_models.candles.layouts import ohlcv_of, read_csv_layout, times_of
from lightning_models.candles.resampling import resample
from lightning_models.candles.timestamps import iso_utc, milliseconds_utc
from lightning_models.candles.validation import check_order, validate
from lightning_models.errors import CandleError, ConfigError, TooFewCandlesError
from lightning_models.timeframes import (
    TIMEFRAMES,
    check_timeframe,
    floor_to_open,
    period_ms,
    timeframe_of_period,
)

__all__ = ["read_candles", "symbol_of_path"]

_EXTENSIONS: Final = (".parquet", ".csv", ".csv.gz", ".txt")


def read_candles(
    source: str | Path | pd.DataFrame | Candles,
    *,
    symbol: str | None = None,
    timeframe: str | None = None,
    market: Market = "continuous",
) -> Candles:
    """Return the candles of one symbol, validated and in the timeframe asked for.

    Parameters
    ----------
    source
        A Parquet or CSV file (``.parquet``, ``.csv``, ``.csv.gz``, ``.txt``), a frame, or
        candles, which keep their own market. Columns open, high, low, close and volume, in
        any case; times in a ``DatetimeIndex`` or a column named timestamp, datetime,
        open_time, date or time. CSV is read as ccxt, backtrader, Yahoo or Binance write it.
        Where there is an adjusted close, prices are adjusted by it.
    symbol
        Such as ``BTC/USDT``. By default the file's stem with its last ``_`` as ``/``, or the
        frame's ``attrs["symbol"]``, or ``UNKNOWN``.
    timeframe
        The timeframe to return; by default the source's own, which is its most common step
        between rows. A coarser one is resampled to. Needed where there is a single row.
    market
        ``continuous`` where trading never stops: every time must be the open of its candle,
        or all must be its last millisecond or last second. ``sessions`` where trading
        closes: times are floored to their candle's open.

    Returns
    -------
    Candles
        At least one, oldest first, keyed by open time. Naive times are taken for UTC.

    Raises
    ------
    ConfigError
        If the source is of another type, the file doesn't exist or its extension is unknown, or
        if the timeframe is unknown, finer than the source's or no multiple of it.
    CandleError
        If the source cannot be read, lacks a column, holds a cell that is no number, or holds
        candles that cannot be true; the message names the row, counted from 0.
    TooFewCandlesError
        If the source holds no candle, or none of the coarser timeframe has closed.

    Examples
    --------
    >>> frame = pd.DataFrame(
    ...     {"open": 1.0, "high": 2.0, "low": 1.0, "close": 2.0, "volume": 3.0},
    ...     index=pd.date_range("2021-03-04", periods=8, freq="h"),
    ... )
    >>> candles = read_candles(frame, symbol="BTC/USDT", timeframe="6h")
    >>> candles.timeframe, candles.ohlcv.tolist()
    ('6h', [[1.0, 2.0, 1.0, 2.0, 18.0]])
    """
    check_market(market)
    if timeframe is not None:
        check_timeframe(timeframe)
    if symbol is not None and not symbol.strip():
        raise ConfigError("the symbol is empty; give one such as BTC/USDT")
    if isinstance(source, Candles):
        return _finished(_renamed(source, symbol), timeframe, source.symbol)
    if isinstance(source, pd.DataFrame):
        origin = "the frame"
        name = symbol or str(source.attrs.get("symbol", "UNKNOWN"))
        frame = source
    elif not isinstance(source, str | Path):
        raise ConfigError(
            f"candles cannot be read from a {type(source).__name__}: give the path of a file, "
            "Candles, or a DataFrame with a column timestamp and the columns open, high, low, "
            "close and volume"
        )
    else:
        path = Path(source).expanduser()
        origin = str(path)
        name = symbol or symbol_of_path(path)
        frame = _frame_of_file(path)
    if frame.empty:
        raise TooFewCandlesError(f"{origin} holds no candles; give at least one row")
    time = milliseconds_utc(times_of(frame, origin=origin), origin=origin)
    ohlcv = ohlcv_of(frame, origin=origin)
    check_order(time, origin=origin)
    own = _own_timeframe(time, timeframe, origin)
    candles = Candles(
        symbol=name,
        timeframe=own,
        market=market,
        time=_open_times(time, own, market, origin),
        ohlcv=ohlcv,
    )
    return _finished(candles, timeframe, origin)


def symbol_of_path(path: str | Path) -> str:
    """Return the symbol that a file's name stands for: its stem with its last ``_`` as ``/``.

    Examples
    --------
    >>> symbol_of_path("data/BTC_USDT.parquet")
    'BTC/USDT'
    >>> symbol_of_path("nvda-1999-2014.txt")
    'nvda-1999-2014'
    """
    name = Path(path).name
    extension = _extension(name)
    stem = name[: -len(extension)] if extension else Path(name).stem
    return "/".join(stem.rsplit("_", 1))


def _extension(name: str) -> str | None:
    return next((each for each in _EXTENSIONS if name.lower().endswith(each)), None)


def _frame_of_file(path: Path) -> pd.DataFrame:
    if not path.exists():
        raise ConfigError(
            f"no file {path}; give a Parquet or CSV file of candles ({', '.join(_EXTENSIONS)})"
        )
    if path.is_dir():
        raise CandleError(f"{path} is a directory; give one file of candles, or a quoted glob")
    extension = _extension(path.name)
    if extension is None:
        raise ConfigError(f"{path}: candles are read from {', '.join(_EXTENSIONS)}; convert it")
    if extension != ".parquet":
        return read_csv_layout(path, origin=str(path))
    try:
        # An open file, because from a path the folders' names are read as columns.
        with path.open("rb") as binary:
            return pd.read_parquet(binary, engine="pyarrow")
    except (OSError, ValueError, NotImplementedError) as error:
        # What pyarrow says of a file of another kind names buffers, footers and magic bytes.
        reason = str(error)
        if "magic bytes" in reason:
            reason = "it is damaged, cut off, or of another kind; a text file is named .csv"
        raise CandleError(f"{path} cannot be read as Parquet: {reason}") from error


def _renamed(candles: Candles, symbol: str | None) -> Candles:
    if symbol is None or symbol == candles.symbol:
        return candles
    return replace(candles, symbol=symbol)


def _finished(candles: Candles, timeframe: str | None, origin: str) -> Candles:
    validate(candles, origin=origin)
    wanted = candles if timeframe is None else resample(candles, timeframe)
    if not len(wanted):
        raise TooFewCandlesError(
            f"{origin}: none of {len(candles)} candles of {candles.timeframe} completes one of "
            f"{wanted.timeframe}; give more candles"
        )
    return wanted


def _own_timeframe(time: npt.NDArray[np.int64], asked: str | None, origin: str) -> str:
    """Return the timeframe of the rows themselves."""
    if len(time) < 2:
        if asked is None:
            raise ConfigError(
                f"{origin} has a single row, which shows no timeframe; pass timeframe="
            )
        return asked
    steps, counts = np.unique(np.diff(time), return_counts=True)
    # Where holes outnumber the plain steps, what is asked for is believed if it is the shortest
    # step: candles don't overlap, so the source's own cannot be longer.
    if asked is not None and int(steps[0]) == period_ms(asked):
        return asked
    step = int(steps[np.argmax(counts)])
    own = timeframe_of_period(step)
    if own is None:
        raise CandleError(
            f"{origin}: most rows are {_spoken(step)} apart, which is no timeframe "
            f"({', '.join(TIMEFRAMES)}); give candles of one of them"
        )
    return own


def _stamp_offset(time: npt.NDArray[np.int64], timeframe: str) -> int | None:
    """Return how far behind its candle's open every row is stamped, None if rows differ."""
    offsets = time - floor_to_open(time, timeframe)
    first = int(offsets[0])
    if first in _stamps(timeframe) and bool((offsets == first).all()):
        return first
    return None


def _stamps(timeframe: str) -> tuple[int, int, int]:
    period = period_ms(timeframe)
    return (0, period - 1, period - 1000)


def _open_times(
    time: npt.NDArray[np.int64], timeframe: str, market: Market, origin: str
) -> npt.NDArray[np.int64]:
    opens = floor_to_open(time, timeframe)
    if market == "sessions":
        shared = np.flatnonzero(np.diff(opens) == 0)
        if len(shared):
            row = int(shared[0])
            raise CandleError(
                f"{origin}: rows {row} ({iso_utc(time[row])}) and {row + 1} "
                f"({iso_utc(time[row + 1])}) lie in the same {timeframe} candle; remove one, or "
                "pass the timeframe that the rows have"
            )
        return opens
    if _stamp_offset(time, timeframe) is not None:
        return opens
    offsets = time - opens
    # The first row sets how the others are stamped, unless it is itself stamped wrongly.
    first = int(offsets[0])
    expected = first if first in _stamps(timeframe) else 0
    row = int(np.argmax(offsets != expected))
    raise CandleError(
        f"{origin}: row {row} ({iso_utc(time[row])}) lies {_spoken(int(offsets[row]))} into its "
        f"{timeframe} candle, and every time must be the open of a candle in UTC, or all its "
        f"last millisecond; convert local times to UTC{_hint(time, timeframe)}, or pass "
        "market='sessions' if this market closes"
    )


def _hint(time: npt.NDArray[np.int64], timeframe: str) -> str:
    shortest = timeframe_of_period(int(np.diff(time).min())) if len(time) > 1 else None
    if shortest in (None, timeframe):
        return ""
    return f", pass timeframe={shortest!r} if these are {shortest} candles with holes"


def _spoken(milliseconds: int) -> str:
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000)):
        if milliseconds % length == 0:
            return f"{milliseconds // length} {unit}"
    return f"{milliseconds} ms"
