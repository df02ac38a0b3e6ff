"""Let a model's forecasts confirm the entries of a strategy that knows nothing of them.

    python samples/confirm_own_strategy.py

runs on a simulated market with a model that was never trained. With candles and a model of
your own:

    python samples/confirm_own_strategy.py --data candles/BTC_USDT.parquet --timeframe 6h \
        --model models:/btc-6h@champion --min-confidence 0.6

It shows how a strategy is wrapped. Two crossing averages have no edge, a second opinion gives
them none, and fewer trades that lost less are no evidence of one: nothing is promised here.
"""

from __future__ import annotations

import argparse
import logging

import backtrader as bt

from lightning_models import simulate_market
from lstm_strategies import BacktestMetrics, CandleData, CryptoCommission, SimulatedBroker
from lstm_strategies.confirmation import confirmed


class AverageCross(bt.Strategy):
    """Long while the fast average is above the slow one, short while it is below."""

    params = (("fast", 10), ("slow", 30), ("share", 0.5))

    def __init__(self):
        fast = bt.indicators.SMA(period=self.p.fast)
        slow = bt.indicators.SMA(period=self.p.slow)
        self.cross = bt.indicators.CrossOver(fast, slow)

    def next(self):
        if self.cross[0]:
            self.close()
            size = self.p.share * self.broker.getvalue() / self.data.close[0]
            (self.buy if self.cross[0] > 0 else self.sell)(size=size)


def run(candles, strategy, **params):
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(CandleData(dataname=candles))
    cerebro.setbroker(SimulatedBroker())
    cerebro.broker.setcash(10_000.0)
    cerebro.broker.addcommissioninfo(CryptoCommission(taker_fee=0.0004, maker_fee=0.0002))
    cerebro.addstrategy(strategy, **params)
    cerebro.addanalyzer(BacktestMetrics, _name="metrics")
    return cerebro.run()[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="candles, Parquet or CSV; a simulated market by default")
    parser.add_argument("--timeframe", default="", help="coarser than the candles', such as 6h")
    parser.add_argument("--model", default="statistical", help="models:/NAME@champion, or a folder")
    parser.add_argument("--home", default="", help="folder of the model registry")
    parser.add_argument("--min-confidence", type=float, default=0.5, help="a fraction")
    parser.add_argument("--log", action="store_true", help="a line for each entry")
    args = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO if args.log else logging.WARNING)

    candles = simulate_market(candles=3000, seed=5)[0]
    if args.data:
        candles = CandleData(dataname=args.data, timeframe=args.timeframe).candles

    alone = run(candles, AverageCross)
    strategy = run(
        candles,
        confirmed(AverageCross),
        model=args.model,
        home=args.home,
        min_confidence=args.min_confidence,
        log_predictions=args.log,
    )

    for name, each in (("alone", alone), ("confirmed", strategy)):
        metrics = each.analyzers.metrics.get_analysis()
        trades, gain = metrics["total_trades"], metrics["total_return_pct"]
        print(f"{name:>12}: {trades} trades, {gain:.2f} %")
    for name, told in strategy.confirmation_report().items():
        print(f"{name.replace('_', ' '):>18}: {told}")
    print("one market and one run: no evidence for or against the model")


if __name__ == "__main__":
    main()
