"""Compare strategies of the table on the same candles and ask whether chance made the best one.

    python samples/compare_strategies.py

runs three strategies on a simulated market; none of them needs a model. With candles of your own,
and a model for those that trade forecasts:

    python samples/compare_strategies.py supertrend lstm_fast forecast \
        --data candles/BTC_USDT.parquet --timeframe 6h --model models:/btc-6h@champion

No edge was planted in the simulated market, so no strategy has an edge on it. One of them comes
first all the same, and the verdict says what that is worth.
"""

from __future__ import annotations

import argparse
import logging

from experiments.comparing import compare, configs_of
from lightning_models import read_candles, simulate_market


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "strategies", nargs="*", default=["supertrend", "rsi_ema", "macd_stoch"], help="names"
    )
    parser.add_argument("--data", help="candles, Parquet or CSV; a simulated market by default")
    parser.add_argument("--timeframe", default=None, help="coarser than the candles', such as 6h")
    parser.add_argument("--model", default=None, help="models:/NAME@champion, or a folder")
    parser.add_argument("--home", default=None, help="folder of models and runs")
    parser.add_argument("--report", default=None, metavar="DIR", help="write the reports there")
    args = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.WARNING)

    candles = simulate_market(candles=1000, seed=5)[0]
    if args.data:
        candles = read_candles(args.data, timeframe=args.timeframe)

    # Every strategy is told the same; what only others have it is not told.
    given = {"leverage": 2.0, "position_size": 0.5}
    if args.model is not None:
        given["model"] = args.model
    configs = configs_of(args.strategies, given, origin=parser.prog)
    result = compare(configs, candles, home=args.home, report=args.report)

    print(f"{'strategy':>18}  return %  costs x 2 %  Sharpe  trades  rating")
    for one in result.comparisons:
        doubled = one.doubled_costs.total_return_pct if one.doubled_costs else float("nan")
        print(
            f"{one.strategy:>18}  {one.total_return_pct:+8.1f}  {doubled:+11.1f}"
            f"  {one.sharpe_ratio:6.2f}  {one.total_trades:6d}  {one.performance_rating}"
        )
    held = result.comparisons[0].buy_and_hold
    if held is not None:
        held_pct, held_sharpe = held.total_return_pct, held.sharpe_ratio
        print(f"{'(buy and hold)':>18}  {held_pct:+8.1f}  {'':>11}  {held_sharpe:6.2f}")
    print(result.verdict)


if __name__ == "__main__":
    main()
