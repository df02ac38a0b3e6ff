"""The strategies by name: four of fused signals, three classics, and buy-and-hold."""

from __future__ import annotations

from lstm_strategies.strategies.buy_and_hold import BuyAndHold
from lstm_strategies.strategies.lstm import LSTM
from lstm_strategies.strategies.lstm_aggressive import LSTMAggressive
from lstm_strategies.strategies.lstm_conservative import LSTMConservative
from lstm_strategies.strategies.lstm_fast import LSTMFast
from lstm_strategies.strategies.macd_stoch import MACDWithStochastic
from lstm_strategies.strategies.rsi_ema import RSIWithEMA
from lstm_strategies.strategies.supertrend import SuperTrend
from lstm_strategies.strategies.table import STRATEGIES, strategy_named, summary_of

__all__ = [
    "LSTM",
    "STRATEGIES",
    "BuyAndHold",
    "LSTMAggressive",
    "LSTMConservative",
    "LSTMFast",
    "MACDWithStochastic",
    "RSIWithEMA",
    "SuperTrend",
    "strategy_named",
    "summary_of",
]
