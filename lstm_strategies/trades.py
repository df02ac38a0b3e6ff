"""Trades put together from fills: from flat to flat, net of fees and funding, marked while open."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import backtrader as bt

from lightning_models.candles import iso_utc

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Fill", "Trade", "TradeBook", "exit_reason_of", "fills_of"]

_STOPS: Final = (
    bt.Order.Stop,
    bt.Order.StopLimit,
    bt.Order.StopTrail,
    bt.Order.StopTrailLimit,
)

_RESIDUE: Final = 1e-9


@dataclass(frozen=True)
class Fill:
    """One execution, split into what it closed and what it opened.

    Parameters
    ----------
    price
        Quote currency.
    closed, opened
        Signed sizes, base currency; at least one isn't zero.
    profit
        What the closed part won, before fees, quote currency.
    close_fee, open_fee
        Quote currency.
    reason
        Why the order was there, if known; see `exit_reason_of`.
    payments
        How many funding payments the broker had made before it; None if that isn't known.
    """

    price: float
    closed: float
    opened: float
    profit: float
    close_fee: float
    open_fee: float
    reason: str | None
    payments: int | None = None


@dataclass
class Trade:
    """A position from its first fill to its last."""

    symbol: str
    long: bool
    entry_time: int
    entry_bar: int
    held: float = 0.0
    entry_price: float = 0.0
    entered: float = 0.0
    entry_value: float = 0.0
    left: float = 0.0
    exit_value: float = 0.0
    profit: float = 0.0
    fees: float = 0.0
    funding: float = 0.0
    carried: float = 0.0
    carried_fees: float = 0.0
    carried_funding: float = 0.0
    exit_time: int | None = None
    bars: int = 0
    reason: str | None = None
    mark: float = math.nan

    @property
    def net(self) -> float:
        """Profit after fees and funding, what is held counted at its mark; quote currency."""
        open_profit = self.held * (self.mark - self.entry_price) if self.held else 0.0
        return self.profit + open_profit - self.fees - self.funding - self.carried

    def as_dict(self) -> dict[str, Any]:
        """Return the trade with the names of `lstm_strategies.metrics.BacktestMetrics`."""
        net = self.net
        return {
            "symbol": self.symbol,
            "direction": "LONG" if self.long else "SHORT",
            "entry_time": iso_utc(self.entry_time),
            "entry_price": self.entry_value / self.entered,
            "exit_time": None if self.exit_time is None else iso_utc(self.exit_time),
            "exit_price": None if self.exit_time is None else self.exit_value / self.left,
            "size": self.entered,
            "pnl": net,
            "pnl_pct": 100.0 * net / self.entry_value,
            "fees": self.fees - self.carried_fees,
            "funding": self.funding - self.carried_funding,
            "bars": self.bars,
            "exit_reason": self.reason,
        }


class TradeBook:
    """The trades of a strategy on all its feeds."""

    def __init__(self) -> None:
        self.closed: list[Trade] = []
        self.open: dict[int, Trade] = {}

    def add(self, feed: int, symbol: str, fill: Fill, time: int, bar: int) -> None:
        """Take one fill into the book.

        Parameters
        ----------
        feed
            Number of the feed.
        symbol
            Symbol of the feed.
        fill
            What was executed.
        time
            Stamp of the bar that it was executed on, milliseconds.
        bar
            Number of that bar.
        """
        if fill.closed:
            self._close(feed, fill, time, bar)
        if fill.opened:
            self._open(feed, symbol, fill, time, bar)

    def mark(self, feed: int, price: float) -> None:
        """Set the price at which an open trade counts."""
        trade = self.open.get(feed)
        if trade is not None:
            trade.mark = price

    def fund(self, feed: int, amount: float) -> None:
        """Book a funding payment on the trade that is open.

        Parameters
        ----------
        feed
            Number of the feed.
        amount
            Quote currency: paid if positive, received if negative.
        """
        trade = self.open.get(feed)
        if trade is not None:
            trade.funding += amount

    def begin(self) -> None:
        """Start counting here: forget closed trades, and what open ones have made so far."""
        self.closed.clear()
        for trade in self.open.values():
            trade.carried += trade.net
            trade.carried_fees = trade.fees
            trade.carried_funding = trade.funding

    def _open(self, feed: int, symbol: str, fill: Fill, time: int, bar: int) -> None:
        trade = self.open.get(feed)
        if trade is None:
            trade = Trade(symbol=symbol, long=fill.opened > 0.0, entry_time=time, entry_bar=bar)
            self.open[feed] = trade
            self._name_reversal(trade, time, bar)
        value = trade.held * trade.entry_price + fill.opened * fill.price
        trade.held += fill.opened
        trade.entry_price = value / trade.held
        trade.entered += abs(fill.opened)
        trade.entry_value += abs(fill.opened) * fill.price
        trade.fees += fill.open_fee
        trade.mark = fill.price

    def _close(self, feed: int, fill: Fill, time: int, bar: int) -> None:
        trade = self.open.get(feed)
        if trade is None:
            return
        trade.held += fill.closed
        trade.left += abs(fill.closed)
        trade.exit_value += abs(fill.closed) * fill.price
        trade.profit += fill.profit
        trade.fees += fill.close_fee
        trade.reason = fill.reason
        trade.mark = fill.price
        # Under backtrader's own broker a position can end as the residue of binary lots.
        if abs(trade.held) <= _RESIDUE * trade.entered:
            trade.held = 0.0
            trade.exit_time = time
            trade.bars = bar - trade.entry_bar
            self.closed.append(self.open.pop(feed))

    def _name_reversal(self, trade: Trade, time: int, bar: int) -> None:
        for last in reversed(self.closed):
            if last.exit_time != time or last.entry_bar + last.bars != bar:
                return
            if last.symbol == trade.symbol and last.long != trade.long and last.reason is None:
                last.reason = "reversal"
                return


def exit_reason_of(order: Any) -> str | None:
    """Return why an order closes a position, if it shows.

    Its own ``exit_reason`` (``close(exit_reason="horizon")``) where it has one, which of the
    exchange's own is ``liquidation``; otherwise ``stop`` for stops, ``target`` for limits, and
    None for market orders.
    """
    given = order.info.get("exit_reason")
    if given is not None:
        return str(given)
    if order.exectype in _STOPS:
        return "stop"
    return "target" if order.exectype == bt.Order.Limit else None


def fills_of(order: Any) -> Iterable[Fill]:
    """Return the fills that a notification of an order brings."""
    reason = exit_reason_of(order)
    for bit in order.executed.iterpending():
        if bit is not None and (bit.closed or bit.opened):
            yield Fill(
                price=bit.price,
                closed=bit.closed,
                opened=bit.opened,
                profit=bit.pnl,
                close_fee=bit.closedcomm,
                open_fee=bit.openedcomm,
                reason=reason,
                payments=getattr(bit, "payments", None),
            )
