"""Which candle a bar shows and when that candle has closed, however its feed stamps bars."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lightning_models.timeframes import floor_to_open, period_ms

__all__ = ["closes_of", "is_closed", "opens_of"]

Times = npt.NDArray[np.int64]


def opens_of(data: Any, stamps: Times, timeframe: str) -> Times:
    """Return the open times of the candles that a feed's bars show.

    A stamp lies anywhere from a candle's open to its last millisecond. A stamp right on the
    border of two candles is the open of the later one, as exchanges stamp theirs, unless
    backtrader's own resampler or replayer made the bar: they stamp the end of the earlier one.

    Parameters
    ----------
    data
        The feed.
    stamps
        ``int64 [T]``, milliseconds since the epoch.
    timeframe
        Of the candles.

    Returns
    -------
    numpy.ndarray
        ``int64 [T]``, milliseconds.
    """
    ends = getattr(data, "resampling", 0) or getattr(data, "replaying", False)
    return floor_to_open(stamps - 1 if ends else stamps, timeframe)


def closes_of(stamps: Times, timeframe: str) -> Times:
    """Return when the candles of bars had closed, at the earliest that their stamps allow.

    A stamp on a border may be an open or an end; it counts as an end here, so that a bar is
    never taken for later than it is.

    Parameters
    ----------
    stamps
        ``int64 [T]``, milliseconds since the epoch.
    timeframe
        Of the candles.

    Returns
    -------
    numpy.ndarray
        ``int64 [T]``, milliseconds.

    Examples
    --------
    >>> hour = 3_600_000
    >>> (closes_of(np.array([6 * hour - 1, 6 * hour, 7 * hour]), "6h") // hour).tolist()
    [6, 6, 12]
    """
    return floor_to_open(stamps - 1, timeframe) + period_ms(timeframe)


def is_closed(stamp: int, timeframe: str) -> bool:
    """Return whether a replayed bar, whose stamp moves on with it, has reached its end.

    Parameters
    ----------
    stamp
        Of the bar's newest part, milliseconds since the epoch.
    timeframe
        Of the whole bar.

    Examples
    --------
    >>> [is_closed(stamp, "1h") for stamp in (3_540_000, 3_599_999, 3_600_000)]
    [False, True, True]
    """
    return stamp + 1 >= int(closes_of(np.array([stamp]), timeframe)[0])
