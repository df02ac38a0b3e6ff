"""What is known of a market at the close of a bar."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real
from typing import Annotated, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

from lightning_models.errors import CandleError, NoForecastError, TooFewCandlesError
from lightning_models.timeframes import check_timeframe

__all__ = ["FACT_BARS", "FactReading", "MarketFacts", "market_facts"]

Floats = npt.NDArray[np.float64]

SHORT: Final = 24
LONG: Final = 72
FACT_BARS: Final = LONG + 1
"""Rows that the figures look back on; earlier ones change nothing."""

HIGH, LOW, CLOSE, VOLUME = 1, 2, 3, 4


def _known(value: Any) -> Any:
    # An indicator has NaN where it has nothing to say.
    return None if isinstance(value, Real) and not math.isfinite(value) else value


Known = Annotated[float | None, BeforeValidator(_known)]


class FactReading(NamedTuple):
    """What an indicator says.

    Parameters
    ----------
    name
        Such as ``rsi``.
    value
        In the indicator's own unit; None, as NaN, where it has none yet.
    word
        What that means, such as ``oversold``; may be empty.
    """

    name: str
    value: Known
    word: str = ""


class MarketFacts(BaseModel):
    """A market at the close of a bar; None stands for what cannot be told.

    Parameters
    ----------
    symbol
        Such as ``BTC/USDT``.
    timeframe
        Of a bar, such as ``6h``.
    time
        When the bar closed, milliseconds.
    price
        Its close, quote currency.
    change_1_pct, change_6_pct, change_24_pct, change_72_pct
        From the close that many bars ago to this one, percent.
    volatility_pct
        Standard deviation of the last 24 bars' returns, percent a bar.
    range_position
        Where the close lies between the lowest low, 0, and the highest high, 1, of the last 72
        bars.
    volume_ratio
        The bar's volume as a multiple of the mean of the 24 bars before it.
    readings
        Of indicators.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    symbol: Annotated[str, StringConstraints(min_length=1)]
    timeframe: Annotated[str, AfterValidator(check_timeframe)]
    time: int
    price: Annotated[float, Field(gt=0.0)]
    change_1_pct: float | None = None
    change_6_pct: float | None = None
    change_24_pct: float | None = None
    change_72_pct: float | None = None
    volatility_pct: float | None = None
    range_position: float | None = None
    volume_ratio: float | None = None
    readings: tuple[FactReading, ...] = ()


def market_facts(
    symbol: str,
    timeframe: str,
    time: int,
    ohlcv: Floats,
    readings: Iterable[FactReading | tuple[str, float | None, str]] = (),
    *,
    times: npt.NDArray[np.int64] | None = None,
) -> MarketFacts:
    """Return what is known of a market when a bar has closed.

    Parameters
    ----------
    symbol
        Such as ``BTC/USDT``.
    timeframe
        Of a bar.
    time
        When the bar closed, milliseconds.
    ohlcv
        ``float64 [T, 5]``, open, high, low, close, volume; the last row is the bar. The last
        `FACT_BARS` rows suffice.
    readings
        Of indicators at that bar: name, value, word.
    times
        ``int64 [T]``, when each row closed, milliseconds. With it, rows that closed after
        `time` are left out.

    Raises
    ------
    CandleError
        If the arrays have another shape, or no row closed at `time`.
    TooFewCandlesError
        If there is no row.
    NoForecastError
        If the bar has no price.

    Examples
    --------
    >>> import numpy as np
    >>> close = np.array([100.0, 101.0, 104.03])
    >>> rows = np.column_stack([close, close, close, close, np.ones(3)])
    >>> facts = market_facts("BTC/USDT", "6h", 0, rows, [("rsi", 71.0, "overbought")])
    >>> round(facts.change_1_pct, 6), facts.change_6_pct
    (3.0, None)
    """
    rows = _until(time, np.asarray(ohlcv, dtype=np.float64), times)[-FACT_BARS:]
    close = rows[:, CLOSE]
    price = float(close[-1])
    if not (math.isfinite(price) and price > 0.0):
        raise NoForecastError(
            f"{symbol} has no price at the bar that closed at {time} (close {price}): ask about "
            "bars that have one"
        )
    return MarketFacts(
        symbol=symbol,
        timeframe=timeframe,
        time=int(time),
        price=price,
        change_1_pct=_change(close, 1),
        change_6_pct=_change(close, 6),
        change_24_pct=_change(close, SHORT),
        change_72_pct=_change(close, LONG),
        volatility_pct=_volatility(close),
        range_position=_range_position(rows[-LONG:]),
        volume_ratio=_volume_ratio(rows[:, VOLUME]),
        readings=tuple(FactReading(*each) for each in readings),
    )


def _until(time: int, ohlcv: Floats, times: npt.NDArray[np.int64] | None) -> Floats:
    if ohlcv.ndim != 2 or ohlcv.shape[1] != 5:
        raise CandleError(
            f"candles of shape {ohlcv.shape}: give [T, 5], open, high, low, close and volume"
        )
    if times is not None:
        if np.shape(times) != ohlcv.shape[:1]:
            raise CandleError(
                f"{np.shape(times)} times for {ohlcv.shape[0]} candles: give one each"
            )
        closed = np.flatnonzero(np.asarray(times) == time)
        if closed.size == 0:
            raise CandleError(f"no candle closed at {time}: give the time at which one did")
        ohlcv = ohlcv[: closed[-1] + 1]
    if ohlcv.shape[0] == 0:
        raise TooFewCandlesError("no candle up to the bar: give at least the bar itself")
    return ohlcv


def _change(close: Floats, bars: int) -> float | None:
    if close.size <= bars:
        return None
    earlier = float(close[-1 - bars])
    return _finite(100.0 * (float(close[-1]) / earlier - 1.0)) if earlier > 0.0 else None


def _volatility(close: Floats) -> float | None:
    recent = close[-1 - SHORT :]
    if recent.size <= SHORT or not np.all(recent > 0.0):
        return None
    return _finite(100.0 * float(np.std(recent[1:] / recent[:-1] - 1.0, ddof=1)))


def _range_position(rows: Floats) -> float | None:
    if rows.shape[0] < LONG:
        return None
    low, high = float(np.min(rows[:, LOW])), float(np.max(rows[:, HIGH]))
    return _finite((float(rows[-1, CLOSE]) - low) / (high - low)) if high > low else None


def _volume_ratio(volume: Floats) -> float | None:
    if volume.size <= SHORT:
        return None
    usual = float(np.mean(volume[-1 - SHORT : -1]))
    return _finite(float(volume[-1]) / usual) if usual > 0.0 else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
