"""What a model has to beat: forecasts without a network, on the same rows."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from lightning_models.calibration import fit_direction_calibration
from lightning_models.evaluation.comparison import BaselineForecasts

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_models.data.datamodule import CandleDataModule
    from lightning_models.evaluation.outcomes import Outcomes

__all__ = [
    "BASELINES",
    "TRAIN_ROWS",
    "baseline_forecasts",
    "rows_of",
]

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

TRAIN_ROWS: Final = 50_000
"""Train rows that the learned baselines are fitted on at most, evenly spaced."""


def rows_of(data: CandleDataModule, outcomes: Outcomes) -> Rows:
    """Return the row of a data module's features behind each outcome of its test slice.

    Parameters
    ----------
    data
        Whose candles, in its own order, `outcomes` counts as symbols.
    outcomes
        Forecasts of the test slice.

    Returns
    -------
    numpy.ndarray
        ``int64 [N]``; -1 where an outcome is no sample of the slice.
    """
    samples = data.samples["test"]
    row_of = {
        (symbol, decided): row
        for symbol, decided, row in zip(
            samples.symbol.tolist(), samples.decided.tolist(), samples.ends.tolist(), strict=True
        )
    }
    wanted = zip(outcomes.symbol.tolist(), (outcomes.time + 1).tolist(), strict=True)
    return np.array([row_of.get(one, -1) for one in wanted], dtype=np.int64)


def baseline_forecasts(
    data: CandleDataModule,
    outcomes: Outcomes,
    rows: Rows,
    *,
    horizon: int = 0,
    seed: int = 0,
) -> tuple[BaselineForecasts, ...]:
    """Return what each of `BASELINES` says of rows of the test slice.

    They are the probabilities of the registered forecasters of the same names, without the
    cost of their intervals:

    - ``zero-return``: one half, and no change.
    - ``majority-class``: the train labels' share of ups, and their median over trailing
      volatility.
    - ``statistical``: the forecaster that is fitted to nothing; where a symbol has too few
      candles before a row for it, what ``zero-return`` says.
    - ``logistic-regression`` and ``gradient-boosting`` (scikit-learn): fitted on the train
      slice to the last rows of the model's own features, calibrated on the calibration slice
      as the model is. Their median is that of a normal distribution with this probability of
      up and the spread of the train labels, in place of a fit of its own.

    Parameters
    ----------
    data
        Features, labels and slices.
    outcomes
        One row for each forecast.
    rows
        ``int64 [N]``, as `rows_of` returns them, none of them -1.
    horizon
        Position on the horizon axis.
    seed
        Of gradient boosting.

    Returns
    -------
    tuple of BaselineForecasts
        In the order of `BASELINES`. A train slice whose labels all went one way has nothing
        to be learned from: the learned baselines then say what ``majority-class`` does.
    """
    forecasts = []
    for name, forecast in BASELINES.items():
        probability, predicted = forecast(_Task(data, outcomes, rows, horizon, seed))
        forecasts.append(BaselineForecasts(name, probability, predicted))
    return tuple(forecasts)


class _Task:
    # What a baseline is asked: the module, the rows, the horizon.
    def __init__(
        self, data: CandleDataModule, outcomes: Outcomes, rows: Rows, horizon: int, seed: int
    ) -> None:
        self.data, self.outcomes, self.rows = data, outcomes, rows
        self.horizon, self.seed = horizon, seed
        self.candles = data.horizons[horizon].candles
        self.train = _evenly(data.samples["train"].ends, TRAIN_ROWS)

    def targets(self, rows: Rows) -> Floats:
        """Return labels over trailing volatility."""
        target: Floats = self.data.targets.numpy()[rows, self.horizon].astype(np.float64)
        return target

    def scale(self) -> Floats:
        """Return trailing volatility over the horizon, a fraction."""
        volatility = self.data.volatility[self.rows].astype(np.float64)
        scale: Floats = volatility * np.sqrt(self.candles)
        return scale

    def inputs(self, rows: Rows, count: int) -> Floats:
        """Return the features of the last `count` rows, oldest first, ``[N, count * feature]``."""
        features = self.data.features.numpy()
        lags = range(min(count, self.data.config.lookback) - 1, -1, -1)
        stacked = np.concatenate([features[rows - lag] for lag in lags], axis=1)
        return stacked.astype(np.float64)


def _zero_return(task: _Task) -> tuple[Floats, Floats]:
    return np.full(len(task.rows), 0.5), np.zeros(len(task.rows))


def _majority_class(task: _Task) -> tuple[Floats, Floats]:
    probability = np.full(len(task.rows), task.outcomes.base_rate)
    return probability, float(np.median(task.targets(task.train))) * task.scale()


def _statistical(task: _Task) -> tuple[Floats, Floats]:
    # Imported here: its bundle knows every network, and the networks know torch.
    from lightning_models.forecasters.untrained import statistical_predictor

    data = task.data
    predictor = statistical_predictor(data.timeframe, market=data.market, horizons=[task.candles])
    probability, predicted = np.full(len(task.rows), 0.5), np.zeros(len(task.rows))
    for symbol, one in enumerate(data.candles):
        mine = np.flatnonzero(task.outcomes.symbol == symbol)
        if not len(mine):
            continue
        opened = task.outcomes.time[mine] + 1 - one.period_ms
        candle = np.searchsorted(one.time, opened)
        first = max(0, int(candle.min()) - predictor.required_bars)
        there = slice(first, int(candle.max()) + 1)
        arrays = predictor.forecast_arrays(one.time[there], one.ohlcv[there])
        found = arrays.probability[candle - first, 0]
        known = np.isfinite(found)
        probability[mine[known]] = found[known]
        predicted[mine[known]] = arrays.quantiles[candle - first, 0, 1][known]
    return probability, predicted


def _logistic_regression(task: _Task) -> tuple[Floats, Floats]:
    from sklearn.linear_model import LogisticRegression  # takes seconds to import

    from lightning_models.forecasters.logistic_regression import LogisticRegressionConfig

    config = LogisticRegressionConfig()
    return _learned(
        task,
        lambda count: LogisticRegression(C=1.0 / (config.l2 * count), max_iter=2000),
        config.rows,
    )


def _gradient_boosting(task: _Task) -> tuple[Floats, Floats]:
    from sklearn.ensemble import HistGradientBoostingClassifier  # takes seconds to import

    from lightning_models.forecasters.gradient_boosting import GradientBoostingConfig

    config = GradientBoostingConfig()
    return _learned(
        task,
        lambda _: HistGradientBoostingClassifier(
            max_iter=config.trees,
            max_depth=config.depth,
            max_leaf_nodes=None,
            learning_rate=config.learning_rate,
            min_samples_leaf=config.leaf,
            early_stopping=False,
            random_state=task.seed,
        ),
        config.rows,
    )


def _learned(task: _Task, classifier: Callable[[int], Any], window: int) -> tuple[Floats, Floats]:
    from lightning_models.forecasters.samples import one_thread

    target = task.targets(task.train)
    moved = target != 0.0
    up = target[moved] > 0.0
    if up.all() or not up.any():
        return _majority_class(task)
    model = classifier(len(up))

    def logits(rows: Rows) -> Floats:
        raw: Floats = model.decision_function(task.inputs(rows, window))
        return raw

    calibrating = task.data.samples["calibration"].ends
    with one_thread(), warnings.catch_warnings():
        # A fit that is stopped early is a baseline all the same.
        warnings.filterwarnings("ignore", module=r"sklearn\..*")
        model.fit(task.inputs(task.train[moved], window), up)
        returns = task.data.returns[calibrating, task.horizon].astype(np.float64)
        calibration = fit_direction_calibration(logits(calibrating), returns)
        probability = calibration.probability(logits(task.rows))
    quartiles = np.quantile(target, [0.25, 0.75])
    spread = float(np.ptp(quartiles) / np.ptp(ndtri([0.25, 0.75])))
    return probability, ndtri(np.clip(probability, 0.01, 0.99)) * spread * task.scale()


def _evenly(rows: Rows, most: int) -> Rows:
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


BASELINES: Final[dict[str, Callable[[_Task], tuple[Floats, Floats]]]] = {
    "zero-return": _zero_return,
    "majority-class": _majority_class,
    "statistical": _statistical,
    "logistic-regression": _logistic_regression,
    "gradient-boosting": _gradient_boosting,
}
"""From a baseline's name to what forecasts its probability of up and its median return."""
