"""The full fused signal, on strong scores alone, with little risk and a wide stop."""

from __future__ import annotations

from typing import Any

from lstm_strategies.fused import FusedStrategy

__all__ = ["LSTMConservative"]


class LSTMConservative(FusedStrategy):
    """Trade strong fused scores alone, at little risk and with a wide stop.

    Params: those of `lstm_strategies.fused.FusedStrategy`, with
      - ``use_llm`` (True), ``min_confidence`` (0.75), ``risk_per_trade`` (0.01).
      - ``atr_stop`` (2.5): a wide stop; ``atr_target`` (3.75): as far beyond it as elsewhere.
    """

    params: Any = (
        ("use_llm", True),
        ("min_confidence", 0.75),
        ("risk_per_trade", 0.01),
        ("atr_stop", 2.5),
        ("atr_target", 3.75),
    )
