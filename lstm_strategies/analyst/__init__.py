"""An opinion of a language model on each bar: asked once, kept, and never needed."""

from __future__ import annotations

from lstm_strategies.analyst.analyst import Analyst, AnalystUsage, backtest_warning
from lstm_strategies.analyst.config import AnalystConfig
from lstm_strategies.analyst.facts import FACT_BARS, FactReading, MarketFacts, market_facts
from lstm_strategies.analyst.opinion import Opinion

__all__ = [
    "FACT_BARS",
    "Analyst",
    "AnalystConfig",
    "AnalystUsage",
    "FactReading",
    "MarketFacts",
    "Opinion",
    "backtest_warning",
    "market_facts",
]
