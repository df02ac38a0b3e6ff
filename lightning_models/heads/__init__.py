"""Heads: objects that own a projection, its loss and its forecast."""

from __future__ import annotations

from lightning_models.heads.barrier import BarrierHead
from lightning_models.heads.change import QUANTILES, ChangeHead
from lightning_models.heads.direction import DirectionHead
from lightning_models.heads.table import DIRECTION_HEADS

__all__ = ["DIRECTION_HEADS", "QUANTILES", "BarrierHead", "ChangeHead", "DirectionHead"]
