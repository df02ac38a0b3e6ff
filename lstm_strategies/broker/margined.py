"""What positions are worth: the cash, the margin behind each of them, and the equity."""

from __future__ import annotations

from typing import Any, Final

import backtrader as bt

from lstm_strategies.commission import CryptoCommission
from lstm_strategies.given_values import check_choice

__all__ = ["RESIDUE", "MarginedBroker", "traded_feed"]

RESIDUE: Final = 1e-9
"""Sizes are sums of lots in binary floating point: three buys of 0.1 are not 0.3."""


class MarginedBroker(bt.brokers.BackBroker):
    """backtrader's broker with the equity of margined longs and shorts.

    Opening a position takes its notional over the leverage, the initial margin, out of the
    cash; closing gives that back, at the mean price of the entry, with the profit. So equity
    is cash and, of each position, margin and unrealised profit.
    """

    params: Any = (("shortcash", False), ("margin_mode", "isolated"))

    # Margin that funding has taken from a position, quote currency.
    _taken: dict[Any, float]

    def init(self) -> None:
        """Forget every position and order; backtrader calls this at each start, too."""
        super().init()
        self._forget()

    def _forget(self) -> None:
        check_choice("margin_mode", self.p.margin_mode, ("isolated", "cross"))
        self._taken = {}

    def position_margin(self, data: Any) -> float:
        """Return the margin behind a feed's position, quote currency; 0 without one.

        Its notional at the mean price of the entry over the leverage, less what funding has
        taken from it.
        """
        position = self.positions[data]
        if not position.size:
            return 0.0
        margin = abs(position.size) * position.price / self.getcommissioninfo(data).get_leverage()
        return float(margin - self._taken.get(data, 0.0))

    def _terms(self, data: Any) -> CryptoCommission | None:
        # Under backtrader's own schemes, and with unlimited shorts, nothing is known of margins.
        comminfo = self.getcommissioninfo(data)
        if isinstance(comminfo, CryptoCommission) and not self.p.shortcash:
            return comminfo
        return None

    def _isolated_terms(self, data: Any) -> CryptoCommission | None:
        return self._terms(data) if self.p.margin_mode == "isolated" else None

    def _release_taken(self, data: Any, before: float, after: float) -> None:
        # What funding took from the margin is missing when the margin is given back.
        taken = self._taken.get(data)
        if not taken or (abs(after) >= abs(before) and after * before > 0.0):
            return
        kept = taken * after / before if after * before > 0.0 else 0.0
        self.cash -= taken - kept
        if kept:
            self._taken[data] = kept
        else:
            del self._taken[data]

    def _cash_after(self, order: Any, cash: float | None, position: Any) -> float:
        held, entry = position.size, position.price
        left = float(super()._execute(order, cash=cash, position=position))
        comminfo = self.getcommissioninfo(order.data)
        size = order.executed.remsize
        if held * size >= 0.0 or self.p.shortcash or not comminfo.stocklike:
            return left
        price = order.created.price
        if self.p.coo and order.exectype == order.Market:
            price = order.data.open[0]
        closed = min(abs(held), abs(size))
        # backtrader gives back a margin at the new price, and no profit.
        gain = closed * (price - entry)
        left += (gain if held > 0.0 else -gain) - gain / comminfo.get_leverage()
        whole = abs(self.positions[order.data].size) or closed
        return float(left - self._taken.get(order.data, 0.0) * min(1.0, closed / whole))

    def _account_value(self) -> bool:
        """Set what the account is worth, and return whether that could be told.

        backtrader's own way asks each scheme three times a bar; here the terms are known.
        """
        if self.p.shortcash or self._fundhist or self._cash_addition:
            return False
        worth = notional = unrealised = 0.0
        for data, position in self.positions.items():
            size = position.size
            if not size:
                continue
            comminfo = self.getcommissioninfo(data)
            if type(comminfo) is not CryptoCommission:
                return False
            entry, close = position.price, data.close[0]
            gain = size * (close - entry)
            unrealised += gain
            notional += abs(size) * entry + gain
            worth += abs(size) * entry / comminfo.p.leverage + gain - self._taken.get(data, 0.0)
        self._value = self.cash + worth
        self._fundval = self._value / self._fundshares
        self._valuemkt = worth
        self._valuelever = self.cash + notional
        self._valuemktlever = notional
        self._leverage = notional / (worth or 1.0)
        self._unrealized = unrealised
        return True

    def _get_value(self, datas: Any = None, lever: bool = False) -> float:
        if not datas and self._account_value():
            return self._valuelever if lever else self._value
        value = super()._get_value(datas=datas, lever=lever)
        if datas:
            (first, *others) = datas
            if not others and not lever and self._terms(first) is not None:
                # The targets of order_target_value and its like are notional, of shorts too.
                return float(self.positions[first].size * first.close[0])
            return value
        if self.p.shortcash or self._fundhist:
            return value
        # backtrader takes the absolute value of what a short is worth, so that one which has
        # lost more than its notional would gain again.
        excess = lever_excess = 0.0
        for data, position in self.positions.items():
            if position.size >= 0.0:
                continue
            comminfo = self.getcommissioninfo(data)
            lost = -position.size * (data.close[0] - 2.0 * position.price)
            if lost < 0.0 or not comminfo.stocklike:
                continue
            leverage = comminfo.get_leverage()
            if lost == 0.0:
                excess += -position.size * position.price * (1.0 - 1.0 / leverage)
            excess += 2.0 * lost / leverage
            lever_excess += 2.0 * lost
        excess += sum(self._taken.values())
        if not excess and not lever_excess:
            return value
        self._value -= excess
        self._valuemkt -= excess
        self._valuelever -= lever_excess
        self._valuemktlever -= lever_excess
        self._fundval = self._value / self._fundshares
        return self._valuelever if lever else self._value


def traded_feed(order: Any) -> Any:
    """Return the feed whose position an order changes."""
    compensated = order.data._compensate
    return order.data if compensated is None else compensated
