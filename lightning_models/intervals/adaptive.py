"""Bounds that adapt to what came true, around an immutable predictor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lightning_models.candles.timestamps import iso_utc
from lightning_models.data.targets import TripleBarrier
from lightning_models.errors import BundleError, ConfigError, NoForecastError
from lightning_models.forecast import INTERVAL, LEVELS, ForecastArrays, check_level
from lightning_models.intervals.adaptive_state import AdaptiveSettings, AdaptiveState, Issued
from lightning_models.intervals.journal import Journal
from lightning_models.timeframes import floor_to_open, period_ms

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from lightning_models.candles.candles import Candles
    from lightning_models.forecast import Forecast
    from lightning_models.predictor import Predictor

__all__ = ["AdaptiveIntervals"]

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]

JOURNAL_VERSION = 1

# Candles whose bounds are given again when they are asked for once more.
REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class _Bar:
    """A finished candle and what the model said at its close, as the journal keeps it."""

    time: int
    opened: float
    closed: float
    quantiles: list[list[float]]
    unit: list[float]

    def record(self) -> dict[str, Any]:
        known = bool(np.isfinite(self.quantiles).all() and np.isfinite(self.unit).all())
        return {
            "time": self.time,
            "open": self.opened,
            "close": self.closed,
            "quantiles": self.quantiles if known else None,
            "unit": self.unit if known else None,
        }

    @classmethod
    def of_record(cls, record: dict[str, Any], horizons: int) -> _Bar:
        known = record["quantiles"] is not None
        return cls(
            time=record["time"],
            opened=record["open"],
            closed=record["close"],
            quantiles=record["quantiles"] if known else [[math.nan] * 3] * horizons,
            unit=record["unit"] if known else [math.nan] * horizons,
        )


class _Series:
    """Adaptive states of all horizons of one series, fed with its candles in order."""

    def __init__(self, predictor: Predictor, settings: AdaptiveSettings) -> None:
        bundle = predictor.bundle
        assert bundle.intervals is not None
        self._states = [
            AdaptiveState(scores, candles=horizon.candles, settings=settings)
            for scores, horizon in zip(bundle.intervals.scores, bundle.horizons, strict=True)
        ]
        self._period = period_ms(predictor.timeframe)
        self._continuous = bundle.market == "continuous"
        self._unseen_from = bundle.unseen_from_ms
        self._bars = 0

    def step(self, bar: _Bar) -> list[Issued | None]:
        # Between sessions there are no holes: the next bar is the next position.
        position = bar.time // self._period if self._continuous else self._bars
        self._bars += 1
        # What the model has seen says nothing about how far outcomes lie out.
        learns = bar.time + self._period >= self._unseen_from
        return [
            state.step(position, bar.opened, bar.closed, quantiles, unit, learns=learns)
            for state, quantiles, unit in zip(self._states, bar.quantiles, bar.unit, strict=True)
        ]

    @property
    def alphas(self) -> Floats:
        return np.array([state.alphas for state in self._states])


class AdaptiveIntervals:
    """A predictor whose bounds follow the market, by adaptive conformal inference.

    Split-conformal bounds, as a bundle states them, hold what they promise while outcomes look
    like those of the calibration slice; under drift they promise nothing. Here each outcome
    moves them, as `AdaptiveState` says (Gibbs and Candès, 2021): by a matured outcome only, so
    a forecast `h` candles ahead teaches nothing until its last candle has closed. Candles from
    before the bundle's `unseen_from` teach nothing at all. 80 % bounds lie inside 95 % bounds;
    bounds that would be infinite are capped (`MAX_OFFSET`) and counted.

    `bounds` and `forecast_arrays` are pure: they start from the calibration slice and walk
    through the candles given. `predict_latest` goes on where it was left: each candle it has not
    met is taken once, in order, and written to the journal first. After a restart the journal
    is replayed to the same state.

    Parameters
    ----------
    predictor
        Stays as it is.
    symbol
        Whose candles; those of another symbol are refused. Not checked where it is empty.
    journal
        File of this series; None keeps the state in memory only.
    settings
        How fast to follow.

    Raises
    ------
    BundleError
        If the model has no conformal intervals to start from.
    ConfigError
        If the journal belongs to another model, symbol or settings.
    StorageError
        If the journal is damaged, in use, or cannot be written.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        symbol: str = "",
        journal: str | Path | None = None,
        settings: AdaptiveSettings | None = None,
    ) -> None:
        if predictor.bundle.intervals is None:
            raise BundleError(
                f"{predictor.model} has no conformal intervals for adaptive ones to start from: "
                "train it again"
            )
        if isinstance(predictor.bundle.target, TripleBarrier):
            raise BundleError(
                f"{predictor.model} forecasts the return up to a barrier, and adaptive intervals "
                "learn from the horizon's close: use the model's own bounds, or train one with "
                "data.target.name=horizon-return"
            )
        self.predictor = predictor
        self.symbol = symbol
        self.settings = settings or AdaptiveSettings()
        self._series = _Series(predictor, self.settings)
        self._issued: dict[int, list[Issued | None]] = {}
        self._capped = np.zeros((len(predictor.horizons), len(LEVELS)), dtype=np.int64)
        self._last: int | None = None
        self._journal: Journal | None = None
        if journal is not None:
            self._journal = Journal(Path(journal), self._header())
            for record in self._journal.records:
                self._take(_Bar.of_record(record, len(predictor.horizons)))
            self._journal.records.clear()

    def __enter__(self) -> AdaptiveIntervals:
        """Return itself; the journal is closed at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the journal."""
        self.close()

    def close(self) -> None:
        """Let other processes write the journal."""
        if self._journal is not None:
            self._journal.close()

    @property
    def alphas(self) -> Floats:
        """Error rates aimed at now, ``float64 [H, level]``."""
        return self._series.alphas

    @property
    def last_time(self) -> int | None:
        """Open time of the newest candle taken, milliseconds; None before the first."""
        return self._last

    @property
    def capped(self) -> npt.NDArray[np.int64]:
        """How many bounds would have been infinite so far, ``int64 [H, level]``."""
        return self._capped.copy()

    def predict_latest(
        self, frame: pd.DataFrame | Candles, *, horizon: str = "", level: float = INTERVAL
    ) -> Forecast:
        """Forecast at the last candle, with bounds that know every outcome up to it.

        Parameters
        ----------
        frame
            At least the predictor's `required_bars` candles, oldest first, and as many more as
            were missed since the last call. Candles met before change nothing.
        horizon
            Which one; the model's first by default.
        level
            Share of outcomes that ``lower`` and ``upper`` bound, 0.80 or 0.95.

        Returns
        -------
        Forecast
            The predictor's, with its ``lower`` and ``upper`` replaced.

        Raises
        ------
        TooFewCandlesError, NoForecastError, CandleError, BundleError
            As the predictor does; also `NoForecastError` for a candle from before the journal.
        ConfigError
            If the horizon or the level is unknown, or the candles are another symbol's.
        StorageError
            If the journal cannot be written; nothing is taken then.
        """
        forecast = self.predictor.predict_latest(frame, horizon=horizon, level=level)
        candles = self._candles(frame)
        self.update(candles)
        row = self._issued.get(int(candles.time[-1]))
        issued = None if row is None else row[self.predictor.horizon_position(horizon)]
        if issued is None:
            raise NoForecastError(
                f"no adaptive bounds for {candles.symbol} at {iso_utc(int(candles.time[-1]))}: the "
                f"candle lies before the newest one taken and is none of the last {REMEMBERED:,} "
                "that were. Give newer candles, or use bounds(frame), which starts anew"
            )
        lower, upper = issued.bounds[check_level(level)]
        price = forecast.price
        return forecast.model_copy(
            update={"lower": price * (1.0 + lower), "upper": price * (1.0 + upper)}
        )

    def update(self, frame: pd.DataFrame | Candles) -> int:
        """Take the candles that are newer than the newest one taken, and journal them.

        Parameters
        ----------
        frame
            Finished candles, oldest first, with the history that a forecast of the first new
            one needs; one without it is taken without a forecast.

        Returns
        -------
        int
            How many were new.

        Raises
        ------
        CandleError, ConfigError, BundleError, StorageError
            As `predict_latest` does.
        """
        candles = self._candles(frame)
        first = 0
        if self._last is not None:
            first = int(np.searchsorted(candles.time, self._last, side="right"))
        if first == len(candles):
            return 0
        start = max(0, first + 1 - self.predictor.required_bars)
        bars = list(self._bars(candles.time[start:], candles.ohlcv[start:]))[first - start :]
        if self._last is None:
            # History that warms the first forecast up belongs in no journal.
            bars = bars[next(iter(_forecast_rows(bars)), len(bars)) :]
        if self._journal is not None:
            self._journal.append([bar.record() for bar in bars])
        for bar in bars:
            self._take(bar)
        return len(bars)

    def bounds(self, frame: pd.DataFrame | Candles, *, horizon: str = "") -> pd.DataFrame:
        """Return the bounds that taking the candles one by one would have given.

        Parameters
        ----------
        frame
            Candles of one symbol, oldest first.
        horizon
            Which one; the model's first by default.

        Returns
        -------
        pandas.DataFrame
            A row for each candle, with the frame's own index: ``lower_80, upper_80`` (prices),
            ``alpha_80`` (error rate aimed at, a fraction), ``capped_80`` (whether the bound
            would be infinite), and the same for 95; NaN where there is no forecast.

        Raises
        ------
        ConfigError, CandleError, BundleError
            As the predictor does.
        """
        position = self.predictor.horizon_position(horizon)
        candles = self._candles(frame)
        values = np.full((len(candles), len(LEVELS), 3), np.nan)
        capped = np.zeros((len(candles), len(LEVELS)), dtype=np.bool_)
        for row, issued in enumerate(self._walk(candles.time, candles.ohlcv)):
            one = issued[position]
            if one is not None:
                values[row, :, :2] = candles.ohlcv[row, 3] * (1.0 + np.array(one.bounds))
                values[row, :, 2] = one.alphas
                capped[row] = one.capped
        columns: dict[str, npt.NDArray[Any]] = {}
        for column, level in enumerate(LEVELS):
            name = f"{100 * level:.0f}"
            for place, kind in enumerate(("lower", "upper", "alpha")):
                columns[f"{kind}_{name}"] = values[:, column, place]
            columns[f"capped_{name}"] = capped[:, column]
        return pd.DataFrame(columns, index=frame.index if isinstance(frame, pd.DataFrame) else None)

    def forecast_arrays(self, time: Times, ohlcv: Floats) -> ForecastArrays:
        """Forecast every row of plain arrays, the predictor's bounds replaced by adaptive ones.

        Parameters
        ----------
        time, ohlcv
            As `Predictor.forecast_arrays` takes them.

        Returns
        -------
        ForecastArrays
            Of ``T`` rows.
        """
        return self.adapted(self.predictor.forecast_arrays(time, ohlcv), time, ohlcv)

    def adapted(self, arrays: ForecastArrays, time: Times, ohlcv: Floats) -> ForecastArrays:
        """Return forecasts that are already there with adaptive bounds.

        Parameters
        ----------
        arrays
            The predictor's, a row for each candle.
        time, ohlcv
            The candles.
        """
        quantiles = arrays.quantiles.copy()
        for row, issued in enumerate(self._walk(time, ohlcv, arrays)):
            for position, one in enumerate(issued):
                if one is not None:
                    quantiles[row, position, 3:] = np.ravel(one.bounds)
        return ForecastArrays(arrays.probability, quantiles)

    def _walk(
        self, time: Times, ohlcv: Floats, arrays: ForecastArrays | None = None
    ) -> Iterator[list[Issued | None]]:
        series = _Series(self.predictor, self.settings)
        for bar in self._bars(time, ohlcv, arrays):
            yield series.step(bar)

    def _bars(
        self, time: Times, ohlcv: Floats, arrays: ForecastArrays | None = None
    ) -> Iterator[_Bar]:
        if arrays is None:
            arrays = self.predictor.forecast_arrays(time, ohlcv)
        return map(
            _Bar,
            floor_to_open(time, self.predictor.timeframe).tolist(),
            ohlcv[:, 0].tolist(),
            ohlcv[:, 3].tolist(),
            arrays.quantiles[:, :, :3].tolist(),
            self.predictor.units(time, ohlcv).tolist(),
        )

    def _take(self, bar: _Bar) -> None:
        row = self._series.step(bar)
        self._issued[bar.time] = row
        self._last = bar.time
        for counts, issued in zip(self._capped, row, strict=True):
            if issued is not None:
                counts += issued.capped
        if len(self._issued) > REMEMBERED:
            del self._issued[next(iter(self._issued))]

    def _candles(self, frame: pd.DataFrame | Candles) -> Candles:
        candles = self.predictor.candles_of(frame)
        if self.symbol and candles.symbol not in (self.symbol, "UNKNOWN"):
            raise ConfigError(
                f"these are candles of {candles.symbol}, and the adaptive intervals are those of "
                f"{self.symbol}: keep one of them, with its own journal, for each symbol"
            )
        return candles

    def _header(self) -> dict[str, Any]:
        return {
            "journal": JOURNAL_VERSION,
            "model": self.predictor.sha256,
            "symbol": self.symbol,
            **self.settings.model_dump(),
        }


def _forecast_rows(bars: list[_Bar]) -> Iterator[int]:
    for row, bar in enumerate(bars):
        if np.isfinite(bar.quantiles).all():
            yield row
