"""Which part of an order opens a position, seen beside what is held and on its way."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import backtrader as bt

__all__ = ["OrderParts", "OrdersMade", "parts_of", "traded_feed"]

# Lots added and subtracted in binary do not cancel to the last bit.
_RESIDUE: Final = 1e-9


class OrderParts(NamedTuple):
    """What an order does to a position, base currency, each 0 or more.

    Parameters
    ----------
    closing
        What it takes off a position.
    withheld
        What it would have taken off an entry that was refused.
    opening
        What it opens or adds.
    """

    closing: float
    withheld: float
    opening: float


def parts_of(size: float, held: float, refused: float = 0.0) -> OrderParts:
    """Divide an order by what it does.

    Parameters
    ----------
    size
        Of the order, 0 or more.
    held
        Position with what is on its way, positive in the order's own direction.
    refused
        Entries that the strategy takes for made and that were not sent; signed like `held`.

    Examples
    --------
    A sell of 2 while long 1, and the buy stop of 1 that came with it when it was refused:

    >>> parts_of(2.0, held=-1.0)
    OrderParts(closing=1.0, withheld=0.0, opening=1.0)
    >>> parts_of(1.0, held=0.0, refused=-1.0)
    OrderParts(closing=0.0, withheld=1.0, opening=0.0)
    """
    closing = min(size, max(0.0, -held))
    withheld = min(size - closing, max(0.0, -refused))
    opening = size - closing - withheld
    return OrderParts(closing, withheld, opening if opening > _RESIDUE * size else 0.0)


@dataclass(eq=False)
class OrdersMade:
    """Entries that a strategy takes for as good as made: sent and unfilled, or refused."""

    _sent: list[Any] = field(default_factory=list)
    _refused: list[tuple[int, Any, float, bool]] = field(default_factory=list)

    def add(self, order: Any) -> None:
        """Remember an order that was sent, if it is sure to be filled.

        Parameters
        ----------
        order
            A limit or stop order, which may never be filled, and None are passed over.
        """
        if order is not None and order.exectype in (order.Market, order.Close):
            self._sent.append(order)

    def refuse(self, bar: int, data: Any, size: float, exectype: int | None) -> None:
        """Remember, for its bar, an entry that was not sent.

        Parameters
        ----------
        bar
            Number of the strategy's bar.
        data
            Feed of the order.
        size
            Signed, base currency.
        exectype
            Of backtrader's order types; None is a market order.
        """
        sure = exectype in (None, bt.Order.Market, bt.Order.Close)
        self._refused.append((bar, traded_feed(data), size, sure))

    def on_their_way(self, data: Any) -> float:
        """Return the signed size of the orders that are about to be filled.

        Parameters
        ----------
        data
            Feed whose position they change.
        """
        self._sent = [order for order in self._sent if order.alive()]
        traded = traded_feed(data)
        mine = (order for order in self._sent if traded_feed(order.data) is traded)
        return math.fsum(order.executed.remsize for order in mine)

    def refused_on(self, bar: int, data: Any, *, resting: bool) -> float:
        """Return the signed size of the entries that were refused on a bar.

        Parameters
        ----------
        bar
            Number of the strategy's bar; what was refused before it is forgotten.
        data
            Feed whose position they would have changed.
        resting
            Whether to count limit and stop orders, too.
        """
        self._refused = [each for each in self._refused if each[0] == bar]
        traded = traded_feed(data)
        return math.fsum(
            size for _, feed, size, sure in self._refused if feed is traded and (sure or resting)
        )


def traded_feed(data: Any) -> Any:
    """Return the feed whose position an order in a feed changes.

    Parameters
    ----------
    data
        A feed; backtrader lets one compensate another.
    """
    compensated = getattr(data, "_compensate", None)
    return data if compensated is None else compensated
