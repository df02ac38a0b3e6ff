"""Scores of forecasts with their uncertainty, reliability and the figures of a training run."""

from __future__ import annotations

from lightning_models.evaluation.bootstrap import (
    MINIMUM_MOMENTS,
    block_length,
    percentile_interval,
    resampled_counts,
)
from lightning_models.evaluation.figures import (
    confusion_figure,
    loss_figure,
    reliability_figure,
)
from lightning_models.evaluation.outcomes import EvaluationError, Outcomes
from lightning_models.evaluation.reliability import (
    ReliabilityBin,
    bin_of,
    reliability_bins,
    wilson_interval,
)
from lightning_models.evaluation.scores import SCORES, ForecastScores, evaluate

__all__ = [
    "MINIMUM_MOMENTS",
    "SCORES",
    "EvaluationError",
    "ForecastScores",
    "Outcomes",
    "ReliabilityBin",
    "bin_of",
    "block_length",
    "confusion_figure",
    "evaluate",
    "loss_figure",
    "percentile_interval",
    "reliability_bins",
    "reliability_figure",
    "resampled_counts",
    "wilson_interval",
]
