"""Forecasters that need no gradient training, behind the face of a network."""

from __future__ import annotations

# First, because its table of networks reads this package's table of forecasters.
import lightning_models.networks  # noqa: F401
from lightning_models.forecasters.base import DirectForecaster, ForecasterConfig
from lightning_models.forecasters.table import FORECASTERS

__all__ = ["FORECASTERS", "DirectForecaster", "ForecasterConfig"]
