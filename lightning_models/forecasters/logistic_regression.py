"""The logistic regression: a line through the last rows of the window."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from scipy.optimize import minimize
from scipy.special import expit
from torch import Tensor

from lightning_models.errors import TrainingError
from lightning_models.forecasters.base import DirectForecaster, ForecasterConfig
from lightning_models.forecasters.samples import (
    Floats,
    one_thread,
    require_both_directions,
    train_samples,
)
from lightning_models.heads import QUANTILES
from lightning_models.networks.forecast_network import RawForecast

if TYPE_CHECKING:
    from lightning_models.data.datamodule import CandleDataModule

__all__ = ["LogisticRegressionConfig", "LogisticRegressionForecaster"]

# Width of the rounded corner of the pinball loss, in deviations of the target.
CORNER = 0.03


class LogisticRegressionConfig(ForecasterConfig):
    """What it reads and how it is held back.

    Parameters
    ----------
    rows
        How many of the window's last rows it reads; the lookback takes all of them.
    l2
        Penalty of the squared coefficients, beside the mean loss of a sample.
    samples
        Train windows at most, spread evenly; bounds the memory of a fit.
    """

    kind: Literal["logistic-regression"] = "logistic-regression"
    rows: PositiveInt = 5
    l2: PositiveFloat = 0.01
    samples: int = Field(default=200_000, ge=100)


class LogisticRegressionForecaster(DirectForecaster):
    """P(up) by logistic regression, quantiles as lines over its logit.

    One regression for each horizon (scikit-learn's, L2). Each quantile of the change is a
    line over the logit by quantile regression (Koenker and Bassett, 1978), its loss smoothed
    (Fernandes, Guerre and Horta, 2021); they are sorted where lines cross.

    Parameters
    ----------
    config
        Rows and penalty.
    features, horizons
        As `DirectForecaster` takes them.
    """

    Config = LogisticRegressionConfig

    coefficients: Tensor
    intercept: Tensor
    slopes: Tensor
    levels: Tensor

    def __init__(self, config: LogisticRegressionConfig, features: int, horizons: int) -> None:
        super().__init__(config, features, horizons)
        self.rows = config.rows
        self.l2 = config.l2
        self.samples = config.samples
        self._declare("coefficients", config.rows * features, horizons)
        self._declare("intercept", horizons)
        self._declare("slopes", horizons, len(QUANTILES))
        self._declare("levels", horizons, len(QUANTILES))

    def forward(self, window: Tensor) -> RawForecast:
        """Return the raw forecast of windows ``[batch, time, feature]``."""
        inputs = window[:, -self.rows :].flatten(1).double()
        logits = inputs @ self.coefficients + self.intercept
        quantiles = torch.sort(logits[..., None] * self.slopes + self.levels, dim=-1).values
        return RawForecast(logits.to(window.dtype), quantiles.to(window.dtype))

    def fit_to(self, data: CandleDataModule) -> None:
        """Fit a regression for each horizon, then its quantile lines."""
        samples = train_samples(data, rows=self.rows, most=self.samples)
        require_both_directions(data, samples.targets)
        weights = np.ones_like(samples.targets) if samples.weights is None else samples.weights
        with one_thread():
            lines = [
                self._fit_direction(samples.inputs, target, weight)
                for target, weight in zip(samples.targets.T, weights.T, strict=True)
            ]
            self._keep("coefficients", np.column_stack([line for line, _ in lines]))
            self._keep("intercept", np.array([intercept for _, intercept in lines]))
            logits = samples.inputs @ self.coefficients.numpy() + self.intercept.numpy()
            changes = [
                _quantile_lines(logits[:, column], samples.targets[:, column], weights[:, column])
                for column in range(self.horizons)
            ]
        self._keep("slopes", np.stack([slopes for slopes, _ in changes]))
        self._keep("levels", np.stack([levels for _, levels in changes]))

    def _fit_direction(
        self, inputs: Floats, target: Floats, weight: Floats
    ) -> tuple[Floats, float]:
        # Imported here: forecasting from a bundle needs no scikit-learn.
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        moved = target != 0
        model = LogisticRegression(C=1.0 / (self.l2 * weight[moved].sum()), max_iter=2000)
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            try:
                model.fit(inputs[moved], target[moved] > 0, sample_weight=weight[moved])
            except ConvergenceWarning as warning:
                raise TrainingError(
                    f"the logistic regression did not converge with l2={self.l2:g}: raise "
                    "--set network.l2 or lower --set network.rows"
                ) from warning
        return model.coef_[0], float(model.intercept_[0])


def _quantile_lines(logits: Floats, target: Floats, weight: Floats) -> tuple[Floats, Floats]:
    # In deviations: a logit that hardly varies would leave its slope to rounding.
    share = weight / weight.sum()
    middle, deviation = _moments(logits, share)
    _, scale = _moments(target, share)
    inputs = (logits - middle) / deviation
    lines = np.array([_quantile_line(inputs, target / scale, share, level) for level in QUANTILES])
    slopes = lines[:, 0] * scale / deviation
    return slopes, lines[:, 1] * scale - slopes * middle


def _moments(values: Floats, share: Floats) -> tuple[float, float]:
    middle = float(share @ values)
    return middle, max(math.sqrt(float(share @ (values - middle) ** 2)), 1e-12)


def _quantile_line(inputs: Floats, target: Floats, share: Floats, level: float) -> Floats:
    def loss(line: Floats) -> tuple[float, Floats]:
        error = target - line[0] * inputs - line[1]
        value = level * error + CORNER * np.logaddexp(0.0, -error / CORNER)
        push = share * (expit(-error / CORNER) - level)
        return float(share @ value), np.array([push @ inputs, push.sum()])

    start = np.array([0.0, float(np.quantile(target, level))])
    line: Floats = minimize(loss, x0=start, jac=True, method="BFGS").x
    return line
