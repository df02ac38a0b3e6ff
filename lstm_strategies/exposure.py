"""How much an account stands to move with its symbols together, and what room that leaves."""

from __future__ import annotations

import math
from itertools import chain
from typing import Any, Final

import backtrader as bt
import numpy as np
import numpy.typing as npt

from lstm_strategies.feed import milliseconds_of_dates
from lstm_strategies.liquidation import is_liquidation

__all__ = [
    "FEWEST_RETURNS",
    "closes_by_stamp",
    "effective_exposure",
    "exposure_left",
    "largest_weight",
    "trailing_correlation",
]

Floats = npt.NDArray[np.float64]

# The standard error of a correlation of 20 returns is 0.23 at most: less says next to nothing.
FEWEST_RETURNS: Final = 20

# Returns that deviate less than this are rounding: their correlation is none.
_FLAT: Final = 1e-12


def effective_exposure(weights: npt.ArrayLike, correlation: npt.ArrayLike) -> float:
    """Return what a set of positions counts for together, in positions of one symbol.

    It is ``sqrt(w' C w)``, the standard deviation of a portfolio (Markowitz, Portfolio
    Selection, 1952) whose symbols all have a standard deviation of 1.

    Parameters
    ----------
    weights
        ``[N]``, notional over equity, negative for a short.
    correlation
        ``[N, N]``, positive semi-definite.

    Examples
    --------
    >>> together = [[1.0, 1.0], [1.0, 1.0]]
    >>> effective_exposure([1.0, 1.0], together), effective_exposure([1.0, -1.0], together)
    (2.0, 0.0)
    >>> round(effective_exposure([1.0, 1.0], [[1.0, 0.0], [0.0, 1.0]]), 3)
    1.414
    """
    held, alike = np.asarray(weights, dtype=float), np.asarray(correlation, dtype=float)
    # Opposite weights cancel to a little under 0 in binary floating point.
    return math.sqrt(max(0.0, float(held @ alike @ held)))


