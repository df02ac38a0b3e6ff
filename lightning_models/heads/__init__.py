"""Heads: objects that own a projection, its loss and its forecast."""

from __future__ import annotations

from lightning_models.heads.change import QUANTILES, ChangeHead
from lightning_models.heads.direction import DirectionHead

__all__ = ["QUANTILES", "ChangeHead", "DirectionHead"]
