"""What the forecasts on several feeds say of an entry at the moment it is ordered."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lightning_models.candles.timestamps import iso_utc
from lightning_models.predictor import Predictor
from lstm_strategies.bar_times import closes_of, is_closed
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import candle_timeframe_of, milliseconds_of_date
from lstm_strategies.indicator import LSTMForecast
from lstm_strategies.verdicts import WITHOUT_FORECAST, judge
from lstm_strategies.vote import ABSTAINED, NO_MODEL_FOR_FEED, Verdict, verdict_on

__all__ = ["ForecastVerdict", "ForecastVerdicts", "feeds_of_model"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ForecastVerdict:
    """A forecast and its verdict on an entry.

    Parameters
    ----------
    verdict
        Of the forecast.
    direction
        Of the forecast, +1 or -1; NaN where there is none.
    confidence
        Calibrated probability that the direction is right; NaN where there is no forecast.
    time
        Stamp of the forecast's bar, milliseconds; None where there is no such bar.
    """

    verdict: Verdict
    direction: float = math.nan
    confidence: float = math.nan
    time: int | None = None

    def in_words(self, data: Any, direction: int, passed: bool) -> str:
        """Return a line for the log.

        Parameters
        ----------
        data
            Feed of the entry.
        direction
            Of the entry, +1 or -1.
        passed
            Whether it was sent.
        """
        known = {1.0: "up", -1.0: "down"}.get(self.direction)
        forecast = f"forecast {known} with {self.confidence:.3f}" if known else "no forecast"
        reason = f" ({self.verdict.reason})" if self.verdict.reason else ""
        return (
            f"{data._name} {'-' if self.time is None else iso_utc(self.time)} "
            f"{'buy' if direction > 0 else 'sell'}: {forecast}, {self.verdict.outcome}{reason}, "
            f"{'passed' if passed else 'refused'}"
        )


@dataclass(eq=False)
class ForecastVerdicts:
    """The forecasts of one model on a strategy's feeds, asked about entries.

    Parameters
    ----------
    predictor
        The model.
    forecasts
        From each feed of its timeframe to its indicator.
    min_confidence
        Below it a forecast has no say.
    unseen_from
        First moment that the model has not seen, milliseconds; None lets all bars speak.
    """

    predictor: Predictor
    forecasts: dict[Any, LSTMForecast]
    min_confidence: float
    unseen_from: int | None
    _warned: set[Any] = field(default_factory=set)

    def on_entry(self, data: Any, direction: int) -> ForecastVerdict:
        """Return what the forecast of a feed's last closed bar says.

        Parameters
        ----------
        data
            Feed of the order. On one without the model's forecasts it abstains, and the log
            warns of it once.
        direction
            Of the entry, +1 or -1.
        """
        forecast = self.forecasts.get(data)
        if forecast is None:
            self._warn_of(data)
            return ForecastVerdict(Verdict(ABSTAINED, NO_MODEL_FOR_FEED))
        # A replayed bar is forecast while it grows; what counts is the one before.
        ago = -1 if len(data) and self._grows(data) else 0
        if len(forecast) < 1 - ago:
            return ForecastVerdict(Verdict(ABSTAINED, WITHOUT_FORECAST))
        # Where orders are made at an open, the forecasts stand one bar behind the feed.
        stamp = milliseconds_of_date(data.datetime[ago + len(forecast) - len(data)])
        lines: Any = forecast.lines
        (judged,) = judge(
            np.array([lines.confidence[ago]]),
            np.array([lines.signal[ago]]),
            closes_of(np.array([stamp]), self.predictor.timeframe),
            threshold=self.min_confidence,
            unseen_from=self.unseen_from,
        )
        verdict = verdict_on(judged, direction)
        return ForecastVerdict(verdict, lines.direction[ago], lines.confidence[ago], stamp)

    def _grows(self, data: Any) -> bool:
        return bool(data.replaying) and not is_closed(
            milliseconds_of_date(data.datetime[0]), self.predictor.timeframe
        )

    def _warn_of(self, data: Any) -> None:
        if data in self._warned:
            return
        self._warned.add(data)
        _log.warning(
            "entries in the feed %r (%s) are made without a forecast: %s reads %s candles; order "
            "in a feed of these to have them confirmed",
            data._name,
            candle_timeframe_of(data) or "no timeframe of candles",
            self.predictor.model,
            self.predictor.timeframe,
        )


def feeds_of_model(predictor: Predictor, datas: Sequence[Any]) -> list[Any]:
    """Return the feeds of a model's timeframe.

    Parameters
    ----------
    predictor
        The model.
    datas
        A strategy's feeds. One alone is returned as it is: the indicator checks it against the
        bars' own stamps.

    Raises
    ------
    ParameterError
        If none of several has that timeframe.
    """
    if len(datas) == 1:
        return list(datas)
    chosen = [data for data in datas if candle_timeframe_of(data) == predictor.timeframe]
    if chosen:
        return chosen
    given = ", ".join(str(candle_timeframe_of(data)) for data in datas)
    raise ParameterError(
        f"{predictor.model} reads {predictor.timeframe} candles, and the feeds have {given}: add "
        f"one of {predictor.timeframe}"
    )
