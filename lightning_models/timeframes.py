"""Timeframes: their periods in milliseconds and the bins they cut time into."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from lightning_models.errors import ConfigError
from lightning_models.spelling import nearest_names

__all__ = [
    "DAY_MS",
    "TIMEFRAMES",
    "WEEK_ORIGIN_MS",
    "bar_stamp",
    "check_timeframe",
    "floor_to_open",
    "period_ms",
    "timeframe_of_period",
]

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
WEEK_MS: Final = 7 * DAY_MS

# The epoch was a Thursday; weeks count from the Monday after it.
WEEK_ORIGIN_MS: Final = 4 * DAY_MS

TIMEFRAMES: Final[dict[str, int]] = {
    "1m": MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": HOUR_MS,
    "2h": 2 * HOUR_MS,
    "4h": 4 * HOUR_MS,
    "6h": 6 * HOUR_MS,
    "8h": 8 * HOUR_MS,
    "12h": 12 * HOUR_MS,
    "1d": DAY_MS,
    "1w": WEEK_MS,
}


def check_timeframe(timeframe: str) -> str:
    """Return the timeframe if it is one of `TIMEFRAMES`.

    Raises
    ------
    ConfigError
        If it is not; the message names the nearest ones.

    Examples
    --------
    >>> check_timeframe("6h")
    '6h'
    """
    if timeframe not in TIMEFRAMES:
        near = nearest_names(timeframe, TIMEFRAMES, in_order=True)
        raise ConfigError(f"unknown timeframe {timeframe!r}: {near}")
    return timeframe


def period_ms(timeframe: str) -> int:
    """Return the length of one candle in milliseconds.

    Examples
    --------
    >>> period_ms("6h")
    21600000
    """
    return TIMEFRAMES[check_timeframe(timeframe)]


def timeframe_of_period(milliseconds: int) -> str | None:
    """Return the timeframe whose candles last that long, or None if there is none."""
    for name, period in TIMEFRAMES.items():
        if period == milliseconds:
            return name
    return None


def floor_to_open(time: npt.NDArray[np.int64], timeframe: str) -> npt.NDArray[np.int64]:
    """Return the open time of the candle that each moment lies in.

    Parameters
    ----------
    time
        Milliseconds since the epoch, UTC, any shape.
    timeframe
        One of `TIMEFRAMES`. Bins count from the epoch, weeks from Monday.

    Returns
    -------
    numpy.ndarray
        Open times in milliseconds, of the same shape.

    Examples
    --------
    >>> floor_to_open(np.array([21_599_999, 21_600_000]), "6h").tolist()
    [0, 21600000]
    """
    period = period_ms(timeframe)
    origin = WEEK_ORIGIN_MS if timeframe == "1w" else 0
    return (time - origin) // period * period + origin


def bar_stamp(open_time: npt.NDArray[np.int64], timeframe: str) -> npt.NDArray[np.int64]:
    """Return the moment that stamps a bar: its open time + its period - 1 ms.

    A bar stamped with its own end would already belong to the next bin, and one stamped
    with its open would show its close before it is known.
    """
    return open_time + period_ms(timeframe) - 1
