"""The univariate benchmark: three figures, each beside its aim."""

from __future__ import annotations

from experiments.benchmark.figure import BenchmarkConfig
from experiments.benchmark.run import BENCHMARKS


def test_one_forecast_a_path_and_ten_symbols_are_timed_beside_their_aims():
    figures = BENCHMARKS["univariate"](BenchmarkConfig(repeats=1))
    assert [(figure.unit, figure.aim) for figure in figures] == [
        ("ms", 1.0),
        ("ms", 5.0),
        ("ms", 100.0),
    ]
    one, path, _ = (figure.value for figure in figures)
    assert 0 < one < path
