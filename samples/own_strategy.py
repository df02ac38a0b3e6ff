"""Trade a strategy of your own with stops, breakers and leverage, and print what came of it.

    python samples/own_strategy.py

runs on a simulated market. With candles of your own:

    python samples/own_strategy.py --data candles/BTC_USDT.parquet --timeframe 6h --plot run.png

It shows what TradingStrategy takes off your hands: you answer `decide` once a bar, and it enters,
protects, sizes and leaves. A breakout has no edge on a simulated market in which none was planted,
and leverage gives it none: it only brings the liquidation nearer.
"""

from __future__ import annotations

import argparse
import logging

import backtrader as bt

from lightning_models import simulate_market
from lstm_strategies import (
    BacktestMetrics,
    CandleData,
    CryptoCommission,
    SimulatedBroker,
    TradingStrategy,
)
from lstm_strategies.trading import DOWN, STAY, UP


class Breakout(TradingStrategy):
    """Be long after a close above the highest high before it, short after one below the lowest low.

    Params: those of TradingStrategy, and
      - ``period`` (48): bars that high and low are taken from.
    """

    params = (("period", 48), ("trailing_stop", 3.0), ("atr_target", 0.0), ("cooldown", 3))

    def __init__(self):
        super().__init__()
        self.highest = bt.indicators.Highest(self.data.high(-1), period=self.p.period)
        self.lowest = bt.indicators.Lowest(self.data.low(-1), period=self.p.period)
        self.trade(self.data, first_bar=self.p.period + 1)

    def decide(self, feed):
        close = feed.data.close[0]
        if close > self.highest[0]:
            return UP
        return DOWN if close < self.lowest[0] else STAY


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="candles, Parquet or CSV; a simulated market by default")
    parser.add_argument("--timeframe", default="", help="coarser than the candles', such as 6h")
    parser.add_argument("--leverage", type=float, default=3.0, help="notional over margin")
    parser.add_argument("--plot", metavar="PNG", help="draw the run into this file")
    args = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.WARNING)

    candles = simulate_market(candles=3000, seed=5)[0]
    if args.data:
        candles = CandleData(dataname=args.data, timeframe=args.timeframe).candles

    cerebro = bt.Cerebro()
    cerebro.adddata(CandleData(dataname=candles))
    cerebro.setbroker(SimulatedBroker(funding_rate=0.0001))
    cerebro.broker.setcash(10_000.0)
    cerebro.broker.addcommissioninfo(
        CryptoCommission(leverage=args.leverage, taker_fee=0.0004, maker_fee=0.0002)
    )
    cerebro.addstrategy(Breakout, risk_per_trade=0.02, max_daily_loss=0.05, max_drawdown=0.3)
    cerebro.addanalyzer(BacktestMetrics, _name="metrics")
    strategy = cerebro.run()[0]

    metrics = strategy.analyzers.metrics.get_analysis()
    for name in (
        "total_trades",
        "win_rate",
        "total_return_pct",
        "max_drawdown_pct",
        "fees_paid",
        "funding_paid",
        "liquidations",
    ):
        print(f"{name:>18}: {metrics[name]}")
    print(f"{'what became of':>18}: {dict(strategy.counts)}")
    print("one market and one run: no evidence for or against the strategy")
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
