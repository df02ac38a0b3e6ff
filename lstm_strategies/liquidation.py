"""Where an exchange closes a position whose margin is used up, and the order that does it."""

from __future__ import annotations

from typing import Any, Final

import backtrader as bt

__all__ = [
    "LIQUIDATION",
    "LiquidationBuy",
    "LiquidationSell",
    "bankruptcy_price",
    "is_liquidation",
    "liquidation_price",
]

LIQUIDATION: Final = "liquidation"
"""The ``exit_reason`` of an order that liquidates."""


class LiquidationBuy(bt.order.BuyOrder):
    """The exchange's own stop that buys a short back."""


class LiquidationSell(bt.order.SellOrder):
    """The exchange's own stop that sells a long."""


def is_liquidation(order: Any) -> bool:
    """Return whether an order is the exchange's own, which closes a position by force."""
    return isinstance(order, LiquidationBuy | LiquidationSell)


def liquidation_price(
    size: float, entry: float, margin: float, maintenance_margin: float
) -> float | None:
    """Return the price at which a position's margin and profit are its maintenance margin.

    It solves ``margin + size * (price - entry) = maintenance_margin * abs(size) * price``. With
    ``margin = abs(size) * entry / leverage`` that is ``entry * (1 - 1 / leverage) / (1 -
    maintenance_margin)`` for a long and ``entry * (1 + 1 / leverage) / (1 +
    maintenance_margin)`` for a short.

    Parameters
    ----------
    size
        Base currency, negative for a short, not 0.
    entry
        Mean price of the entry, quote currency.
    margin
        What stands behind the position, quote currency.
    maintenance_margin
        Fraction of the notional.

    Returns
    -------
    float or None
        None where no price above 0 does it, as for a long without leverage.

    Examples
    --------
    >>> round(liquidation_price(2.0, 100.0, 20.0, 0.005), 6)
    90.452261
    >>> round(liquidation_price(-2.0, 100.0, 20.0, 0.005), 6)
    109.452736
    >>> liquidation_price(2.0, 100.0, 200.0, 0.005) is None
    True
    """
    if size > 0.0:
        price = (entry - margin / size) / (1.0 - maintenance_margin)
    else:
        price = (entry - margin / size) / (1.0 + maintenance_margin)
    return price if price > 0.0 else None


def bankruptcy_price(size: float, entry: float, margin: float) -> float:
    """Return the price at which a position's loss has eaten its margin.

    Parameters
    ----------
    size, entry, margin
        As in `liquidation_price`.

    Examples
    --------
    >>> bankruptcy_price(2.0, 100.0, 20.0), bankruptcy_price(-2.0, 100.0, 20.0)
    (90.0, 110.0)
    """
    return entry - margin / size
