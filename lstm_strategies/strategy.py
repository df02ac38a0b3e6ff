"""Trade a registered model's forecasts: enter on confidence, leave on reversal, stop or target."""

from __future__ import annotations

import logging
import math
from collections import Counter
from typing import Any

import backtrader as bt

from lightning_models.predictor import Predictor
from lstm_strategies.broker import upgrade_broker
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import candle_timeframe_of, milliseconds_of_date
from lstm_strategies.indicator import LSTMForecast
from lstm_strategies.models import predictor_of
from lstm_strategies.parameters import CheckedParameters, attach
from lstm_strategies.sizer import RiskSizer, mean_true_range

__all__ = ["LSTMStrategy"]

_log = logging.getLogger(__name__)


class LSTMStrategy(bt.Strategy, CheckedParameters):
    """Enter where a forecast is confident enough; leave on reversal, stop or target.

    Signals at a bar's close are filled at the next bar's open. The stop and the target lie a
    multiple of the mean true range from the fill and are live from it, on the entry bar too.
    A signal the other way closes the position and, unless ``long_only``, opens the opposite
    one. No signal (0 or NaN) changes nothing. No position is opened before the model's
    ``unseen_from`` unless ``in_sample`` says so.

    Every feed of the model's timeframe is traded; slower and faster ones are left alone. A
    stock broker is turned into a `SimulatedBroker`, and without a sizer of the user's own
    positions are sized by `RiskSizer`.

    Params:
      - ``model``: ``models:/name@champion``, ``models:/name/3`` or a bundle's folder.
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

    Attributes
    ----------
    counts : collections.Counter
        What became of each bar: ``forecasts``, ``without_forecast``, ``before_unseen``,
        ``under_threshold``, ``disagreeing``, ``under_edge``, ``passed``; and of each order:
        ``orders_completed``, ``orders_margin``, ``orders_rejected``, ``orders_canceled``.

    Raises
    ------
    ParameterError
        If a parameter is out of its range, or no feed has the model's timeframe.
    ModelNotFoundError, BundleError
        If the model cannot be loaded.
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
    )

    def __init__(self) -> None:
        super().__init__()
        self._check_parameters()
        self.predictor: Predictor = predictor_of(self.p.model, self.p.home)
        self.counts: Counter[str] = Counter()
        self.threshold = self.p.min_confidence
        if self.p.top_share:
            self.threshold = self.predictor.bundle.thresholds.confidence_of_top(self.p.top_share)
        self.largest_confidence = 0.0
        self._unseen_from = self.predictor.bundle.unseen_from_ms
        self.traded = self._feeds_to_trade()
        # An alias may move while a backtest runs; its version doesn't.
        self.forecasts = {
            data: attach(LSTMForecast, data, model=self.predictor.model, home=self.p.home)
            for data in self.traded
        }
        self._brackets: dict[Any, list[Any]] = {data: [] for data in self.traded}
        self._last_bar: dict[Any, tuple[float, ...]] = dict.fromkeys(self.traded, ())
        upgrade_broker(self.broker)

    def start(self) -> None:
        """Size by risk, unless the user chose a sizer."""
        if not self.cerebro.sizers:
            self.setsizer(RiskSizer(risk=self.p.risk_per_trade))

    def next(self) -> None:
        """Act on each traded feed's forecast, once a bar."""
        for data in self.traded:
            bar = (float(len(data)), data.datetime[0])
            # With several feeds next() comes again while a slower one stands still.
            if bar != self._last_bar[data]:
                self._last_bar[data] = bar
                self._act(data)

    def notify_order(self, order: Any) -> None:
        """Count and log what became of each order."""
        if order.status in (order.Submitted, order.Accepted, order.Partial):
            return
        fate = order.getstatusname().lower()
        self.counts[f"orders_{fate}"] += 1
        refused = order.status in (order.Margin, order.Rejected)
        _log.log(
            logging.WARNING if refused else logging.DEBUG,
            "%s %s order %d: %s, %.8g at %.8g",
            order.data._name,
            "buy" if order.isbuy() else "sell",
            order.ref,
            fate,
            order.executed.size if not refused else order.created.size,
            order.executed.price if not refused else order.created.price or math.nan,
        )

    def stop(self) -> None:
        """Say why, where no order was ever filled."""
        if not self.counts["orders_completed"]:
            _log.warning("%s", self.why_no_trade())

    def stop_distance(self, data: Any) -> float:
        """Return the distance of a stop from the entry, quote currency; NaN if it is unknown."""
        spread = mean_true_range(data, self.p.atr_period)
        return math.nan if spread is None else self.p.atr_stop * spread

    def why_no_trade(self) -> str:
        """Return in words why no position was opened."""
        counts = self.counts
        if not counts["forecasts"]:
            return (
                f"no position was opened: there was no forecast in "
                f"{counts['without_forecast']} bars; {self.predictor.model} needs "
                f"{self.predictor.required_bars} bars of history without a hole of more than "
                f"{self.predictor.bundle.bridged_share:.0%} of its window"
            )
        reasons = [
            f"{counts[key]} {words}"
            for key, words in (
                ("before_unseen", f"before {self.predictor.bundle.unseen_from:%Y-%m-%d %H:%M}Z, "
                 "which the model has seen"),
                ("under_threshold", f"under the confidence of {self.threshold:.3f}"),
                ("disagreeing", "whose median points the other way"),
                ("under_edge", f"under {self.p.min_edge:g} times the cost of a round trip"),
                ("short_refused", "down, with long_only"),
                ("orders_margin", "refused for lack of cash"),
                ("unsized", "too small for one lot, or without a stop distance"),
            )
            if counts[key]
        ]
        return (
            f"no position was opened: of {counts['forecasts']} forecasts "
            f"{', '.join(reasons) or 'none led to an order'}; the largest confidence was "
            f"{self.largest_confidence:.3f}. Honest confidence is small: try top_share=0.1 or a "
            "lower min_confidence"
        )

    def _act(self, data: Any) -> None:
        held = self.getposition(data).size
        direction = self._direction(data)
        if direction is None:
            return
        reverses = bool(held) and direction * held < 0
        if reverses:
            self._cancel_bracket(data)
            self.close(data=data)
        if (not held or reverses) and self._may_enter(data, direction):
            self._enter(data, direction)

    def _direction(self, data: Any) -> int | None:
        # The direction of a forecast that is confident enough and agrees with its median.
        lines = self.forecasts[data].lines
        confidence = lines.confidence[0]
        if math.isnan(confidence):
            self.counts["without_forecast"] += 1
            return None
        self.counts["forecasts"] += 1
        now = milliseconds_of_date(data.datetime[0]) + 1
        seen = now < self._unseen_from and not self.p.in_sample
        if not seen:
            self.largest_confidence = max(self.largest_confidence, confidence)
        if seen:
            self.counts["before_unseen"] += 1
        elif confidence < self.threshold:
            self.counts["under_threshold"] += 1
        elif lines.signal[0] == 0:
            self.counts["disagreeing"] += 1
        else:
            return int(lines.direction[0])
        return None

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
        cost = 2.0 * (fee + self.broker.p.slip_perc)
        move = abs(self.forecasts[data].lines.change_pct[0]) / 100.0
        return math.inf if cost == 0 else float(move / cost)

    def _enter(self, data: Any, direction: int) -> None:
        stop = self.stop_distance(data)
        size = self.getsizing(data, isbuy=direction > 0)
        if not (size and 0 < stop < math.inf):
            self.counts["unsized"] += 1
            return
        target = stop * self.p.atr_target / self.p.atr_stop
        price = data.close[0]
        bracket = self.buy_bracket if direction > 0 else self.sell_bracket
        # Offsets let the broker set both levels from the fill instead of from this close.
        self._brackets[data] = bracket(
            data=data,
            size=abs(size),
            exectype=bt.Order.Market,
            stopprice=price - direction * stop,
            stopargs={"offset": -direction * stop},
            limitprice=price + direction * target,
            limitargs={"offset": direction * target},
        )

    def _cancel_bracket(self, data: Any) -> None:
        for order in self._brackets[data]:
            if order is not None and order.alive():
                self.cancel(order)

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
        if not self.p.model:
            raise ParameterError(
                "LSTMStrategy needs model: models:/NAME@champion, or the folder of a bundle"
            )
        for name, lowest, highest in (
            ("min_confidence", 0.0, 1.0),
            ("min_edge", 0.0, math.inf),
            ("top_share", 0.0, 1.0),
        ):
            value = getattr(self.p, name)
            if not lowest <= value <= highest:
                raise ParameterError(f"{name}={value!r}: give a number from {lowest} to {highest}")
        for name in ("risk_per_trade", "atr_period", "atr_stop", "atr_target"):
            value = getattr(self.p, name)
            if not 0 < value < math.inf:
                raise ParameterError(f"{name}={value!r}: give a number above 0")
