"""A model whose version changes over time: each bar by one that had not seen it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lightning_models.forecast import ForecastArrays
from lightning_models.predictor import Predictor
from lightning_models.series_folder import (
    SeriesManifest,
    describe_series,
    model_sha256,
    read_series,
)
from lightning_models.timeframes import floor_to_open, period_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_models.stream import History, Stream

__all__ = ["ForecastSeries", "load_series"]

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]


class ForecastSeries(Predictor):
    """Predictors that follow one another, each from the moment on that it had seen nothing of.

    A bar belongs to the member whose ``unseen_from`` is the last at or before the bar's close.
    Before the first member's there is no forecast: whoever wants one of what it has seen loads
    that member by its own folder.

    Parameters
    ----------
    members
        In order of their ``unseen_from``, fitting together as `read_series` checks.
    manifest
        Of the series.
    model
        Its fixed name or folder.
    sha256
        Of its manifest.

    Notes
    -----
    `bundle` describes the series as `describe_series` says; scaling and calibration are each
    member's own.
    """

    def __init__(
        self, members: Sequence[Predictor], manifest: SeriesManifest, *, model: str, sha256: str
    ) -> None:
        bundle = describe_series(manifest, [member.bundle for member in members])
        super().__init__(bundle, members[0]._runner, model=model, sha256=sha256)
        self._members = tuple(members)
        self._responsible_from = np.array(
            [one.bundle.unseen_from_ms for one in members], dtype=np.int64
        )

    @property
    def members(self) -> tuple[Predictor, ...]:
        """The predictors, in order of time."""
        return self._members

    def members_of(self, time: Times) -> Times:
        """Return the position of the member that each candle belongs to.

        Parameters
        ----------
        time
            ``int64 [T]``, open times or bar stamps in milliseconds.

        Returns
        -------
        numpy.ndarray
            ``int64 [T]``; -1 before the first member.
        """
        closes = floor_to_open(time, self.timeframe) + period_ms(self.timeframe)
        positions: Times = np.searchsorted(self._responsible_from, closes, side="right") - 1
        return positions

    def forecast_arrays(self, time: Times, ohlcv: Floats) -> ForecastArrays:
        """Forecast every row of plain arrays, each by the member it belongs to.

        Parameters
        ----------
        time
            ``int64 [T]``, open times or bar stamps in milliseconds, rising.
        ohlcv
            ``float64 [T, 5]``; a row that is not finite restarts the warm-up.

        Returns
        -------
        ForecastArrays
            Of ``T`` rows.
        """
        nothing, no_quantiles = self.no_forecast()
        probability = np.tile(nothing, (len(time), 1))
        quantiles = np.tile(no_quantiles, (len(time), 1, 1))
        owners = self.members_of(time)
        for position in np.unique(owners[owners >= 0]):
            rows = np.flatnonzero(owners == position)
            member = self._members[int(position)]
            # The history that its first forecast needs, and nothing after its last.
            first = max(0, int(rows[0]) - member.required_bars)
            stop = int(rows[-1]) + 1
            found = member.forecast_arrays(time[first:stop], ohlcv[first:stop])
            probability[rows] = found.probability[rows - first]
            quantiles[rows] = found.quantiles[rows - first]
        return ForecastArrays(probability, quantiles)

    def forecast_latest(self, time: Times, ohlcv: Floats) -> tuple[Floats, Floats]:
        """Forecast the last row of plain arrays by the member it belongs to.

        Parameters
        ----------
        time
            ``int64 [required_bars]``, open times or bar stamps in milliseconds.
        ohlcv
            ``float64 [required_bars, 5]``.

        Returns
        -------
        tuple
            As `Predictor.forecast_latest`; NaN before the first member.
        """
        position = int(self.members_of(time[-1:])[0])
        if position < 0:
            return self.no_forecast()
        member = self._members[position]
        bars = member.required_bars
        return member.forecast_latest(time[-bars:], ohlcv[-bars:])

    def responsible_at(self, time: int) -> Predictor:
        """Return the member that a candle belongs to; before the first, the series itself.

        Parameters
        ----------
        time
            Open time of the candle, milliseconds.
        """
        position = int(self.members_of(np.array([time]))[0])
        return self if position < 0 else self._members[position]

    def stream(self) -> Stream:
        """Return what forecasts one feed bar after bar, changing over to the next member."""
        return _SeriesStream(self)


class _SeriesStream:
    def __init__(self, series: ForecastSeries) -> None:
        self._series = series
        self._position: int | None = None
        self._stream: Stream | None = None

    def forecast(self, history: History) -> tuple[Floats, Floats]:
        # Whoever gives the candles checks its feed by the first answer, which must be a whole one.
        time, _ = history(self._series.required_bars if self._position is None else 1)
        position = int(self._series.members_of(time[-1:])[0])
        if position != self._position:
            # A state is one network's own: the next begins with its burn-in.
            self._position = position
            self._stream = None if position < 0 else self._series.members[position].stream()
        if self._stream is None:
            return self._series.no_forecast()
        return self._stream.forecast(history)


def load_series(folder: Path, name: str) -> ForecastSeries:
    """Load a series' folder, each member checked against its golden forecast.

    Parameters
    ----------
    folder
        As `lightning_models.series_folder.write_series` wrote it.
    name
        How forecasts shall name the model.

    Raises
    ------
    BundleError
        If the series or one of its bundles is damaged, foreign or newer than this release, or
        no longer gives the forecast it gave when it was made.
    """
    from lightning_models.loading import load_predictor_from

    manifest, _ = read_series(folder)
    members = [load_predictor_from(folder / one.folder, name) for one in manifest.members]
    return ForecastSeries(members, manifest, model=name, sha256=model_sha256(folder))
