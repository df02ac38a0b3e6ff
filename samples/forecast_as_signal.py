"""Use a forecast as one of backtrader's signals, without a strategy of your own.

    python samples/forecast_as_signal.py --data candles/BTC_USDT.parquet --timeframe 6h \
        --model models:/btc-6h@champion

Being always in the market on every forecast is the quickest way to pay fees: it has no edge,
and unlike LSTMStrategy it also trades on candles that the model has seen.
"""

from __future__ import annotations

import argparse

import backtrader as bt

from lstm_strategies import BacktestMetrics, CandleData, LSTMForecast, SimulatedBroker


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="candles, Parquet or CSV")
    parser.add_argument("--model", required=True, help="models:/NAME@champion, or a folder")
    parser.add_argument("--timeframe", default="", help="coarser than the candles', such as 6h")
    parser.add_argument("--home", default="", help="folder of the model registry")
    parser.add_argument("--min-confidence", type=float, default=0.55, help="a fraction")
    args = parser.parse_args()

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(CandleData(dataname=args.data, timeframe=args.timeframe))
    cerebro.setbroker(SimulatedBroker())
    cerebro.broker.setcommission(commission=0.0004, percabs=True)
    # Under the confidence the signal is 0, which ends a position; NaN leaves it as it is.
    cerebro.add_signal(
        bt.SIGNAL_LONGSHORT,
        LSTMForecast,
        model=args.model,
        home=args.home,
        min_confidence=args.min_confidence,
    )
    cerebro.addsizer(bt.sizers.FixedSize, stake=1)
    cerebro.addanalyzer(BacktestMetrics, _name="metrics")
    strategy = cerebro.run()[0]

    metrics = strategy.analyzers.metrics.get_analysis()
    print(f"{metrics['total_trades']} trades, {metrics['total_return_pct']:.2f} %")


if __name__ == "__main__":
    main()
