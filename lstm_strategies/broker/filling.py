"""Fills: their price, size and fee, and what they do to brackets and liquidations."""

from __future__ import annotations

import math
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

import backtrader as bt

from lstm_strategies.broker.funded import FundedBroker
from lstm_strategies.broker.lots import whole_lots
from lstm_strategies.broker.margined import RESIDUE, traded_feed
from lstm_strategies.broker.slippage import impact_of
from lstm_strategies.commission import CryptoCommission
from lstm_strategies.given_values import check_positive
from lstm_strategies.intrabar import (
    crossed_at_open,
    prices_of,
    rest_of_bar,
    rests_at_limit,
    shown_prices,
)
from lstm_strategies.liquidation import is_liquidation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lstm_strategies.intrabar import Prices

__all__ = ["FillingBroker"]

# Orders that take what the market gives.
_AT_MARKET: Final = (bt.Order.Market, bt.Order.Close, bt.Order.Stop, bt.Order.StopTrail)


class FillingBroker(FundedBroker):
    """Fills orders: maker or taker, in whole lots, moved by their size, within the margin."""

    params: Any = (("slip_impact", 0.0),)

    # Orders that were live on an earlier bar, or finer candle: a limit among them has rested.
    _rested: set[int]
    # What is left of the bar for orders that came alive inside it.
    _entries: dict[int, Prices]
    # The last bar, and finer candle of it, that each order was checked against.
    _checked: dict[int, tuple[Any, ...]]
    # Orders that, as they were accepted, only took something off a position.
    _reducing: set[int]
    # Orders that have their turn once more, because their level has moved.
    _again: set[int]
    # The finer candle that is shown; None for the whole bar.
    _step: int | None

    def _forget(self) -> None:
        check_positive("slip_impact", self.p.slip_impact, or_zero=True)
        super()._forget()
        self._rested = set()
        self._entries = {}
        self._checked = {}
        self._reducing = set()
        self._again = set()
        self._step = None

    def _try_exec(self, order: Any) -> None:
        # backtrader checks a limit or stop on a slower feed again and again against the same
        # bar, even one that was complete before the order was made.
        prices = prices_of(order.data)
        # A bar without a price fills nothing: the order waits for one that has.
        if any(math.isnan(price) for price in prices):
            return
        bar = self._bar_of(order.data, prices)
        if self._checked.get(order.ref) == bar or self._too_early(order):
            return
        self._checked[order.ref] = bar
        part = self._entries.get(order.ref)
        with ExitStack() as context:
            if part is not None:
                context.enter_context(shown_prices(order.data, part))
            if self._is_maker(order, part or prices):
                for comminfo in self._schemes(order):
                    context.enter_context(comminfo.resting())
            super()._try_exec(order)

    def _execute(
        self,
        order: Any,
        ago: int | None = None,
        price: float | None = None,
        cash: float | None = None,
        position: Any = None,
        dtcoc: float | None = None,
    ) -> Any:
        if ago is None:
            return self._cash_after(order, cash, position)
        if price is None:
            return None  # slippage left no price to fill at
        data = traded_feed(order)
        held = self.positions[data]
        before, entry = held.size, held.price
        self._cut_to_position(order, before)
        filled = self._size_of_fill(order, price, ago)
        if self.p.slip_impact and order.exectype in _AT_MARKET:
            moved = impact_of(filled, order.data.volume[0], self.p.slip_impact)
            price *= 1.0 + moved if order.isbuy() else 1.0 - moved
        price = self._within_margin(order, data, price)
        bits = len(order.executed.exbits)
        with self._terms_of_fill(order, data, price, filled):
            # Before an opposite part is opened, which needs cash that is there.
            self._release_taken(data, before, before + math.copysign(filled, order.size))
            result = super()._execute(order, ago=ago, price=price, dtcoc=dtcoc)
        if len(order.executed.exbits) > bits:
            if order.parent is not None and order.parent.alive():
                # Once the position is being left, the rest of its entry must not go on.
                self.cancel(order.parent, bracket=True)
            order.executed.exbits[-1].payments = len(self.funding_payments)
            self._settle(order, data, before, entry)
        return result

    def _settle(self, order: Any, data: Any, before: float, entry: float) -> None:
        """Bring everything that waits in step with a position that a fill has changed."""
        held = self.positions[data].size
        if abs(held) > abs(before) or held * before < 0.0:
            self._openers[data] = (order.owner, order.tradeid)
            self._known[data] = order.executed.exbits[-1].price
        if is_liquidation(order):
            self._warn_of_liquidation(order, before, entry)
        if before and held * before <= 0.0:
            self._cancel_orphans(order, held)
        self._keep_liquidation(data)
        if self.p.margin_mode == "cross":
            self._keep_all_liquidations()
        exit_order = self._liquidations.get(data)
        if exit_order is not None and (abs(held) > abs(before) or held * before < 0.0):
            self._show_rest(exit_order, order)

    def _show_rest(self, order: Any, filled: Any) -> None:
        # What another order's fill has brought to life sees what came after that fill.
        part = rest_of_bar(filled, self._entries.get(filled.ref))
        self._checked.pop(order.ref, None)
        self._again.add(order.ref)
        if part is None:
            self._entries.pop(order.ref, None)
        else:
            self._entries[order.ref] = part

    def _size_of_fill(self, order: Any, price: float, ago: int) -> float:
        wanted = float(abs(order.executed.remsize))
        if self.p.filler is None or is_liquidation(order):
            return wanted
        terms = self._terms(order.data)
        filled = float(self.p.filler(order, price, ago))
        if filled >= wanted * (1.0 - RESIDUE):
            return wanted
        return filled if terms is None else whole_lots(filled, terms.p.lot_step)

    @contextmanager
    def _terms_of_fill(self, order: Any, data: Any, price: float, filled: float) -> Iterator[None]:
        filler = self.p.filler
        extra = 0.0
        terms = self._terms(data)
        if terms is not None and is_liquidation(order):
            extra = terms.p.liquidation_fee
        highest = self._highest_fee(order, data, price, filled)
        with ExitStack() as context:
            for comminfo in self._schemes(order):
                context.enter_context(comminfo.charging(extra=extra, at_most=highest))
            if filler is not None:
                self.p.filler = lambda *_: filled
            try:
                yield
            finally:
                self.p.filler = filler

    def _cut_to_position(self, order: Any, held: float) -> None:
        size = order.executed.remsize
        if not held or held * size >= 0.0 or size == -held:
            return
        residue = abs(held + size) <= RESIDUE * abs(size)
        if residue or (order.parent is not None and abs(size) > abs(held)):
            order.executed.remsize = -held

    def _cancel_orphans(self, filled: Any, held: float) -> None:
        # A stop left over from a position that is gone would open another one. So would an
        # order to close what the exchange has just closed.
        data = traded_feed(filled)
        forced = is_liquidation(filled)
        for order in list(self.pending):
            if (
                (order.parent is not None or (forced and order.ref in self._reducing))
                and not is_liquidation(order)
                and order.active()
                and order != filled
                and traded_feed(order) is data
                and order.executed.remsize * held >= 0.0
            ):
                self.cancel(order)

    def _bracketize(self, order: Any, cancel: bool = False) -> None:
        # backtrader activates the children of a filled parent on the next bar.
        super()._bracketize(order, cancel=cancel)
        children = list(self._toactivate)
        self._toactivate.clear()
        self._bring_to_life(children, order)

    def _protect(self, order: Any) -> None:
        """Bring an entry's children to life at its first fill, as it may take several bars."""
        waiting = [child for child in self._pchildren[order.ref] if child is not order]
        self._bring_to_life(waiting, order)

    def _bring_to_life(self, children: Iterable[Any], parent: Any) -> None:
        sleeping = [child for child in children if not child.active()]
        part = rest_of_bar(parent, self._entries.get(parent.ref)) if sleeping else None
        for child in sleeping:
            child.activate()
            if parent.status == parent.Completed:
                anchor(child, parent)
            if part is not None:
                self._entries[child.ref] = part

    def _bar_of(self, data: Any, prices: Prices) -> tuple[Any, ...]:
        return (len(data), data.datetime[0], self._step, *prices)

    def _too_early(self, order: Any) -> bool:
        if self.p.coo or order.exectype in (order.Market, order.Close, order.Historical):
            return False  # backtrader's own rules for these
        if is_liquidation(order):
            return False  # it lives from the fill
        return bool(order.data.datetime[0] <= order.created.dt)

    def _is_maker(self, order: Any, prices: Prices) -> bool:
        if not rests_at_limit(order):
            return False
        return order.ref in self._rested or not crossed_at_open(order, prices)

    def _schemes(self, order: Any) -> Iterable[CryptoCommission]:
        schemes = {
            id(scheme): scheme
            for scheme in map(self.getcommissioninfo, (order.data, traded_feed(order)))
        }
        return [each for each in schemes.values() if isinstance(each, CryptoCommission)]


def anchor(child: Any, parent: Any) -> None:
    """Move a child's level to the parent's fill price + its ``offset``, if it has one."""
    offset = child.info.get("offset")
    if offset is None or len(parent.executed.exbits) != 1:
        return
    level = parent.executed.price + offset
    if child.created.pricelimit is not None and child.created.price is not None:
        child.created.pricelimit += level - child.created.price
    child.created.price = level
