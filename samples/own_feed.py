"""Forecast on backtrader's own feeds, `GenericCSVData` and `PandasData`, bar by bar.

Prints the last forecast of each feed: the same candles give the same forecast. No edge here.

    python samples/own_feed.py --csv candles.csv --model models:/btc-1h@champion

The CSV has a header and the columns datetime (UTC, 2021-03-04 05:00:00), open, high, low,
close, volume, of hourly candles.
"""

from __future__ import annotations

import argparse
from typing import Any

import backtrader as bt
import pandas as pd

from lstm_strategies import LSTMForecast

HOURS = {"timeframe": bt.TimeFrame.Minutes, "compression": 60}


class PrintLast(bt.Strategy):
    """Print the forecast of the last bar."""

    params: Any = (("model", ""),)

    def __init__(self) -> None:
        """Attach the indicator to the feed."""
        self.forecast = LSTMForecast(self.data, model=self.p.model)

    def stop(self) -> None:
        """Print it."""
        lines = self.forecast.lines
        print(
            f"{self.data._name}: signal {lines.signal[0]:+.0f}, "
            f"confidence {lines.confidence[0]:.4f}, change {lines.change_pct[0]:+.4f} %"
        )


def main() -> None:
    """Run both feeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--csv", required=True, help="hourly candles")
    parser.add_argument("--model", required=True, help="models:/NAME@champion, or a folder")
    options = parser.parse_args()

    frame = pd.read_csv(options.csv, index_col="datetime", parse_dates=True)
    feeds = {
        "GenericCSVData": bt.feeds.GenericCSVData(
            dataname=options.csv, dtformat="%Y-%m-%d %H:%M:%S", openinterest=-1, **HOURS
        ),
        "PandasData": bt.feeds.PandasData(dataname=frame, **HOURS),
    }
    for name, feed in feeds.items():
        cerebro = bt.Cerebro()
        cerebro.adddata(feed, name=name)
        cerebro.addstrategy(PrintLast, model=options.model)
        cerebro.run()


if __name__ == "__main__":
    main()
