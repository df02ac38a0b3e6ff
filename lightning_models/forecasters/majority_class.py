"""The majority-class forecaster: what happened most often happens again."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from scipy.special import logit
from torch import Tensor

from lightning_models.forecasters.base import DirectForecaster, ForecasterConfig
from lightning_models.forecasters.samples import require_both_directions
from lightning_models.heads import QUANTILES
from lightning_models.networks.forecast_network import RawForecast

if TYPE_CHECKING:
    from lightning_models.data.datamodule import CandleDataModule

__all__ = ["MajorityClass", "MajorityClassConfig"]


class MajorityClassConfig(ForecasterConfig):
    """Nothing to choose."""

    kind: Literal["majority-class"] = "majority-class"


class MajorityClass(DirectForecaster):
    """The train labels' share of ups and their quantiles, for every candle.

    The probability is the baseline that every evaluation states: the model's gain over the
    majority class is exactly zero. Where most labels rise and the median falls, or the other
    way round, the signal is 0.

    Parameters
    ----------
    config
        Of its kind.
    features, horizons
        As `DirectForecaster` takes them.
    """

    Config = MajorityClassConfig
    calibrates: ClassVar[bool] = False

    logit: Tensor
    levels: Tensor

    def __init__(self, config: MajorityClassConfig, features: int, horizons: int) -> None:
        super().__init__(config, features, horizons)
        self._declare("logit", horizons)
        self._declare("levels", horizons, len(QUANTILES))

    def forward(self, window: Tensor) -> RawForecast:
        """Return the same forecast for each of ``[batch, time, feature]``."""
        nothing = window[:, 0, :1] * 0.0
        return RawForecast(
            nothing + self.logit.to(window.dtype),
            nothing[..., None] + self.levels.to(window.dtype),
        )

    def fit_to(self, data: CandleDataModule) -> None:
        """Count the train labels' ups and take their quantiles."""
        targets = data.targets.numpy()[data.samples["train"].ends].astype(np.float64)
        require_both_directions(data, targets)
        self._keep("logit", logit((targets > 0).sum(axis=0) / (targets != 0).sum(axis=0)))
        self._keep("levels", np.quantile(targets, QUANTILES, axis=0).T)
