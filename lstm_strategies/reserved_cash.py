"""The cash that entries on their way to be filled will need."""

from __future__ import annotations

from collections import defaultdict
from itertools import chain
from typing import Any

import backtrader as bt

from lstm_strategies.liquidation import is_liquidation

__all__ = ["reserved_cash", "worth_of_closing"]


def reserved_cash(broker: Any) -> float:
    """Return what a broker's unfilled entries will take out of its cash.

    backtrader's ``getcash()`` knows nothing of orders made on the same bar, so that two feeds
    which signal together would each be sized on all of it.

    Parameters
    ----------
    broker
        One of backtrader's own kind; of any other nothing is known, and 0 is returned.

    Returns
    -------
    float
        Quote currency, at the prices the orders were made at: the initial margin of what they
        open, and fees. What an order gives back by closing a position counts for entries in
        the same feed alone: nobody knows whether it will be filled before those of another
        one. A liquidation, which may never come, gives nothing back.
    """
    if not isinstance(broker, bt.brokers.BackBroker):
        return 0.0
    sizes: dict[Any, float] = {}
    needs: defaultdict[Any, float] = defaultdict(float)
    # backtrader marks the end of its queue by a None while it works through it.
    for order in chain(broker.pending, broker.submitted):
        if order is None or order.parent is not None or not order.alive():
            continue
        if is_liquidation(order):
            continue
        data, size, price = order.data, order.executed.remsize, order.created.price
        held = sizes.get(data, broker.getposition(data).size)
        sizes[data] = held + size
        closed = min(abs(held), abs(size)) if held * size < 0.0 else 0.0
        opened = abs(size) - closed
        comminfo = broker.getcommissioninfo(data)
        margin = opened * price / comminfo.get_leverage()
        fee = comminfo.getcommission(opened, price)
        needs[data] += margin + fee - worth_of_closing(broker, data, closed, price)
    return sum(max(0.0, need) for need in needs.values())


def worth_of_closing(broker: Any, data: Any, size: float, price: float) -> float:
    """Return the cash that closing a part of a feed's position gives back, its fee deducted.

    Parameters
    ----------
    broker, data
        Whose position.
    size
        How much of it, base currency, 0 or more.
    price
        Quote currency.

    Returns
    -------
    float
        Quote currency: the initial margin at the entry's price and the profit since.
    """
    position = broker.getposition(data)
    comminfo = broker.getcommissioninfo(data)
    side = 1.0 if position.size >= 0.0 else -1.0
    margin = position.price / comminfo.get_leverage()
    worth = margin + side * (price - position.price)
    return float(size * worth - comminfo.getcommission(size, price))
