"""A registered model's forecast as a backtrader indicator."""

from __future__ import annotations

import math
from typing import Any, Final

import backtrader as bt
import numpy as np
import numpy.typing as npt

from lightning_models.errors import BundleError
from lightning_models.forecast import INTERVAL, LINE_NAMES, ForecastArrays, forecast_lines
from lightning_models.predictor import Predictor
from lightning_models.timeframes import DAY_MS, period_ms
from lstm_strategies.bar_times import opens_of
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import candle_timeframe_of, milliseconds_of_dates
from lstm_strategies.forecast_cache import ForecastCache
from lstm_strategies.models import cache_folder, predictor_of
from lstm_strategies.parameters import CheckedParameters

__all__ = ["LSTMForecast"]

Floats = npt.NDArray[np.float64]

NO_FORECAST: Final = (math.nan,) * len(LINE_NAMES)

# In backtrader's dates, which count days; half of one more leaves room for rounding.
MILLISECOND: Final = 1.5 / DAY_MS


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
        if not self.p.model:
            raise ParameterError(
                "LSTMForecast needs model: models:/NAME@champion, or the folder of a bundle"
            )
        if self.p.level != INTERVAL:
            raise ParameterError(
                f"level={self.p.level!r}: this model's bounds hold {INTERVAL:.0%} of outcomes; "
                f"give level={INTERVAL} or leave it out"
            )
        if not 0.0 <= self.p.min_confidence <= 1.0:
            raise ParameterError(
                f"min_confidence={self.p.min_confidence!r}: give a fraction from 0 to 1"
            )
        self.predictor: Predictor = predictor_of(self.p.model, self.p.home)
        self._horizon = self.predictor.horizon_position(self.p.horizon)
        self._cache = ForecastCache(cache_folder(self.p.home))
        self._cerebro = bt.metabase.findowner(self, bt.Cerebro)
        self.in_bulk = False
        self._timeframe_checked = False
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
        opens = self._opens(np.array(self.data.datetime.array[:count]))
        ohlcv = np.column_stack([np.array(line.array[:count]) for line in _prices(self.data)])
        arrays = self._cache.forecasts(self.predictor, opens, ohlcv)
        # A bar before the minimum period has no forecast in next mode either.
        values = self._lines_of(arrays, ohlcv[:, 3])
        for line, column in zip(self.lines, values, strict=True):
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
        count = self.predictor.required_bars
        opens = self._opens(np.array(self.data.datetime.get(size=count)))
        ohlcv = np.column_stack([np.array(line.get(size=count)) for line in prices])
        probability, quantiles = self.predictor.forecast_latest(opens, ohlcv)
        arrays = ForecastArrays(probability[None], quantiles[None])
        return tuple(float(column[0]) for column in self._lines_of(arrays, ohlcv[-1:, 3]))

    def _has_come(self) -> bool:
        # At the end of the data backtrader hands out what a resampler has, finished or not; and
        # with exactbars=1 it loses count of feeds that have to wait for others.
        now = getattr(self._cerebro, "_udtmaster", None)
        if now is None or self.data.datetime[0] <= bt.date2num(now) + MILLISECOND:
            return True
        if self.data.resampling:
            return False
        raise ParameterError(
            f"the feed {self.data._name!r} shows its bar of {bt.num2date(self.data.datetime[0])} "
            f"at {now}: with exactbars=1 backtrader reads ahead in feeds that wait for others. "
            "Run with exactbars=0 or exactbars=-1"
        )

    def _opens(self, dates: Floats) -> npt.NDArray[np.int64]:
        stamps = milliseconds_of_dates(dates)
        opens = opens_of(self.data, stamps, self.predictor.timeframe)
        if not self._timeframe_checked:
            _check_actual_timeframe(opens, self.predictor, self.data)
            self._timeframe_checked = True
        return opens

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


def _check_actual_timeframe(opens: npt.NDArray[np.int64], predictor: Predictor, data: Any) -> None:
    # Bars too close together are refused where holes are bridged; too far apart, every one of
    # them would look like a hole. Between sessions most steps may be longer than a candle.
    if len(opens) < 2:
        return
    step = int(np.diff(opens).min())
    if step <= period_ms(predictor.timeframe):
        return
    raise BundleError(
        f"{predictor.model} reads {predictor.timeframe} candles, and bars of the feed "
        f"{data._name!r} are at least {step / 3_600_000:g} h apart: give it a feed of "
        f"{predictor.timeframe}, such as CandleData(…, timeframe={predictor.timeframe!r})"
    )
