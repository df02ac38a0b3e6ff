"""Trade a registered model's forecasts in a backtrader script of your own.

An example of the parts, not of a strategy: it has no edge.

    python samples/trade_forecasts.py --data candles/BTC_USDT.parquet --timeframe 6h \
        --model models:/btc-6h@champion
"""

from __future__ import annotations

import argparse
import json
import logging

import backtrader as bt

from lstm_strategies import BacktestMetrics, CandleData, CryptoCommission, LSTMStrategy


def main() -> None:
    """Run the backtest and print its metrics."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="candles: a Parquet or CSV file")
    parser.add_argument("--timeframe", default="", help="such as 6h; the file's own by default")
    parser.add_argument("--model", required=True, help="models:/NAME@champion, or a folder")
    parser.add_argument("--min-confidence", type=float, default=0.55)
    parser.add_argument("--top-share", type=float, default=0.0)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")

    cerebro = bt.Cerebro()
    cerebro.adddata(CandleData(dataname=options.data, timeframe=options.timeframe))
    cerebro.broker.setcash(10_000)
    cerebro.broker.addcommissioninfo(CryptoCommission(taker_fee=0.0004))
    cerebro.addstrategy(
        LSTMStrategy,
        model=options.model,
        min_confidence=options.min_confidence,
        top_share=options.top_share,
    )
    cerebro.addanalyzer(BacktestMetrics, _name="metrics")
    (strategy,) = cerebro.run()

    metrics = strategy.analyzers.metrics.get_analysis()
    shown = ("total_return_pct", "sharpe_ratio", "max_drawdown_pct", "total_trades", "fees_paid")
    print(json.dumps({name: metrics[name] for name in shown}, indent=1))


if __name__ == "__main__":
    main()
