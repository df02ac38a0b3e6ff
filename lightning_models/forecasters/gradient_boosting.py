"""Gradient-boosted trees, grown by scikit-learn and walked in torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from lightning_models.errors import TrainingError
from lightning_models.forecasters.base import DirectForecaster, ForecasterConfig
from lightning_models.forecasters.samples import (
    Floats,
    TrainSamples,
    one_thread,
    require_both_directions,
    train_samples,
)
from lightning_models.heads import QUANTILES
from lightning_models.networks.forecast_network import RawForecast

if TYPE_CHECKING:
    from lightning_models.data.datamodule import CandleDataModule

__all__ = ["GradientBoosting", "GradientBoostingConfig"]

# Largest difference between a walk in torch and scikit-learn's own, on samples of the fit.
SAME = 1e-6
COMPARED = 256


class GradientBoostingConfig(ForecasterConfig):
    """What it reads and how large it grows.

    Parameters
    ----------
    rows
        How many of the window's last rows it reads.
    trees
        Of each boosted model: one for the direction and three for the quantiles, for each
        horizon.
    depth
        Splits on the way to a leaf, at most.
    learning_rate
        Share of each tree's correction that is taken.
    leaf
        Samples of a leaf, at least.
    samples
        Train windows at most, spread evenly; bounds the memory of a fit.
    """

    kind: Literal["gradient-boosting"] = "gradient-boosting"
    rows: PositiveInt = 5
    trees: PositiveInt = 60
    depth: int = Field(default=3, ge=1, le=12)
    learning_rate: PositiveFloat = Field(default=0.05, le=1)
    leaf: PositiveInt = 50
    samples: int = Field(default=200_000, ge=100)


class GradientBoosting(DirectForecaster):
    """Boosted trees for P(up) and for each quantile of the change (Friedman, 2001).

    Grown by scikit-learn's histogram method; what is kept of the trees are arrays of splits
    and leaves. Quantiles that cross are sorted.

    Parameters
    ----------
    config
        Size of the trees.
    features, horizons
        As `DirectForecaster` takes them.

    Notes
    -----
    A tree is a step function: where a recursive feature such as an exponential average lies
    within rounding of a split, histories of different length may fall on different sides of
    it, and a bulk forecast and a single one would then differ by one leaf. None of 3,000
    hourly bars of BTC/USDT did; with features that look back a fixed number of candles none can.
    """

    Config = GradientBoostingConfig

    column: Tensor
    threshold: Tensor
    branches: Tensor
    value: Tensor
    start: Tensor

    def __init__(self, config: GradientBoostingConfig, features: int, horizons: int) -> None:
        super().__init__(config, features, horizons)
        self.rows = config.rows
        self.depth = config.depth
        self.settings = config
        self.outputs = horizons * (1 + len(QUANTILES))
        trees = (self.outputs, config.trees, None)
        self._declare("column", *trees, dtype=torch.int64)
        self._declare("threshold", *trees)
        self._declare("branches", *trees, 2, dtype=torch.int64)
        self._declare("value", *trees)
        self._declare("start", self.outputs)

    def forward(self, window: Tensor) -> RawForecast:
        """Return the raw forecast of windows ``[batch, time, feature]``."""
        scores = self.scores(window[:, -self.rows :].flatten(1).double())
        parts = scores.reshape(-1, self.horizons, 1 + len(QUANTILES))
        quantiles = torch.sort(parts[..., 1:], dim=-1).values
        return RawForecast(parts[..., 0].to(window.dtype), quantiles.to(window.dtype))

    def scores(self, inputs: Tensor) -> Tensor:
        """Return what each boosted model gives, before quantiles are sorted.

        Parameters
        ----------
        inputs
            ``float64 [batch, rows * feature]``.

        Returns
        -------
        torch.Tensor
            ``float64 [batch, H * 4]``: for each horizon the logit, then the quantiles.
        """
        outputs, trees, nodes = self.column.shape
        column, threshold = self.column.flatten(), self.threshold.flatten()
        branches, value = self.branches.flatten(), self.value.flatten()
        # Every tree is entered at its root at once; a leaf is its own child.
        roots = torch.arange(outputs * trees, device=inputs.device) * nodes
        node = roots + torch.zeros_like(inputs[:, :1], dtype=torch.int64)
        for _ in range(self.depth):
            right = inputs.gather(1, column[node]) > threshold[node]
            node = roots + branches[2 * node + right.to(torch.int64)]
        leaves = value[node].reshape(-1, outputs, trees)
        return leaves.sum(dim=-1) + self.start

    def fit_to(self, data: CandleDataModule) -> None:
        """Grow the trees of each horizon on the train slice."""
        samples = train_samples(data, rows=self.rows, most=self.settings.samples)
        require_both_directions(data, samples.targets)
        with one_thread():
            models = [
                model
                for column in range(self.horizons)
                for model in self._grow(samples, column, seed=data.seed)
            ]
            self._take(models)
            self._compare(models, samples.inputs[:: max(1, len(samples.inputs) // COMPARED)])

    def _grow(self, samples: TrainSamples, column: int, *, seed: int) -> list[Any]:
        # Imported here: forecasting from a bundle needs no scikit-learn.
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        options = {
            "max_iter": self.settings.trees,
            "max_depth": self.depth,
            "max_leaf_nodes": None,
            "learning_rate": self.settings.learning_rate,
            "min_samples_leaf": self.settings.leaf,
            "early_stopping": False,
            "random_state": seed,
        }
        inputs, target = samples.inputs, samples.targets[:, column]
        weight = None if samples.weights is None else samples.weights[:, column]
        moved = target != 0
        direction = HistGradientBoostingClassifier(**options)
        up = (target[moved] > 0).astype(np.int64)
        direction.fit(inputs[moved], up, sample_weight=None if weight is None else weight[moved])
        quantiles = [
            HistGradientBoostingRegressor(loss="quantile", quantile=level, **options)
            for level in QUANTILES
        ]
        return [
            direction,
            *(model.fit(inputs, target, sample_weight=weight) for model in quantiles),
        ]

    def _take(self, models: list[Any]) -> None:
        # Scikit-learn has no public access to the trees it grew: `_compare` is what says that
        # they were understood.
        grown = [[step[0].nodes for step in model._predictors] for model in models]
        longest = max(len(nodes) for trees in grown for nodes in trees)
        shape = (self.outputs, self.settings.trees, longest)
        column, value = np.zeros(shape, np.int64), np.zeros(shape)
        threshold, branches = np.full(shape, np.inf), np.zeros((*shape, 2), np.int64)
        for output, trees in enumerate(grown):
            for tree, nodes in enumerate(trees):
                place = (output, tree, slice(len(nodes)))
                inner = nodes["is_leaf"] == 0
                own = np.arange(len(nodes))
                column[place] = np.where(inner, nodes["feature_idx"], 0)
                threshold[place] = np.where(inner, nodes["num_threshold"], np.inf)
                branches[place] = np.stack(
                    [np.where(inner, nodes[side], own) for side in ("left", "right")], axis=-1
                )
                value[place] = np.where(inner, 0.0, nodes["value"])
        self._keep("column", column)
        self._keep("threshold", threshold)
        self._keep("branches", branches)
        self._keep("value", value)
        starts = [float(np.ravel(model._baseline_prediction)[0]) for model in models]
        self._keep("start", starts)

    def _compare(self, models: list[Any], inputs: Floats) -> None:
        expected = np.column_stack([_own_score(model, inputs) for model in models])
        difference = np.abs(self.scores(torch.from_numpy(inputs)).numpy() - expected).max()
        if not difference <= SAME:
            import sklearn

            raise TrainingError(
                f"trees of scikit-learn {sklearn.__version__} give other forecasts here than "
                f"there (off by {difference:.2g}): it keeps them in a way this release does not "
                "know. Install the versions of requirements.lock, or another network"
            )


def _own_score(model: Any, inputs: Floats) -> Floats:
    classifies = hasattr(model, "decision_function")
    score: Floats = model.decision_function(inputs) if classifies else model.predict(inputs)
    return score
