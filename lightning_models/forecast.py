"""Forecasts: the arrays a network gives, the lines they become, and one forecast in words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, field_serializer

from lightning_models.candles.timestamps import iso_utc_of

__all__ = [
    "INTERVAL",
    "LINE_NAMES",
    "Forecast",
    "ForecastArrays",
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

# The raw 10 % and 90 % quantiles bound 80 % of outcomes.
INTERVAL: Final = 0.80


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
        Median of the return from the next open to the horizon's close, percent.
    lower, upper
        Prices that bound the horizon's close with probability `interval`.
    interval
        A fraction.
    confidence
        Calibrated probability that `direction` is right.
    predicted_price
        ``price * (1 + change_pct / 100)``, which takes the next open to be the last close.
    model
        Where the forecast comes from.
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
        ``float64 [T, H, 3]``: 10 %, 50 % and 90 % quantile of the return, fractions.
    """

    probability: Floats
    quantiles: Floats


def forecast_lines(
    forecasts: ForecastArrays, close: Floats, *, horizon: int, min_confidence: float
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

    Returns
    -------
    dict
        From each of `LINE_NAMES` to ``float64 [T]``. `signal` is the direction, 0 where the
        confidence is too small or the median points the other way, NaN without a forecast.

    Examples
    --------
    >>> arrays = ForecastArrays(np.array([[0.7]]), np.array([[[-0.01, 0.02, 0.03]]]))
    >>> lines = forecast_lines(arrays, np.array([100.0]), horizon=0, min_confidence=0.6)
    >>> float(lines["signal"][0]), float(lines["predicted_price"][0])
    (1.0, 102.0)
    """
    probability = forecasts.probability[:, horizon]
    low, median, high = np.moveaxis(forecasts.quantiles[:, horizon], -1, 0)
    missing = np.isnan(probability)
    direction = np.where(missing, np.nan, np.where(probability >= 0.5, 1.0, -1.0))
    confidence = np.maximum(probability, 1.0 - probability)
    agrees = np.sign(median) == direction
    signal = np.where(agrees & (confidence >= min_confidence), direction, 0.0)
    return {
        "signal": np.where(missing, np.nan, signal),
        "direction": direction,
        "change_pct": 100.0 * median,
        "confidence": confidence,
        "predicted_price": close * (1.0 + median),
        "lower": close * (1.0 + low),
        "upper": close * (1.0 + high),
    }
