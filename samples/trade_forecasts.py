"""Trade a registered model's forecasts with LSTMStrategy and print what came of it.

    python samples/trade_forecasts.py --data candles/BTC_USDT.parquet --timeframe 6h \
        --model models:/btc-6h@champion

It shows how the parts go together. It has no edge: thresholds and stops are defaults that were
never fitted to anything.
"""

from __future__ import annotations

import argparse
import logging

import backtrader as bt

from lstm_strategies import BacktestMetrics, CandleData, CryptoCommission, LSTMStrategy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="candles, Parquet or CSV")
    parser.add_argument("--model", required=True, help="models:/NAME@champion, or a folder")
    parser.add_argument("--timeframe", default="", help="coarser than the candles', such as 6h")
    parser.add_argument("--home", default="", help="folder of the model registry")
    parser.add_argument("--min-confidence", type=float, default=0.55, help="a fraction")
    parser.add_argument("--cash", type=float, default=10_000.0)
    parser.add_argument("--plot", metavar="PNG", help="draw the run into this file")
    args = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.WARNING)

    cerebro = bt.Cerebro()
    cerebro.adddata(CandleData(dataname=args.data, timeframe=args.timeframe))
    cerebro.broker.setcash(args.cash)
    cerebro.broker.addcommissioninfo(CryptoCommission(taker_fee=0.0004, maker_fee=0.0002))
    cerebro.addstrategy(
        LSTMStrategy, model=args.model, home=args.home, min_confidence=args.min_confidence
    )
    cerebro.addanalyzer(BacktestMetrics, _name="metrics")
    strategy = cerebro.run()[0]

    metrics = strategy.analyzers.metrics.get_analysis()
    for name in ("total_trades", "win_rate", "total_return_pct", "max_drawdown_pct"):
        print(f"{name:>18}: {metrics[name]}")
    print(f"{'what became of':>18}: {dict(strategy.counts)}")
    if args.plot:
        draw(cerebro, args.plot)


def draw(cerebro: bt.Cerebro, path: str) -> None:
    """Draw without a screen: importing backtrader.plot would ask for one."""
    import backtrader.plot  # noqa: F401
    import matplotlib as mpl

    mpl.use("Agg", force=True)
    figure = cerebro.plot(style="candle", iplot=False)[0][0]
    figure.set_size_inches(16, 10)
    figure.savefig(path)


if __name__ == "__main__":
    main()
