"""Bars gone through by their finer candles, in order of time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import backtrader as bt

from lstm_strategies.broker.funded import span_of_bar
from lstm_strategies.broker.queueing import QueueingBroker
from lstm_strategies.broker.turns import AT_OPEN
from lstm_strategies.detail import Detail, merged
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import candle_timeframe_of
from lstm_strategies.intrabar import has_level, is_untouched, prices_of, shown_prices

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning_models.candles import Candles
    from lstm_strategies.detail import Step

__all__ = ["SteppingBroker"]

_STOP_LIMITS: Final = (bt.Order.StopLimit, bt.Order.StopTrailLimit)


class SteppingBroker(QueueingBroker):
    """Lets finer candles decide what came first within a bar."""

    # What the user has given outlives a run.
    _details: dict[Any, Detail]
    # The last bar of each feed with finer candles.
    _detailed: dict[Any, tuple[Any, ...]]

    def _forget(self) -> None:
        super()._forget()
        self._details = self.__dict__.get("_details", {})
        self._detailed = {}

    def add_detail(self, data: Any, candles: Candles) -> None:
        """Let finer candles decide what came first within the bars of a feed.

        Parameters
        ----------
        data
            The feed.
        candles
            Of a finer timeframe that divides the feed's. They need not cover the whole run.

        Raises
        ------
        ParameterError
            If they are no `Candles`, the feed's timeframe is unknown, or theirs doesn't divide
            it.

        Notes
        -----
        A run ends in a ``CandleError`` at the first bar whose high and low its finer candles
        exceed by more than rounding.
        """
        timeframe = candle_timeframe_of(data)
        if timeframe is None:
            raise ParameterError(
                f"the bars of {data._name} have no known timeframe, so that finer candles cannot "
                "be matched to them; tell the feed its timeframe"
            )
        self._details[data] = Detail(candles, name=str(data._name), timeframe=timeframe)

    def _is_decided_at_open(self, order: Any) -> bool:
        # What a stop-limit does once it is triggered is for the finer candles to say.
        return order.data not in self._details or order.exectype not in _STOP_LIMITS

    def _bars_to_step(self) -> dict[Any, Sequence[Step]]:
        """Return the finer candles of the new bars in which they may decide something."""
        found = {}
        decided = False
        for data, detail in self._details.items():
            if not len(data) or data.replaying:
                continue
            bar = prices_of(data)
            key = (len(data), data.datetime[0], *bar)
            if self._detailed.get(data) == key or any(map(math.isnan, bar)):
                continue
            self._detailed[data] = key
            opened, end = span_of_bar(data)
            steps = detail.of_bar(opened, bar)
            if not steps:
                continue
            held = self.positions[data].size
            if self._may_decide(data, held, opened, end):
                decided = True
            elif not held or self.p.margin_mode != "cross":
                continue
            found[data] = steps
        # In cross mode one position's prices move the liquidation of another.
        if not decided and len(found) < 2:
            return {}
        return found

    def _may_decide(self, data: Any, held: float, opened: int, end: int) -> bool:
        if held and self._funded and self._rates_of(data).due(opened + 1, end):
            return True
        return any(
            order.data is data
            and has_level(order)
            and order.active()
            and not self._too_early(order)
            and not is_untouched(order)
            for order in self.pending
        )

    def _go_through(self, stepped: dict[Any, Sequence[Step]]) -> None:
        """Work through finer candles in order of time."""
        cross = self.p.margin_mode == "cross"
        ends = {data: span_of_bar(data)[1] for data in stepped}
        last = {data: steps[0].prices.open for data, steps in stepped.items()}
        if self._funded:
            for data in stepped:
                # What was due just as the bar opened is not charged to what it opened.
                self._until.setdefault(data, self._span(data)[1] + 1)
        for (time, prices), data in merged(stepped):
            self._step = time
            end = time + self._details[data].step_ms
            with shown_prices(data, prices):
                if self._funded:
                    self._fund(data, self._until[data], time, last[data])
                    self._fund(data, time, time + 1, prices.open)
                if cross:
                    self._known[data] = prices.open
                    self._keep_all_liquidations()
                mine = self._of_feed(data)
                self._work(mine, last_stage=AT_OPEN)
                if self._funded:
                    self._fund(data, time + 1, end, prices.open)
                self._work(mine)
            last[data] = prices.close
            if cross:
                self._known[data] = prices.close
            self._end_step(data)
        self._step = None
        for data in stepped:
            if self._funded:
                self._fund(data, self._until[data], ends[data], last[data])
        # None of them is checked against the whole bar, when it is shown once more.
        for order in self.pending:
            if order.data in stepped and order.active():
                self._checked[order.ref] = self._bar_of(order.data, prices_of(order.data))

    def _end_step(self, data: Any) -> None:
        for order in self.pending:
            if order.data is data:
                self._entries.pop(order.ref, None)
                if order.active():
                    self._rested.add(order.ref)

    def _of_feed(self, data: Any) -> Callable[[Any], bool]:
        return lambda order: order.data is data and has_level(order)
