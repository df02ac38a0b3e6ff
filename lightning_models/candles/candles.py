"""Candles of one symbol: immutable, validated, with their holes left as holes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from lightning_models.candles.resampling import resample
from lightning_models.candles.timestamps import iso_utc
from lightning_models.errors import CandleError, ConfigError
from lightning_models.spelling import nearest_names
from lightning_models.timeframes import check_timeframe, period_ms

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["COLUMNS", "Candles", "Market", "check_market", "fingerprint_of"]

Market = Literal["continuous", "sessions"]

_MARKETS: tuple[Market, ...] = get_args(Market)

COLUMNS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, eq=False, repr=False)
class Candles:
    """Candles of one symbol in one timeframe, oldest first.

    Built by `read_candles`, `simulate_market` or `Candles.resample`, which validate prices
    and times; the class itself holds types and shapes only. The arrays are read-only copies.

    Parameters
    ----------
    symbol
        Such as ``BTC/USDT``.
    timeframe
        One of `lightning_models.timeframes.TIMEFRAMES`.
    market
        ``continuous`` where trading never stops, so that a missing candle is a hole;
        ``sessions`` where closing hours are no holes.
    time
        ``int64 [T]``, open times in milliseconds since the epoch, UTC, strictly increasing.
    ohlcv
        ``float64 [T, 5]``: open, high, low, close in quote currency, volume in base currency.
    incomplete
        ``bool [T]``, true where a resampled candle lacks some of its source candles; all
        false by default.

    Raises
    ------
    ConfigError
        If the timeframe or the market is unknown.
    CandleError
        If the times are no integers, or an array has another shape.
    """

    symbol: str
    timeframe: str
    market: Market
    time: npt.NDArray[np.int64]
    ohlcv: npt.NDArray[np.float64]
    incomplete: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))

    def __post_init__(self) -> None:
        """Own the arrays: contiguous, of the stated types, and closed for writing."""
        check_timeframe(self.timeframe)
        check_market(self.market)
        time = np.asarray(self.time)
        if time.ndim != 1 or (time.size and time.dtype.kind not in "iu"):
            raise CandleError(
                f"{self.symbol}: open times have the type {time.dtype} and the shape {time.shape}; "
                "give integers [T], milliseconds since the epoch"
            )
        time = np.array(time, dtype=np.int64)
        ohlcv = np.array(self.ohlcv, dtype=np.float64)
        if ohlcv.shape != (len(time), len(COLUMNS)) and (ohlcv.size or len(time)):
            raise CandleError(
                f"{self.symbol}: ohlcv has the shape {ohlcv.shape} beside {len(time)} open times; "
                f"give [{len(time)}, {len(COLUMNS)}]: {', '.join(COLUMNS)}"
            )
        ohlcv = np.ascontiguousarray(ohlcv.reshape(len(time), len(COLUMNS)))
        incomplete = np.array(self.incomplete, dtype=np.bool_)
        if not len(incomplete):
            incomplete = np.zeros(len(time), dtype=np.bool_)
        if incomplete.shape != time.shape:
            raise CandleError(
                f"{self.symbol}: incomplete has the shape {incomplete.shape}; give [{len(time)}]"
            )
        for array in (time, ohlcv, incomplete):
            array.setflags(write=False)
        object.__setattr__(self, "time", time)
        object.__setattr__(self, "ohlcv", ohlcv)
        object.__setattr__(self, "incomplete", incomplete)

    def __repr__(self) -> str:
        """Return the symbol, the timeframe and what lies between which times."""
        span = f" {iso_utc(self.time[0])} to {iso_utc(self.time[-1])}" if len(self) else ""
        return f"<{len(self)} candles of {self.symbol} {self.timeframe}{span}>"

    def __len__(self) -> int:
        """Return the number of candles."""
        return len(self.time)

    @property
    def period_ms(self) -> int:
        """Length of one candle in milliseconds."""
        return period_ms(self.timeframe)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the open times and the prices, in hexadecimal."""
        return fingerprint_of([self])

    def resample(self, timeframe: str) -> Candles:
        """Return coarser candles; an unfinished one is never emitted.

        Parameters
        ----------
        timeframe
            A multiple of this timeframe. Bins count from the epoch, weeks from Monday.

        Returns
        -------
        Candles
            A bin is emitted once a candle at or after its end exists or its last source
            candle has closed. An empty bin stays a hole; one that lacks source candles is
            emitted and marked in `incomplete`.

        Raises
        ------
        ConfigError
            If the timeframe is unknown, finer than this one or no multiple of it.
        """
        return resample(self, timeframe)

    def between(self, start: int | None, end: int | None) -> Candles:
        """Return the candles that open at or after `start` and before `end` (milliseconds)."""
        first = 0 if start is None else int(np.searchsorted(self.time, start, side="left"))
        last = len(self) if end is None else int(np.searchsorted(self.time, end, side="left"))
        return Candles(
            symbol=self.symbol,
            timeframe=self.timeframe,
            market=self.market,
            time=self.time[first:last],
            ohlcv=self.ohlcv[first:last],
            incomplete=self.incomplete[first:last],
        )

    def to_frame(self) -> pd.DataFrame:
        """Return a frame with ``timestamp``, the open time in UTC, and the columns `COLUMNS`.

        Its ``attrs`` hold the symbol, by which `read_candles` finds it again.
        """
        frame = pd.DataFrame({"timestamp": pd.to_datetime(self.time, unit="ms", utc=True)})
        for position, column in enumerate(COLUMNS):
            frame[column] = self.ohlcv[:, position]
        frame.attrs["symbol"] = self.symbol
        return frame


def check_market(market: str) -> Market:
    """Return the market if it is ``continuous`` or ``sessions``.

    Raises
    ------
    ConfigError
        If it is neither.
    """
    for known in _MARKETS:
        if market == known:
            return known
    raise ConfigError(f"unknown market {market!r}: {nearest_names(market, _MARKETS)}")


def fingerprint_of(candles: Iterable[Candles]) -> str:
    """Return the SHA-256 of candles: times as ``<i8``, then prices as ``<f8``, symbols sorted."""
    digest = hashlib.sha256()
    for one in sorted(candles, key=lambda each: each.symbol):
        digest.update(np.ascontiguousarray(one.time, dtype="<i8").tobytes())
        digest.update(np.ascontiguousarray(one.ohlcv, dtype="<f8").tobytes())
    return digest.hexdigest()
