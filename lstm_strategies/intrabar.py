"""The prices inside one bar: what an order sees at its open, and what a fill leaves of it."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import backtrader as bt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "Prices",
    "bands_of",
    "crossed_at_open",
    "has_level",
    "is_untouched",
    "level_of",
    "prices_of",
    "rest_of_bar",
    "rests_at_limit",
    "shown_prices",
]

_LIMIT: Final = (bt.Order.Limit,)
_STOP: Final = (bt.Order.Stop, bt.Order.StopTrail)
_STOP_LIMIT: Final = (bt.Order.StopLimit, bt.Order.StopTrailLimit)


class Prices(NamedTuple):
    """The prices of one bar, or of the part of it that an order can trade in."""

    open: float
    high: float
    low: float
    close: float


def prices_of(data: Any) -> Prices:
    """Return the prices of a feed's present bar, or of the present tick of a replay."""
    if getattr(data, "tick_open", None) is None:
        lines = data.lines
        return Prices(lines.open[0], lines.high[0], lines.low[0], lines.close[0])
    return Prices(data.tick_open, data.tick_high, data.tick_low, data.tick_close)


@contextmanager
def shown_prices(data: Any, prices: Prices) -> Iterator[None]:
    """Make a feed's present tick show these prices inside the ``with`` block."""
    names = [f"tick_{name}" for name in Prices._fields]
    before = [getattr(data, name, None) for name in names]
    try:
        for name, price in zip(names, prices, strict=True):
            setattr(data, name, price)
        yield
    finally:
        for name, shown in zip(names, before, strict=True):
            setattr(data, name, shown)


def rests_at_limit(order: Any) -> bool:
    """Return whether an order waits in the book: a limit, or a stop-limit once triggered."""
    return order.exectype in _LIMIT or bool(order.triggered and order.exectype in _STOP_LIMIT)


def has_level(order: Any) -> bool:
    """Return whether an order waits for a price: a limit or a stop of any kind."""
    return order.exectype in _LIMIT or order.exectype in _STOP or order.exectype in _STOP_LIMIT


def level_of(order: Any) -> float:
    """Return the price that a limit or a stop waits for, quote currency."""
    if order.triggered and order.exectype in _STOP_LIMIT:
        return float(order.created.pricelimit)
    return float(order.created.price)


def crossed_at_open(order: Any, prices: Prices) -> bool:
    """Return whether the bar opens at or beyond the level of a limit or a stop.

    Market and close orders have no level: False.
    """
    if not has_level(order):
        return False
    level = level_of(order)
    # A limit to buy and a stop to sell wait below the price, the other two above it.
    if order.isbuy() == rests_at_limit(order):
        return level >= prices.open
    return level <= prices.open


def is_untouched(order: Any) -> bool:
    """Return whether the present bar surely leaves a limit or a stop as it is.

    Orders of other kinds, and bars without a price, get the benefit of a closer look: False.
    """
    limit = order.exectype in _LIMIT
    if not limit and order.exectype != bt.Order.Stop:
        return False
    prices = prices_of(order.data)
    if order.isbuy() == limit:
        return bool(order.created.price < prices.low)
    return bool(order.created.price > prices.high)


def bands_of(orders: Iterable[Any]) -> list[tuple[Any, float, float]] | None:
    """Return between which levels each feed's prices leave every order as it is.

    Parameters
    ----------
    orders
        That wait.

    Returns
    -------
    list of tuple or None
        Feed, highest level that its low must stay above, lowest one that its high must stay
        below. None where an order may change without a level being touched: one that expires,
        a market order, or one whose level moves.
    """
    bands: dict[Any, tuple[float, float]] = {}
    for order in orders:
        if order.valid is not None:
            return None
        if not order.active():
            continue
        limit = order.exectype in _LIMIT
        if not limit and order.exectype != bt.Order.Stop:
            return None
        below, above = bands.get(order.data, (-math.inf, math.inf))
        level = order.created.price
        if order.isbuy() == limit:
            bands[order.data] = (max(below, level), above)
        else:
            bands[order.data] = (below, min(above, level))
    return [(data, below, above) for data, (below, above) in bands.items()]


def rest_of_bar(order: Any, part: Prices | None = None) -> Prices | None:
    """Return the prices that may have come after a fill on the present bar.

    Parameters
    ----------
    order
        An order that was just filled.
    part
        The part of the bar that the order itself could trade in; by default the whole.

    Returns
    -------
    Prices or None
        None where the fill was at the open, so that the whole bar comes after it. Otherwise
        the fill is the first price, the close the last. What is adverse counts in full. What
        is favourable counts after a stop, which was crossed on the way to it; after a limit
        only the close is known to have come later.
    """
    shown = part or prices_of(order.data)
    fill = order.executed.price
    if order.exectype == order.Close and order.executed.dt == order.data.datetime[0]:
        return Prices(fill, fill, fill, fill)
    if order.exectype in (order.Market, order.Close) or crossed_at_open(order, shown):
        return None
    if order.exectype in _STOP:
        return shown._replace(open=fill)
    if order.isbuy():
        return shown._replace(open=fill, high=max(fill, shown.close))
    return shown._replace(open=fill, low=min(fill, shown.close))
