"""Candles, features, networks and forecasts: everything that needs no backtrader."""

from __future__ import annotations

from lightning_models.candles import Candles, read_candles, simulate_market
from lightning_models.forecast import Forecast
from lightning_models.loading import load_predictor
from lightning_models.predictor import Predictor

__all__ = [
    "Candles",
    "Forecast",
    "Predictor",
    "load_predictor",
    "read_candles",
    "simulate_market",
]