def trailing_correlation(
    closes: npt.ArrayLike,
    *,
    directions: npt.ArrayLike | None = None,
    fewest: int = FEWEST_RETURNS,
) -> Floats:
    """Return the correlation of the log returns of several symbols.

    A return needs a close on two rows in a row. A pair that has fewer than ``fewest`` returns
    in common, or one without any movement, counts as fully correlated: whoever knows nothing
    of two symbols must expect that they fall together.

    Parameters
    ----------
    closes
        ``[T, N]``, quote currency, from the oldest to the newest row; NaN where there is none.
    directions
        ``[N]``, the sign of each position, all long by default. Of a long and a short it would
        be careless to expect that they move together, so a pair of which nothing is known then
        counts as -1.
    fewest
        Returns in common that a pair needs.

    Returns
    -------
    numpy.ndarray
        ``float64 [N, N]``, symmetric, with a diagonal of 1 and positive semi-definite. Where
        pairs contradict each other, as those of different rows may, negative eigenvalues are
        set to 0 (Rebonato and Jäckel, The most general methodology to create a valid
        correlation matrix, 1999), which moves their correlations.

    Examples
    --------
    >>> trailing_correlation([[1.0, 8.0], [2.0, 4.0], [1.0, 8.0], [4.0, 2.0]], fewest=3).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    >>> trailing_correlation([[1.0, 8.0], [2.0, 4.0]]).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    return _semi_definite(_pairwise(closes, directions, fewest))


def largest_weight(
    weights: npt.ArrayLike,
    correlation: npt.ArrayLike,
    position: int,
    direction: int,
    limit: float,
) -> float:
    """Return how large one position's weight may become with the exposure within its limit.

    Parameters
    ----------
    weights
        ``[N]``, notional over equity, negative for a short; that of the position itself is not
        read.
    correlation
        ``[N, N]``, positive semi-definite, with a diagonal of 1.
    position
        Index of the position.
    direction
        1 for a long, -1 for a short.
    limit
        Largest effective exposure, 0 or more.

    Returns
    -------
    float
        Weight without its sign, of the whole position. At this weight the effective exposure
        is the limit. 0 where no weight keeps to it, not even one that offsets what is held.

    Examples
    --------
    >>> together = [[1.0, 1.0], [1.0, 1.0]]
    >>> largest_weight([0.0, 0.5], together, 0, 1, 2.0)
    1.5
    >>> largest_weight([0.0, 0.5], together, 0, -1, 2.0)
    2.5
    >>> largest_weight([0.0, 3.0], together, 0, 1, 2.0)
    0.0
    """
    alike = np.asarray(correlation, dtype=float)
    others = np.array(weights, dtype=float)
    others[position] = 0.0
    # The exposure's square is x^2 + 2 b x + c in the weight x.
    half = direction * float(alike[position] @ others)
    rest = float(others @ alike @ others)
    root = half * half - rest + limit * limit
    if not root >= 0.0:
        return 0.0
    return max(0.0, math.sqrt(root) - half)


def exposure_left(strategy: Any, data: Any, direction: int, *, limit: float, bars: int) -> float:
    """Return how much weight an entry may add to what a strategy's feeds hold.

    Orders that wait to be filled count as filled where they open or enlarge a position, and
    those at the market also where they reduce one. A position against the entry's direction
    counts as closed. Weights are taken at the feeds' present closes.

    Parameters
    ----------
    strategy
        Whose feeds and broker.
    data
        The feed to enter.
    direction
        1 to buy, -1 to sell.
    limit
        Largest effective exposure, multiple of the equity.
    bars
        Closes to take the correlations from.

    Returns
    -------
    float
        Notional over equity, 0 or more; NaN if a price or the equity is.
    """
    broker = strategy.broker
    sizes = _sizes_once_filled(broker)
    held = {each: sizes.get(each, broker.getposition(each).size) for each in strategy.datas}
    own = max(0.0, direction * held[data])
    # The feed to enter comes first.
    feeds = [data, *(each for each in strategy.datas if each is not data and held[each])]
    equity = broker.getvalue()
    weights = np.array([held[each] * _price(broker, each) for each in feeds]) / equity
    if not np.isfinite(weights).all():
        return math.nan
    directions = np.array([direction, *np.sign(weights[1:])])
    # Putting contradicting pairs right takes something away from those of which nothing is known
    # and which count in full; leaving them wrong may let positions seem to offset each other.
    # The lesser room of the two is on the safe side both ways.
    pairs = _pairwise(closes_by_stamp(feeds, bars), directions)
    largest = min(
        largest_weight(weights, correlation, 0, direction, limit)
        for correlation in (pairs, _semi_definite(pairs))
    )
    return max(0.0, largest - float(own * _price(broker, data) / equity))


def closes_by_stamp(feeds: list[Any], bars: int) -> Floats:
    """Return the last closes of several feeds, a row for each moment that one of them has.

    Parameters
    ----------
    feeds
        N feeds; none is read beyond its present bar.
    bars
        Rows at most. Fewer come where fewer bars have come or are still in memory.

    Returns
    -------
    numpy.ndarray
        ``float64 [T, N]``, quote currency, NaN where a feed has no bar of that moment, as one
        of a slower timeframe on most rows.
    """
    columns = [_last_closes(data, bars) for data in feeds]
    moments = np.unique(np.concatenate([stamps for stamps, _ in columns]))[-bars:]
    rows = np.full((len(moments), len(feeds)), np.nan)
    for column, (stamps, closes) in enumerate(columns):
        inside = np.isin(stamps, moments)
        rows[np.searchsorted(moments, stamps[inside]), column] = closes[inside]
    return rows


def _pairwise(
    closes: npt.ArrayLike, directions: npt.ArrayLike | None, fewest: int = FEWEST_RETURNS
) -> Floats:
    prices = np.asarray(closes, dtype=float)
    prices = np.where((prices > 0.0) & np.isfinite(prices), prices, np.nan)
    returns = np.diff(np.log(prices), axis=0)
    known = np.isfinite(returns)
    mean = np.sum(returns, axis=0, where=known) / np.maximum(known.sum(axis=0), 1)
    centred = np.where(known, returns - mean, 0.0)
    # Sums over the rows that both symbols of a pair have: [i, j] of i, its transpose of j.
    common = known.T.astype(float) @ known
    total = centred.T @ known
    spread = (centred**2).T @ known - total**2 / np.maximum(common, 1.0)
    shared = centred.T @ centred - total * total.T / np.maximum(common, 1.0)
    unknown = (common < max(fewest, 2)) | (spread <= common * _FLAT**2)
    unknown |= unknown.T
    signs = np.ones(len(common)) if directions is None else np.sign(np.asarray(directions, float))
    scale = np.sqrt(np.where(unknown, 1.0, spread * spread.T))
    correlation = np.where(unknown, np.outer(signs, signs), np.clip(shared / scale, -1.0, 1.0))
    np.fill_diagonal(correlation, 1.0)
    return correlation


def _last_closes(data: Any, bars: int) -> tuple[npt.NDArray[np.int64], Floats]:
    # Under exactbars a line keeps its last bars only; its index says how many came before.
    count = min(bars, len(data), data.datetime.idx + 1, data.close.idx + 1)
    if count < 1:
        return np.empty(0, dtype=np.int64), np.empty(0)
    stamps = milliseconds_of_dates(np.array(data.datetime.get(size=count)))
    return stamps, np.array(data.close.get(size=count))


def _sizes_once_filled(broker: Any) -> dict[Any, float]:
    # Of another kind of broker nothing is known but its positions.
    sizes: dict[Any, float] = {}
    if not isinstance(broker, bt.brokers.BackBroker):
        return sizes
    # backtrader marks the end of its queue by a None while it works through it.
    for order in chain(broker.pending, broker.submitted):
        if order is None or order.parent is not None or not order.alive():
            continue
        if is_liquidation(order):
            continue
        held = sizes.get(order.data, broker.getposition(order.data).size)
        after = held + order.executed.remsize
        # Nobody knows whether a resting exit will ever be filled.
        certain = order.exectype in (bt.Order.Market, bt.Order.Close)
        sizes[order.data] = after if certain or abs(after) > abs(held) else held
    return sizes


def _price(broker: Any, data: Any) -> float:
    return float(data.close[0]) if len(data) else float(broker.getposition(data).price)


def _semi_definite(correlation: Floats) -> Floats:
    values, vectors = np.linalg.eigh(correlation)
    if not len(values) or values[0] >= -1e-12:
        return correlation
    repaired = (vectors * np.maximum(values, 0.0)) @ vectors.T
    scale = np.sqrt(np.diag(repaired))
    repaired = np.clip(repaired / np.outer(scale, scale), -1.0, 1.0)
    repaired = np.asarray((repaired + repaired.T) / 2.0)
    np.fill_diagonal(repaired, 1.0)
    return repaired
