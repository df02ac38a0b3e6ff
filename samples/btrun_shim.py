"""Run `LSTMStrategy` from backtrader's own command line, which takes a file.

No edge here: it only names the class. Stamps in the CSV are the candles' open times.

    btrun --csvformat btcsv --data candles.csv --timeframe minutes --compression 60 \
        --strategy samples/btrun_shim.py:LSTMStrategy:model='models:/btc-1h@champion'
"""

from __future__ import annotations

from lstm_strategies import LSTMStrategy

__all__ = ["LSTMStrategy"]
