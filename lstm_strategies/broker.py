"""A simulated broker whose stops and targets live from the fill, on the entry bar too."""

from __future__ import annotations

import logging
import math
from collections import deque
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import backtrader as bt

from lstm_strategies.commission import CryptoCommission
from lstm_strategies.intrabar import (
    crossed_at_open,
    is_untouched,
    prices_of,
    rest_of_bar,
    rests_at_limit,
    shown_prices,
)
from lstm_strategies.parameters import CheckedParameters

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lstm_strategies.intrabar import Prices

__all__ = ["SimulatedBroker", "upgrade_broker"]

logger = logging.getLogger(__name__)

# Sizes are sums of lots in binary floating point: three buys of 0.1 are not 0.3.
_RESIDUE: Final = 1e-9


class SimulatedBroker(bt.brokers.BackBroker, CheckedParameters):
    """backtrader's broker with honest brackets, shorts that need cash, and maker fees.

    Params: those of ``backtrader.brokers.BackBroker``; ``shortcash`` is off by default.

    Notes
    -----
    *Brackets.* Children become active the moment their parent is filled and are checked on
    that same bar. An ``offset`` given with a child (``buy(..., offset=-5.0)`` or
    ``stopargs=dict(offset=-5.0)``: signed distance from the entry, quote currency) moves its
    level to the fill price + offset, if the parent was filled at once; filled in parts, or
    without an offset, the level stays. After a fill at the open the whole bar counts. After a
    limit order filled inside the bar, only the close is known to come later on the favourable
    side, so the target fills on that bar only if the close lies beyond it, while the bar's
    extreme on the adverse side counts in full. A child never opens or enlarges a position: it
    is cut to what is left, and cancelled, with a notification, when its position is closed or
    turned by another order. One child filled cancels the other on that bar.

    *Order within a bar.* First what happens at the open: market orders, then orders that the
    open has jumped over, which fill at the open. Then stops, then limits: adverse before
    favourable, whatever was submitted first. An order is checked once a bar of its own feed
    and never against a bar that was already closed when it was made.

    *Cash.* An order that the cash doesn't cover ends in Margin, with a notification and a
    warning, and takes its children with it. Shorts need their whole notional. Orders that only
    reduce a position are never refused. Bracket children need no cash of their own.

    *Fees.* Limit orders that rested pay the maker fee of a `CryptoCommission`, all other fills
    the taker fee. There is no leverage and no liquidation: a short that lost more than the
    account shows a negative equity.
    """

    params = (("shortcash", False),)

    # Orders that were live on an earlier bar: a limit among them has rested.
    _rested: set[int]
    # What is left of the bar for children whose parent was filled inside it.
    _entries: dict[int, Prices]
    # The last bar that each order was checked against.
    _checked: dict[int, tuple[Any, ...]]

    def init(self) -> None:
        """Forget every order; backtrader calls this at construction and at each start."""
        super().init()
        self._forget_orders()

    def next(self) -> None:
        """Fill what the new bar fills."""
        # Accept before sorting; backtrader's own look afterwards finds nothing submitted.
        if self.p.checksubmit:
            self.check_submitted()
        if self._all_untouched():
            # Most bars of a held position lie between its stop and its target.
            waiting, self.pending = self.pending, deque()
            super().next()
            self.pending = waiting
        else:
            # backtrader goes through the orders as they were submitted: a target before a stop.
            self._sort_pending()
            super().next()
        self._rested = {order.ref for order in self.pending if order.active()}
        self._entries.clear()
        self._checked = {ref: self._checked[ref] for ref in self._rested & self._checked.keys()}

    def check_submitted(self) -> None:
        """Accept or refuse the orders of the last bar by the cash they need."""
        # backtrader adds up the orders of a bracket as if all were filled, so that the target
        # would need the cash of a new short; and it goes on with the cash and the position of
        # an order that it has just refused.
        cash = self.cash
        positions: dict[Any, Any] = {}
        while self.submitted:
            order = self.submitted.popleft()
            if order.parent is not None:
                self._accept_child(order)
                continue
            if self._take_children(order) is None:
                continue
            held = positions.get(order.data, self.positions[order.data])
            trial = held.clone()
            left = self._execute(order, cash=cash, position=trial)
            if left >= 0.0 or _only_reduces(held.size, order.executed.remsize):
                cash, positions[order.data] = left, trial
                self.submit_accept(order)
                continue
            order.margin()
            self.notify(order)
            self._ococheck(order)
            self._bracketize(order, cancel=True)

    def notify(self, order: Any) -> None:
        """Queue a notification; an order refused for lack of cash is also logged."""
        super().notify(order)
        if order.status == order.Margin:
            logger.warning(
                "order %d refused: %s %.8g %s at about %s needs more than the cash of %.2f",
                order.ref,
                order.ordtypename().lower(),
                abs(order.executed.remsize),
                order.data._name,
                order.created.price,
                self.cash,
            )

    def _all_untouched(self) -> bool:
        # Whether looking at each order would change none: no level touched, nothing to expire.
        if self._toactivate or self._userhist:
            return False
        return all(
            order.valid is None and (not order.active() or is_untouched(order))
            for order in self.pending
        )

    def _forget_orders(self) -> None:
        self._rested = set()
        self._entries = {}
        self._checked = {}

    def _accept_child(self, order: Any) -> None:
        parent = order.parent
        held = self.positions[_traded(order)].size
        late = parent.status == parent.Completed and held * order.executed.remsize < 0.0
        if not parent.alive() and not late:
            # backtrader calls it rejected; it never lived, because its parent didn't.
            order.cancel()
            self.notify(order)
        elif self._take_children(order) is not None:
            if late:
                order.activate()
                _anchor(order, parent)
            self.submit_accept(order)

    def _try_exec(self, order: Any) -> None:
        # backtrader checks a limit or stop on a slower feed again and again against the same
        # bar, even one that was complete before the order was made.
        prices = prices_of(order.data)
        # A bar without a price fills nothing: the order waits for one that has.
        if any(math.isnan(price) for price in prices):
            return
        bar = (len(order.data), order.data.datetime[0], *prices)
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
        held = self.positions[_traded(order)]
        before = held.size
        self._cut_to_position(order, before)
        result = super()._execute(order, ago=ago, price=price, dtcoc=dtcoc)
        if before and held.size * before <= 0.0:
            self._cancel_orphans(order, held.size)
        return result

    def _cash_after(self, order: Any, cash: float | None, position: Any) -> float:
        held, entry = position.size, position.price
        left = float(super()._execute(order, cash=cash, position=position))
        comminfo = self.getcommissioninfo(order.data)
        if held < 0.0 < order.executed.remsize and not self.p.shortcash and comminfo.stocklike:
            # backtrader gives back the notional at the new price, but a short gives back its
            # old notional and what it won.
            price = order.created.price
            if self.p.coo and order.exectype == order.Market:
                price = order.data.open[0]
            left += 2.0 * min(-held, order.executed.remsize) * (entry - price)
        return left

    def _cut_to_position(self, order: Any, held: float) -> None:
        size = order.executed.remsize
        if not held or held * size >= 0.0 or size == -held:
            return
        residue = abs(held + size) <= _RESIDUE * abs(size)
        if residue or (order.parent is not None and abs(size) > abs(held)):
            order.executed.remsize = -held

    def _cancel_orphans(self, filled: Any, held: float) -> None:
        # A stop left over from a position that is gone would open another one.
        data = _traded(filled)
        for order in list(self.pending):
            if (
                order is not None
                and order.parent is not None
                and order.active()
                and order != filled
                and _traded(order) is data
                and order.executed.remsize * held >= 0.0
            ):
                self.cancel(order)

    def _bracketize(self, order: Any, cancel: bool = False) -> None:
        # backtrader activates the children of a filled parent on the next bar.
        super()._bracketize(order, cancel=cancel)
        if not self._toactivate:
            return
        children = list(self._toactivate)
        self._toactivate.clear()
        part = rest_of_bar(order, self._entries.get(order.ref))
        for child in reversed(children):
            child.activate()
            _anchor(child, order)
            if part is not None:
                self._entries[child.ref] = part
            # A child that was passed over while inactive has its turn on this bar.
            if child in self.pending:
                self.pending.remove(child)
                self.pending.appendleft(child)
        self._sort_pending()

    def _sort_pending(self) -> None:
        # During a bar backtrader marks the orders it has done with by a None in front of them.
        waiting = list(self.pending)
        mark = waiting.index(None) if None in waiting else len(waiting)
        self.pending.clear()
        self.pending.extend(sorted(waiting[:mark], key=self._turn))
        self.pending.extend(waiting[mark:])

    def _turn(self, order: Any) -> tuple[int, bool]:
        child = order.parent is not None
        if order.exectype in (order.Market, order.Historical):
            return 0, child
        if order.exectype == order.Close:
            return 3, child
        prices = self._entries.get(order.ref) or prices_of(order.data)
        if order.active() and crossed_at_open(order, prices):
            return 0, child
        return (2 if rests_at_limit(order) else 1), child

    def _too_early(self, order: Any) -> bool:
        if self.p.coo or order.exectype in (order.Market, order.Close, order.Historical):
            return False  # backtrader's own rules for these
        return bool(order.data.datetime[0] <= order.created.dt)

    def _is_maker(self, order: Any, prices: Prices) -> bool:
        if not rests_at_limit(order):
            return False
        return order.ref in self._rested or not crossed_at_open(order, prices)

    def _schemes(self, order: Any) -> Iterable[CryptoCommission]:
        schemes = {
            id(scheme): scheme
            for scheme in map(self.getcommissioninfo, (order.data, _traded(order)))
        }
        return [each for each in schemes.values() if isinstance(each, CryptoCommission)]

    def _get_value(self, datas: Any = None, lever: bool = False) -> float:
        value = super()._get_value(datas=datas, lever=lever)
        if datas or self.p.shortcash or self._fundhist:
            return value
        # backtrader takes the absolute value of what a short is worth, so that one which has
        # lost more than its notional would gain again.
        excess = 0.0
        for data, position in self.positions.items():
            if position.size < 0.0 and self.getcommissioninfo(data).stocklike:
                worth = -position.size * (2.0 * position.price - data.close[0])
                excess += 2.0 * max(0.0, -worth)
        if not excess:
            return value
        self._value -= excess
        self._valuemkt -= excess
        self._valuelever -= excess
        self._valuemktlever -= excess
        self._fundval = self._value / self._fundshares
        return self._valuelever if lever else self._value


