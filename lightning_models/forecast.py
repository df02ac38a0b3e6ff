"""Forecasts: the arrays a network gives, the lines they become, and one forecast in words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    field_serializer,
    model_serializer,
)

from lightning_models.candles.timestamps import iso_utc_of
from lightning_models.errors import BundleError, ConfigError

__all__ = [
    "INTERVAL",
    "LEVELS",
    "LINE_NAMES",
    "Forecast",
    "ForecastArrays",
    "check_level",
    "forecast_lines",
]

Floats = npt.NDArray[np.float64]

LINE_NAMES: Final = (
    "signal",
    "direction",
    "change_pct",
    "confidence",
    "predicted_price",
    "lower",
    "upper",
)

# The share of outcomes that bounds shall hold: the default, and all there are, narrowest first.
INTERVAL: Final = 0.80
LEVELS: Final = (0.80, 0.95)

# Columns of the 10 %, 50 % and 90 % quantile, which the bounds follow, and P(time-out) those.
_QUANTILES: Final = 3
_TIMEOUT: Final = _QUANTILES + 2 * len(LEVELS)


def check_level(level: float) -> int:
    """Return the place of a level among `LEVELS`.

    Raises
    ------
    ConfigError
        If there are no bounds of that level.

    Examples
    --------
    >>> check_level(0.95)
    1
    """
    if isinstance(level, int | float) and level in LEVELS:
        return LEVELS.index(level)
    raise ConfigError(
        f"level={level!r}: bounds are there for the levels "
        f"{' and '.join(f'{known:g}' for known in LEVELS)}; give level={LEVELS[0]:g} or "
        f"level={LEVELS[-1]:g}"
    )


class Forecast(BaseModel):
    """What a model says about one symbol at the close of one candle.

    Parameters
    ----------
    symbol
        Such as ``BTC/USDT``.
    time
        Stamp of the candle: open + period - 1 ms, UTC.
    horizon
        How far ahead, such as ``6h``.
    price
        Last close, quote currency.
    direction
        +1 where P(up) is at least one half, otherwise -1.
    change_pct
        Median of the return from the next open to the horizon's close, percent; under
        triple-barrier labels to the exit: the first barrier, or the close at a time-out.
    lower, upper
        Prices that bound the price there with probability `interval`.
    interval
        A fraction.
    confidence
        Calibrated probability that `direction` is right.
    predicted_price
        ``price * (1 + change_pct / 100)``, which takes the next open to be the last close.
    model
        Where the forecast comes from.
    p_timeout
        Of a model of triple-barrier labels: the calibrated probability that the horizon ends
        before a barrier is reached. None, and not written, with any other model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbol: str
    time: datetime
    horizon: str
    price: float
    direction: Literal[-1, 1]
    change_pct: float
    lower: float
    upper: float
    interval: float
    confidence: float
    predicted_price: float
    model: str
    p_timeout: float | None = None

    @model_serializer(mode="wrap")
    def _say_what_there_is(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = write(self)
        if self.p_timeout is None:
            content.pop("p_timeout", None)
        return content

    @field_serializer("time", when_used="json")
    def _time_with_z(self, time: datetime) -> str:
        return iso_utc_of(time)


@dataclass(frozen=True, eq=False)
class ForecastArrays:
    """Calibrated forecasts of one symbol, a row for each candle, NaN where there is none.

    Parameters
    ----------
    probability
        ``float64 [T, H]``, calibrated P(up).
    quantiles
        ``float64 [T, H, 3]``: 10 %, 50 % and 90 % quantile of the return, fractions. A model
        with conformal intervals adds their lower and upper bound at each of `LEVELS`:
        ``[T, H, 7]``. A model of triple-barrier labels speaks of the return at the exit, and
        adds P(time-out): ``[T, H, 8]``.
    """

    probability: Floats
    quantiles: Floats

    @property
    def has_intervals(self) -> bool:
        """Whether there are conformal bounds, and not the network's quantiles alone."""
        return int(self.quantiles.shape[-1]) > _QUANTILES

    @property
    def timeout(self) -> Floats | None:
        """P(time-out), ``float64 [T, H]``; None without triple-barrier labels."""
        return self.quantiles[..., _TIMEOUT] if self.quantiles.shape[-1] > _TIMEOUT else None

    def bounds(self, level: float = INTERVAL) -> tuple[Floats, Floats]:
        """Return the lower and the upper bound of the return at a level.

        Parameters
        ----------
        level
            One of `LEVELS`. Without conformal intervals the 10 % and the 90 % quantile stand
            for 0.80, as the network gave them.

        Returns
        -------
        tuple
            Two of ``float64 [T, H]``, fractions.

        Raises
        ------
        ConfigError
            If there is no such level.
        BundleError
            If the model has no intervals at this level.
        """
        position = check_level(level)
        if self.has_intervals:
            first = _QUANTILES + 2 * position
            return self.quantiles[..., first], self.quantiles[..., first + 1]
        if level != INTERVAL:
            raise BundleError(
                f"level={level:g}: this model has no conformal intervals, only quantiles that "
                f"bound {INTERVAL:.0%}. Train it again for more, or give level={INTERVAL:g}"
            )
        return self.quantiles[..., 0], self.quantiles[..., 2]


def forecast_lines(
    forecasts: ForecastArrays,
    close: Floats,
    *,
    horizon: int,
    min_confidence: float,
    level: float = INTERVAL,
) -> dict[str, Floats]:
    """Return the indicator's lines for one horizon.

    Parameters
    ----------
    forecasts
        Of ``T`` candles.
    close
        ``float64 [T]``, quote currency.
    horizon
        Position on the horizon axis.
    min_confidence
        Below it the signal is 0.
    level
        Of ``lower`` and ``upper``, one of `LEVELS`.

    Returns
    -------
    dict
        From each of `LINE_NAMES` to ``float64 [T]``. `signal` is the direction, 0 where the
        confidence is too small or the median points the other way, NaN without a forecast.
        A model of triple-barrier labels adds ``p_timeout``.

    Raises
    ------
    ConfigError, BundleError
        If there are no bounds at this level.

    Examples
    --------
    >>> arrays = ForecastArrays(np.array([[0.7]]), np.array([[[-0.01, 0.02, 0.03]]]))
    >>> lines = forecast_lines(arrays, np.array([100.0]), horizon=0, min_confidence=0.6)
    >>> float(lines["signal"][0]), float(lines["predicted_price"][0])
    (1.0, 102.0)
    """
    probability = forecasts.probability[:, horizon]
    median = forecasts.quantiles[:, horizon, 1]
    low, high = (bound[:, horizon] for bound in forecasts.bounds(level))
    missing = np.isnan(probability)
    direction = np.where(missing, np.nan, np.where(probability >= 0.5, 1.0, -1.0))
    confidence = np.maximum(probability, 1.0 - probability)
    agrees = np.sign(median) == direction
    signal = np.where(agrees & (confidence >= min_confidence), direction, 0.0)
    lines = {
        "signal": np.where(missing, np.nan, signal),
        "direction": direction,
        "change_pct": 100.0 * median,
        "confidence": confidence,
        "predicted_price": close * (1.0 + median),
        "lower": close * (1.0 + low),
        "upper": close * (1.0 + high),
    }
    if forecasts.timeout is not None:
        lines["p_timeout"] = forecasts.timeout[:, horizon]
    return lines
