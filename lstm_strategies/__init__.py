"""backtrader: feeds, forecasts as indicators, strategies, an honest broker, metrics."""

from __future__ import annotations

from lstm_strategies.broker import SimulatedBroker, upgrade_broker
from lstm_strategies.commission import CryptoCommission
from lstm_strategies.feed import CandleData
from lstm_strategies.indicator import LSTMForecast
from lstm_strategies.metrics import BacktestMetrics
from lstm_strategies.sizer import RiskSizer
from lstm_strategies.strategy import LSTMStrategy

__all__ = [
    "BacktestMetrics",
    "CandleData",
    "CryptoCommission",
    "LSTMForecast",
    "LSTMStrategy",
    "RiskSizer",
    "SimulatedBroker",
    "upgrade_broker",
]
