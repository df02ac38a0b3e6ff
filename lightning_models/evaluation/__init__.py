"""Scores of forecasts with their uncertainty, reliability and the figures of a training run."""

from __future__ import annotations

from lightning_models.evaluation.assessment import Assessment, assess, assess_forecasts
from lightning_models.evaluation.baselines import BASELINES, baseline_forecasts
from lightning_models.evaluation.bootstrap import (
    MINIMUM_MOMENTS,
    block_length,
    percentile_interval,
    resampled_counts,
)
from lightning_models.evaluation.comparison import (
    GAINS,
    BaselineForecasts,
    Comparison,
    compare,
)
from lightning_models.evaluation.diebold_mariano import LossTest, diebold_mariano, holm
from lightning_models.evaluation.figures import (
    confusion_figure,
    loss_figure,
    reliability_figure,
)
from lightning_models.evaluation.groups import (
    MINIMUM_GROUP_MOMENTS,
    GroupScores,
    score_groups,
)
from lightning_models.evaluation.outcomes import EvaluationError, Outcomes
from lightning_models.evaluation.pesaran_timmermann import DirectionTest, pesaran_timmermann
from lightning_models.evaluation.regimes import (
    REGIMES,
    UNKNOWN,
    regime_of_outcomes,
    regimes,
    regimes_of_closes,
)
from lightning_models.evaluation.reliability import (
    ReliabilityBin,
    bin_of,
    reliability_bins,
    wilson_interval,
)
from lightning_models.evaluation.scores import SCORES, ForecastScores, evaluate
from lightning_models.evaluation.seeds import SeedSpread, spread_of

__all__ = [
    "BASELINES",
    "GAINS",
    "MINIMUM_GROUP_MOMENTS",
    "MINIMUM_MOMENTS",
    "REGIMES",
    "SCORES",
    "UNKNOWN",
    "Assessment",
    "BaselineForecasts",
    "Comparison",
    "DirectionTest",
    "EvaluationError",
    "ForecastScores",
    "GroupScores",
    "LossTest",
    "Outcomes",
    "ReliabilityBin",
    "SeedSpread",
    "assess",
    "assess_forecasts",
    "baseline_forecasts",
    "bin_of",
    "block_length",
    "compare",
    "confusion_figure",
    "diebold_mariano",
    "evaluate",
    "holm",
    "loss_figure",
    "percentile_interval",
    "pesaran_timmermann",
    "regime_of_outcomes",
    "regimes",
    "regimes_of_closes",
    "reliability_bins",
    "reliability_figure",
    "resampled_counts",
    "score_groups",
    "spread_of",
    "wilson_interval",
]
