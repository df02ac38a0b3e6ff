"""The table of features: a new one is a function in a file and a row here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from lightning_models.features.momentum import RSI, STOCHASTIC_K
from lightning_models.features.price import CLOSE, HIGH, LOW, OPEN
from lightning_models.features.trend import (
    ADX,
    EMA,
    EMA_FAST,
    EMA_SLOW,
    MACD,
    MACD_HISTOGRAM,
    MACD_SIGNAL,
    SMA,
)
from lightning_models.features.volatility import ATR, BB_LOWER, BB_MIDDLE, BB_UPPER
from lightning_models.features.volume import OBV, VOLUME

if TYPE_CHECKING:
    from lightning_models.features.definition import FeatureDefinition

__all__ = ["FEATURES"]

FEATURES: Final[dict[str, FeatureDefinition]] = {
    "open": OPEN,
    "high": HIGH,
    "low": LOW,
    "close": CLOSE,
    "volume": VOLUME,
    "rsi": RSI,
    "ema_fast": EMA_FAST,
    "ema_slow": EMA_SLOW,
    "ema_12": replace(EMA, defaults={"period": 12}),
    "ema_26": EMA,
    "sma_20": SMA,
    "sma_50": replace(SMA, defaults={"period": 50}),
    "macd": MACD,
    "macd_signal": MACD_SIGNAL,
    "macd_histogram": MACD_HISTOGRAM,
    "bb_upper": BB_UPPER,
    "bb_middle": BB_MIDDLE,
    "bb_lower": BB_LOWER,
    "atr": ATR,
    "adx": ADX,
    "stochastic_k": STOCHASTIC_K,
    "obv": OBV,
}
