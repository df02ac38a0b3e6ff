"""The table of direct forecasters: a new one is one file and one row here."""

from __future__ import annotations

from typing import Final

from lightning_models.forecasters.base import DirectForecaster
from lightning_models.forecasters.gradient_boosting import GradientBoosting
from lightning_models.forecasters.logistic_regression import LogisticRegressionForecaster
from lightning_models.forecasters.majority_class import MajorityClass
from lightning_models.forecasters.statistical import Statistical
from lightning_models.forecasters.zero_return import ZeroReturn

__all__ = ["FORECASTERS", "FORECASTER_CONFIGS"]

FORECASTERS: Final[dict[str, type[DirectForecaster]]] = {
    "zero-return": ZeroReturn,
    "majority-class": MajorityClass,
    "statistical": Statistical,
    "logistic-regression": LogisticRegressionForecaster,
    "gradient-boosting": GradientBoosting,
}

FORECASTER_CONFIGS: Final = tuple(forecaster.Config for forecaster in FORECASTERS.values())
