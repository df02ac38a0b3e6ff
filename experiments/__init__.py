"""Compose models and strategies: train, backtest, report, and the command line."""

from __future__ import annotations

from experiments.config import BacktestConfig, TrainConfig
from experiments.train import train

__all__ = ["BacktestConfig", "TrainConfig", "train"]
