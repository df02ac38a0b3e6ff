"""Candles of one symbol: immutable, validated, with their holes left as holes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from lightning_models.timeframes import period_ms

__all__ = ["COLUMNS", "Candles", "Market", "fingerprint_of"]

Market = Literal["continuous", "sessions"]

COLUMNS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, eq=False)
class Candles:
    """Candles of one symbol in one timeframe, oldest first.

    Built by `read_candles`, `simulate_market` or `Candles.resample`, which validate;
    the arrays are read-only.

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
        ``bool [T]``, true where a resampled candle lacks some of its source candles.
    """

    symbol: str
    timeframe: str
    market: Market
    time: npt.NDArray[np.int64]
    ohlcv: npt.NDArray[np.float64]
    incomplete: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))

    def __post_init__(self) -> None:
        """Own the arrays: contiguous, of the stated types, and closed for writing."""
        time = np.array(self.time, dtype=np.int64)
        ohlcv = np.array(self.ohlcv, dtype=np.float64).reshape(len(time), len(COLUMNS))
        incomplete = np.array(self.incomplete, dtype=np.bool_)
        if not len(incomplete):
            incomplete = np.zeros(len(time), dtype=np.bool_)
        for array in (time, ohlcv, incomplete):
            array.setflags(write=False)
        object.__setattr__(self, "time", time)
        object.__setattr__(self, "ohlcv", ohlcv)
        object.__setattr__(self, "incomplete", incomplete)

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
        from lightning_models.candles.resampling import resample  # the two know each other

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
        """Return ``timestamp`` (UTC open time), ``open``, ``high``, ``low``, ``close``, ``volume``."""
        frame = pd.DataFrame({"timestamp": pd.to_datetime(self.time, unit="ms", utc=True)})
        for position, column in enumerate(COLUMNS):
            frame[column] = self.ohlcv[:, position]
        return frame


def fingerprint_of(candles: Iterable[Candles]) -> str:
    """Return the SHA-256 of candles: times as ``<i8``, then prices as ``<f8``, symbols sorted."""
    digest = hashlib.sha256()
    for one in sorted(candles, key=lambda each: each.symbol):
        digest.update(np.ascontiguousarray(one.time, dtype="<i8").tobytes())
        digest.update(np.ascontiguousarray(one.ohlcv, dtype="<f8").tobytes())
    return digest.hexdigest()
