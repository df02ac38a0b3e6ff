"""Funding: charged when it falls due, on the position that is held at that moment."""

from __future__ import annotations

import logging
import math
from collections.abc import Container
from typing import Any

import numpy as np

from lightning_models.candles import iso_utc
from lightning_models.timeframes import period_ms
from lstm_strategies.bar_times import opens_of
from lstm_strategies.broker.liquidating import LiquidatingBroker
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import candle_timeframe_of, milliseconds_of_date
from lstm_strategies.funding import FundingPayment, FundingRates, check_rate
from lstm_strategies.intrabar import prices_of

__all__ = ["FundedBroker", "span_of_bar"]

logger = logging.getLogger("lstm_strategies.broker")


class FundedBroker(LiquidatingBroker):
    """Charges positions their funding.

    What falls due in a hole between two bars is charged at the close before it, what falls due
    as a bar opens at its open, before its fills; what falls due inside a bar after what
    happens at its open and before stops and limits, at the open's price.
    """

    params: Any = (("funding_rate", 0.0),)

    funding_payments: list[FundingPayment]
    """Every payment of the run, in order of time."""

    # By feed; None for all others. What the user has set outlives a run.
    _rates: dict[Any, FundingRates]
    _constant: FundingRates
    _funded: bool
    # Up to which moment each position's funding is charged, and its last known price.
    _until: dict[Any, int]
    _last_close: dict[Any, float]
    _spans: dict[Any, tuple[float, int, int]]
    # When the run began, for each feed with a table of rates.
    _began: dict[Any, int]

    def _forget(self) -> None:
        check_rate("funding_rate", self.p.funding_rate)
        super()._forget()
        self.funding_payments = []
        self._rates = self.__dict__.get("_rates", {})
        self._constant = FundingRates.constant(self.p.funding_rate)
        self._funded = bool(self._rates or self.p.funding_rate)
        self._until = {}
        self._last_close = {}
        self._spans = {}
        self._began = {}

    def set_funding(self, data: Any, rates: FundingRates) -> None:
        """Set the funding rates of a feed, in place of ``funding_rate``.

        Parameters
        ----------
        data
            The feed; None for all that have none of their own.
        rates
            From `FundingRates.constant` or `FundingRates.read`.

        Raises
        ------
        ParameterError
            If they are no `FundingRates`.
        """
        if not isinstance(rates, FundingRates):
            raise ParameterError(
                f"the funding rates are a {type(rates).__name__}: give FundingRates.constant(...) "
                "or FundingRates.read(...)"
            )
        self._rates[data] = rates
        self._funded = True

    def stop(self) -> None:
        """Say what share of the run had no funding rate."""
        super().stop()
        for data, began in self._began.items():
            rates = self._rates_of(data)
            _, _, end = self._span(data)
            lacking = rates.uncovered(began, end)
            if lacking > 0.0:
                logger.warning(
                    "%.1f %% of the run of %s, %s to %s, had no funding rate and was charged none; "
                    "give rates that cover it",
                    100.0 * lacking,
                    data._name,
                    iso_utc(began),
                    iso_utc(end),
                )

    def _rates_of(self, data: Any) -> FundingRates:
        return self._rates.get(data) or self._rates.get(None) or self._constant

    def _span(self, data: Any) -> tuple[float, int, int]:
        date = data.datetime[0]
        span = self._spans.get(data)
        if span is None or span[0] != date:
            span = self._spans[data] = (date, *span_of_bar(data, self._until.get(data)))
        return span

    def _fund_at_open(self) -> None:
        """Charge what fell due since the last bar, and as this one opens."""
        if self._rates and len(self._began) < len(self.cerebro.datas):
            self._note_beginnings()
        for data, position in self.positions.items():
            if position.size:
                _, opened, _ = self._span(data)
                price = prices_of(data).open
                before = self._last_close.get(data, price)
                self._fund(data, self._until.get(data, opened), opened, before)
                self._fund(data, opened, opened + 1, before if math.isnan(price) else price)

    def _fund_inside(self, without: Container[Any] = ()) -> bool:
        """Charge what falls due before the bar ends, and return whether anything did.

        Parameters
        ----------
        without
            Feeds whose finer candles say at which price it fell due.
        """
        before = len(self.funding_payments)
        for data, position in self.positions.items():
            if position.size and data not in without:
                _, opened, end = self._span(data)
                price = prices_of(data).open
                if math.isnan(price):
                    price = self._last_close.get(data, position.price)
                self._fund(data, opened + 1, end, price)
        return len(self.funding_payments) > before

    def _fund_done(self) -> None:
        """Remember up to when each position has been charged."""
        for data, position in self.positions.items():
            if position.size:
                self._until[data] = self._span(data)[2]
                if not math.isnan(data.close[0]):
                    self._last_close[data] = data.close[0]
            elif data in self._until:
                del self._until[data]

    def _fund(self, data: Any, begin: int, end: int, price: float) -> None:
        begin = max(begin, self._until.get(data, begin))
        if begin >= end:
            return
        size = self.positions[data].size
        for time, rate in self._rates_of(data).due(begin, end) if size else ():
            amount = self._charge(data, size * price * rate, price)
            self.funding_payments.append(FundingPayment(time, data, amount, rate))
        self._until[data] = end

    def _charge(self, data: Any, amount: float, price: float) -> float:
        if amount > self.cash and self._isolated_terms(data) is not None:
            # What the cash lacks is taken from the position's margin, down to nothing.
            position = self.positions[data]
            paid = max(0.0, self.cash)
            left = self.position_margin(data) + position.size * (price - position.price)
            taken = min(amount - paid, max(0.0, left))
            amount = paid + taken
            self.cash -= paid
            self._taken[data] = self._taken.get(data, 0.0) + taken
            self._keep_liquidation(data)
        else:
            self.cash -= amount
            if self.p.margin_mode == "cross":
                self._keep_all_liquidations()
        return float(amount)

    def _note_beginnings(self) -> None:
        for data in self.cerebro.datas:
            rates = self._rates.get(data) or self._rates.get(None)
            if rates is not None and data not in self._began and len(data):
                self._began[data] = self._span(data)[1]


def span_of_bar(data: Any, until: int | None = None) -> tuple[int, int]:
    """Return when a feed's present bar opened and when it ends, milliseconds since the epoch.

    Parameters
    ----------
    data
        The feed.
    until
        When the part of a replayed bar that came before ends, if there was one; such a bar
        comes in parts, each of which ends at its stamp.

    Raises
    ------
    ParameterError
        If the feed's timeframe is none of those known, so that nobody knows when a bar opens.
    """
    timeframe = candle_timeframe_of(data)
    if timeframe is None:
        raise ParameterError(
            f"the bars of {data._name}, timeframe {data._timeframe} with compression "
            f"{data._compression}, have no known timeframe, so that nobody knows when they open; "
            "tell the feed its timeframe"
        )
    stamp = milliseconds_of_date(data.datetime[0])
    opened = int(opens_of(data, np.array([stamp]), timeframe)[0])
    if not data.replaying:
        return opened, opened + period_ms(timeframe)
    return max(opened, stamp if until is None else until), stamp + 1
