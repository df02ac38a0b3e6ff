"""`lstm_fast` against an empty strategy, its sweep against one without a model, many symbols."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import backtrader as bt
import numpy as np

from experiments.benchmark.backtest_speed import run_empty, stock_frame
from experiments.benchmark.figure import BenchmarkConfig, Figure, alternate
from experiments.benchmark.small_model import write_untrained
from experiments.config import BacktestConfig
from experiments.many_symbols import backtest_symbols
from experiments.quiet import without_warnings
from lightning_models.candles import Candles, simulate_market
from lstm_strategies import CandleData
from lstm_strategies.forecast_cache import ForecastCache
from lstm_strategies.standing import Standing
from lstm_strategies.strategies import LSTMFast
from lstm_strategies.trading import STAY, TradingStrategy

__all__ = ["strategy_speed"]

SWEEP_POINTS = 200
SYMBOLS = 10
PRESET = "layer-norm"


class WithoutModel(TradingStrategy):
    """Makes the same entries and exits as often as a forecast would, from a list of numbers."""

    params = (("decisions", ()), ("point", 0.0))

    def __init__(self) -> None:
        super().__init__()
        self.trade(self.data)

    def decide(self, feed: Standing) -> int:
        """Return what the list has for the bar."""
        decisions = self.p.decisions
        return int(decisions[feed.bar - 1]) if feed.bar <= len(decisions) else STAY


def strategy_speed(config: BenchmarkConfig) -> list[Figure]:
    """Return what a fused strategy costs over backtrader's own parts."""
    with without_warnings(), tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = str(write_untrained(PRESET, folder / "model"))
        return [
            *_one_run(config, model, folder / "home"),
            _sweep(config, model, folder / "home"),
            _many(config, model, folder),
        ]


def _one_run(config: BenchmarkConfig, model: str, home: Path) -> list[Figure]:
    candles = simulate_market(candles=config.bars, signal=0.2)[0]
    frame = stock_frame(candles)

    def cold() -> None:
        ForecastCache._memory.clear()
        shutil.rmtree(home / "cache", ignore_errors=True)
        _fast(candles, model, home)

    def warm() -> None:
        _fast(candles, model, home)

    cold_seconds, first = alternate(cold, lambda: run_empty(frame), config.repeats)
    warm_seconds, second = alternate(warm, lambda: run_empty(frame), config.repeats)
    size = f"{len(candles):,} bars: lstm_fast"
    return [
        Figure(
            name="lstm_fast, cold",
            value=cold_seconds / first,
            unit="x",
            aim=1.2,
            detail=f"{size} with inference {cold_seconds:.1f} s, empty strategy on PandasData "
            f"{first:.1f} s",
        ),
        Figure(
            name="lstm_fast, warm",
            value=warm_seconds / second,
            unit="x",
            aim=1.0,
            detail=f"{size} with cached forecasts {warm_seconds:.1f} s, empty strategy on "
            f"PandasData {second:.1f} s",
        ),
    ]


def _sweep(config: BenchmarkConfig, model: str, home: Path) -> Figure:
    candles = simulate_market(candles=config.sweep_bars, signal=0.2)[0]
    points = np.linspace(0.6, 0.8, SWEEP_POINTS).tolist()
    decisions = tuple(_decided(candles, model, home))

    def with_model() -> None:
        _optimised(candles, LSTMFast, model=model, home=str(home), in_sample=True,
                   min_confidence=points)  # fmt: skip

    def without() -> None:
        _optimised(candles, WithoutModel, decisions=(decisions,), point=points)

    ours, theirs = alternate(with_model, without, config.sweep_repeats)
    return Figure(
        name="sweep",
        value=ours / theirs,
        unit="x",
        aim=1.05,
        detail=f"{SWEEP_POINTS} points of {len(candles):,} bars in one process: lstm_fast "
        f"{ours:.1f} s, the trades of its first point without a model {theirs:.1f} s",
    )


def _many(config: BenchmarkConfig, model: str, folder: Path) -> Figure:
    names = [f"S{number}/USDT" for number in range(SYMBOLS)]
    candles = simulate_market(candles=config.symbol_bars, symbols=names, signal=0.2)
    told = BacktestConfig(
        strategy="lstm_fast", model=model, in_sample=True, doubled_costs=False, replications=100
    )

    def seconds(jobs: int, home: str) -> float:
        start = perf_counter()
        backtest_symbols(told, candles, home=folder / home, jobs=jobs)
        return perf_counter() - start

    one, two = seconds(1, "one"), seconds(2, "two")
    return Figure(
        name="ten symbols on two cores",
        value=one / two,
        unit="x",
        aim=1.7,
        at_least=True,
        detail=f"{SYMBOLS} symbols of {config.symbol_bars:,} bars: {two:.1f} s on two cores, "
        f"{one:.1f} s on one, reports and tracking included",
    )


def _fast(candles: Candles, model: str, home: Path) -> Any:
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(CandleData(dataname=candles))
    cerebro.addstrategy(LSTMFast, model=model, home=str(home), in_sample=True)
    return cerebro.run()[0]


def _decided(candles: Candles, model: str, home: Path) -> list[int]:
    strategy = _fast(candles, model, home)
    (feed,) = strategy._feeds.values()
    kinds = {"confident_up": 1, "confident_down": -1}
    return [kinds.get(verdict, 0) for verdict in feed.verdicts]


def _optimised(candles: Candles, kind: Any, **params: Any) -> None:
    cerebro = bt.Cerebro(stdstats=False, maxcpus=1)
    cerebro.adddata(CandleData(dataname=candles))
    cerebro.optstrategy(kind, **params)
    cerebro.run()
