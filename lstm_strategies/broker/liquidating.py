"""The exchange's own stops: one waits for each position that can lose its margin."""

from __future__ import annotations

import logging
import math
from typing import Any, Final

import backtrader as bt

from lstm_strategies.broker.margined import MarginedBroker
from lstm_strategies.intrabar import prices_of
from lstm_strategies.liquidation import (
    LIQUIDATION,
    LiquidationBuy,
    LiquidationSell,
    bankruptcy_price,
    is_liquidation,
    liquidation_price,
)

__all__ = ["LiquidatingBroker"]

logger = logging.getLogger("lstm_strategies.broker")

_NOBODY: Final = (None, 0)


class LiquidatingBroker(MarginedBroker):
    """Keeps a liquidation order in the queue for each position, in step with its fills."""

    # The order that waits for each feed's position.
    _liquidations: dict[Any, Any]
    # Strategy and tradeid of the order that opened each position or added to it last.
    _openers: dict[Any, tuple[Any, int]]
    # In cross mode: each position's last known price, and the bar that it is of.
    _known: dict[Any, float]
    _valued: dict[Any, tuple[Any, ...]]
    # Between which levels each feed's orders leave its prices; None where orders have changed.
    _bands: list[tuple[Any, float, float]] | None

    def _forget(self) -> None:
        super()._forget()
        self._bands = None
        self._liquidations = {}
        self._openers = {}
        self._known = {}
        self._valued = {}

    def get_orders_open(self, safe: bool = False) -> list[Any]:
        """Return the orders that wait, but for the exchange's own; clones if ``safe``."""
        return [each for each in super().get_orders_open(safe=safe) if not is_liquidation(each)]

    def liquidation_price(self, data: Any) -> float | None:
        """Return the price at which a feed's position is liquidated, or None if none does."""
        order = self._liquidations.get(data)
        return None if order is None else float(order.created.price)

    def _keep_liquidation(self, data: Any) -> None:
        self._bands = None
        level = self._liquidation_level(data)
        size = self.positions[data].size
        standing = self._liquidations.get(data)
        if standing is not None and (level is None or standing.size * size >= 0.0):
            self._drop_liquidation(data)
            standing = None
        if level is None:
            return
        if standing is None:
            standing = self._new_liquidation(data, size, level)
        standing.size = standing.created.size = standing.executed.remsize = -size
        standing.price = standing.created.price = level

    def _liquidation_level(self, data: Any) -> float | None:
        terms = self._terms(data)
        position = self.positions[data]
        if terms is None or not position.size:
            return None
        margin = self.position_margin(data)
        if self.p.margin_mode == "cross":
            margin += self._margin_elsewhere(data)
        return liquidation_price(position.size, position.price, margin, terms.p.maintenance_margin)

    def _margin_elsewhere(self, data: Any) -> float:
        # What the rest of the account has to spare for one position: the cash, and what other
        # positions are worth above their own maintenance margin.
        spare = self.cash
        for other, position in self.positions.items():
            if other is data or not position.size:
                continue
            price = self._known.get(other, position.price)
            spare += self.position_margin(other) + position.size * (price - position.price)
            terms = self._terms(other)
            if terms is not None:
                spare -= terms.p.maintenance_margin * abs(position.size) * price
        return float(spare)

    def _new_liquidation(self, data: Any, size: float, level: float) -> Any:
        owner, tradeid = self._openers.get(data, _NOBODY)
        kind: Any = LiquidationSell if size > 0.0 else LiquidationBuy
        order = kind(
            owner=owner,
            data=data,
            size=abs(size),
            price=level,
            exectype=bt.Order.Stop,
            tradeid=tradeid,
        )
        order.addinfo(exit_reason=LIQUIDATION)
        self._ocoize(order, None)
        self._pchildren[order.ref].append(order)
        order.pannotated = None
        order.submit()
        order.accept()
        # In front of all: who adds up the queue finds the position closed, not turned.
        self.pending.appendleft(order)
        self._liquidations[data] = order
        return order

    def _drop_liquidation(self, data: Any) -> None:
        order = self._liquidations.pop(data)
        if order in self.pending:
            self.pending.remove(order)
            self._pchildren.pop(order.ref, None)
            self._ocol.pop(self._ocos.pop(order.ref), None)

    def _keep_all_liquidations(self) -> None:
        for data, position in self.positions.items():
            if position.size:
                self._keep_liquidation(data)

    def _value_at_open(self) -> None:
        """In cross mode: take the opens of new bars for the last known prices."""
        for data, position in self.positions.items():
            if not position.size:
                continue
            prices = prices_of(data)
            bar = (len(data), data.datetime[0], *prices)
            if self._valued.get(data) != bar and not math.isnan(prices.open):
                self._valued[data] = bar
                self._known[data] = prices.open
        self._keep_all_liquidations()

    def _value_at_close(self) -> None:
        for data, position in self.positions.items():
            if position.size and not math.isnan(data.close[0]):
                self._known[data] = data.close[0]

    def _within_margin(self, order: Any, data: Any, price: float) -> float:
        # The loss of a position of its own margin ends where that is gone.
        position = self.positions[data]
        if order.executed.remsize * position.size >= 0.0 or order.data is not data:
            return price
        if self._isolated_terms(data) is None:
            return price
        end = bankruptcy_price(position.size, position.price, self.position_margin(data))
        return max(price, end) if position.size > 0.0 else min(price, end)

    def _highest_fee(self, order: Any, data: Any, price: float, filled: float) -> float:
        # What a fill can be charged without taking the account below zero.
        position = self.positions[data]
        size = position.size
        if order.executed.remsize * size >= 0.0 or self._isolated_terms(data) is None:
            return math.inf
        closed = min(1.0, filled / abs(size))
        left = closed * (self.position_margin(data) + size * (price - position.price))
        return float(max(0.0, left if is_liquidation(order) else self.cash + left))

    def _warn_of_liquidation(self, order: Any, size: float, entry: float) -> None:
        bit = order.executed.exbits[-1]
        logger.warning(
            "liquidated: %s %.8g %s, entered at %.8g, at %.8g: lost %.2f and a fee of %.2f",
            "long" if size > 0.0 else "short",
            abs(size),
            order.data._name,
            entry,
            bit.price,
            -bit.pnl,
            bit.closedcomm,
        )
