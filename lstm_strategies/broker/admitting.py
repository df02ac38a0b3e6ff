"""Which orders the exchange takes: by the cash they need, and by their size."""

from __future__ import annotations

import logging
from typing import Any

from lstm_strategies.broker.filling import FillingBroker, anchor
from lstm_strategies.broker.lots import only_reduces, refusal
from lstm_strategies.broker.margined import RESIDUE, traded_feed

__all__ = ["AdmittingBroker"]

logger = logging.getLogger("lstm_strategies.broker")


class AdmittingBroker(FillingBroker):
    """Accepts or refuses orders when they reach the exchange."""

    # Whether an order's status has changed since somebody last looked.
    _moved: bool

    def _forget(self) -> None:
        super()._forget()
        self._moved = False

    def notify(self, order: Any) -> None:
        """Queue a notification; an order refused for lack of cash is also logged."""
        super().notify(order)
        self._moved = True
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

    def transmit(self, order: Any, check: bool = True) -> Any:
        """Send an order on; where nothing is checked later, its size is checked here."""
        if (check and self.p.checksubmit) or order.exectype == order.Historical:
            return super().transmit(order, check=check)
        parent = order.parent
        if parent is not None and parent.status == parent.Rejected:
            order.cancel()
            self.notify(order)
        elif self._takes_size(order, self.positions[traded_feed(order)].size):
            super().transmit(order, check=check)
        return order

    def check_submitted(self) -> None:
        """Accept or refuse the orders of the last bar by their size and the cash they need."""
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
            if not self._takes_size(order, held.size):
                self._bracketize(order, cancel=True)
                continue
            trial = held.clone()
            left = self._execute(order, cash=cash, position=trial)
            reduces = only_reduces(held.size, order.executed.remsize)
            if left >= 0.0 or reduces:
                cash, positions[order.data] = left, trial
                if reduces:
                    self._reducing.add(order.ref)
                self.submit_accept(order)
                continue
            order.margin()
            self.notify(order)
            self._ococheck(order)
            self._bracketize(order, cancel=True)

    def _takes_size(self, order: Any, held: float) -> bool:
        terms = self._terms(order.data)
        if terms is None or not (terms.p.lot_step or terms.p.min_notional):
            return True
        size, parent = order.executed.remsize, order.parent
        against = parent.created.size if parent is not None and parent.alive() else held
        if abs(size + against) <= RESIDUE * abs(size):
            return True  # it closes the whole of a position
        reduces = parent is not None or only_reduces(held, size)
        why = refusal(size, order.created.price, terms, reduces=reduces)
        if not why:
            return True
        order.reject()
        self.notify(order)
        self._ococheck(order)
        logger.warning(
            "order %d rejected: %s %.10g %s: %s",
            order.ref,
            order.ordtypename().lower(),
            abs(size),
            order.data._name,
            why,
        )
        return False

    def _accept_child(self, order: Any) -> None:
        parent = order.parent
        held = self.positions[traded_feed(order)].size
        late = parent.status == parent.Completed and held * order.executed.remsize < 0.0
        if not parent.alive() and not late:
            # backtrader calls it rejected; it never lived, because its parent didn't.
            order.cancel()
            self.notify(order)
        elif self._take_children(order) is not None and self._takes_size(order, held):
            if late:
                order.activate()
                anchor(order, parent)
            self.submit_accept(order)
