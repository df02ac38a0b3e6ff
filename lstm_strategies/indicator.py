"""A registered model's forecast as a backtrader indicator."""

from __future__ import annotations

import math
from typing import Any, Final

import backtrader as bt
import numpy as np
import numpy.typing as npt

from lightning_models.errors import ConfigError
from lightning_models.forecast import INTERVAL, LINE_NAMES, ForecastArrays, forecast_lines
from lightning_models.predictor import Predictor
from lightning_models.timeframes import period_ms
from lstm_strategies.bar_times import opens_of
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import milliseconds_of_dates
from lstm_strategies.feed_checks import (
    MILLISECOND,
    check_actual_timeframe,
    check_stamps,
    check_stated_timeframe,
    read_ahead_error,
    warn_of_no_volume,
    warn_of_opens,
)
from lstm_strategies.forecast_cache import ForecastCache
from lstm_strategies.given_values import check_fraction, check_model, check_positive
from lstm_strategies.models import cache_folder, predictor_of
from lstm_strategies.parameters import CheckedParameters
from lstm_strategies.resampled_source import source_of

__all__ = ["LSTMForecast"]

Floats = npt.NDArray[np.float64]

NO_FORECAST: Final = (math.nan,) * len(LINE_NAMES)


class LSTMForecast(bt.Indicator, CheckedParameters):
    """Forecast of a registered model at each bar's close.

    The same numbers in every run mode, from one causal feature function: in bulk where
    backtrader runs `once()`, bar by bar where it runs `next()`. All lines are NaN while the
    history is too short, after a bar without a price, and where too much of the window is
    missing.

    Lines:
      - ``signal``: +1, -1, or 0 where the confidence is under ``min_confidence`` or the median
        points the other way.
      - ``direction``: +1 where P(up) is at least one half, otherwise -1.
      - ``change_pct``: median return from the next open to the horizon's close, percent.
      - ``confidence``: calibrated probability that ``direction`` is right.
      - ``predicted_price``, ``lower``, ``upper``: quote currency.

    Params:
      - ``model``: ``models:/name@champion``, ``models:/name/3`` or a bundle's folder; or
        ``statistical``, which was never trained.
      - ``horizon`` (""): such as ``1d``; the model's first by default.
      - ``level`` (0.80): share of outcomes that ``lower`` and ``upper`` bound, 0.80 or 0.95.
      - ``min_confidence`` (0.0): a fraction.
      - ``home`` (""): folder of the registry; ``$LSTM_HOME`` or the user's by default.
      - ``fallback`` (""): what to forecast with, and warn, where there is no such model, such
        as ``statistical``.
      - ``any_timeframe`` (False): ask a model of another timeframe than the feed's, and warn.

    Attributes
    ----------
    predictor : Predictor
        The loaded model.
    in_bulk : bool
        Whether all bars were forecast at once, so that the lines' arrays are complete.

    Raises
    ------
    ParameterError
        If there is no model, no such level, or a confidence that is no fraction; while it runs,
        if the feed shows a bar before its time.
    ModelNotFoundError, BundleError, ConfigError
        If the model cannot be loaded, reads another timeframe, has no such horizon, or was made
        without bounds of that level.
    """

    lines: Any = LINE_NAMES
    params: Any = (
        ("model", ""),
        ("horizon", ""),
        ("level", INTERVAL),
        ("min_confidence", 0.0),
        ("home", ""),
        ("fallback", ""),
        ("any_timeframe", False),
    )
    plotinfo: Any = {"subplot": True, "plotyhlines": [0.0, 0.5, 1.0], "plotlinelabels": True}
    # Up lies above the middle in green, down below it in red, and the confidence over both.
    plotlines: Any = {
        "signal": {
            "drawstyle": "steps-mid",
            "color": "gray",
            "linewidth": 0.3,
            "_fill_gt": (0, ("tab:green", 0.35)),
            "_fill_lt": (0, ("tab:red", 0.35)),
        },
        "direction": {"_plotskip": True},
        "change_pct": {"_plotskip": True},
        "confidence": {"color": "navy", "linewidth": 1.2},
        "predicted_price": {"_plotskip": True},
        "lower": {"_plotskip": True},
        "upper": {"_plotskip": True},
    }

    def __init__(self) -> None:
        super().__init__()
        check_model("LSTMForecast", self.p.model)
        check_positive("level", self.p.level)
        check_fraction("min_confidence", self.p.min_confidence)
        self.predictor: Predictor = predictor_of(
            self.p.model,
            self.p.home,
            fallback=self.p.fallback,
            data=self.data,
            any_timeframe=self.p.any_timeframe,
        )
        try:
            self.predictor.check_level(self.p.level)
        except ConfigError as error:
            raise ParameterError(str(error)) from error
        self._stream = self.predictor.stream()
        self._horizon = self.predictor.horizon_position(self.p.horizon)
        self._cache = ForecastCache(cache_folder(self.p.home))
        self._cerebro = bt.metabase.findowner(self, bt.Cerebro)
        self.in_bulk = False
        self._feed_checked = False
        self._source = source_of(self.data)
        self._last_bar: tuple[float, ...] = ()
        self._last_lines: tuple[float, ...] = ()
        check_stated_timeframe(self.data, self.predictor)
        self.addminperiod(self.predictor.required_bars)

    def _plotlabel(self) -> list[str]:
        named = self.predictor.model if self.p.fallback else self.p.model
        return [str(named), self.predictor.horizons[self._horizon]]

    def oncestart(self, start: int, end: int) -> None:
        """Leave all bars to `once`, which backtrader would otherwise call twice."""

    def once(self, start: int, end: int) -> None:
        """Forecast every bar at once."""
        del start
        count = min(end, len(self.data.datetime.array))
        dates = np.array(self.data.datetime.array[:count])
        ohlcv = np.column_stack([np.array(line.array[:count]) for line in _prices(self.data)])
        self._check_feed(dates, ohlcv)
        opens = self._opens(dates)
        arrays = self._cache.forecasts(self.predictor, opens, ohlcv)
        # A bar before the minimum period has no forecast in next mode either.
        values = self._lines_of(arrays, ohlcv[:, 3])
        for line, column in zip(self.lines, values, strict=True):
            if self._may_be_unfinished(count):
                column[-1] = math.nan
            line.array[:count] = type(line.array)("d", column.tobytes())
        self.in_bulk = True

    def next(self) -> None:
        """Forecast the present bar; asked again for the same bar, answer the same."""
        prices = _prices(self.data)
        bar = (float(len(self.data)), self.data.datetime[0], *(line[0] for line in prices))
        # A bar that is unchanged is not forecast again; NaN never equals itself, and is.
        if bar != self._last_bar:
            self._last_lines = self._forecast(prices) if self._has_come() else NO_FORECAST
            self._last_bar = bar
        for line, value in zip(self.lines, self._last_lines, strict=True):
            line[0] = value

    def _forecast(self, prices: tuple[Any, ...]) -> tuple[float, ...]:
        def history(count: int) -> tuple[npt.NDArray[np.int64], Floats]:
            # With exactbars=1 the feed keeps no more than the minimum period.
            size = min(count, len(self.data), self.predictor.required_bars)
            dates = np.array(self.data.datetime.get(size=size))
            ohlcv = np.column_stack([np.array(line.get(size=size)) for line in prices])
            self._check_feed(dates, ohlcv)
            return self._opens(dates), ohlcv

        probability, quantiles = self._stream.forecast(history)
        arrays = ForecastArrays(probability[None], quantiles[None])
        close = np.array([prices[3][0]])
        return tuple(float(column[0]) for column in self._lines_of(arrays, close))

    def _has_come(self) -> bool:
        # At the end of the data backtrader hands out what a resampler has, finished or not; and
        # with exactbars=1 it loses count of feeds that have to wait for others.
        now = getattr(self._cerebro, "_udtmaster", None)
        if now is None or self.data.datetime[0] <= bt.date2num(now) + MILLISECOND:
            return not self._may_be_unfinished(len(self.data))
        if self.data.resampling:
            # With nothing more to come, the clock stands at the bar before.
            source = self._source
            return source is not None and source.has_ended and source.has_reached(self._end())
        raise read_ahead_error(self.data, now)

    def _end(self) -> int:
        timeframe = self.predictor.timeframe
        return int(self._opens(np.array([self.data.datetime[0]]))[0]) + period_ms(timeframe)

    def _may_be_unfinished(self, bar: int) -> bool:
        # What a resampler made before anyone watched it may end with a part of a candle.
        unseen = self._source is not None and not self._source.is_watched
        return unseen and bar == self.data.buflen()

    def _opens(self, dates: Floats) -> npt.NDArray[np.int64]:
        return opens_of(self.data, milliseconds_of_dates(dates), self.predictor.timeframe)

    def _check_feed(self, dates: Floats, ohlcv: Floats) -> None:
        # What can be told of a feed by its first bars, once.
        if self._feed_checked:
            return
        self._feed_checked = True
        check_stamps(dates, self.predictor, self.data)
        check_actual_timeframe(self._opens(dates), self.predictor, self.data)
        warn_of_no_volume(ohlcv[: self.predictor.required_bars, 4], self.predictor, self.data)
        if self._source is not None:
            warn_of_opens(self._source, self.predictor, self.data)

    def _lines_of(self, arrays: ForecastArrays, close: Floats) -> list[Floats]:
        lines = forecast_lines(
            arrays,
            close,
            horizon=self._horizon,
            min_confidence=self.p.min_confidence,
            level=self.p.level,
        )
        return [lines[name] for name in LINE_NAMES]


def _prices(data: Any) -> tuple[Any, ...]:
    return data.open, data.high, data.low, data.close, data.volume
