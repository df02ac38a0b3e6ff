"""The predictor: immutable, light, the same forecasts in bulk and one at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from lightning_models.candles.reading import read_candles
from lightning_models.candles.timestamps import iso_utc
from lightning_models.errors import (
    BundleError,
    ConfigError,
    NoForecastError,
    TooFewCandlesError,
)
from lightning_models.features.compute import FeatureTable, compute_features
from lightning_models.forecast import INTERVAL, Forecast, ForecastArrays, forecast_lines
from lightning_models.spelling import nearest_names
from lightning_models.timeframes import bar_stamp

if TYPE_CHECKING:
    from lightning_models.bundle import Bundle
    from lightning_models.candles.candles import Candles
    from lightning_models.inference import NetworkRunner

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
        How the user named it; stated in each `Forecast`.
    sha256
        Of the bundle.
    """

    def __init__(self, bundle: Bundle, runner: NetworkRunner, *, model: str, sha256: str) -> None:
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
        """How the user named the model."""
        return self._model

    @property
    def sha256(self) -> str:
        """SHA-256 of the bundle."""
        return self._sha256

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
        """Candles needed for one forecast: lookback + warm-up."""
        return self.lookback + self.warmup

    @property
    def timeframe(self) -> str:
        """Of the candles the model reads."""
        return self._bundle.timeframe

    @property
    def horizons(self) -> tuple[str, ...]:
        """Names of the horizons, the default one first."""
        return tuple(horizon.name for horizon in self._bundle.horizons)

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

    def predict_batch(
        self,
        frame: pd.DataFrame | Candles,
        *,
        horizon: str = "",
        min_confidence: float = 0.0,
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

        Returns
        -------
        pandas.DataFrame
            A row for each candle, with the frame's own index: ``signal, direction,
            change_pct, confidence, predicted_price, lower, upper``; NaN where the history is
            too short, or too much of the window is missing.

        Raises
        ------
        CandleError
            If the candles are broken or of another timeframe.
        """
        position = self.horizon_position(horizon)
        candles = self._candles(frame)
        arrays = self.forecast_arrays(candles.time, candles.ohlcv)
        lines = forecast_lines(
            arrays, candles.ohlcv[:, 3], horizon=position, min_confidence=min_confidence
        )
        index = frame.index if isinstance(frame, pd.DataFrame) else None
        return pd.DataFrame(lines, index=index)

    def predict_latest(self, frame: pd.DataFrame | Candles, *, horizon: str = "") -> Forecast:
        """Forecast at the last candle.

        Parameters
        ----------
        frame
            At least `required_bars` candles, oldest first; earlier ones are not looked at.
        horizon
            Which one; the model's first by default.

        Returns
        -------
        Forecast

        Raises
        ------
        TooFewCandlesError
            If there are fewer than `required_bars` candles.
        NoForecastError
            If too many candles of the last window are missing.
        CandleError
            If the candles are broken or of another timeframe.
        """
        position = self.horizon_position(horizon)
        candles = self._candles(frame)
        if len(candles) < self.required_bars:
            raise TooFewCandlesError(
                f"{candles.symbol} has {len(candles)} {self.timeframe} candles; {self.model} needs "
                f"{self.required_bars}: {self.warmup} to warm its features up and {self.lookback} "
                "for its window. Give more history"
            )
        time, ohlcv = candles.time[-self.required_bars :], candles.ohlcv[-self.required_bars :]
        probability, quantiles = self.forecast_latest(time, ohlcv)
        arrays = ForecastArrays(probability[None], quantiles[None])
        if np.isnan(probability).any():
            raise NoForecastError(
                f"no forecast for {candles.symbol} at {iso_utc(int(candles.time[-1]))}: more than "
                f"{self._bundle.bridged_share:.0%} of its last {self.lookback} candles are "
                "missing. Fetch the missing candles, or wait until they have left the window"
            )
        lines = forecast_lines(arrays, ohlcv[-1:, 3], horizon=position, min_confidence=0.0)
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
            interval=INTERVAL,
            confidence=float(lines["confidence"][0]),
            predicted_price=float(lines["predicted_price"][0]),
            model=self.model,
        )

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
        quantiles = np.full((len(time), horizons, 3), np.nan)
        if len(time) < self.required_bars:
            return ForecastArrays(probability, quantiles)
        table = self._features(time, ohlcv)
        ends = np.flatnonzero(self._ends(table))
        if len(ends):
            rows = np.searchsorted(table.rows, ends)
            scaled = self._bundle.scaler.transform(np.nan_to_num(table.values))
            raw = self._runner.run(scaled, ends)
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
            ``float64 [H]`` probabilities and ``float64 [H, 3]`` quantiles, NaN for none.
        """
        table = self._features(time, ohlcv)
        if not self._ends(table)[-1]:
            horizons = len(self._bundle.horizons)
            return np.full(horizons, np.nan), np.full((horizons, 3), np.nan)
        (window,) = np.split(table.values, [-self.lookback])[1:]
        scaled = self._bundle.scaler.transform(window)
        raw = self._runner.run_one(scaled)
        probability, quantiles = self._calibrated(*raw, table.volatility[-1:])
        return probability[0], quantiles[0]

    def _features(self, time: npt.NDArray[np.int64], ohlcv: Floats) -> FeatureTable:
        return compute_features(
            time,
            ohlcv,
            features=self._bundle.features,
            timeframe=self.timeframe,
            market=self._bundle.market,
        )

    def _ends(self, table: FeatureTable) -> npt.NDArray[np.bool_]:
        return table.ends_window(self.lookback, self.warmup, self._bundle.bridged_share)

    def _calibrated(
        self, logits: Floats, quantiles: Floats, volatility: Floats
    ) -> tuple[Floats, Floats]:
        # From logits and multiples of volatility to probabilities and returns.
        probability = np.empty_like(logits)
        for column, calibration in enumerate(self._bundle.calibration):
            probability[:, column] = calibration.probability(logits[:, column])
        reach = np.sqrt([horizon.candles for horizon in self._bundle.horizons])
        return probability, quantiles * (volatility[:, None] * reach)[:, :, None]

    def _candles(self, frame: pd.DataFrame | Candles) -> Candles:
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
