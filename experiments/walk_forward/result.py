"""Result of a walk-forward: each fold, and the series that their forecasts make."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, field_serializer

from experiments.walk_forward.config import WalkForwardConfig
from lightning_models.candles.timestamps import iso_utc_of
from lightning_models.evaluation.assessment import Assessment
from lightning_models.evaluation.coverage import Coverage
from lightning_models.evaluation.scores import ForecastScores

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SPREAD", "FoldRecord", "FoldSpread", "WalkForwardResult", "spread_over_folds"]

SPREAD: Final = ("log_loss", "log_loss_gain", "auc", "brier", "ece", "directional_accuracy")
"""The scores that are summarised over the folds."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FoldSpread(_Record):
    """A score over the folds that define it, at least two."""

    metric: str
    folds: int
    mean: float
    deviation: float
    """Standard deviation, with one degree of freedom taken for the mean."""


class FoldRecord(_Record):
    """One fold: what its model saw, and how it did on what it had not seen."""

    number: int
    """From 1, in order of time."""
    seed: int
    """Of its weights and batches: the training seed + `number` - 1."""
    symbols: tuple[str, ...]
    """Those it was trained on."""
    train_from: datetime
    """Start of the fold's first candle."""
    known_until: datetime
    """End of its calibration slice: nothing later reached its model."""
    tested_from: datetime
    """Its model's ``unseen_from``."""
    tested_to: datetime
    """From here on the next fold's model forecasts; for the last fold, the end of the candles."""
    samples: dict[str, int]
    """Of each slice; of the test, forecasts with an outcome."""
    best_epoch: int
    epochs_trained: int
    scores: ForecastScores
    run_id: str
    bundle_sha256: str

    @field_serializer("train_from", "known_until", "tested_from", "tested_to", when_used="json")
    def _with_z(self, time: datetime) -> str:
        return iso_utc_of(time)


class WalkForwardResult(_Record):
    """Everything that a walk-forward reports, free of not-a-number.

    The joined forecasts are scored as one series, whose intervals come from a bootstrap over
    its moments. `spread` tells how the folds differ, which is another thing: its deviation
    holds the market's changes and the seed's luck, and says nothing about the mean's error.
    """

    model: str
    """Fixed name of the registered series, such as ``models:/price-predictor-walk-forward/2``."""
    alias: str
    run_id: str
    """Of the parent run."""
    preset: str
    timeframe: str
    symbols: tuple[str, ...]
    config: WalkForwardConfig
    data_fingerprint: str
    folds: tuple[FoldRecord, ...]
    joined: Assessment
    coverage: tuple[Coverage, ...]
    """Of the joined series' bounds, asked and got."""
    spread: tuple[FoldSpread, ...]
    """Mean and standard deviation over the folds; empty where there is one fold."""
    verdict: str
    """On the joined series, in words."""


def spread_over_folds(folds: Sequence[FoldRecord]) -> tuple[FoldSpread, ...]:
    """Return mean and deviation of each score of `SPREAD` that at least two folds define."""
    found = []
    for metric in SPREAD:
        given = [getattr(fold.scores, metric) for fold in folds]
        values = [value for value in given if value is not None]
        if len(values) >= 2:
            found.append(
                FoldSpread(
                    metric=metric,
                    folds=len(values),
                    mean=float(np.mean(values)),
                    deviation=float(np.std(values, ddof=1)),
                )
            )
    return tuple(found)
