"""Benchmarks: their arithmetic, and that each side of a ratio is run."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from experiments.benchmark.figure import BenchmarkConfig, Figure, alternate
from experiments.benchmark.run import BENCHMARKS
from experiments.benchmark.small_model import write_untrained
from lightning_models import load_predictor, simulate_market


@pytest.mark.parametrize(
    ("value", "aim", "met"),
    [(1.0, 1.1, True), (1.1, 1.1, True), (1.2, 1.1, False), (9, None, None)],
)
def test_an_aim_is_met_at_or_under_its_value(value, aim, met):
    assert Figure(name="n", value=value, unit="x", aim=aim, detail="").met is met


def test_two_things_are_timed_in_turn():
    calls = []
    alternate(lambda: calls.append("a"), lambda: calls.append("b"), 3)
    assert calls == ["a", "b"] * 3


def test_the_median_of_the_repeats_counts(monkeypatch):
    ticks = iter([0, 1, 1, 5, 5, 107, 107, 109, 109, 112, 112, 115])
    monkeypatch.setattr("experiments.benchmark.figure.perf_counter", lambda: next(ticks))
    assert alternate(lambda: None, lambda: None, 3) == (3, 3)


@pytest.mark.parametrize("wrong", [{"repeats": 0}, {"steps": 1}, {"bars": 10}, {"repeat": 1}])
def test_too_little_to_measure_is_refused(wrong):
    with pytest.raises(ValidationError):
        BenchmarkConfig(**wrong)


def test_the_benchmarks_that_are_promised_are_there():
    assert list(BENCHMARKS) == [
        "training-step",
        "backtest",
        "strategies",
        "forecast",
        "memory",
        "sequence",
        "univariate",
        "tune",
        "peers",
    ]


def test_an_untrained_model_forecasts_like_any_other(tmp_path):
    predictor = load_predictor(write_untrained("quickstart", tmp_path / "model"))
    (candles,) = simulate_market(candles=predictor.required_bars)
    forecast = predictor.predict_latest(candles)
    assert 0.5 <= forecast.confidence <= 1


def test_the_backtest_is_measured_on_both_sides(monkeypatch):
    (figure,) = BENCHMARKS["backtest"](BenchmarkConfig(repeats=1, bars=2_000))
    assert figure.value > 0
    assert "LSTMStrategy" in figure.detail
    assert "PandasData" in figure.detail
