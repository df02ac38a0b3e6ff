"""How long a bar's forecast takes in `next()`, on one thread."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar

import backtrader as bt
import numpy as np

from experiments.benchmark.figure import BenchmarkConfig, Figure
from experiments.benchmark.small_model import write_untrained
from experiments.quiet import without_warnings
from lightning_models.candles import simulate_market
from lstm_strategies import CandleData, LSTMForecast
from lstm_strategies.parameters import attach

__all__ = ["forecast_latency"]

BARS = 2_500


class _TimedForecast(LSTMForecast):
    milliseconds: ClassVar[list[float]] = []

    def next(self) -> None:
        start = perf_counter()
        super().next()
        self.milliseconds.append(1e3 * (perf_counter() - start))

    def once(self, start: int, end: int) -> None:
        # backtrader wants both methods in one class; this one only runs bar by bar.
        super().once(start, end)


class _Watch(bt.Strategy):
    params: Any = (("model", ""),)

    def __init__(self) -> None:
        super().__init__()
        self.forecast = attach(_TimedForecast, self.data, model=self.p.model)


def forecast_latency(config: BenchmarkConfig) -> list[Figure]:
    """Return median and 99 % quantile of a bar's forecast by the price predictor."""
    del config
    _TimedForecast.milliseconds.clear()
    with without_warnings(), tempfile.TemporaryDirectory() as scratch:
        model = str(write_untrained("price-predictor", Path(scratch) / "model"))
        cerebro = bt.Cerebro(runonce=False, stdstats=False)
        cerebro.adddata(CandleData(dataname=simulate_market(candles=BARS)[0]))
        cerebro.addstrategy(_Watch, model=model)
        cerebro.run()
    runtime = "torch" if find_spec("onnxruntime") is None else "ONNX Runtime"
    taken = np.array(_TimedForecast.milliseconds)
    return [
        Figure(
            name=f"forecast in next(), p{share}",
            value=float(np.percentile(taken, share)),
            unit="ms",
            aim=3.0,
            detail=f"price predictor, {len(taken):,} bars, one thread, {runtime}",
        )
        for share in (50, 99)
    ]
