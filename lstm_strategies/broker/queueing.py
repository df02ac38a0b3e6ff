"""The queue of a bar: whose turn it is, and what it changes for those behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lstm_strategies.broker.admitting import AdmittingBroker
from lstm_strategies.broker.margined import traded_feed
from lstm_strategies.broker.turns import Turn, turn_of
from lstm_strategies.intrabar import bands_of, is_untouched, prices_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["QueueingBroker"]


class QueueingBroker(AdmittingBroker):
    """Works through the orders that wait, in the order of `lstm_strategies.broker.turns`."""

    def _all_untouched(self) -> bool:
        # Whether looking at each order would change none: no level touched, nothing to expire.
        if self._bands is None:
            self._bands = bands_of(self.pending)
        for data, below, above in self._bands or ():
            prices = prices_of(data)
            # Without a price neither holds.
            if not (below < prices.low and above > prices.high):
                break
        else:
            if self._bands is not None:
                return True
        return all(
            order.valid is None and (not order.active() or is_untouched(order))
            for order in self.pending
        )

    def submit_accept(self, order: Any) -> Any:
        """Take an order into the queue."""
        self._bands = None
        return super().submit_accept(order)

    def cancel(self, order: Any, bracket: bool = False) -> Any:
        """Take an order out of the queue."""
        self._bands = None
        return super().cancel(order, bracket)

    def _work(self, chosen: Callable[[Any], bool], last_stage: int | None = None) -> None:
        """Give each chosen order its turn, up to a stage."""
        done: set[int] = set()
        self._bands = None
        queue = self._queue(chosen, done)
        while queue:
            turn, order = queue.pop()
            if last_stage is not None and turn.stage > last_stage:
                return
            done.add(order.ref)
            self._moved = False
            self._try(order)
            if self._moved:
                # Children have come alive, others have been cancelled, levels have moved.
                done -= self._again
                self._again.clear()
                queue = self._queue(chosen, done)

    def _queue(
        self, chosen: Callable[[Any], bool], done: Collection[int]
    ) -> list[tuple[Turn, Any]]:
        # The first in turn is last in the list. Turns differ at least in the orders' numbers.
        turns = [
            (self._turn(order), order)
            for order in self.pending
            if order.ref not in done and chosen(order)
        ]
        return sorted(turns, key=lambda pair: pair[0], reverse=True)

    def _turn(self, order: Any) -> Turn:
        prices = self._entries.get(order.ref) or prices_of(order.data)
        return turn_of(order, prices, self.positions[traded_feed(order)].size)

    def _try(self, order: Any) -> None:
        # Out of the queue while it is worked on: what it cancels must not be itself.
        place = self.pending.index(order)
        del self.pending[place]
        if order.expire():
            self.notify(order)
            self._ococheck(order)
            self._bracketize(order, cancel=True)
            return
        if order.active():
            self._try_exec(order)
        if order.alive():
            self.pending.insert(min(place, len(self.pending)), order)
            if order.status == order.Partial and order.parent is None:
                held = self.positions[traded_feed(order)].size
                # A turn may still be busy with the position it comes from.
                if held * order.size > 0.0:
                    self._protect(order)
        elif order.status == order.Completed:
            self._bracketize(order)
