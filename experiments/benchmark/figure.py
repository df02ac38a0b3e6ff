"""What a benchmark returns, and how repeated timings become one number."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from experiments.benchmark.peers_config import PeersConfig

__all__ = ["BenchmarkConfig", "Figure", "alternate"]


class TuneBenchmarkConfig(BaseModel):
    """How much of tuning to measure.

    Parameters
    ----------
    overhead_trials
        That fit nothing.
    worker_trials
        Of each of the workers that share a study.
    pruning_trials, pruning_epochs
        Of the study that is run with and without pruning.
    candles
        File of the candles that these are fitted on, resampled to 6 h; simulated by default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    overhead_trials: int = Field(default=60, ge=10)
    worker_trials: PositiveInt = 12
    pruning_trials: int = Field(default=30, ge=6)
    pruning_epochs: PositiveInt = 20
    candles: str | None = None


class BenchmarkConfig(BaseModel):
    """How much to measure.

    Parameters
    ----------
    repeats
        Runs of each side; the median counts.
    steps
        Of training, in each run.
    bars
        Of the backtest.
    sweep_bars, sweep_repeats
        Of the 200-point optimisation.
    symbol_bars
        Of each of the ten symbols that are traded side by side.
    candles
        Of each of the ten symbols whose training memory is measured.
    peers
        Of the comparison with other libraries.
    tune
        Of the studies.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    repeats: PositiveInt = 5
    steps: int = Field(default=98, ge=10)
    bars: int = Field(default=100_000, ge=2_000)
    sweep_bars: int = Field(default=2_000, ge=1_000)
    sweep_repeats: PositiveInt = 1
    symbol_bars: int = Field(default=43_800, ge=1_000)
    candles: int = Field(default=45_000, ge=2_000)
    peers: PeersConfig = PeersConfig()
    tune: TuneBenchmarkConfig = TuneBenchmarkConfig()


class Figure(BaseModel):
    """One measured number.

    Parameters
    ----------
    name
        What was measured.
    value
        In `unit`.
    unit
        Such as ``x`` for a ratio or ``ms``.
    aim
        The value to stay at or under, in `unit`; None where none is set.
    at_least
        Whether `aim` is to be reached instead.
    detail
        The two sides of a ratio, in words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: float
    unit: str
    aim: float | None
    at_least: bool = False
    detail: str

    @property
    def met(self) -> bool | None:
        """Whether the aim was met."""
        if self.aim is None:
            return None
        return self.value >= self.aim if self.at_least else self.value <= self.aim


def alternate(
    first: Callable[[], object], second: Callable[[], object], repeats: int
) -> tuple[float, float]:
    """Time two things in turn, so that a noisy machine is noisy for both.

    Returns
    -------
    tuple
        Median seconds of each.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for function, taken in zip((first, second), seconds, strict=True):
            start = perf_counter()
            function()
            taken.append(perf_counter() - start)
    return median(seconds[0]), median(seconds[1])
