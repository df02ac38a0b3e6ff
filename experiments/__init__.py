"""Compose models and strategies: train, backtest, report, and the command line."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.auditing import audit
    from experiments.backtesting import backtest
    from experiments.config import BacktestConfig, TrainConfig
    from experiments.ensembling import ensemble
    from experiments.fine_tuning import FineTuneConfig, fine_tune
    from experiments.result import BacktestResult
    from experiments.training import train

__all__ = [
    "BacktestConfig",
    "BacktestResult",
    "FineTuneConfig",
    "TrainConfig",
    "audit",
    "backtest",
    "ensemble",
    "fine_tune",
    "train",
]

# Importing these takes eight seconds of torch, Lightning and MLflow, and Python runs this
# file for `lstm-strategies --help` too: each is imported when it is first asked for.
_HOMES = {
    "BacktestConfig": "experiments.config",
    "BacktestResult": "experiments.result",
    "FineTuneConfig": "experiments.fine_tuning",
    "TrainConfig": "experiments.config",
    "audit": "experiments.auditing",
    "backtest": "experiments.backtesting",
    "ensemble": "experiments.ensembling",
    "fine_tune": "experiments.fine_tuning",
    "train": "experiments.training",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # The functions share their modules' names: found once, they must stay functions.
    found = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found
