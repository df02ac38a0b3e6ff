"""Bounds that hold a stated share of outcomes: from a calibration slice, and adapting."""

from __future__ import annotations

from lightning_models.intervals.adaptive import AdaptiveIntervals
from lightning_models.intervals.adaptive_state import AdaptiveSettings, AdaptiveState, Issued
from lightning_models.intervals.conformal import (
    MAX_OFFSET,
    ConformalIntervals,
    bounds_of,
    conformal_offset,
    conformity_scores,
    fit_intervals,
)

__all__ = [
    "MAX_OFFSET",
    "AdaptiveIntervals",
    "AdaptiveSettings",
    "AdaptiveState",
    "ConformalIntervals",
    "Issued",
    "bounds_of",
    "conformal_offset",
    "conformity_scores",
    "fit_intervals",
]
