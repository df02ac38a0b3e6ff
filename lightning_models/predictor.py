"""The predictor: immutable, light, the same forecasts in bulk and one at a time."""

from __future__ import annotations

import hashlib
import math
import os
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from lightning_models.candles.candles import Candles
from lightning_models.candles.reading import read_candles
from lightning_models.candles.timestamps import iso_utc
from lightning_models.errors import (
    BundleError,
    ConfigError,
    NoForecastError,
    TooFewCandlesError,
)
from lightning_models.fan import Fan, fan_of_horizons
from lightning_models.features.compute import (
    VOLATILITY_FLOOR,
    VOLATILITY_WINDOW,
    FeatureTable,
    compute_features,
)
from lightning_models.forecast import INTERVAL, Forecast, ForecastArrays, forecast_lines
from lightning_models.recursive import forecast_path
from lightning_models.spelling import nearest_names
from lightning_models.timeframes import bar_stamp, check_timeframe
from lightning_models.timeouts import timeout_probability

if TYPE_CHECKING:
    from lightning_models.bundle import Bundle
    from lightning_models.inference import Runner
    from lightning_models.networks import ForecastNetwork
    from lightning_models.stream import Stream

__all__ = ["Predictor"]

Floats = npt.NDArray[np.float64]


class Predictor:
    """Forecasts of one bundle. Knows no trainer, loader or registry.

    Parameters
    ----------
    bundle
        What the model is.
    runner
        Its network.
    model
        Its fixed name, ``models:/NAME/VERSION`` or the folder of its bundle; stated in each
        `Forecast`.
    sha256
        Of the bundle.
    """

    def __init__(self, bundle: Bundle, runner: Runner, *, model: str, sha256: str) -> None:
        self._bundle = bundle
        self._runner = runner
        self._model = model
        self._sha256 = sha256

    @property
    def bundle(self) -> Bundle:
        """What the model is."""
        return self._bundle

    @property
    def model(self) -> str:
        """Its fixed name: ``models:/NAME/VERSION``, also if loaded by an alias, or its folder."""
        return self._model

    @property
    def sha256(self) -> str:
        """SHA-256 of the bundle."""
        return self._sha256

    @property
    def network(self) -> ForecastNetwork:
        """The network itself, in evaluation mode; not to be changed."""
        return self._runner.network

    @property
    def lookback(self) -> int:
        """Candles of a window."""
        return self._bundle.lookback

    @property
    def warmup(self) -> int:
        """Candles before the window that warm the features up."""
        return self._bundle.warmup

    @property
    def required_bars(self) -> int:
        """Candles needed for one forecast: the warm-up, and the window or the burn-in."""
        return self._bundle.required_bars

    @property
    def timeframe(self) -> str:
        """Of the candles the model reads."""
        return self._bundle.timeframe

    @property
    def horizons(self) -> tuple[str, ...]:
        """Names of the horizons, the default one first."""
        return tuple(horizon.name for horizon in self._bundle.horizons)

    def at_timeframe(self, timeframe: str) -> Predictor:
        """Return this model as one that reads candles of another timeframe.

        Its features are free of scale and count candles, so it can be asked; nothing says that
        it knows anything of them. Its horizons keep their number of candles and change names.

        Parameters
        ----------
        timeframe
            Of the candles.

        Raises
        ------
        ConfigError
            If there is no such timeframe, or the forecasts are a walk-forward's, which were
            made beforehand for their own candles.

        Examples
        --------
        >>> from lightning_models.forecasters.untrained import statistical_predictor
        >>> statistical_predictor("6h").at_timeframe("1h").horizons
        ('1h',)
        """
        from lightning_models.data.horizons import resolve_horizons  # its package loads torch

        if timeframe == self.timeframe:
            return self
        if type(self) is not Predictor:
            raise ConfigError(
                f"{self.model} has forecasts of {self.timeframe} candles only: give it a feed of "
                "those"
            )
        reach = [horizon.candles for horizon in self._bundle.horizons]
        bundle = self._bundle.model_copy(
            update={
                "timeframe": check_timeframe(timeframe),
                "horizons": resolve_horizons(reach, timeframe),
            }
        )
        digest = hashlib.sha256(f"{self._sha256} {timeframe}".encode()).hexdigest()
        return Predictor(bundle, self._runner, model=self._model, sha256=digest)

    def horizon_position(self, horizon: str = "") -> int:
        """Return a horizon's place on the horizon axis; an empty name is the first.

        Raises
        ------
        ConfigError
            If the model does not forecast it.
        """
        if not horizon:
            return 0
        if horizon not in self.horizons:
            raise ConfigError(
                f"{self.model} does not forecast {horizon!r}: "
                f"{nearest_names(horizon, self.horizons)}"
            )
        return self.horizons.index(horizon)

    def check_level(self, level: float) -> None:
        """Refuse a level that the model has no bounds of.

        Raises
        ------
        ConfigError
            If there are no bounds of that level at all.
        BundleError
            If this model has none: it was made before there were conformal intervals.
        """
        nothing = np.empty((0, len(self.horizons), self._columns))
        ForecastArrays(nothing[..., 0], nothing).bounds(level)

    def predict_batch(
        self,
        frame: pd.DataFrame | Candles,
        *,
        horizon: str = "",
        min_confidence: float = 0.0,
        level: float = INTERVAL,
    ) -> pd.DataFrame:
        """Forecast at every candle.

        Parameters
        ----------
        frame
            Candles with ``timestamp`` (or a time index) and OHLCV, oldest first.
        horizon
            Which one; the model's first by default.
        min_confidence
            Below it the signal is 0.
        level
            Share of outcomes that ``lower`` and ``upper`` bound, 0.80 or 0.95.

        Returns
        -------
        pandas.DataFrame
            A row for each candle, with the frame's own index: ``signal, direction,
            change_pct, confidence, predicted_price, lower, upper``; NaN where the history is
            too short, or too much of the window is missing. A model of triple-barrier labels
            adds ``p_timeout``.

        Raises
        ------
        ConfigError
            If it is neither a frame nor `Candles`, or the horizon or the level is unknown.
        CandleError
            If the candles are broken.
        BundleError
            If they are of another timeframe, or the model has no bounds of that level.
        """
        position = self.horizon_position(horizon)
        candles = self.candles_of(frame)
        arrays = self.forecast_arrays(candles.time, candles.ohlcv)
        lines = forecast_lines(
            arrays,
            candles.ohlcv[:, 3],
            horizon=position,
            min_confidence=min_confidence,
            level=level,
        )
        index = frame.index if isinstance(frame, pd.DataFrame) else None
        return pd.DataFrame(lines, index=index)

    def predict_latest(
        self, frame: pd.DataFrame | Candles, *, horizon: str = "", level: float = INTERVAL
    ) -> Forecast:
        """Forecast at the last candle.

        Parameters
        ----------
        frame
            At least `required_bars` candles, oldest first; earlier ones are not looked at.
        horizon
            Which one; the model's first by default.
        level
            Share of outcomes that ``lower`` and ``upper`` bound, 0.80 or 0.95.

        Returns
        -------
        Forecast

        Raises
        ------
        TooFewCandlesError
            If there are fewer than `required_bars` candles.
        NoForecastError
            If too many candles of the last window are missing.
        ConfigError
            If it is neither a frame nor `Candles`, or the horizon or the level is unknown.
        CandleError
            If the candles are broken.
        BundleError
            If they are of another timeframe, or the model has no bounds of that level.
        """
        position = self.horizon_position(horizon)
        candles, probability, quantiles = self.latest(frame)
        time, ohlcv = candles.time, candles.ohlcv
        arrays = ForecastArrays(probability[None], quantiles[None])
        lines = forecast_lines(
            arrays, ohlcv[-1:, 3], horizon=position, min_confidence=0.0, level=level
        )
        stamp = int(bar_stamp(time[-1:], self.timeframe)[0])
        return Forecast(
            symbol=candles.symbol,
            time=datetime.fromtimestamp(stamp / 1000, UTC),
            horizon=self.horizons[position],
            price=float(ohlcv[-1, 3]),
            direction=1 if lines["direction"][0] > 0 else -1,
            change_pct=float(lines["change_pct"][0]),
            lower=float(lines["lower"][0]),
            upper=float(lines["upper"][0]),
            interval=level,
            confidence=float(lines["confidence"][0]),
            predicted_price=float(lines["predicted_price"][0]),
            model=self.model,
            p_timeout=float(lines["p_timeout"][0]) if "p_timeout" in lines else None,
        )

    def latest(self, frame: pd.DataFrame | Candles) -> tuple[Candles, Floats, Floats]:
        """Forecast at the last candle, as arrays.

        Parameters
        ----------
        frame
            As `predict_latest` takes it.

        Returns
        -------
        tuple
            The candles as this model reads them, and what `forecast_latest` says of the last:
            never NaN.

        Raises
        ------
        TooFewCandlesError, NoForecastError, ConfigError, CandleError, BundleError
            As `predict_latest`.
        """
        candles = self.candles_of(frame)
        if len(candles) < self.required_bars:
            raise TooFewCandlesError(
                f"{candles.symbol} has {len(candles)} {self.timeframe} candles; {self.model} needs "
                f"{self.required_bars}: {self.warmup} to warm its features up and {self.lookback} "
                "for its window. Give more history"
            )
        time, ohlcv = candles.time[-self.required_bars :], candles.ohlcv[-self.required_bars :]
        probability, quantiles = self.forecast_latest(time, ohlcv)
        if np.isnan(probability).any():
            raise NoForecastError(
                f"no forecast for {candles.symbol} at {iso_utc(int(candles.time[-1]))}: more than "
                f"{self._bundle.bridged_share:.0%} of its last {self.lookback} candles are "
                "missing. Fetch the missing candles, or wait until they have left the window"
            )
        return candles, probability, quantiles

    def forecast_fan(self, frame: pd.DataFrame | Candles, *, level: float = INTERVAL) -> Fan:
        """Return median and bounds at each of the model's horizons.

        Parameters
        ----------
        frame
            As `predict_latest` takes it.
        level
            Share of outcomes that each step's bounds hold, 0.80 or 0.95.

        Raises
        ------
        TooFewCandlesError, NoForecastError, ConfigError, CandleError, BundleError
            As `predict_latest`.
        """
        return fan_of_horizons(self, frame, level=level)

    def forecast_path(
        self, frame: pd.DataFrame | Candles, *, steps: int = 24, level: float = INTERVAL
    ) -> Fan:
        """Return median and bounds step after step, each forecast from the one before it.

        Parameters
        ----------
        frame
            As `predict_latest` takes it.
        steps
            Candles ahead.
        level
            Share of outcomes that each step's bounds are meant to hold, 0.80 or 0.95: what that
            rests on, `lightning_models.recursive.forecast_path` says.

        Raises
        ------
        ConfigError
            If the model has no horizon of one candle, or `steps` is no number of candles.
        TooFewCandlesError, NoForecastError, CandleError, BundleError
            As `predict_latest`.
        """
        return forecast_path(self, frame, steps=steps, level=level)

    def forecast_arrays(self, time: npt.NDArray[np.int64], ohlcv: Floats) -> ForecastArrays:
        """Forecast every row of plain arrays, as `once()` of an indicator does.

        Parameters
        ----------
        time
            ``int64 [T]``, open times or bar stamps in milliseconds.
        ohlcv
            ``float64 [T, 5]``; a row that is not finite restarts the warm-up.

        Returns
        -------
        ForecastArrays
            Of ``T`` rows.
        """
        horizons = len(self._bundle.horizons)
        probability = np.full((len(time), horizons), np.nan)
        quantiles = np.full((len(time), horizons, self._columns), np.nan)
        if len(time) < self.required_bars:
            return ForecastArrays(probability, quantiles)
        table = self._features(time, ohlcv)
        ends = np.flatnonzero(self._ends(table))
        if len(ends):
            rows = np.searchsorted(table.rows, ends)
            raw = self._runner.run(self.scaled(table), ends, starts=self._starts(table))
            probability[rows], quantiles[rows] = self._calibrated(*raw, table.volatility[ends])
        return ForecastArrays(probability, quantiles)

    def forecast_latest(self, time: npt.NDArray[np.int64], ohlcv: Floats) -> tuple[Floats, Floats]:
        """Forecast the last row of plain arrays, as `next()` of an indicator does.

        Parameters
        ----------
        time
            ``int64 [required_bars]``, open times or bar stamps in milliseconds.
        ohlcv
            ``float64 [required_bars, 5]``.

        Returns
        -------
        tuple
            ``float64 [H]`` probabilities and ``float64 [H, 3]`` quantiles, followed by the
            bounds as `ForecastArrays` says; NaN for none.
        """
        table = self._features(time, ohlcv)
        if not self._ends(table)[-1]:
            return self.no_forecast()
        rows = self._bundle.required_bars - self.warmup
        raw = self._runner.run_one(self._bundle.scaler.transform(table.values[-rows:]))
        probability, quantiles = self._calibrated(*raw, table.volatility[-1:])
        return probability[0], quantiles[0]

    def stream(self) -> Stream:
        """Return what forecasts one feed bar after bar, as `next()` of an indicator does."""
        return self._runner.stream(self)

    def feature_table(self, time: npt.NDArray[np.int64], ohlcv: Floats) -> FeatureTable:
        """Return the features of plain arrays, as the model's own feature function gives them."""
        return self._features(time, ohlcv)

    def scaled(self, table: FeatureTable) -> npt.NDArray[np.float32]:
        """Return a table's features as the network reads them, ``float32 [B, F]``."""
        return self._bundle.scaler.transform(np.nan_to_num(table.values))

    def units(self, time: npt.NDArray[np.int64], ohlcv: Floats) -> Floats:
        """Return what a network's quantiles and conformal offsets are multiples of.

        Parameters
        ----------
        time, ohlcv
            As `forecast_arrays` takes them.

        Returns
        -------
        numpy.ndarray
            ``float64 [T, H]``: trailing volatility times the root of the horizon in candles, a
            fraction of the price; NaN while the history is too short.
        """
        table = self._features(time, ohlcv)
        return self._units(table.volatility[table.rows])

    def has_few_bridged(self, table: FeatureTable) -> npt.NDArray[np.bool_]:
        """Return which rows are real and not too near to a hole, ``bool [B]``."""
        return table.has_few_bridged(self.lookback, self._bundle.bridged_share)

    def calibrated_one(
        self, logits: npt.NDArray[np.float32], quantiles: npt.NDArray[np.float32], volatility: float
    ) -> tuple[Floats, Floats]:
        """Return probabilities ``[H]`` and quantiles ``[H, 3]`` of what a network said of a bar."""
        probability, returns = self._calibrated(
            logits[None].astype(np.float64),
            quantiles[None].astype(np.float64),
            np.array([volatility]),
        )
        return probability[0], returns[0]

    def next_medians(self, grid: Floats) -> Floats:
        """Return the median return at each horizon after the last of candles that were checked.

        Parameters
        ----------
        grid
            ``float64 [at least required_bars, 5]``, without holes, every row finite. Nothing is
            checked, and no probability or bound is computed: a path asks thousands of times.

        Returns
        -------
        numpy.ndarray
            ``float64 [H]``, fractions.
        """
        bundle = self._bundle
        rows = bundle.required_bars - bundle.warmup
        values = np.empty((rows, len(bundle.features)))
        for column, feature in enumerate(bundle.features):
            values[:, column] = feature.definition.compute(grid, **feature.parameters)[-rows:]
        _, quantiles = self._runner.run_one(bundle.scaler.transform(values))
        # The last row of `trailing_volatility`, whose windows cost more than the network.
        moves = np.log(grid[-VOLATILITY_WINDOW:, 3] / grid[-VOLATILITY_WINDOW - 1 : -1, 3])
        moves -= moves.sum() / VOLATILITY_WINDOW
        volatility = max(math.sqrt(moves @ moves / VOLATILITY_WINDOW), VOLATILITY_FLOOR)
        medians: Floats = quantiles[0, :, 1] * (volatility * self._reach)
        return medians

    def responsible_at(self, time: int) -> Predictor:
        """Return the predictor that forecasts a candle: this one, unless it is a series.

        Parameters
        ----------
        time
            Open time of the candle, milliseconds.
        """
        del time
        return self

    def no_forecast(self) -> tuple[Floats, Floats]:
        """Return the NaNs that stand where there is no forecast: ``[H]`` and ``[H, 3]``."""
        horizons = len(self._bundle.horizons)
        return np.full(horizons, np.nan), np.full((horizons, self._columns), np.nan)

    def _starts(self, table: FeatureTable) -> npt.NDArray[np.int64]:
        # Rows at which a state begins: the first past the warm-up of each usable stretch.
        warm = table.steps > self.warmup
        return np.flatnonzero(warm & ~np.concatenate([[False], warm[:-1]]))

    def _features(self, time: npt.NDArray[np.int64], ohlcv: Floats) -> FeatureTable:
        return compute_features(
            time,
            ohlcv,
            features=self._bundle.features,
            timeframe=self.timeframe,
            market=self._bundle.market,
        )

    def _ends(self, table: FeatureTable) -> npt.NDArray[np.bool_]:
        enough: npt.NDArray[np.bool_] = table.steps >= self.required_bars
        return enough & self.has_few_bridged(table)

    def _calibrated(
        self, logits: Floats, quantiles: Floats, volatility: Floats
    ) -> tuple[Floats, Floats]:
        # From logits and multiples of volatility to probabilities and returns.
        probability = np.empty((len(logits), len(self._bundle.horizons)))
        for column, calibration in enumerate(self._bundle.calibration):
            probability[:, column] = calibration.probability(logits[:, column])
        unit = self._units(volatility)
        returns = quantiles * unit[:, :, None]
        intervals = self._bundle.intervals
        if intervals is None:
            return probability, returns
        bounds = intervals.bounds(returns, unit).reshape(*unit.shape, -1)
        timeouts = timeout_probability(self._bundle.timeouts, logits)
        return probability, np.concatenate([returns, bounds, timeouts], axis=2)

    @property
    def _columns(self) -> int:
        # The quantiles, two bounds a level where there are any, and P(time-out) likewise.
        intervals = self._bundle.intervals
        return (
            3 if intervals is None else 3 + 2 * len(intervals.levels) + bool(self._bundle.timeouts)
        )

    def _units(self, volatility: Floats) -> Floats:
        units: Floats = volatility[:, None] * self._reach
        return units

    @cached_property
    def _reach(self) -> Floats:
        reach: Floats = np.sqrt([horizon.candles for horizon in self._bundle.horizons])
        return reach

    def candles_of(self, frame: pd.DataFrame | Candles) -> Candles:
        """Return candles as this model reads them.

        Raises
        ------
        ConfigError
            If it is neither a frame nor `Candles`.
        CandleError
            If the candles are broken.
        BundleError
            If they are of another timeframe.
        """
        if not isinstance(frame, pd.DataFrame | Candles):
            raise ConfigError(_not_candles(frame))
        try:
            candles = read_candles(frame, timeframe=self.timeframe, market=self._bundle.market)
        except ConfigError as error:
            raise BundleError(f"{self.model} reads {self.timeframe} candles: {error}") from error
        if len(candles) != len(frame):
            raise BundleError(
                f"{self.model} reads {self.timeframe} candles, and these are of another timeframe: "
                f"resample them with read_candles(…, timeframe={self.timeframe!r}) first"
            )
        return candles


def _not_candles(given: object) -> str:
    wanted = "forecasts are made from a DataFrame or Candles"
    if isinstance(given, str | os.PathLike):
        path = os.fspath(given)
        return f"{wanted}, not from a path: read it first, with read_candles({path!r})"
    return (
        f"{wanted}, not from a {type(given).__name__}: give a DataFrame with a column timestamp "
        "and the columns open, high, low, close and volume"
    )
