"""Candles: read, simulated, validated and resampled; the first room a candle enters."""

from __future__ import annotations

from lightning_models.candles.candles import COLUMNS, Candles, Market, fingerprint_of
from lightning_models.candles.reading import read_candles, symbol_of_path
from lightning_models.candles.resampling import resample
from lightning_models.candles.simulation import simulate_market
from lightning_models.candles.timestamps import iso_utc
from lightning_models.candles.validation import validate

__all__ = [
    "COLUMNS",
    "Candles",
    "Market",
    "fingerprint_of",
    "iso_utc",
    "read_candles",
    "resample",
    "simulate_market",
    "symbol_of_path",
    "validate",
]
