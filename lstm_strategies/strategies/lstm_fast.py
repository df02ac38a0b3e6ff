"""The fused signal without a language model."""

from __future__ import annotations

from typing import Any

from lstm_strategies.fused import FusedStrategy

__all__ = ["LSTMFast"]


class LSTMFast(FusedStrategy):
    """Trade forecast and technical readings, fused; no language model.

    Params: those of `lstm_strategies.fused.FusedStrategy`, with
      - ``min_confidence`` (0.6), ``risk_per_trade`` (0.02).
    """

    params: Any = (("min_confidence", 0.6), ("risk_per_trade", 0.02))