def upgrade_broker(broker: Any) -> bool:
    """Turn backtrader's own broker into a `SimulatedBroker` where it stands.

    Call it before the first bar, for instance from a strategy's ``__init__`` or ``start``. What
    the user has set stays: cash, commissions, slippage, volume filler. Two things change:
    shorts need cash, and where no default commission was ever set, `CryptoCommission` becomes
    it, with a warning in the log.

    Parameters
    ----------
    broker
        Such as ``cerebro.broker`` or ``strategy.broker``.

    Returns
    -------
    bool
        True if the broker now is a `SimulatedBroker`; False for any other broker, which is
        left alone, with a warning in the log.
    """
    if type(broker) is bt.brokers.BackBroker:
        broker.__class__ = SimulatedBroker
        broker._forget_orders()
    elif not isinstance(broker, SimulatedBroker):
        logger.warning(
            "%s is not backtrader's own broker and is left as it is: its brackets may miss the "
            "entry bar; use cerebro.setbroker(SimulatedBroker()) for a backtest",
            type(broker).__name__,
        )
        return False
    broker.set_shortcash(False)
    if _is_pristine(broker):
        fees = CryptoCommission()
        broker.addcommissioninfo(fees)
        logger.warning(
            "no commission was set: each fill pays the taker fee of %g of its notional, resting "
            "limit orders the maker fee of %g; set others with "
            "cerebro.broker.addcommissioninfo(CryptoCommission(taker_fee=..., maker_fee=...))",
            fees.p.taker_fee,
            fees.p.maker_fee,
        )
    return True


def _is_pristine(broker: Any) -> bool:
    scheme = broker.comminfo.get(None)
    if scheme is not broker.p.commission or type(scheme) is not bt.CommInfoBase:
        return False
    # In a worker of optstrategy the default is a pickled copy: equal, no longer identical.
    default = bt.brokers.BackBroker.params.commission
    return bool(scheme is default or scheme.p._getkwargs() == default.p._getkwargs())


def _traded(order: Any) -> Any:
    compensated = order.data._compensate
    return order.data if compensated is None else compensated


def _only_reduces(held: float, size: float) -> bool:
    return held * size < 0.0 and abs(size) <= abs(held) * (1.0 + _RESIDUE)


def _anchor(child: Any, parent: Any) -> None:
    offset = child.info.get("offset")
    if offset is None or len(parent.executed.exbits) != 1:
        return
    level = parent.executed.price + offset
    if child.created.pricelimit is not None and child.created.price is not None:
        child.created.pricelimit += level - child.created.price
    child.created.price = level
