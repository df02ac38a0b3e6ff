"""A backtest of `LSTMStrategy` on the bulk feed against an empty one on `PandasData`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import backtrader as bt
import pandas as pd

from experiments.benchmark.figure import BenchmarkConfig, Figure, alternate
from experiments.benchmark.small_model import write_untrained
from experiments.quiet import without_warnings
from lightning_models.candles import Candles, simulate_market
from lightning_models.timeframes import bar_stamp
from lstm_strategies import CandleData, LSTMStrategy

__all__ = ["backtest_speed", "run_empty", "stock_frame"]


def backtest_speed(config: BenchmarkConfig) -> list[Figure]:
    """Return the ratio of a traded, forecast backtest to an empty one on stock parts."""
    candles = simulate_market(candles=config.bars, signal=0.2)[0]
    frame = stock_frame(candles)
    with without_warnings(), tempfile.TemporaryDirectory() as scratch:
        home = str(Path(scratch) / "home")
        model = str(write_untrained("quickstart", Path(scratch) / "model"))
        _forecast(candles, model, home)  # fills the cache
        ours, stock = alternate(
            lambda: _forecast(candles, model, home), lambda: run_empty(frame), config.repeats
        )
    return [
        Figure(
            name="backtest",
            value=ours / stock,
            unit="x",
            aim=1.0,
            detail=f"{len(candles):,} bars: LSTMStrategy {ours:.1f} s, empty strategy on "
            f"PandasData {stock:.1f} s",
        )
    ]


def _forecast(candles: Candles, model: str, home: str) -> None:
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(CandleData(dataname=candles))
    # A threshold that a share of bars passes, so that orders are part of what is timed.
    cerebro.addstrategy(LSTMStrategy, model=model, home=home, top_share=0.05, in_sample=True)
    cerebro.run()


def stock_frame(candles: Candles) -> pd.DataFrame:
    """Return hourly candles as backtrader's own ``PandasData`` reads them, end-stamped."""
    frame = candles.to_frame().set_index("timestamp").tz_localize(None)
    frame.index = pd.to_datetime(bar_stamp(candles.time, candles.timeframe), unit="ms")
    return frame


def run_empty(frame: pd.DataFrame) -> None:
    """Run a strategy that does nothing on backtrader's own parts."""
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(
        bt.feeds.PandasData(dataname=frame, timeframe=bt.TimeFrame.Minutes, compression=60)
    )
    cerebro.addstrategy(bt.Strategy)
    cerebro.run()
