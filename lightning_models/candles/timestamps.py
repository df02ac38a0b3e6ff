"""Times as sources write them, turned into milliseconds since the epoch, UTC."""

from __future__ import annotations

import math
import numbers
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from lightning_models.errors import CandleError

__all__ = ["iso_utc", "iso_utc_of", "milliseconds_of", "milliseconds_utc"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# Seconds below the first limit, milliseconds below the second, and so on: each unit covers
# the years 1970 to 2286 (nanoseconds to 2262), and the units overlap in early 1970 only.
_SECONDS_BELOW: Final = 10**10
_MILLISECONDS_BELOW: Final = 10**13
_MICROSECONDS_BELOW: Final = 10**16
_TOO_LARGE: Final = 2.0**63

# Calendar days written as numbers. Read as seconds they would all lie in August and
# September 1970, a time of which nobody has candles in that form.
_FIRST_CALENDAR_NUMBER: Final = 1900_01_01
_LAST_CALENDAR_NUMBER: Final = 2199_12_31

_WRITE_ISO: Final = "write ISO-8601 (2021-03-04T05:00:00Z) or a number since the epoch"


def iso_utc(milliseconds: int) -> str:
    """Return a moment as ISO-8601 with ``Z``, with milliseconds only where there are any.

    Examples
    --------
    >>> iso_utc(1_614_834_000_000)
    '2021-03-04T05:00:00Z'
    >>> iso_utc(1_614_833_999_999)
    '2021-03-04T04:59:59.999Z'
    """
    unit: Any = "s" if milliseconds % 1000 == 0 else "ms"
    return str(np.datetime_as_string(np.datetime64(int(milliseconds), "ms"), unit=unit)) + "Z"


def iso_utc_of(moment: datetime) -> str:
    """Return an aware moment as ISO-8601 with ``Z``, cut to milliseconds.

    Examples
    --------
    >>> iso_utc_of(datetime(1970, 1, 1, 6, tzinfo=UTC))
    '1970-01-01T06:00:00Z'
    """
    return iso_utc(milliseconds_of(moment))


def milliseconds_of(moment: datetime) -> int:
    """Return an aware moment in milliseconds since the epoch, rounded down.

    Raises
    ------
    TypeError
        If the moment has no time zone: a naive one could be local time as well as UTC.

    Examples
    --------
    >>> milliseconds_of(datetime(1970, 1, 1, 0, 0, 1, 999, tzinfo=UTC))
    1000
    """
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def milliseconds_utc(times: pd.Series[Any], *, origin: str) -> npt.NDArray[np.int64]:
    """Return times as milliseconds since the epoch, UTC.

    Numbers are seconds, milliseconds, microseconds or nanoseconds by their magnitude, each
    row for itself, because exchanges have changed the unit within one archive; eight-digit
    numbers such as 20210304 are calendar days. Text is ISO-8601. Naive times are UTC; times
    with an offset are converted, each by its own.

    Parameters
    ----------
    times
        ``[T]``: numbers, text, naive or aware datetimes.
    origin
        Where the times come from, for the message of an error.

    Returns
    -------
    numpy.ndarray
        ``int64 [T]``, rounded down to the millisecond.

    Raises
    ------
    CandleError
        If a time is missing or cannot be read; the message names the row.

    Examples
    --------
    >>> milliseconds_utc(pd.Series([1_614_834_000, 1_614_834_000_000_000]), origin="x").tolist()
    [1614834000000, 1614834000000]
    >>> milliseconds_utc(pd.Series(["2021-03-04T06:00:00+01:00"]), origin="x").tolist()
    [1614834000000]
    """
    if pd.api.types.is_bool_dtype(times.dtype):
        raise CandleError(f"{origin}: the time column holds true and false; {_WRITE_ISO}")
    if pd.api.types.is_datetime64_any_dtype(times.dtype):
        return _from_datetimes(times, times, origin)
    if pd.api.types.is_numeric_dtype(times.dtype):
        return _from_numbers(times, origin)
    if pd.api.types.infer_dtype(times, skipna=True) in _MAYBE_NUMBERS:
        values = pd.to_numeric(times, errors="coerce")
        if values.notna().all():
            return _from_numbers(values, origin)
        _refuse_numbers_among_text(times, origin)
    parsed = pd.Series(
        pd.to_datetime(times.astype(object), utc=True, format="ISO8601", errors="coerce")
    )
    return _from_datetimes(parsed, times, origin)


_MAYBE_NUMBERS: Final = {
    "string",
    "integer",
    "floating",
    "decimal",
    "mixed-integer",
    "mixed-integer-float",
}


def _refuse_numbers_among_text(times: pd.Series[Any], origin: str) -> None:
    for row, value in enumerate(times.to_numpy(dtype=object)):
        if isinstance(value, numbers.Real) and not math.isnan(value):
            raise CandleError(
                f"{origin}: row {row} has the number {value} for its time, others have text; "
                f"{_WRITE_ISO}, all the same way"
            )


def _from_datetimes(
    parsed: pd.Series[Any], written: pd.Series[Any], origin: str
) -> npt.NDArray[np.int64]:
    missing = parsed.isna().to_numpy()
    if missing.any():
        row = int(np.argmax(missing))
        value = written.iloc[row]
        if pd.isna(value):
            raise CandleError(f"{origin}: row {row} has no time; remove or repair it")
        raise CandleError(
            f"{origin}: row {row}: the time {str(value)!r} cannot be read; {_WRITE_ISO}"
        )
    if parsed.dt.tz is not None:
        parsed = parsed.dt.tz_convert("UTC").dt.tz_localize(None)
    moments = parsed.to_numpy().astype("datetime64[ms]")
    return np.asarray(moments.astype(np.int64), dtype=np.int64)


def _from_numbers(times: pd.Series[Any], origin: str) -> npt.NDArray[np.int64]:
    values = times.to_numpy(dtype=np.float64, na_value=np.nan)
    unreadable = ~(np.abs(values) < _TOO_LARGE)
    if unreadable.any():
        row = int(np.argmax(unreadable))
        raise CandleError(f"{origin}: row {row} has the time {values[row]}; remove or repair it")
    if pd.api.types.is_integer_dtype(times.dtype):
        # Integers stay integers: nanoseconds exceed what a float64 holds exactly.
        return _from_integers(times.to_numpy(dtype=np.int64), origin)
    if bool((values == np.floor(values)).all()):
        return _from_integers(values.astype(np.int64), origin)
    size = np.abs(values)
    # Fractions of a second are decimal, so the nearest millisecond is the one that was meant.
    scaled = np.where(size < _SECONDS_BELOW, np.rint(values * 1000.0), np.floor(values))
    scaled = np.where(size >= _MILLISECONDS_BELOW, np.floor(values / 1e3), scaled)
    scaled = np.where(size >= _MICROSECONDS_BELOW, np.floor(values / 1e6), scaled)
    return np.asarray(scaled.astype(np.int64), dtype=np.int64)


def _from_integers(values: npt.NDArray[np.int64], origin: str) -> npt.NDArray[np.int64]:
    if bool(((values >= _FIRST_CALENDAR_NUMBER) & (values <= _LAST_CALENDAR_NUMBER)).all()):
        written = pd.Series(values).astype(str)
        days = pd.to_datetime(written, format="%Y%m%d", utc=True, errors="coerce")
        return _from_datetimes(pd.Series(days), written, origin)
    size = np.abs(values)
    seconds = size < _SECONDS_BELOW
    scaled = np.where(seconds, np.where(seconds, values, 0) * 1000, values)
    scaled = np.where(size >= _MILLISECONDS_BELOW, values // 1000, scaled)
    scaled = np.where(size >= _MICROSECONDS_BELOW, values // 1_000_000, scaled)
    return np.asarray(scaled, dtype=np.int64)
