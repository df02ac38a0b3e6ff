"""Funding of perpetual futures: the rates, when they fall due, and what was paid."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from lightning_models.candles import iso_utc
from lightning_models.candles.timestamps import milliseconds_utc
from lightning_models.errors import CandleError, ConfigError
from lightning_models.timeframes import period_ms
from lstm_strategies.errors import ParameterError
from lstm_strategies.given_values import check_positive

__all__ = ["FUNDING_PERIOD_MS", "FundingPayment", "FundingRates", "check_rate"]

FUNDING_PERIOD_MS: Final = period_ms("8h")
"""Constant rates fall due at 00:00, 08:00 and 16:00 UTC."""

# Exchanges cap a payment at a few percent; 0.01 given for 0.01 % would be ten times the usual.
_LARGEST: Final = 0.05

_RATE_COLUMNS: Final = ("rate", "fundingrate")

_EXTENSIONS: Final = (".csv", ".csv.gz", ".parquet")


class FundingPayment(NamedTuple):
    """One payment for one position.

    Parameters
    ----------
    time
        When it fell due, milliseconds since the epoch.
    data
        The feed whose position paid.
    amount
        Quote currency: paid if positive, received if negative.
    rate
        Fraction of the notional.
    """

    time: int
    data: Any
    amount: float
    rate: float


@dataclass(frozen=True, eq=False)
class FundingRates:
    """Rates of a perpetual future by the time they fall due; see `constant` and `read`.

    Longs pay a positive rate and shorts receive it.

    Parameters
    ----------
    time
        ``int64 [N]``, milliseconds since the epoch, strictly increasing.
    rate
        ``float64 [N]``, fractions of the notional.
    constant_rate
        The rate of every 8 hours, in place of a table.

    Raises
    ------
    CandleError
        If the times are not strictly increasing, or a rate is not a number or beyond 5 %.

    Examples
    --------
    >>> hour = 3_600_000
    >>> rates = FundingRates.constant(0.0001)
    >>> [(time // hour, rate) for time, rate in rates.due(0, 17 * hour)]
    [(0, 0.0001), (8, 0.0001), (16, 0.0001)]
    """

    time: npt.NDArray[np.int64]
    rate: npt.NDArray[np.float64]
    constant_rate: float | None = None
    _table: tuple[list[int], list[float]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the table."""
        _check_table(self.time, self.rate)
        object.__setattr__(self, "_table", (self.time.tolist(), self.rate.tolist()))

    @classmethod
    def constant(cls, rate: float) -> FundingRates:
        """Return the same rate every 8 hours, at 00:00, 08:00 and 16:00 UTC.

        Raises
        ------
        ParameterError
            If it is no number or beyond 5 %.
        """
        check_rate("rate", rate)
        return cls(np.empty(0, dtype=np.int64), np.empty(0), constant_rate=float(rate))

    @classmethod
    def read(cls, source: str | Path | pd.DataFrame) -> FundingRates:
        """Return the rates of a file or a frame, on whatever schedule it has.

        Parameters
        ----------
        source
            A CSV or Parquet file, or a frame, with the columns ``timestamp`` (milliseconds or
            ISO-8601) and ``rate`` or, as ccxt's ``fetchFundingRateHistory`` names it,
            ``fundingRate``. Exchanges stamp payments some milliseconds late: times are rounded
            to the second.

        Raises
        ------
        ConfigError
            If the source is of another type, or the file doesn't exist or cannot be read.
        CandleError
            If a column is missing, a time or a rate cannot be read, the times are unsorted or
            double, or a rate is beyond 5 %.

        Examples
        --------
        >>> frame = pd.DataFrame({"timestamp": ["2021-01-01T00:00Z"], "fundingRate": [0.0001]})
        >>> FundingRates.read(frame).rate.tolist()
        [0.0001]
        """
        frame, origin = _frame_of(source)
        columns = {str(name).strip().lower(): name for name in frame.columns}
        found = [columns[name] for name in _RATE_COLUMNS if name in columns]
        if "timestamp" not in columns or not found:
            raise CandleError(
                f"{origin} has the columns {', '.join(map(str, frame.columns))}: funding rates "
                "need timestamp and rate (or fundingRate)"
            )
        if frame.empty:
            raise CandleError(f"{origin} holds no funding rates; give at least one row")
        time = milliseconds_utc(frame[columns["timestamp"]], origin=origin)
        time = (time + 500) // 1000 * 1000
        rate = pd.to_numeric(frame[found[0]], errors="coerce").to_numpy(dtype=np.float64)
        _check_table(time, rate, origin=origin)
        return cls(time, rate)

    def times(self, factor: float) -> FundingRates:
        """Return the rates multiplied, for a backtest under dearer funding.

        Parameters
        ----------
        factor
            0 or more.

        Examples
        --------
        >>> FundingRates.constant(0.0001).times(2.0).constant_rate
        0.0002
        """
        check_positive("factor", factor, or_zero=True)
        scaled = object.__new__(FundingRates)
        rate = self.rate * factor
        constant = None if self.constant_rate is None else self.constant_rate * factor
        for name, value in (
            ("time", self.time),
            ("rate", rate),
            ("constant_rate", constant),
            ("_table", (self._table[0], rate.tolist())),
        ):
            object.__setattr__(scaled, name, value)
        return scaled

    def due(self, begin: int, end: int) -> list[tuple[int, float]]:
        """Return times and rates that fall due from `begin` and before `end` (milliseconds)."""
        if self.constant_rate is not None:
            first = -(-begin // FUNDING_PERIOD_MS) * FUNDING_PERIOD_MS
            return [(time, self.constant_rate) for time in range(first, end, FUNDING_PERIOD_MS)]
        times, rates = self._table
        rows = range(bisect_left(times, begin), bisect_left(times, end))
        return [(times[row], rates[row]) for row in rows]

    def uncovered(self, begin: int, end: int) -> float:
        """Return the share of a span of time for which there are no rates.

        Parameters
        ----------
        begin, end
            Milliseconds since the epoch.

        Returns
        -------
        float
            Fraction. The usual distance of two rates counts as covered before the first rate,
            after the last one, and after each; three times that between two rates is no gap.
        """
        if self.constant_rate is not None or end <= begin:
            return 0.0
        steps = np.diff(self.time)
        step = int(np.median(steps)) if len(steps) else FUNDING_PERIOD_MS
        lacking = max(0, min(end, int(self.time[0]) - step) - begin)
        lacking += max(0, end - max(begin, int(self.time[-1]) + step))
        for row in np.flatnonzero(steps > 3 * step).tolist():
            opened = max(begin, int(self.time[row]) + step)
            lacking += max(0, min(end, int(self.time[row + 1])) - opened)
        return lacking / (end - begin)


def check_rate(name: str, rate: Any) -> None:
    """Refuse a constant funding rate that is no number or beyond 5 %.

    Raises
    ------
    ParameterError
        With the likely meaning.

    Examples
    --------
    >>> check_rate("funding_rate", 0.1)
    Traceback (most recent call last):
    lstm_strategies.errors.ParameterError: funding_rate=0.1: give a fraction of the notional from \
-0.05 to 0.05; for 0.1 % write funding_rate=0.001
    """
    number = isinstance(rate, int | float | np.floating) and not isinstance(rate, bool)
    if number and -_LARGEST <= rate <= _LARGEST:
        return
    meant = ""
    if number and abs(rate) <= 100.0 * _LARGEST:
        meant = f"; for {float(rate):.10g} % write {name}={float(rate) / 100.0:.10g}"
    raise ParameterError(
        f"{name}={rate!r}: give a fraction of the notional from -{_LARGEST} to {_LARGEST}{meant}"
    )


def _check_table(
    time: npt.NDArray[np.int64],
    rate: npt.NDArray[np.float64],
    origin: str = "the funding rates",
) -> None:
    if time.shape != rate.shape or time.ndim != 1:
        raise CandleError(
            f"{origin}: times have the shape {time.shape} and rates {rate.shape}; give [N] of each"
        )
    steps = np.diff(time)
    if bool((steps <= 0).any()):
        row = int(np.argmax(steps <= 0)) + 1
        what = "is there twice" if steps[row - 1] == 0 else "comes after a later one"
        raise CandleError(
            f"{origin}: row {row}, {iso_utc(int(time[row]))}, {what}; sort the rows by time and "
            "leave one of each time, of one symbol"
        )
    strange = ~(np.abs(rate) <= _LARGEST)
    if bool(strange.any()):
        row = int(np.argmax(strange))
        raise CandleError(
            f"{origin}: row {row}, {iso_utc(int(time[row]))}, has the rate {rate[row]:g}; rates "
            f"are fractions of the notional from -{_LARGEST} to {_LARGEST}, such as 0.0001 for "
            "0.01 %"
        )


def _frame_of(source: str | Path | pd.DataFrame) -> tuple[pd.DataFrame, str]:
    if isinstance(source, pd.DataFrame):
        return source, "the frame"
    if not isinstance(source, str | Path):
        raise ConfigError(
            f"funding rates cannot be read from a {type(source).__name__}: give the path of a CSV "
            "or Parquet file, or a DataFrame"
        )
    path = Path(source).expanduser()
    if not path.is_file():
        raise ConfigError(f"there is no file {path}: give a CSV or Parquet file of funding rates")
    if not path.name.lower().endswith(_EXTENSIONS):
        raise ConfigError(f"{path}: funding rates are read from {', '.join(_EXTENSIONS)} alone")
    try:
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path), str(path)
        return pd.read_csv(path), str(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as a table: {error}") from error
