"""The table of strategies: the name that users write, and its class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lightning_models.errors import ConfigError
from lightning_models.spelling import nearest_names
from lstm_strategies.strategies.buy_and_hold import BuyAndHold
from lstm_strategies.strategies.lstm import LSTM
from lstm_strategies.strategies.lstm_aggressive import LSTMAggressive
from lstm_strategies.strategies.lstm_conservative import LSTMConservative
from lstm_strategies.strategies.lstm_fast import LSTMFast
from lstm_strategies.strategies.macd_stoch import MACDWithStochastic
from lstm_strategies.strategies.rsi_ema import RSIWithEMA
from lstm_strategies.strategies.supertrend import SuperTrend
from lstm_strategies.strategy import LSTMStrategy

if TYPE_CHECKING:
    from lstm_strategies.trading import TradingStrategy

__all__ = ["STRATEGIES", "strategy_named", "summary_of"]

STRATEGIES: Final[dict[str, type[TradingStrategy]]] = {
    "forecast": LSTMStrategy,
    "lstm": LSTM,
    "lstm_fast": LSTMFast,
    "lstm_conservative": LSTMConservative,
    "lstm_aggressive": LSTMAggressive,
    "supertrend": SuperTrend,
    "rsi_ema": RSIWithEMA,
    "macd_stoch": MACDWithStochastic,
    "buy_and_hold": BuyAndHold,
}


def strategy_named(name: str) -> type[TradingStrategy]:
    """Return the class of a strategy.

    Raises
    ------
    ConfigError
        If there is none of that name; the message lists those there are.

    Examples
    --------
    >>> strategy_named("supertrend").__name__
    'SuperTrend'
    """
    if name not in STRATEGIES:
        raise ConfigError(
            f"there is no strategy {name!r}: {nearest_names(name, STRATEGIES)}; there are "
            f"{', '.join(STRATEGIES)}"
        )
    return STRATEGIES[name]


def summary_of(name: str) -> str:
    """Return a strategy's first sentence.

    Examples
    --------
    >>> summary_of("supertrend")
    'Be long above the SuperTrend line and short below it.'
    """
    return (strategy_named(name).__doc__ or "").strip().partition("\n")[0]
