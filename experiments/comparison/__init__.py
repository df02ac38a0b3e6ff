"""Experiments over many trainings: every network on every symbol, one mode against the other."""

from experiments.comparison.modes import ModesResult, compare_modes
from experiments.comparison.trial import Trial, TrialResult
from experiments.comparison.zoo import ZOO, ZooResult, run_zoo

__all__ = ["ZOO", "ModesResult", "Trial", "TrialResult", "ZooResult", "compare_modes", "run_zoo"]
