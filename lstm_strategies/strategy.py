"""Trade a registered model's forecasts: enter on confidence, leave on reversal, stop or target."""

from __future__ import annotations

import logging
import math
from collections import Counter
from typing import Any

import backtrader as bt
import numpy as np
import numpy.typing as npt

from lightning_models.predictor import Predictor
from lstm_strategies.bar_times import closes_of, is_closed
from lstm_strategies.broker import SimulatedBroker, upgrade_broker
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import (
    candle_timeframe_of,
    milliseconds_of_date,
    milliseconds_of_dates,
)
from lstm_strategies.given_values import check_fraction, check_model, check_positive
from lstm_strategies.indicator import LSTMForecast
from lstm_strategies.models import predictor_of
from lstm_strategies.no_trade import why_no_trade
from lstm_strategies.parameters import CheckedParameters, attach
from lstm_strategies.sizer import RiskSizer, mean_true_range
from lstm_strategies.standing import Standing
from lstm_strategies.trades import fills_of
from lstm_strategies.verdicts import (
    BEFORE_UNSEEN,
    CONFIDENT_DOWN,
    CONFIDENT_UP,
    WITHOUT_FORECAST,
    judge,
)

__all__ = ["LSTMStrategy"]

_log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]


class LSTMStrategy(bt.Strategy, CheckedParameters):
    """Enter where a forecast is confident enough; leave on reversal, stop or target.

    Signals at a bar's close are filled at the next bar's open. The stop and the target lie a
    multiple of the mean true range from the fill and are live from it, on the entry bar too.
    A signal the other way closes the position and, unless ``long_only``, opens the opposite
    one. No signal (0 or NaN) changes nothing. No position is opened before the model's
    ``unseen_from`` unless ``in_sample`` says so.

    Every feed of the model's timeframe is traded as soon as it has the history a forecast
    needs; slower and faster feeds are left alone. A replayed bar is acted on when it is
    finished. A stock broker is turned into a `SimulatedBroker`, and without a sizer of the
    user's own positions are sized by `RiskSizer`.

    Params:
      - ``model``: ``models:/name@champion``, ``models:/name/3`` or a bundle's folder; or
        ``statistical``, which was never trained.
      - ``min_confidence`` (0.6): calibrated probability that an entry needs.
      - ``min_edge`` (0.0): expected move over the cost of a round trip that an entry needs.
      - ``top_share`` (0.0): in place of ``min_confidence``, the confidence that this share of
        the calibration slice's bars reached; 0 is off.
      - ``long_only`` (False): a forecast of a fall only closes.
      - ``in_sample`` (False): trade on candles the model has seen, too.
      - ``risk_per_trade`` (0.02): fraction of equity lost where the stop is hit.
      - ``atr_period`` (14), ``atr_stop`` (2.0), ``atr_target`` (3.0): bars and multiples of the
        mean true range.
      - ``home`` (""): folder of the registry; ``$LSTM_HOME`` or the user's by default.
      - ``fallback`` (""): what to forecast with, and warn, where there is no such model, such
        as ``statistical``.

    Attributes
    ----------
    predictor : Predictor
        The loaded model; an alias is looked up once.
    traded : list
        The feeds of the model's timeframe.
    forecasts : dict
        From each of them to its `LSTMForecast`.
    threshold : float
        Confidence that a trade needs.
    counts : collections.Counter
        What became of each bar: ``without_forecast``, or ``forecasts`` and one of
        ``before_unseen``, ``under_threshold``, ``disagreeing``, ``confident_up``,
        ``confident_down``; of confident ones that might have opened a position: ``under_edge``,
        ``passed``, ``short_refused``, ``unsized``; and of each order: ``orders_completed``,
        ``orders_margin``, ``orders_rejected``, ``orders_canceled``.

    Raises
    ------
    ParameterError
        If a parameter is out of its range, or no feed has the model's timeframe.
    ModelNotFoundError, BundleError
        If the model cannot be loaded, or the only feed has another timeframe.

    Notes
    -----
    Strategies of one cerebro share its account, and what they hold of a feed is one position
    to the broker, whose stops and targets end when that position does. Compare strategies in
    a cerebro of their own each.

    A subclass with a ``next()`` of its own is not called before every feed and indicator has
    its history, as anywhere in backtrader.
    """

    params: Any = (
        ("model", ""),
        ("min_confidence", 0.6),
        ("min_edge", 0.0),
        ("top_share", 0.0),
        ("long_only", False),
        ("in_sample", False),
        ("risk_per_trade", 0.02),
        ("atr_period", 14),
        ("atr_stop", 2.0),
        ("atr_target", 3.0),
        ("home", ""),
        ("fallback", ""),
    )

    def __init__(self) -> None:
        super().__init__()
        self._check_parameters()
        self.predictor: Predictor = predictor_of(
            self.p.model,
            self.p.home,
            fallback=self.p.fallback,
            data=self.datas[0] if self.datas else None,
        )
        self.counts: Counter[str] = Counter()
        self.threshold = self.p.min_confidence
        if self.p.top_share:
            self.threshold = self.predictor.bundle.thresholds.confidence_of_top(self.p.top_share)
        self.largest_confidence = 0.0
        bundle = self.predictor.bundle
        self._unseen_from = None if self.p.in_sample else bundle.unseen_from_ms
        self.traded = self._feeds_to_trade()
        # An alias may move while a backtest runs; its version doesn't.
        self.forecasts = {
            data: attach(LSTMForecast, data, model=self.predictor.model, home=self.p.home)
            for data in self.traded
        }
        self._feeds = {
            data: Standing(data, forecast, forecast._minperiod)
            for data, forecast in self.forecasts.items()
        }
        for feed in self._feeds.values():
            self._keep_bars(feed)
        self._first_sizer = self._sizer
        upgrade_broker(self.broker)

    def start(self) -> None:
        """Size by risk, unless the user chose a sizer."""
        if self._sizer is self._first_sizer:
            self.setsizer(RiskSizer(risk=self.p.risk_per_trade))
        self._warn_of_shared_feeds()

    def prenext(self) -> None:
        """Trade the feeds that have their history while another one still lacks it."""
        # A subclass's own next() may count on every feed and indicator to be there.
        if type(self).next is LSTMStrategy.next:
            self.next()

    def next(self) -> None:
        """Act on each traded feed's forecast, once a bar."""
        for feed in self._feeds.values():
            bar = len(feed.data)
            # With several feeds next() comes again while a slower one stands still.
            if bar == feed.bar or bar < feed.first_bar or self._is_unfinished(feed.data):
                continue
            feed.bar = bar
            if feed.forecast.in_bulk:
                if not feed.verdicts:
                    feed.verdicts = self._judge_all(feed)
                verdict = feed.verdicts[bar - 1]
            else:
                verdict = self._judge_present(feed)
            self.counts[verdict] += 1
            if verdict == WITHOUT_FORECAST:
                continue
            self.counts["forecasts"] += 1
            if verdict == CONFIDENT_UP:
                self._act(feed, 1)
            elif verdict == CONFIDENT_DOWN:
                self._act(feed, -1)

    def notify_order(self, order: Any) -> None:
        """Count and log what became of each order."""
        if order.status in (order.Submitted, order.Accepted):
            return
        feed = self._feeds.get(order.data)
        if feed is not None and order.executed.size:
            for fill in fills_of(order):
                feed.add_fill(fill.closed + fill.opened)
        if order.status == order.Partial:
            return
        fate = order.getstatusname().lower()
        self.counts[f"orders_{fate}"] += 1
        refused = order.status in (order.Margin, order.Rejected)
        # A SimulatedBroker tells of its refusals itself.
        if refused and not isinstance(self.broker, SimulatedBroker):
            _log_order(logging.WARNING, order, fate, order.created)
        elif _log.isEnabledFor(logging.DEBUG):
            _log_order(logging.DEBUG, order, fate, order.executed)

    def stop(self) -> None:
        """Say why, where no order was ever filled."""
        if not self.counts["orders_completed"]:
            _log.warning("%s", self.why_no_trade())

    def stop_distance(self, data: Any) -> float:
        """Return the distance of a stop from the entry, quote currency; NaN if it is unknown."""
        spread = mean_true_range(data, int(self.p.atr_period))
        return math.nan if spread is None else self.p.atr_stop * spread

    def why_no_trade(self) -> str:
        """Return in words why no position was opened."""
        return why_no_trade(
            self.counts,
            self.predictor,
            bars=sum(len(data) for data in self.traded),
            threshold=self.threshold,
            min_edge=self.p.min_edge,
            largest_confidence=self.largest_confidence,
        )

    def _judge_all(self, feed: Standing) -> list[str]:
        lines = feed.forecast.lines
        dates = np.array(feed.data.datetime.array[: len(lines.signal.array)])
        return self._judge(np.array(lines.confidence.array), np.array(lines.signal.array), dates)

    def _judge_present(self, feed: Standing) -> str:
        lines = feed.forecast.lines
        columns = (lines.confidence[0], lines.signal[0], feed.data.datetime[0])
        (verdict,) = self._judge(*(np.array([value]) for value in columns))
        return verdict

    def _judge(self, confidence: Floats, signal: Floats, dates: Floats) -> list[str]:
        verdicts = judge(
            confidence,
            signal,
            closes_of(milliseconds_of_dates(dates), self.predictor.timeframe),
            threshold=self.threshold,
            unseen_from=self._unseen_from,
        )
        told = [verdict not in (WITHOUT_FORECAST, BEFORE_UNSEEN) for verdict in verdicts]
        self.largest_confidence = float(
            np.max(confidence, where=told, initial=self.largest_confidence)
        )
        return verdicts

    def _is_unfinished(self, data: Any) -> bool:
        return bool(data.replaying) and not is_closed(
            milliseconds_of_date(data.datetime[0]), self.predictor.timeframe
        )

    def _act(self, feed: Standing, direction: int) -> None:
        present = feed.direction
        if direction == present or feed.leaves:
            return
        if present:
            self._leave(feed)
        if self._may_enter(feed.data, direction):
            self._enter(feed, direction)

    def _leave(self, feed: Standing) -> None:
        for order in feed.bracket:
            if order.alive():
                self.cancel(order)
        feed.bracket = []
        if feed.held:
            leave = self.sell if feed.held > 0 else self.buy
            feed.exit = leave(data=feed.data, size=abs(feed.held), exit_reason="reversal")

    def _may_enter(self, data: Any, direction: int) -> bool:
        if self.p.min_edge and self._edge(data) < self.p.min_edge:
            self.counts["under_edge"] += 1
            return False
        self.counts["passed"] += 1
        if self.p.long_only and direction < 0:
            self.counts["short_refused"] += 1
            return False
        return True

    def _edge(self, data: Any) -> float:
        # Expected move over the cost of a round trip, both fractions of the price.
        price = data.close[0]
        comminfo = self.broker.getcommissioninfo(data)
        fee = comminfo.getcommission(1.0, price) / price
        # A broker of the user's own may know no slippage.
        slippage = getattr(self.broker.p, "slip_perc", 0.0)
        slippage += getattr(self.broker.p, "slip_fixed", 0.0) / price
        cost = 2.0 * (fee + slippage)
        move = abs(self.forecasts[data].lines.change_pct[0]) / 100.0
        return math.inf if cost == 0 else float(move / cost)

    def _enter(self, feed: Standing, direction: int) -> None:
        data = feed.data
        stop = self.stop_distance(data)
        size = self.getsizing(data, isbuy=direction > 0) if 0 < stop < math.inf else 0
        if not size:
            self.counts["unsized"] += 1
            return
        target = stop * self.p.atr_target / self.p.atr_stop
        price = data.close[0]
        bracket = self.buy_bracket if direction > 0 else self.sell_bracket
        # Offsets let the broker set both levels from the fill instead of from this close.
        feed.bracket = bracket(
            data=data,
            size=abs(size),
            exectype=bt.Order.Market,
            stopprice=price - direction * stop,
            stopargs={"offset": -direction * stop},
            limitprice=price + direction * target,
            limitargs={"offset": direction * target},
        )

    def _warn_of_shared_feeds(self) -> None:
        for other in self.cerebro.runningstrats:
            if other is self:
                return
            if isinstance(other, LSTMStrategy):
                _log.warning(
                    "strategies %d and %d trade the same feeds of one account: to the broker they "
                    "hold one position, and the stops of one end with what the other closes; run "
                    "each in a cerebro of its own to compare them",
                    other._id,
                    self._id,
                )

    def _keep_bars(self, feed: Standing) -> None:
        # With exactbars=1 a feed keeps as many bars as its lines were asked for.
        if self.p.atr_period + 1 > feed.first_bar:
            for line in feed.data.lines:
                line.updateminperiod(int(self.p.atr_period) + 1)

    def _feeds_to_trade(self) -> list[Any]:
        if len(self.datas) == 1:
            return list(self.datas)  # the indicator checks it against the bars' own stamps
        chosen = [
            data for data in self.datas if candle_timeframe_of(data) == self.predictor.timeframe
        ]
        if not chosen:
            given = ", ".join(str(candle_timeframe_of(data)) for data in self.datas)
            raise ParameterError(
                f"{self.predictor.model} reads {self.predictor.timeframe} candles, and the feeds "
                f"have {given}: add one of {self.predictor.timeframe}"
            )
        return chosen

    def _check_parameters(self) -> None:
        check_model("LSTMStrategy", self.p.model)
        for name in ("min_confidence", "top_share"):
            check_fraction(name, getattr(self.p, name))
        check_positive("min_edge", self.p.min_edge, or_zero=True)
        for name in ("risk_per_trade", "atr_period", "atr_stop", "atr_target"):
            check_positive(name, getattr(self.p, name))
        if self.p.atr_period != int(self.p.atr_period):
            raise ParameterError(f"atr_period={self.p.atr_period!r}: give a whole number of bars")


def _log_order(level: int, order: Any, fate: str, numbers: Any) -> None:
    _log.log(
        level,
        "%s %s order %d: %s, %.8g at %.8g",
        order.data._name,
        "buy" if order.isbuy() else "sell",
        order.ref,
        fate,
        numbers.size,
        numbers.price or math.nan,
    )
