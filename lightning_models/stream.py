"""Forecast bar after bar: from a state that is carried on, or from a window each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from lightning_models.timeframes import floor_to_open

if TYPE_CHECKING:
    from lightning_models.features.compute import FeatureTable
    from lightning_models.predictor import Predictor
    from lightning_models.stepper import Stepper, StepperState

__all__ = ["CarriedStream", "History", "Stream", "WindowStream"]

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]


class History(Protocol):
    """Gives a feed's last candles: open times ``[n]`` or stamps, and OHLCV ``[n, 5]``."""

    def __call__(self, count: int, /) -> tuple[Times, Floats]:
        """Return up to `count` candles, oldest first, the present one last."""


class Stream(Protocol):
    """Forecasts of one feed's bars as they come."""

    def forecast(self, history: History) -> tuple[Floats, Floats]:
        """Forecast the present bar.

        Parameters
        ----------
        history
            Gives the last candles; as many are asked for as are needed.

        Returns
        -------
        tuple
            ``float64 [H]`` calibrated probabilities and ``float64 [H, 3]`` quantiles of the
            return; NaN where there is no forecast. The same bar asked twice gives the same;
            a bar that has changed since is forecast anew.
        """


class WindowStream:
    """Each bar from its own window.

    Parameters
    ----------
    predictor
        In window mode.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def forecast(self, history: History) -> tuple[Floats, Floats]:
        """Forecast the present bar, as `Stream.forecast` says."""
        time, ohlcv = history(self._predictor.required_bars)
        if len(time) < self._predictor.required_bars:
            return self._predictor.no_forecast()
        return self._predictor.forecast_latest(time, ohlcv)


class CarriedStream:
    """Each bar by one step from the state that the bars before it left.

    The state restarts from the model's burn-in at the first bar, after a candle that is not
    finite, where bars were left out of what was asked, and where the bar before was changed
    after it had been stepped over. Missing candles are stepped through as bridged rows, as
    in training.

    Parameters
    ----------
    predictor
        In sequence mode.
    stepper
        Its network.
    """

    def __init__(self, predictor: Predictor, stepper: Stepper) -> None:
        self._predictor = predictor
        self._stepper = stepper
        self._time: int | None = None
        self._candle: tuple[float, ...] = ()
        self._before: StepperState = ()
        self._after: StepperState = ()

    def forecast(self, history: History) -> tuple[Floats, Floats]:
        """Forecast the present bar, as `Stream.forecast` says."""
        predictor = self._predictor
        # Two more than the present bar's warm-up: the bar before, to see that it is still the
        # same, and one that an asker may have left out between the two.
        time, ohlcv = history(max(predictor.warmup + 3, predictor.lookback))
        opened = int(floor_to_open(time[-1:], predictor.timeframe)[0])
        table = predictor.feature_table(time, ohlcv)
        known = self._row_of_state(table, time, ohlcv, opened)
        if known is None:
            return self._restart(history, opened)
        scaled = predictor.scaled(table)
        last = len(scaled) - 1
        state = self._before if known == last else self._after
        for row in range(known + 1, last):
            state = self._stepper.step(scaled[row], state)
        return self._finish(table, scaled, state, opened, ohlcv)

    def _row_of_state(
        self, table: FeatureTable, time: Times, ohlcv: Floats, opened: int
    ) -> int | None:
        # The grid's row after which the carried state was left, None to start anew.
        if self._time is None or opened < self._time:
            return None
        row = int(np.searchsorted(table.time, self._time))
        if row >= len(table.time) or table.time[row] != self._time or not table.real[row]:
            return None
        if table.steps[-1] <= self._predictor.warmup:
            return None
        if row < len(table.time) - 1:
            # Each row to step through needs its warm-up, and the last bar must be as it was.
            if table.steps[row] <= self._predictor.warmup - 1:
                return None
            given = np.flatnonzero(floor_to_open(time, self._predictor.timeframe) == self._time)
            if tuple(ohlcv[int(given[-1])].tolist()) != self._candle:
                return None
        return row

    def _restart(self, history: History, opened: int) -> tuple[Floats, Floats]:
        predictor = self._predictor
        self._time = None
        time, ohlcv = history(predictor.required_bars)
        if len(time) < predictor.required_bars:
            return predictor.no_forecast()
        table = predictor.feature_table(time, ohlcv)
        if table.steps[-1] < predictor.required_bars:
            return predictor.no_forecast()
        scaled = predictor.scaled(table)
        state = self._stepper.start()
        for row in range(int(np.argmax(table.steps > predictor.warmup)), len(scaled) - 1):
            state = self._stepper.step(scaled[row], state)
        return self._finish(table, scaled, state, opened, ohlcv)

    def _finish(
        self,
        table: FeatureTable,
        scaled: npt.NDArray[np.float32],
        state: StepperState,
        opened: int,
        ohlcv: Floats,
    ) -> tuple[Floats, Floats]:
        logits, quantiles, after = self._stepper.forecast(scaled[-1], state)
        self._time, self._candle = opened, tuple(ohlcv[-1].tolist())
        self._before, self._after = state, after
        predictor = self._predictor
        if not predictor.has_few_bridged(table)[-1]:
            return predictor.no_forecast()
        return predictor.calibrated_one(logits, quantiles, float(table.volatility[-1]))
