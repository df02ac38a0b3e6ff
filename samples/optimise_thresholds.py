"""Run LSTMStrategy with several thresholds at once; the forecasts are computed only once.

    python samples/optimise_thresholds.py --data candles/BTC_USDT.parquet --timeframe 6h \
        --model models:/btc-6h@champion --cpus 2

It has no edge, and choosing the best row would not give it one: the best of several trials
looks good by chance alone. Judge the choice on candles that took no part in it.
"""

from __future__ import annotations

import argparse

import backtrader as bt

from lightning_models import load_predictor
from lstm_strategies import BacktestMetrics, CandleData, CryptoCommission, LSTMStrategy

SHARES = [0.05, 0.10, 0.20, 0.40]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="candles, Parquet or CSV")
    parser.add_argument("--model", required=True, help="models:/NAME@champion, or a folder")
    parser.add_argument("--timeframe", default="", help="coarser than the candles', such as 6h")
    parser.add_argument("--home", default="", help="folder of the model registry")
    parser.add_argument("--cpus", type=int, default=None, help="workers; all CPUs by default")
    args = parser.parse_args()

    # Looked up here, an alias means the same version in every worker.
    model = load_predictor(args.model, home=args.home or None).model

    cerebro = bt.Cerebro(stdstats=False, maxcpus=args.cpus)
    cerebro.adddata(CandleData(dataname=args.data, timeframe=args.timeframe))
    cerebro.broker.addcommissioninfo(CryptoCommission(taker_fee=0.0004, maker_fee=0.0002))
    cerebro.optstrategy(LSTMStrategy, model=model, home=args.home, top_share=SHARES)
    cerebro.addanalyzer(BacktestMetrics, _name="metrics")

    print("top_share  trades  return %  drawdown %")
    for (run,) in cerebro.run():
        metrics = run.analyzers.metrics.get_analysis()
        print(
            f"{run.p.top_share:9.2f}  {metrics['total_trades']:6d}"
            f"  {metrics['total_return_pct']:8.2f}  {metrics['max_drawdown_pct']:10.2f}"
        )
    print(f"the best of {len(SHARES)} trials is no evidence: judge it on later candles")


if __name__ == "__main__":
    main()
