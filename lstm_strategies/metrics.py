"""A backtrader analyzer that says what a backtest achieved, in the names of the REST response."""

from __future__ import annotations

import logging
import math
from typing import Any

import backtrader as bt
import numpy as np
import numpy.typing as npt

from lightning_models.candles import Market, iso_utc
from lightning_models.timeframes import TIMEFRAMES, check_timeframe, period_ms
from lstm_strategies import performance
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import candle_timeframe_of, milliseconds_of_date
from lstm_strategies.liquidation import LIQUIDATION
from lstm_strategies.parameters import CheckedParameters
from lstm_strategies.trades import TradeBook, fills_of

__all__ = ["BacktestMetrics"]

logger = logging.getLogger(__name__)


class BacktestMetrics(bt.Analyzer, CheckedParameters):
    """Returns, risk and trades of one strategy, as plain values that JSON can hold.

    Params:
      - ``timeframe`` (""): such as ``6h``; by default that of the first feed.
      - ``market`` (""): ``continuous`` or ``sessions``; by default that of the first feed, and
        ``continuous`` for a feed that doesn't say.
      - ``from_time`` (None): milliseconds since the epoch. Curves, trades and figures start at
        the first bar stamped at or after it, so that bars before don't dilute them; what a
        position made before isn't counted.

    `get_analysis` returns a dict:
      - ``strategy_name``, ``symbol`` (several joined by a comma), ``start_date``, ``end_date``:
        times are ISO-8601 with Z, stamps of bars (open + period - 1 ms), also for fills.
      - ``total_trades``, ``winning_trades``, ``losing_trades``, ``win_rate`` (percent),
        ``avg_win``, ``avg_loss`` (0 or below; quote currency, net of fees and funding): closed
        trades only;
        a trade that broke even is neither winning nor losing.
      - ``profit_factor``: None where trades won and none lost, 0.0 where none won.
      - ``total_return`` and ``max_drawdown`` (0 or above) in quote currency;
        ``total_return_pct`` and ``max_drawdown_pct`` (0 or above) in percent.
      - ``annualized_return``: a fraction, 0.25 = +25 %; None under 90 days.
      - ``sharpe_ratio``, ``sortino_ratio``: annualised, risk-free rate 0, 0.0 where nothing was
        traded; the Sortino ratio is None where no bar lost.
      - ``probabilistic_sharpe_ratio``: probability that the true Sharpe ratio is above 0.
      - ``performance_rating``: see `lstm_strategies.performance.performance_rating`.
      - ``exposure``: fraction of the bars that closed with a position.
      - ``fees_paid``: quote currency, those of liquidations included. ``funding_paid``: quote
        currency, negative if more was received. ``liquidations``: how many positions the
        exchange closed by force.
      - ``turnover``: traded notional over mean equity.
      - ``open_pnl``: profit of the trades still open, at the last close, net of fees and funding
        paid.
      - ``trades``: dicts of ``symbol``, ``direction`` (LONG, SHORT), ``entry_time``,
        ``entry_price``, ``exit_time``, ``exit_price`` (means, if there were several fills),
        ``size`` (all that was entered), ``pnl`` (net of fees and funding), ``pnl_pct`` (of the
        entry notional), ``fees``, ``funding`` (positive = paid), ``bars`` and ``exit_reason``
        (``stop``, ``target``, ``reversal``, ``liquidation``, the order's own, or None). A trade
        still open comes last, with ``exit_time`` and ``exit_price`` None, ``exit_reason``
        ``end`` and its profit at the last close. So the profits of all trades listed add up to
        ``total_return``, as long as nothing but trades and their funding moves the account
        (interest on open positions and deposits do).
      - ``equity_curve``: dicts of ``time`` and ``equity``, one a bar; ``drawdown_curve``: of
        ``time`` and ``drawdown_pct``.

    Raises
    ------
    ParameterError
        If the timeframe isn't given and the first feed has none of those known, or the market
        is unknown.

    Notes
    -----
    It collects bar by bar and never looks back, so it works in every run mode of backtrader.
    Several strategies in one run need feeds of their own to count their trades apart; the
    equity is the account's. Where it is unknown, because a position has no price, it stays what
    it was a bar before. Missing bars make a return span several periods; it counts as one bar.
    """

    params = (
        ("timeframe", ""),
        ("market", ""),
        ("from_time", None),
    )

    def __init__(self) -> None:
        super().__init__()
        self._timeframe = self._given_timeframe()
        self._market = self._given_market()
        self._book = TradeBook()
        self._time: list[int] = []
        self._equity: list[float] = []
        self._exposed: list[bool] = []
        self._capital = 0.0
        self._value = 0.0
        self._bar = 0
        self._length = 0
        self._begun = False
        self._fees = 0.0
        self._funding = 0.0
        self._payments = 0
        self._liquidations = 0
        self._notional = 0.0

    def start(self) -> None:
        """Take the account's value as the capital that returns refer to."""
        self._feeds = {id(data): number for number, data in enumerate(self.datas)}
        self._symbols = [_symbol_of(data) for data in self.datas]
        self._capital = self._value = float(self.strategy.broker.getvalue())

    def notify_order(self, order: Any) -> None:
        """Book the fills of an order."""
        if order.p.simulated:
            return
        self._begin_if_due()
        bar = self._bar + (len(self.strategy) != self._length)
        traded = order.data if order.data._compensate is None else order.data._compensate
        feed = self._feeds[id(traded)]
        for fill in fills_of(order):
            if fill.payments is not None:
                self._book_funding(fill.payments)
            self._book.add(feed, self._symbols[feed], fill, self._now(), bar)
            if self._begun:
                self._fees += fill.close_fee + fill.open_fee
                self._liquidations += fill.reason == LIQUIDATION
                self._notional += abs(fill.closed + fill.opened) * fill.price

    def next(self) -> None:
        """Record the equity at the close of the bar."""
        self._begin_if_due()
        # In a replay, and on a slower feed, the same bar comes again.
        again = len(self.strategy) == self._length
        self._length = len(self.strategy)
        self._bar += not again
        self._book_funding(None)
        for number, data in enumerate(self.datas):
            # Without a price a position is worth what it was worth at the last one.
            if len(data) and not math.isnan(data.close[0]):
                self._book.mark(number, data.close[0])
        equity = float(self.strategy.broker.getvalue())
        if math.isnan(equity):
            equity = self._value
        self._value = equity
        if not self._begun:
            self._capital = equity
            return
        if again and self._time:
            del self._time[-1], self._equity[-1], self._exposed[-1]
        self._time.append(self._now())
        self._equity.append(equity)
        self._exposed.append(bool(self._book.open))

    def stop(self) -> None:
        """Compute everything."""
        if not self._begun:
            self._book = TradeBook()
        time = np.array(self._time, dtype=np.int64)
        self._warn_of_wrong_timeframe(time)
        self.rets = self._analysis(time, np.array(self._equity))
        self._feeds = {}

    def get_analysis(self) -> dict[str, Any]:
        """Return the result as a dict; empty before the end of the run."""
        return dict(self.rets)

    def _analysis(
        self, time: npt.NDArray[np.int64], equity: npt.NDArray[np.float64]
    ) -> dict[str, Any]:
        capital = self._capital
        end = float(equity[-1]) if len(equity) else capital
        closed = self._book.closed
        still_open = list(self._book.open.values())
        for trade in still_open:
            trade.reason = "end"
            trade.bars = self._bar - trade.entry_bar
        statistics = performance.trade_statistics([trade.net for trade in closed])
        returns = performance.bar_returns(capital, equity)
        periods = performance.periods_per_year(self._timeframe, self._market, time)
        sharpe = performance.sharpe_ratio(returns, periods)
        psr = performance.probabilistic_sharpe_ratio(returns)
        fall = performance.drawdown(capital, equity)
        stamps = [iso_utc(each) for each in self._time]
        # The first bar's return spans the bar itself.
        elapsed = int(time[-1] - time[0]) + period_ms(self._timeframe) if len(time) else 0
        return {
            "strategy_name": type(self.strategy).__name__,
            "symbol": ",".join(dict.fromkeys(self._symbols)),
            "start_date": stamps[0] if stamps else None,
            "end_date": stamps[-1] if stamps else None,
            "total_trades": statistics.total,
            "winning_trades": statistics.winning,
            "losing_trades": statistics.losing,
            "win_rate": statistics.win_rate,
            "total_return": end - capital,
            "total_return_pct": 100.0 * (end - capital) / capital if capital > 0.0 else 0.0,
            "annualized_return": performance.annualized_return(capital, end, elapsed),
            "max_drawdown": fall.largest,
            "max_drawdown_pct": fall.largest_pct,
            "sharpe_ratio": sharpe,
            "sortino_ratio": performance.sortino_ratio(returns, periods),
            "probabilistic_sharpe_ratio": psr,
            "profit_factor": statistics.profit_factor,
            "avg_win": statistics.average_win,
            "avg_loss": statistics.average_loss,
            "performance_rating": performance.performance_rating(
                trades=statistics.total,
                total_return=end - capital,
                sharpe=sharpe,
                max_drawdown_pct=fall.largest_pct,
                psr=psr,
            ),
            "exposure": sum(self._exposed) / len(self._exposed) if self._exposed else 0.0,
            "fees_paid": self._fees,
            "funding_paid": self._funding,
            "liquidations": self._liquidations,
            "turnover": self._notional / float(equity.mean()) if equity.sum() > 0.0 else 0.0,
            "open_pnl": sum((trade.net for trade in still_open), 0.0),
            "trades": [trade.as_dict() for trade in (*closed, *still_open)],
            "equity_curve": [
                {"time": stamp, "equity": value}
                for stamp, value in zip(stamps, self._equity, strict=True)
            ],
            "drawdown_curve": [
                {"time": stamp, "drawdown_pct": value}
                for stamp, value in zip(stamps, fall.curve_pct.tolist(), strict=True)
            ],
        }

    def _book_funding(self, end: int | None) -> None:
        # Payments and fills of a bar take turns: each payment is the trade's that was open.
        payments = getattr(self.strategy.broker, "funding_payments", ())
        for payment in payments[self._payments : end]:
            self._payments += 1
            feed = self._feeds.get(id(payment.data))
            if feed is None:
                continue
            self._book.fund(feed, payment.amount)
            if self._begun:
                self._funding += payment.amount

    def _now(self) -> int:
        return milliseconds_of_date(self.strategy.datetime[0])

    def _begin_if_due(self) -> None:
        if not self._begun and (self.p.from_time is None or self._now() >= self.p.from_time):
            self._begun = True
            self._book.begin()

    def _given_timeframe(self) -> str:
        if self.p.timeframe:
            return check_timeframe(self.p.timeframe)
        timeframe = candle_timeframe_of(self.data)
        if timeframe is None:
            raise ParameterError(
                f"the first feed's bars, timeframe {self.data._timeframe} with compression "
                f"{self.data._compression}, are none of {', '.join(TIMEFRAMES)}; "
                "give BacktestMetrics a timeframe"
            )
        return timeframe

    def _given_market(self) -> Market:
        market = self.p.market or getattr(self.data, "market", "continuous")
        if market == "continuous":
            return "continuous"
        if market == "sessions":
            return "sessions"
        raise ParameterError(f"unknown market {market!r}: give 'continuous' or 'sessions'")

    def _warn_of_wrong_timeframe(self, time: npt.NDArray[np.int64]) -> None:
        if len(time) < 3:
            return
        seen = float(np.median(np.diff(time)))
        stated = period_ms(self._timeframe)
        if seen < 0.99 * stated:
            logger.warning(
                "bars came every %g s, but the timeframe is %s (%g s): annualised figures are "
                "wrong; tell the feed its timeframe, or BacktestMetrics",
                seen / 1000.0,
                self._timeframe,
                stated / 1000.0,
            )


def _symbol_of(data: Any) -> str:
    return str(getattr(data, "symbol", None) or data._name or "")
