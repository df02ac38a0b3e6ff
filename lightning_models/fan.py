"""A fan: the median of the price and its bounds, further and further ahead."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lightning_models.candles.timestamps import iso_utc
from lightning_models.forecast import INTERVAL, ForecastArrays
from lightning_models.timeframes import bar_stamp, period_ms

if TYPE_CHECKING:
    from lightning_models.candles.candles import Candles
    from lightning_models.predictor import Predictor

__all__ = ["Fan", "fan_of_horizons"]

Floats = npt.NDArray[np.float64]

_BLUE, _SHADE, _INK = "#2a6fb0", "rgba(42, 111, 176, 0.18)", "#4a4a4a"


@dataclass(frozen=True, eq=False)
class Fan:
    """What a model says of a symbol's next candles, nearest first.

    Parameters
    ----------
    symbol
        Such as ``BTC/USDT``.
    time
        Stamp of the last candle that was known, milliseconds since the epoch.
    price
        Its close, quote currency.
    level
        Share of outcomes that each step's bounds are meant to hold, taken by itself.
    model
        Where it comes from.
    names
        ``[K]``, each step's reach, such as ``6h``.
    candles
        ``int64 [K]``, the same in candles, rising.
    times
        ``int64 [K]``, stamps of the candles at whose close the forecast is for, milliseconds;
        closing hours of a market with sessions are not known ahead and not left out.
    median, lower, upper
        ``float64 [K]``, quote currency.
    """

    symbol: str
    time: int
    price: float
    level: float
    model: str
    names: tuple[str, ...]
    candles: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64]
    median: Floats
    lower: Floats
    upper: Floats

    def __post_init__(self) -> None:
        """Close the arrays for writing."""
        for array in (self.candles, self.times, self.median, self.lower, self.upper):
            array.setflags(write=False)

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self.candles)

    @property
    def median_pct(self) -> Floats:
        """``float64 [K]``, the median's distance from the last close, percent of it."""
        return self._percent(self.median)

    @property
    def lower_pct(self) -> Floats:
        """``float64 [K]``, the lower bound's, percent of the last close."""
        return self._percent(self.lower)

    @property
    def upper_pct(self) -> Floats:
        """``float64 [K]``, the upper bound's, percent of the last close."""
        return self._percent(self.upper)

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each step.

        Returns
        -------
        pandas.DataFrame
            ``horizon, candles, time, median, lower, upper, median_pct, lower_pct, upper_pct``;
            ``time`` in UTC.
        """
        return pd.DataFrame(
            {
                "horizon": list(self.names),
                "candles": self.candles,
                "time": pd.to_datetime(self.times, unit="ms", utc=True),
                "median": self.median,
                "lower": self.lower,
                "upper": self.upper,
                "median_pct": self.median_pct,
                "lower_pct": self.lower_pct,
                "upper_pct": self.upper_pct,
            }
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fan as JSON holds it: times in ISO-8601, a list of steps."""
        return {
            "symbol": self.symbol,
            "time": iso_utc(self.time),
            "price": self.price,
            "interval": self.level,
            "model": self.model,
            "steps": [
                {
                    "horizon": name,
                    "candles": int(candles),
                    "time": iso_utc(int(time)),
                    **{key: float(value) for key, value in zip(_VALUES, values, strict=True)},
                }
                for name, candles, time, *values in zip(
                    self.names,
                    self.candles,
                    self.times,
                    self.median,
                    self.lower,
                    self.upper,
                    self.median_pct,
                    self.lower_pct,
                    self.upper_pct,
                    strict=True,
                )
            ],
        }

    def figure(self, candles: Candles | None = None, *, shown: int = 60) -> Any:
        """Return the fan as a Plotly figure.

        Parameters
        ----------
        candles
            What came before it, drawn as a line of closes; nothing by default.
        shown
            How many of them at most.

        Returns
        -------
        plotly.graph_objects.Figure
        """
        import plotly.graph_objects as go  # half a second that forecasting itself needs not

        start = [_moment(self.time)]
        ahead = start + [_moment(int(time)) for time in self.times]
        figure = go.Figure()
        if candles is not None and len(candles):
            past = candles.between(None, self.time)
            stamps = bar_stamp(past.time[-shown:], past.timeframe)
            figure.add_scatter(
                x=[_moment(int(stamp)) for stamp in stamps],
                y=past.ohlcv[-shown:, 3],
                mode="lines",
                name="close",
                line={"color": _INK, "width": 1.4},
            )
        figure.add_scatter(
            x=ahead + ahead[::-1],
            y=[self.price, *self.upper, *self.lower[::-1], self.price],
            fill="toself",
            fillcolor=_SHADE,
            line={"width": 0},
            hoverinfo="skip",
            name=f"{self.level:.0%} bounds",
        )
        figure.add_scatter(
            x=ahead,
            y=[self.price, *self.median],
            mode="lines+markers",
            name="median",
            line={"color": _BLUE, "width": 2.0},
            marker={"size": 4},
        )
        figure.update_layout(
            title=f"{self.symbol}: forecast of {iso_utc(self.time)}",
            template="plotly_white",
            yaxis_title="price",
            legend={"orientation": "h"},
        )
        return figure

    def _percent(self, price: Floats) -> Floats:
        return 100.0 * (price / self.price - 1.0)


_VALUES = ("median", "lower", "upper", "median_pct", "lower_pct", "upper_pct")


def fan_of_horizons(
    predictor: Predictor, frame: pd.DataFrame | Candles, *, level: float = INTERVAL
) -> Fan:
    """Return the fan of a model's own horizons, each forecast by itself.

    Parameters
    ----------
    predictor
        Of one horizon or several.
    frame
        As `Predictor.predict_latest` takes it.
    level
        One of `lightning_models.forecast.LEVELS`.

    Returns
    -------
    Fan
        One step for each horizon, the nearest first. Nothing ties them together: a further
        median need not lie beyond a nearer one, nor its bounds be wider.

    Raises
    ------
    TooFewCandlesError, NoForecastError, ConfigError, CandleError, BundleError
        As `Predictor.predict_latest`.
    """
    candles, probability, quantiles = predictor.latest(frame)
    horizons = predictor.bundle.horizons
    order = np.argsort([horizon.candles for horizon in horizons])
    lower, upper = (
        bound[0] for bound in ForecastArrays(probability[None], quantiles[None]).bounds(level)
    )
    price = float(candles.ohlcv[-1, 3])
    stamp = int(bar_stamp(candles.time[-1:], predictor.timeframe)[0])
    reach = np.array([horizons[place].candles for place in order], dtype=np.int64)
    return Fan(
        symbol=candles.symbol,
        time=stamp,
        price=price,
        level=level,
        model=predictor.model,
        names=tuple(horizons[place].name for place in order),
        candles=reach,
        times=stamp + reach * period_ms(predictor.timeframe),
        median=price * (1.0 + quantiles[order, 1]),
        lower=price * (1.0 + lower[order]),
        upper=price * (1.0 + upper[order]),
    )


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
