"""Other futures for the same past: cut off, or exchanged for one that never came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from lightning_models.candles.candles import Candles

__all__ = ["CUT", "EXCHANGED", "FUTURES", "exchanged_future", "section_before_end", "with_holes"]

CUT: Final = "cut off"
EXCHANGED: Final = "exchanged"

FUTURES: Final = (CUT, EXCHANGED)
"""The two ways to take the future away.

A look ahead shows as a change of the past when the future is *cut off*, unless what is looked
for does not occur in these candles: a flag that is raised before a crash stays down in a calm
sample, with the future and without. *Exchanged* for one that jumps to half or twice the price,
with its candles shuffled and taller, the future makes such a flag move. Exchanging alone would
miss what depends on how much future there is, such as a share of the series: its length stays.
"""

_HOLE_SHARE: Final = 0.03
_LONG_HOLE: Final = 3
_STRETCH: Final = 3

Floats = npt.NDArray[np.float64]


def exchanged_future(ohlcv: Floats, known: int, seed: int = 0) -> Floats:
    """Return candles with all rows from `known` on shuffled, taller, and far from where they were.

    Parameters
    ----------
    ohlcv
        ``float64 [T, 5]``.
    known
        Rows that stay as they are.
    seed
        Of the order. Even numbers of known rows are followed by a rise to twice the price, odd
        ones by a fall to half of it.

    Returns
    -------
    numpy.ndarray
        ``float64 [T, 5]``, each row still a candle with its low under its high.

    Examples
    --------
    >>> candles = np.ones((4, 5))
    >>> exchanged_future(candles, 3)[:, 3].tolist()
    [1.0, 1.0, 1.0, 0.5]
    """
    random = np.random.default_rng([seed, known])
    other = np.array(ohlcv)
    other[known:] = other[known:][random.permutation(len(ohlcv) - known)]
    later = other[known:]
    with np.errstate(invalid="ignore", divide="ignore"):
        # In another order alone, candles would have the same mean and deviation as before.
        later[:, :4] = later[:, :1] * (later[:, :4] / later[:, :1]) ** _STRETCH
    later[:, :4] *= 2.0 if known % 2 == 0 else 0.5
    later[:, 4] *= random.uniform(0.1, 10.0, len(ohlcv) - known)
    return other


def with_holes(candles: Candles, seed: int = 0) -> Candles:
    """Return the candles of a continuous market with some of them missing.

    Parameters
    ----------
    candles
        At least a handful; the first and the last stay.
    seed
        Of which ones are left out: about 3 %, and three in a row once.
    """
    random = np.random.default_rng([seed, len(candles)])
    kept = random.random(len(candles)) >= _HOLE_SHARE
    start = len(candles) // 2
    kept[start : start + _LONG_HOLE] = False
    kept[[0, -1]] = True
    return type(candles)(
        symbol=candles.symbol,
        timeframe=candles.timeframe,
        market=candles.market,
        time=candles.time[kept],
        ohlcv=candles.ohlcv[kept],
        incomplete=candles.incomplete[kept],
    )


def section_before_end(candles: Candles, count: int) -> Candles:
    """Return the newest `count` candles, or all of them where there are fewer."""
    if len(candles) <= count:
        return candles
    return candles.between(int(candles.time[-count]), None)
