"""Walk-forward: folds in time, fitted side by side, joined into one series of forecasts."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.walk_forward.config import WalkForwardConfig
    from experiments.walk_forward.folds import Fold, fold_seed, plan_folds
    from experiments.walk_forward.joining import assess_joined, join_outcomes
    from experiments.walk_forward.result import FoldRecord, FoldSpread, WalkForwardResult
    from experiments.walk_forward.running import FittedFold, FoldTask, fit_fold, run_folds
    from experiments.walk_forward.walk import walk_forward

__all__ = [
    "FittedFold",
    "Fold",
    "FoldRecord",
    "FoldSpread",
    "FoldTask",
    "WalkForwardConfig",
    "WalkForwardResult",
    "assess_joined",
    "fit_fold",
    "fold_seed",
    "join_outcomes",
    "plan_folds",
    "run_folds",
    "walk_forward",
]

# Each process that fits a fold runs this file and needs no MLflow, which takes three seconds:
# each name is imported when it is first asked for.
_HOMES = {
    "FittedFold": "running",
    "Fold": "folds",
    "FoldRecord": "result",
    "FoldSpread": "result",
    "FoldTask": "running",
    "WalkForwardConfig": "config",
    "WalkForwardResult": "result",
    "assess_joined": "joining",
    "fit_fold": "running",
    "fold_seed": "folds",
    "join_outcomes": "joining",
    "plan_folds": "folds",
    "run_folds": "running",
    "walk_forward": "walk",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
