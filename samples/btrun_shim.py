"""For backtrader's own command line, which loads classes from files and not from packages.

    btrun --csvformat btcsv --data candles.csv --timeframe minutes --compression 60 --cash 10000 \
        --strategy "samples/btrun_shim.py:LSTMStrategy:model='models:/btc-1h@champion'" \
        --analyzer samples/btrun_shim.py:BacktestMetrics --pranalyzer

The file's columns are Date, Time, Open, High, Low, Close, Volume, OpenInterest. `--indicator`
and `--signal` take `samples/btrun_shim.py:LSTMForecast:model='…'` in the same way. Nothing in
here has an edge.
"""

from __future__ import annotations

import argparse

from lstm_strategies import BacktestMetrics, LSTMForecast, LSTMStrategy, RiskSizer

__all__ = ["BacktestMetrics", "LSTMForecast", "LSTMStrategy", "RiskSizer"]


if __name__ == "__main__":
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
