"""The fused signal on every score, with much risk and a tight stop."""

from __future__ import annotations

from typing import Any

from lstm_strategies.fused import FusedStrategy

__all__ = ["LSTMAggressive"]


class LSTMAggressive(FusedStrategy):
    """Trade every fused score, at much risk and with a tight stop.

    Params: those of `lstm_strategies.fused.FusedStrategy`, with
      - ``min_confidence`` (0.5): every score; ``risk_per_trade`` (0.05).
      - ``atr_stop`` (1.0): a tight stop; ``atr_target`` (1.5): as far beyond it as elsewhere.
    """

    params: Any = (
        ("min_confidence", 0.5),
        ("risk_per_trade", 0.05),
        ("atr_stop", 1.0),
        ("atr_target", 1.5),
    )
