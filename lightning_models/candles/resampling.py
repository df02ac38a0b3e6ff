"""Coarser candles from finer ones, none of them before it has closed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lightning_models.errors import ConfigError
from lightning_models.timeframes import TIMEFRAMES, floor_to_open, period_ms

if TYPE_CHECKING:
    from lightning_models.candles.candles import Candles

__all__ = ["check_resampling", "resample"]


def resample(candles: Candles, timeframe: str) -> Candles:
    """Return coarser candles; an unfinished one is never emitted.

    Parameters
    ----------
    candles
        Validated candles.
    timeframe
        A multiple of their timeframe. Bins count from the epoch, weeks from Monday.

    Returns
    -------
    Candles
        Open of the first, highest high, lowest low, close of the last source candle, volumes
        summed. A bin is emitted once a candle at or after its end exists or its last source
        candle has closed; an empty bin stays a hole. In a continuous market a bin with fewer
        source candles than fit into it is marked in ``incomplete``; where a market has
        sessions the number of source candles says nothing. A bin of which a source candle
        was itself incomplete is marked in both.

    Raises
    ------
    ConfigError
        If the timeframe is unknown, finer than that of the candles or no multiple of it.

    Examples
    --------
    >>> from lightning_models.candles import Candles
    >>> hour = 3_600_000
    >>> ohlcv = [[1, 2, 1, 2, 5], [2, 4, 2, 3, 5], [3, 3, 1, 1, 5]]
    >>> hours = Candles("X", "1h", "continuous", [0, hour, 2 * hour], ohlcv)
    >>> resample(hours, "2h").ohlcv.tolist()  # the second pair of hours isn't over
    [[1.0, 4.0, 1.0, 3.0, 10.0]]
    """
    check_resampling(candles.timeframe, timeframe)
    if timeframe == candles.timeframe:
        return candles
    period = period_ms(timeframe)
    bins = floor_to_open(candles.time, timeframe)
    starts = np.flatnonzero(np.diff(bins, prepend=bins[:1] - 1))
    ends = np.append(starts[1:], len(bins))
    if len(bins) and candles.time[-1] + candles.period_ms < bins[-1] + period:
        starts, ends = starts[:-1], ends[:-1]
    if not len(starts):
        return replace(
            candles,
            timeframe=timeframe,
            time=candles.time[:0],
            ohlcv=candles.ohlcv[:0],
            incomplete=candles.incomplete[:0],
        )

    used = candles.ohlcv[: ends[-1]]
    ohlcv = np.empty((len(starts), used.shape[1]))
    ohlcv[:, 0] = used[starts, 0]
    ohlcv[:, 1] = np.maximum.reduceat(used[:, 1], starts)
    ohlcv[:, 2] = np.minimum.reduceat(used[:, 2], starts)
    ohlcv[:, 3] = used[ends - 1, 3]
    ohlcv[:, 4] = np.add.reduceat(used[:, 4], starts)
    incomplete = np.logical_or.reduceat(candles.incomplete[: ends[-1]], starts)
    if candles.market == "continuous":
        incomplete = incomplete | (ends - starts < period // candles.period_ms)
    return replace(
        candles, timeframe=timeframe, time=bins[starts], ohlcv=ohlcv, incomplete=incomplete
    )


def check_resampling(source: str, target: str) -> None:
    """Refuse a timeframe that candles cannot be resampled to.

    Parameters
    ----------
    source, target
        The timeframe of the candles, and the one asked for.

    Raises
    ------
    ConfigError
        If one is unknown, or the target finer than the source or no multiple of it.

    Examples
    --------
    >>> check_resampling("8h", "12h")
    Traceback (most recent call last):
    ...
    lightning_models.errors.ConfigError: 12h is no multiple of 8h, the timeframe of the \
candles; ask for 8h, 1d or 1w
    """
    have, want = period_ms(source), period_ms(target)
    if want % have == 0:
        return
    possible = [name for name, period in TIMEFRAMES.items() if period % have == 0]
    *most, last = possible
    choice = f"{', '.join(most)} or {last}" if most else last
    what = "is finer than" if want < have else "is no multiple of"
    raise ConfigError(f"{target} {what} {source}, the timeframe of the candles; ask for {choice}")
