"""backtrader: feeds, forecasts as indicators, strategies, an honest broker, metrics."""

from __future__ import annotations

from lstm_strategies.broker import SimulatedBroker, upgrade_broker
from lstm_strategies.commission import CryptoCommission
from lstm_strategies.confirmation import ConfirmationReport, LSTMConfirm, confirmed
from lstm_strategies.feed import CandleData
from lstm_strategies.funding import FundingRates
from lstm_strategies.fused import FusedStrategy
from lstm_strategies.indicator import LSTMForecast
from lstm_strategies.live_signal import signal_of
from lstm_strategies.metrics import BacktestMetrics
from lstm_strategies.sizer import RiskSizer
from lstm_strategies.strategies import STRATEGIES, strategy_named
from lstm_strategies.strategy import LSTMStrategy
from lstm_strategies.trading import TradingStrategy
from lstm_strategies.vote import Vote, matches_signal

__all__ = [
    "STRATEGIES",
    "BacktestMetrics",
    "CandleData",
    "ConfirmationReport",
    "CryptoCommission",
    "FundingRates",
    "FusedStrategy",
    "LSTMConfirm",
    "LSTMForecast",
    "LSTMStrategy",
    "RiskSizer",
    "SimulatedBroker",
    "TradingStrategy",
    "Vote",
    "confirmed",
    "matches_signal",
    "signal_of",
    "strategy_named",
    "upgrade_broker",
]
