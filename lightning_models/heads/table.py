"""The table of direction heads: which one answers which target."""

from __future__ import annotations

from typing import Final

from lightning_models.heads.barrier import BarrierHead
from lightning_models.heads.direction import DirectionHead

__all__ = ["DIRECTION_HEADS"]

DIRECTION_HEADS: Final[dict[str, type[DirectionHead]]] = {
    "horizon-return": DirectionHead,
    "triple-barrier": BarrierHead,
}
"""From a target's name to the head that is trained on it."""
