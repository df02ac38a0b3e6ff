"""Trade a registered model's forecasts: enter on confidence, leave on reversal, stop or target."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from lightning_models.predictor import Predictor
from lstm_strategies.bar_times import closes_of
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import candle_timeframe_of, milliseconds_of_dates
from lstm_strategies.given_values import check_fraction, check_model, check_positive
from lstm_strategies.indicator import LSTMForecast
from lstm_strategies.models import predictor_of
from lstm_strategies.no_trade import why_no_trade
from lstm_strategies.parameters import attach
from lstm_strategies.standing import Standing
from lstm_strategies.trading import DOWN, STAY, UP, TradingStrategy
from lstm_strategies.verdicts import (
    BEFORE_UNSEEN,
    CONFIDENT_DOWN,
    CONFIDENT_UP,
    WITHOUT_FORECAST,
    judge,
)

__all__ = ["LSTMStrategy"]

Floats = npt.NDArray[np.float64]

_DECISIONS: Final = {CONFIDENT_UP: UP, CONFIDENT_DOWN: DOWN}

# Standard deviations that the 80 % bounds of a normal distribution lie from its middle.
_BOUND_80: Final = 1.2815515655446004


class LSTMStrategy(TradingStrategy):
    """Enter where a forecast is confident enough; leave on reversal, stop or target.

    A signal the other way closes the position and, unless ``long_only``, opens the opposite
    one. No signal (0 or NaN) changes nothing. No position is opened before the model's
    ``unseen_from`` unless ``in_sample`` says so. Every feed of the model's timeframe is traded
    as soon as it has the history a forecast needs; slower and faster feeds are left alone. A
    replayed bar is acted on when it is finished.

    Params: those of `lstm_strategies.trading.TradingStrategy`, and
      - ``model``: ``models:/name@champion``, ``models:/name/3`` or a bundle's folder; or
        ``statistical``, which was never trained.
      - ``min_confidence`` (0.6): calibrated probability that an entry needs.
      - ``min_edge`` (0.0): expected move over the cost of a round trip that an entry needs.
      - ``top_share`` (0.0): in place of ``min_confidence``, the confidence that this share of
        the calibration slice's bars reached; 0 is off.
      - ``in_sample`` (False): trade on candles the model has seen, too.
      - ``home`` (""): folder of the registry; ``$LSTM_HOME`` or the user's by default.
      - ``fallback`` (""): what to forecast with, and warn, where there is no such model, such
        as ``statistical``.
      - ``any_timeframe`` (False): ask a model of another timeframe than the first feed's, and
        warn.

    Attributes
    ----------
    predictor : Predictor
        The loaded model; an alias is looked up once.
    forecasts : dict
        From each traded feed to its `LSTMForecast`.
    threshold : float
        Confidence that a trade needs.
    measure : str
        What messages call it.
    counts : collections.Counter
        As in `lstm_strategies.trading.TradingStrategy`, and what became of each bar:
        ``without_forecast``, or ``forecasts`` and one of ``before_unseen``,
        ``under_threshold``, ``disagreeing``, ``confident_up``, ``confident_down``; of confident
        ones that might have opened a position also ``under_edge``.

    Raises
    ------
    ParameterError
        If a parameter is out of its range, or no feed has the model's timeframe.
    ModelNotFoundError, BundleError
        If the model cannot be loaded, or the only feed has another timeframe.
    """

    needs_model: ClassVar[bool] = True
    measure: ClassVar[str] = "confidence"

    params: Any = (
        ("model", ""),
        ("min_confidence", 0.6),
        ("min_edge", 0.0),
        ("top_share", 0.0),
        ("in_sample", False),
        ("home", ""),
        ("fallback", ""),
        ("any_timeframe", False),
    )

    def __init__(self) -> None:
        super().__init__()
        self.predictor: Predictor = predictor_of(
            self.p.model,
            self.p.home,
            fallback=self.p.fallback,
            data=self.datas[0] if self.datas else None,
            any_timeframe=self.p.any_timeframe,
        )
        bundle = self.predictor.bundle
        self.largest_confidence = 0.0
        self.threshold = self.required_confidence()
        self._unseen_from = None if self.p.in_sample else bundle.unseen_from_ms
        self.forecasts: dict[Any, LSTMForecast] = {}
        for data in self._feeds_to_trade():
            self.trade(data, first_bar=self.attach_indicators(data))

    def attach_indicators(self, data: Any) -> int:
        """Attach what is read of a feed; return the number of the first bar that has all of it."""
        # An alias may move while a backtest runs; its version doesn't.
        forecast = attach(
            LSTMForecast,
            data,
            model=self.predictor.model,
            home=self.p.home,
            any_timeframe=self.p.any_timeframe,
        )
        self.forecasts[data] = forecast
        return int(forecast._minperiod)

    def required_confidence(self) -> float:
        """Return the confidence that an entry needs."""
        if self.p.top_share:
            return self.predictor.bundle.thresholds.confidence_of_top(self.p.top_share)
        return float(self.p.min_confidence)

    def decide(self, feed: Standing) -> int:
        """Return what the forecast at a feed's bar asks for, and count it."""
        verdict = self._verdict(feed)
        self.counts[verdict] += 1
        if verdict == WITHOUT_FORECAST:
            return STAY
        self.counts["forecasts"] += 1
        return _DECISIONS.get(verdict, STAY)

    def may_enter(self, feed: Standing, direction: int) -> bool:
        """Return whether a decision may open a position: also, whether it pays its cost."""
        if self.p.min_edge and self.edge(feed.data, direction) < self.p.min_edge:
            self.counts["under_edge"] += 1
            return False
        return super().may_enter(feed, direction)

    def expected_volatility(self, data: Any) -> float:
        """Return the standard deviation of the return over the horizon, a fraction.

        That of a normal distribution with the forecast's 80 % bounds; NaN without a forecast.
        """
        lines = self.forecasts[data].lines
        return float((lines.upper[0] - lines.lower[0]) / (2.0 * _BOUND_80 * data.close[0]))

    def why_no_trade(self) -> str:
        """Return in words why no position was opened."""
        return why_no_trade(
            self.counts,
            self.predictor,
            bars=sum(len(data) for data in self.traded),
            threshold=self.threshold,
            min_edge=self.p.min_edge,
            largest_confidence=self.largest_confidence,
            measure=self.measure,
        )

    def _verdict(self, feed: Standing) -> str:
        if not self.forecasts[feed.data].in_bulk:
            return self._judge_present(feed)
        if not feed.verdicts:
            feed.verdicts = self._judge_all(feed)
        return str(feed.verdicts[feed.bar - 1])

    def _judge_all(self, feed: Standing) -> list[str]:
        lines = self.forecasts[feed.data].lines
        dates = np.array(feed.data.datetime.array[: len(lines.signal.array)])
        return self._judge(np.array(lines.confidence.array), np.array(lines.signal.array), dates)

    def _judge_present(self, feed: Standing) -> str:
        lines = self.forecasts[feed.data].lines
        columns = (lines.confidence[0], lines.signal[0], feed.data.datetime[0])
        (verdict,) = self._judge(*(np.array([value]) for value in columns))
        return verdict

    def _judge(
        self,
        confidence: Floats,
        signal: Floats,
        dates: Floats,
        threshold: float | Floats | None = None,
    ) -> list[str]:
        verdicts = judge(
            confidence,
            signal,
            closes_of(milliseconds_of_dates(dates), self.predictor.timeframe),
            threshold=self.threshold if threshold is None else threshold,
            unseen_from=self._unseen_from,
        )
        told = [verdict not in (WITHOUT_FORECAST, BEFORE_UNSEEN) for verdict in verdicts]
        self.largest_confidence = float(
            np.max(confidence, where=told, initial=self.largest_confidence)
        )
        return verdicts

    def is_before_unseen(self, data: Any) -> bool:
        """Return whether the model has seen a feed's present bar, and may not trade on it."""
        if self._unseen_from is None:
            return False
        stamp = milliseconds_of_dates(np.array([data.datetime[0]]))
        return int(closes_of(stamp, self.predictor.timeframe)[0]) < self._unseen_from

    def edge(self, data: Any, direction: int) -> float:
        """Return the expected move in a direction over the cost of a round trip.

        Both are fractions of the price; negative where the move goes the other way.
        """
        price = data.close[0]
        comminfo = self.broker.getcommissioninfo(data)
        fee = comminfo.getcommission(1.0, price) / price
        # A broker of the user's own may know no slippage.
        slippage = getattr(self.broker.p, "slip_perc", 0.0)
        slippage += getattr(self.broker.p, "slip_fixed", 0.0) / price
        cost = 2.0 * (fee + slippage)
        move = direction * self.forecasts[data].lines.change_pct[0] / 100.0
        return math.inf if cost == 0 else float(move / cost)

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
        check_model(type(self).__name__, self.p.model)
        for name in ("min_confidence", "top_share"):
            check_fraction(name, getattr(self.p, name))
        check_positive("min_edge", self.p.min_edge, or_zero=True)
        super()._check_parameters()
