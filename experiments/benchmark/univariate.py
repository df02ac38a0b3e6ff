"""The univariate network's forecasts: one, a path of 24, and one for each of ten symbols."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Final

from experiments.benchmark.figure import BenchmarkConfig, Figure
from experiments.benchmark.small_model import write_untrained
from lightning_models import load_predictor, simulate_market

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["univariate"]

CANDLES: Final = 500
STEPS: Final = 24
SYMBOLS: Final = tuple(f"SIM{number}/USDT" for number in range(10))

# One alone takes less than the clock and the scheduler are good for.
AT_ONCE: Final = 100


def univariate(config: BenchmarkConfig) -> list[Figure]:
    """Return the milliseconds of a forecast, of a path of 24 steps, and of ten symbols."""
    with tempfile.TemporaryDirectory() as scratch:
        predictor = load_predictor(write_untrained("univariate", Path(scratch) / "model"))
    market = simulate_market(candles=CANDLES, symbols=SYMBOLS)
    first = market[0]
    bars = predictor.required_bars
    time, ohlcv = first.time[-bars:], first.ohlcv[-bars:]
    runtime = "torch" if find_spec("onnxruntime") is None else "ONNX Runtime"

    def one() -> object:
        return predictor.forecast_latest(time, ohlcv)

    def path() -> object:
        return predictor.forecast_path(first, steps=STEPS)

    def ten() -> object:
        return [predictor.predict_latest(candles) for candles in market]

    return [
        Figure(
            name="univariate forecast",
            value=_milliseconds(one, config.repeats, AT_ONCE),
            unit="ms",
            aim=1.0,
            detail=f"features included, one thread, {runtime}",
        ),
        Figure(
            name=f"univariate path of {STEPS} steps",
            value=_milliseconds(path, config.repeats, AT_ONCE // 10),
            unit="ms",
            aim=5.0,
            detail="features anew at each step, candles checked, bounds included",
        ),
        Figure(
            name=f"univariate forecasts of {len(SYMBOLS)} symbols",
            value=_milliseconds(ten, config.repeats, AT_ONCE // 10),
            unit="ms",
            aim=100.0,
            detail=f"{CANDLES} candles each, checked",
        ),
    ]


def _milliseconds(work: Callable[[], object], repeats: int, at_once: int) -> float:
    work()
    taken = []
    for _ in range(repeats):
        start = perf_counter()
        for _ in range(at_once):
            work()
        taken.append(1e3 * (perf_counter() - start) / at_once)
    return median(taken)
