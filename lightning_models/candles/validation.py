"""What candles must satisfy to be true: order, alignment, finite prices, high above low."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lightning_models.candles.candles import COLUMNS, Candles
from lightning_models.candles.timestamps import iso_utc
from lightning_models.errors import CandleError
from lightning_models.timeframes import floor_to_open

__all__ = ["check_order", "check_prices", "validate"]

_PRICES = COLUMNS[:4]
_OPEN, _HIGH, _LOW, _CLOSE, _VOLUME = range(len(COLUMNS))


def validate(candles: Candles, *, origin: str | None = None) -> Candles:
    """Return the candles if they can be true.

    Parameters
    ----------
    candles
        Candles of one symbol.
    origin
        Where they come from, for the message; the symbol where it isn't given.

    Returns
    -------
    Candles
        The same object.

    Raises
    ------
    CandleError
        If open times don't strictly increase or don't lie on the timeframe's bins, if a price
        isn't finite and above zero, if the high lies below the open or the close, the low
        above one of them, or if a volume isn't finite and at least zero. The message names
        the first such row, counted from 0, and its open time.

    Examples
    --------
    >>> candles = Candles("BTC/USDT", "1h", "continuous", [0], [[10.0, 9.0, 8.0, 9.0, 1.0]])
    >>> validate(candles)
    Traceback (most recent call last):
    ...
    lightning_models.errors.CandleError: BTC/USDT: row 0 (1970-01-01T00:00:00Z): the high 9.0 \
lies below the open 10.0; repair or remove the candle
    """
    place = candles.symbol if origin is None else origin
    check_order(candles.time, origin=place)
    astray = candles.time != floor_to_open(candles.time, candles.timeframe)
    if astray.any():
        row = int(np.argmax(astray))
        raise CandleError(
            f"{_where(place, candles.time, row)}: not the open of a {candles.timeframe} candle; "
            "floor the times with lightning_models.timeframes.floor_to_open"
        )
    check_prices(candles.time, candles.ohlcv, origin=place)
    return candles


def check_order(time: npt.NDArray[np.int64], *, origin: str) -> None:
    """Refuse times that don't strictly increase.

    Parameters
    ----------
    time
        ``int64 [T]``, milliseconds since the epoch.
    origin
        Where they come from, for the message.

    Raises
    ------
    CandleError
        Naming the first row that isn't later than the row before it, and both times;
        duplicates and disorder have messages of their own.
    """
    backward = np.diff(time) <= 0
    if not backward.any():
        return
    row = int(np.argmax(backward)) + 1
    if time[row] == time[row - 1]:
        raise CandleError(
            f"{origin}: rows {row - 1} and {row} both have the time {iso_utc(time[row])}; "
            "remove one of them"
        )
    advice = "sort the candles, oldest first"
    if (time[:row] == time[row]).any():
        advice = "that time was there before: remove the rows that are repeated"
    raise CandleError(
        f"{_where(origin, time, row)} comes after row {row - 1} ({iso_utc(time[row - 1])}) "
        f"but is earlier; {advice}"
    )


def check_prices(
    time: npt.NDArray[np.int64], ohlcv: npt.NDArray[np.float64], *, origin: str
) -> None:
    """Refuse prices and volumes that cannot be true.

    Parameters
    ----------
    time
        ``int64 [T]``, milliseconds since the epoch.
    ohlcv
        ``float64 [T, 5]``: open, high, low, close in quote currency, volume in base currency.
    origin
        Where they come from, for the message.

    Raises
    ------
    CandleError
        Naming the first row with a price that isn't finite and above zero, a high below the
        body, a low above it, or a volume that isn't finite and at least zero.
    """
    # One pass that is true for sound rows and false for NaN finds the row; the reason is
    # looked for in that row alone.
    with np.errstate(invalid="ignore"):
        sound = (
            np.isfinite(ohlcv).all(axis=1)
            & (ohlcv[:, :_VOLUME] > 0).all(axis=1)
            & (ohlcv[:, _VOLUME] >= 0)
            & (ohlcv[:, _HIGH] >= np.maximum(ohlcv[:, _OPEN], ohlcv[:, _CLOSE]))
            & (ohlcv[:, _LOW] <= np.minimum(ohlcv[:, _OPEN], ohlcv[:, _CLOSE]))
        )
    if sound.all():
        return
    row = int(np.argmin(sound))
    reason = _reason([float(value) for value in ohlcv[row]])
    raise CandleError(f"{_where(origin, time, row)}: {reason}; repair or remove the candle")


def _reason(candle: list[float]) -> str:
    for column, value in zip(_PRICES, candle, strict=False):
        if not (np.isfinite(value) and value > 0):
            return f"the {column} is {value}, and a price is finite and above zero"
    volume = candle[_VOLUME]
    if not (np.isfinite(volume) and volume >= 0):
        return f"the volume is {volume}, and a volume is finite and at least zero"
    high, low = candle[_HIGH], candle[_LOW]
    for column, value in (("open", candle[_OPEN]), ("close", candle[_CLOSE])):
        if high < value:
            return f"the high {high} lies below the {column} {value}"
        if low > value:
            return f"the low {low} lies above the {column} {value}"
    raise AssertionError(f"a sound candle was called unsound: {candle}")


def _where(origin: str, time: npt.NDArray[np.int64], row: int) -> str:
    return f"{origin}: row {row} ({iso_utc(time[row])})"
