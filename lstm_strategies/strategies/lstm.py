"""The full fused signal: forecast, technical readings and a language model."""

from __future__ import annotations

from typing import Any

from lstm_strategies.fused import FusedStrategy

__all__ = ["LSTM"]


class LSTM(FusedStrategy):
    """Trade forecast, technical readings and a language model's view, fused.

    Params: those of `lstm_strategies.fused.FusedStrategy`, with
      - ``use_llm`` (True), ``min_confidence`` (0.6), ``risk_per_trade`` (0.02).
    """

    params: Any = (("use_llm", True), ("min_confidence", 0.6), ("risk_per_trade", 0.02))
