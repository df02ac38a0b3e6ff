"""Forecast on backtrader's own feeds: a CSV file by GenericCSVData, or a frame by PandasData.

    python samples/own_feed.py --data candles.csv --feed csv --model models:/btc-1h@champion

The file has the columns timestamp (2021-01-31 12:00:00, UTC), open, high, low, close, volume.
State the timeframe, or backtrader takes any feed for daily bars. Bars may be stamped anywhere
in their candle; only `cerebro.resampledata` needs them stamped at their end, because it takes
every stamp for one. It prints forecasts, which have no edge by being printed.
"""

from __future__ import annotations

import argparse

import backtrader as bt
import pandas as pd

from lstm_strategies import LSTMForecast


class PrintsForecasts(bt.Strategy):
    params = (("model", ""), ("home", ""), ("last", 5))

    def __init__(self) -> None:
        super().__init__()
        self.forecast = LSTMForecast(self.data, model=self.p.model, home=self.p.home)

    def next(self) -> None:
        if len(self.data) > self.data.buflen() - self.p.last:
            print(
                f"{self.data.datetime.datetime(0):%Y-%m-%d %H:%M}"
                f"  signal {self.forecast.signal[0]:+.0f}"
                f"  confidence {self.forecast.confidence[0]:.3f}"
                f"  expected {self.forecast.change_pct[0]:+.3f} %"
            )


def feed_of(kind: str, path: str, minutes: int) -> bt.feed.DataBase:
    """Return one of backtrader's feeds on a file."""
    stated = {"timeframe": bt.TimeFrame.Minutes, "compression": minutes, "openinterest": None}
    if kind == "csv":
        stated["openinterest"] = -1
        return bt.feeds.GenericCSVData(dataname=path, dtformat="%Y-%m-%d %H:%M:%S", **stated)
    frame = pd.read_csv(path, index_col="timestamp", parse_dates=True)
    return bt.feeds.PandasData(dataname=frame, **stated)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="CSV file")
    parser.add_argument("--feed", choices=["csv", "pandas"], default="csv")
    parser.add_argument("--minutes", type=int, default=60, help="minutes of a bar")
    parser.add_argument("--model", required=True, help="models:/NAME@champion, or a folder")
    parser.add_argument("--home", default="", help="folder of the model registry")
    args = parser.parse_args()

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(feed_of(args.feed, args.data, args.minutes))
    cerebro.addstrategy(PrintsForecasts, model=args.model, home=args.home)
    cerebro.run()


if __name__ == "__main__":
    main()
