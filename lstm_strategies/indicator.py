"""A registered model's forecast as a backtrader indicator."""

from __future__ import annotations

from typing import Any

import backtrader as bt
import numpy as np
import numpy.typing as npt

from lightning_models.errors import BundleError
from lightning_models.forecast import INTERVAL, LINE_NAMES, ForecastArrays, forecast_lines
from lightning_models.predictor import Predictor
from lightning_models.timeframes import floor_to_open, period_ms
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import candle_timeframe_of, milliseconds_of_dates
from lstm_strategies.forecast_cache import ForecastCache
from lstm_strategies.models import cache_folder, predictor_of
from lstm_strategies.parameters import CheckedParameters

__all__ = ["LSTMForecast"]

Floats = npt.NDArray[np.float64]


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
      - ``model``: ``models:/name@champion``, ``models:/name/3`` or a bundle's folder.
      - ``horizon`` (""): such as ``1d``; the model's first by default.
      - ``level`` (0.80): probability that ``lower`` and ``upper`` bound.
      - ``min_confidence`` (0.0): a fraction.
      - ``home`` (""): folder of the registry; ``$LSTM_HOME`` or the user's by default.

    Raises
    ------
    ParameterError
        If there is no model, or no such level.
    ModelNotFoundError, BundleError, ConfigError
        If the model cannot be loaded, reads another timeframe, or has no such horizon.
    """

    lines: Any = LINE_NAMES
    params: Any = (
        ("model", ""),
        ("horizon", ""),
        ("level", INTERVAL),
        ("min_confidence", 0.0),
        ("home", ""),
    )
    plotinfo: Any = {"subplot": True, "plotyhlines": [0.0, 0.5], "plotlinelabels": True}
    plotlines: Any = {
        "signal": {"drawstyle": "steps-post", "color": "black"},
        "direction": {"_plotskip": True},
        "change_pct": {"_plotskip": True},
        "confidence": {"color": "tab:blue", "alpha": 0.7},
        "predicted_price": {"_plotskip": True},
        "lower": {"_plotskip": True},
        "upper": {"_plotskip": True},
    }

    def __init__(self) -> None:
        super().__init__()
        if not self.p.model:
            raise ParameterError(
                "LSTMForecast needs model: models:/NAME@champion, or the folder of a bundle"
            )
        if self.p.level != INTERVAL:
            raise ParameterError(
                f"level={self.p.level!r}: this model's bounds hold {INTERVAL:.0%} of outcomes; "
                f"give level={INTERVAL} or leave it out"
            )
        self.predictor: Predictor = predictor_of(self.p.model, self.p.home)
        self._horizon = self.predictor.horizon_position(self.p.horizon)
        self._cache = ForecastCache(cache_folder(self.p.home))
        self._last_bar: tuple[float, ...] = ()
        self._last_lines: tuple[float, ...] = ()
        _check_stated_timeframe(self.data, self.predictor)
        self.addminperiod(self.predictor.required_bars)

    def _plotlabel(self) -> list[str]:
        return [str(self.p.model), self.predictor.horizons[self._horizon]]

    def oncestart(self, start: int, end: int) -> None:
        """Leave all bars to `once`, which backtrader would otherwise call twice."""

    def once(self, start: int, end: int) -> None:
        """Forecast every bar at once."""
        del start
        count = min(end, len(self.data.datetime.array))
        time = milliseconds_of_dates(np.array(self.data.datetime.array[:count]))
        ohlcv = np.column_stack([np.array(line.array[:count]) for line in _prices(self.data)])
        _check_actual_timeframe(time, self.predictor, self.data)
        arrays = self._cache.forecasts(self.predictor, time, ohlcv)
        # A bar before the minimum period has no forecast in next mode either.
        values = self._lines_of(arrays, ohlcv[:, 3])
        for line, column in zip(self.lines, values, strict=True):
            line.array[:count] = type(line.array)("d", column.tobytes())

    def next(self) -> None:
        """Forecast the present bar; asked again for the same bar, answer the same."""
        prices = _prices(self.data)
        bar = (float(len(self.data)), self.data.datetime[0], *(line[0] for line in prices))
        # A bar that is unchanged is not forecast again; NaN never equals itself, and is.
        if bar != self._last_bar:
            self._last_lines = self._forecast(prices)
            self._last_bar = bar
        for line, value in zip(self.lines, self._last_lines, strict=True):
            line[0] = value

    def _forecast(self, prices: tuple[Any, ...]) -> tuple[float, ...]:
        count = self.predictor.required_bars
        time = milliseconds_of_dates(np.array(self.data.datetime.get(size=count)))
        ohlcv = np.column_stack([np.array(line.get(size=count)) for line in prices])
        _check_actual_timeframe(time, self.predictor, self.data)
        probability, quantiles = self.predictor.forecast_latest(time, ohlcv)
        arrays = ForecastArrays(probability[None], quantiles[None])
        return tuple(float(column[0]) for column in self._lines_of(arrays, ohlcv[-1:, 3]))

    def _lines_of(self, arrays: ForecastArrays, close: Floats) -> list[Floats]:
        lines = forecast_lines(
            arrays, close, horizon=self._horizon, min_confidence=self.p.min_confidence
        )
        return [lines[name] for name in LINE_NAMES]


def _prices(data: Any) -> tuple[Any, ...]:
    return data.open, data.high, data.low, data.close, data.volume


def _check_stated_timeframe(data: Any, predictor: Predictor) -> None:
    # A feed of days may be one whose timeframe was never stated: its stamps decide later.
    stated = (data._timeframe, data._compression)
    named = candle_timeframe_of(data)
    if named == predictor.timeframe or stated == (bt.TimeFrame.Days, 1):
        return
    raise BundleError(
        f"{predictor.model} reads {predictor.timeframe} candles, and the feed {data._name!r} has "
        f"{named or f'{data._compression} x {bt.TimeFrame.getname(data._timeframe)}'}: give it a "
        f"feed of {predictor.timeframe}, such as CandleData(…, timeframe={predictor.timeframe!r})"
    )


def _check_actual_timeframe(
    time: npt.NDArray[np.int64], predictor: Predictor, data: Any
) -> None:
    if len(time) < 2:
        return
    opens = floor_to_open(time, predictor.timeframe)
    step = int(np.median(np.diff(opens)))
    if step == period_ms(predictor.timeframe):
        return
    raise BundleError(
        f"{predictor.model} reads {predictor.timeframe} candles, and most bars of the feed "
        f"{data._name!r} are {np.median(np.diff(time)) / 3_600_000:g} h apart: give it a feed of "
        f"{predictor.timeframe}, such as CandleData(…, timeframe={predictor.timeframe!r})"
    )
