"""Fewer points for a picture, without losing its extremes."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["join_candles", "joined_count", "thin"]


def thin(values: npt.NDArray[np.float64], limit: int) -> npt.NDArray[np.int64]:
    """Return the indices of the points to draw: each stretch's lowest and highest.

    Parameters
    ----------
    values
        ``float64 [T]``, finite.
    limit
        How many points at most, 4 or more.

    Returns
    -------
    numpy.ndarray
        ``int64 [≤ limit]``, increasing; first and last point are always among them.

    Examples
    --------
    >>> thin(np.array([0.0, 5.0, 1.0, 2.0, -3.0, 4.0, 4.0, 4.0, 4.0]), 6).tolist()
    [0, 1, 4, 5, 8]
    """
    if len(values) <= limit:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), (limit - 2) // 2 + 1).astype(np.int64)
    kept = {0, len(values) - 1}
    for start, end in itertools.pairwise(edges):
        stretch = values[start:end]
        kept |= {int(start + stretch.argmin()), int(start + stretch.argmax())}
    return np.array(sorted(kept), dtype=np.int64)


def joined_count(length: int, limit: int) -> int:
    """Return how many candles must be joined into one to draw at most `limit`.

    Examples
    --------
    >>> joined_count(5000, 5000), joined_count(5001, 5000)
    (1, 2)
    """
    return max(1, -(-length // limit))


def join_candles(
    time: npt.NDArray[np.int64], ohlcv: npt.NDArray[np.float64], count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return candles of `count` neighbours each; the last may hold fewer.

    Parameters
    ----------
    time
        ``int64 [T]``, open times in milliseconds.
    ohlcv
        ``float64 [T, 5]``.
    count
        How many to join.

    Returns
    -------
    time : numpy.ndarray
        ``int64 [⌈T / count⌉]``, open time of each group's first candle.
    ohlcv : numpy.ndarray
        ``float64 [⌈T / count⌉, 5]``: first open, highest high, lowest low, last close, sum
        of volumes.
    """
    if count == 1 or not len(time):
        return time, ohlcv
    starts = np.arange(0, len(time), count)
    ends = np.append(starts[1:], len(time)) - 1
    joined = np.stack(
        [
            ohlcv[starts, 0],
            np.maximum.reduceat(ohlcv[:, 1], starts),
            np.minimum.reduceat(ohlcv[:, 2], starts),
            ohlcv[ends, 3],
            np.add.reduceat(ohlcv[:, 4], starts),
        ],
        axis=1,
    )
    return time[starts], joined
