"""Try several thresholds with `optstrategy`; the forecasts are computed once for all of them.

The best of several thresholds is partly luck, and there is no edge in choosing it afterwards.

    python samples/optimise_thresholds.py --data candles/BTC_USDT.parquet --timeframe 6h \
        --model models:/btc-6h@champion --cpus 2
"""

from __future__ import annotations

import argparse
import logging

import backtrader as bt

from lstm_strategies import BacktestMetrics, CandleData, LSTMStrategy


def main() -> None:
    """Run every threshold and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="candles: a Parquet or CSV file")
    parser.add_argument("--timeframe", default="", help="such as 6h; the file's own by default")
    parser.add_argument("--model", required=True, help="models:/NAME@champion, or a folder")
    parser.add_argument("--cpus", type=int, default=1)
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)

    cerebro = bt.Cerebro(maxcpus=options.cpus)
    cerebro.adddata(CandleData(dataname=options.data, timeframe=options.timeframe))
    cerebro.optstrategy(LSTMStrategy, model=options.model, top_share=(0.05, 0.1, 0.2, 0.4))
    cerebro.addanalyzer(BacktestMetrics, _name="metrics")
    for (run,) in cerebro.run():
        metrics = run.analyzers.metrics.get_analysis()
        print(
            f"top_share {run.p.top_share:<5} trades {metrics['total_trades']:>5} "
            f"return {metrics['total_return_pct']:>8.2f} %  Sharpe {metrics['sharpe_ratio']:>6.2f}"
        )


if __name__ == "__main__":
    main()
