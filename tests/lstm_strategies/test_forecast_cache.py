"""Forecasts are computed once for the same bundle and candles, and never shared with others."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from lightning_models import simulate_market
from lstm_strategies import forecast_cache
from lstm_strategies.forecast_cache import ForecastCache


@pytest.fixture(autouse=True)
def _fresh_process(monkeypatch):
    """Start with an empty memory, as a new process does."""
    monkeypatch.setattr(ForecastCache, "_memory", type(ForecastCache._memory)())


@pytest.fixture(scope="module")
def candles():
    return simulate_market(candles=120, seed=3)[0]


@pytest.fixture
def predictor(trained):
    """A predictor that keeps count of how often it computes."""
    loaded = trained.predictor()

    class Counted(type(loaded)):
        computed = 0

        def forecast_arrays(self, time, ohlcv):
            Counted.computed += 1
            return super().forecast_arrays(time, ohlcv)

    return Counted(loaded._bundle, loaded._runner, model=loaded.model, sha256=loaded.sha256)


def forget_memory():
    ForecastCache._memory.clear()


def same(left, right):
    return np.array_equal(left.probability, right.probability, equal_nan=True) and np.array_equal(
        left.quantiles, right.quantiles, equal_nan=True
    )


def kept(folder):
    return sorted(folder.glob("*.forecasts"))


def test_second_look_comes_from_memory(predictor, candles, tmp_path):
    cache = ForecastCache(tmp_path)
    first = cache.forecasts(predictor, candles.time, candles.ohlcv)
    again = ForecastCache(tmp_path).forecasts(predictor, candles.time, candles.ohlcv)
    assert again is first
    assert predictor.computed == 1


def test_other_process_reads_what_was_kept(predictor, candles, tmp_path):
    first = ForecastCache(tmp_path).forecasts(predictor, candles.time, candles.ohlcv)
    forget_memory()
    again = ForecastCache(tmp_path).forecasts(predictor, candles.time, candles.ohlcv)
    assert predictor.computed == 1
    assert same(first, again)


def test_without_the_folder_another_process_computes_again(predictor, candles, tmp_path):
    ForecastCache(tmp_path / "one").forecasts(predictor, candles.time, candles.ohlcv)
    forget_memory()
    ForecastCache(tmp_path / "two").forecasts(predictor, candles.time, candles.ohlcv)
    assert predictor.computed == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-100],
        lambda content: content[:20] + b"\x00" + content[21:],
        lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
        lambda content: b"PK\x03\x04" + content,
    ],
    ids=["empty", "cut", "other-digest", "one-bit", "prefixed"],
)
def test_damaged_file_is_computed_again_and_replaced(predictor, candles, tmp_path, caplog, damage):
    first = ForecastCache(tmp_path).forecasts(predictor, candles.time, candles.ohlcv)
    (path,) = kept(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    forget_memory()
    with caplog.at_level(logging.WARNING):
        again = ForecastCache(tmp_path).forecasts(predictor, candles.time, candles.ohlcv)
    assert "is damaged and is computed again" in caplog.text
    assert same(first, again)
    assert predictor.computed == 2
    assert path.read_bytes() == whole


def test_folder_that_cannot_be_written_is_told_and_does_no_harm(
    predictor, candles, tmp_path, caplog
):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    with caplog.at_level(logging.WARNING):
        got = ForecastCache(in_the_way / "cache").forecasts(predictor, candles.time, candles.ohlcv)
    assert "cannot be written" in caplog.text
    assert same(got, predictor.forecast_arrays(candles.time, candles.ohlcv))


def test_full_disk_costs_no_second_computation(predictor, candles, tmp_path, caplog, monkeypatch):
    def full(path, forecasts):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(forecast_cache, "_write", full)
    with caplog.at_level(logging.WARNING):
        ForecastCache(tmp_path).forecasts(predictor, candles.time, candles.ohlcv)
    assert "No space left on device" in caplog.text
    assert predictor.computed == 1


def test_nothing_half_written_is_left(predictor, candles, tmp_path, monkeypatch):
    monkeypatch.setattr(forecast_cache.os, "fdopen", _fails)
    ForecastCache(tmp_path).forecasts(predictor, candles.time, candles.ohlcv)
    assert [each.suffix for each in tmp_path.iterdir()] == [".lock"]


def _fails(handle, mode):
    forecast_cache.os.close(handle)
    raise OSError(5, "Input/output error")


def test_other_candles_are_never_shared(predictor, candles, tmp_path):
    cache = ForecastCache(tmp_path)
    cache.forecasts(predictor, candles.time, candles.ohlcv)
    other = candles.ohlcv.copy()
    other[100, 4] *= 1.0000001
    cache.forecasts(predictor, candles.time, other)
    cache.forecasts(predictor, candles.time + candles.period_ms, candles.ohlcv)
    cache.forecasts(predictor, candles.time[:-1], candles.ohlcv[:-1])
    assert predictor.computed == 4
    assert len(kept(tmp_path)) == 4


def test_other_bundle_is_never_shared(predictor, candles, tmp_path):
    cache = ForecastCache(tmp_path)
    cache.forecasts(predictor, candles.time, candles.ohlcv)
    bundle, runner = predictor._bundle, predictor._runner
    other = type(predictor)(bundle, runner, model=predictor.model, sha256="0" * 64)
    cache.forecasts(other, candles.time, candles.ohlcv)
    assert predictor.computed == 2
    # The name is no part of what is computed: an alias and its version share.
    renamed = type(predictor)(bundle, runner, model="other", sha256=predictor.sha256)
    cache.forecasts(renamed, candles.time, candles.ohlcv)
    assert predictor.computed == 2


def test_other_release_is_never_shared(predictor, candles, tmp_path, monkeypatch):
    cache = ForecastCache(tmp_path)
    cache.forecasts(predictor, candles.time, candles.ohlcv)
    monkeypatch.setattr(forecast_cache, "_project_version", lambda: "99.0")
    cache.forecasts(predictor, candles.time, candles.ohlcv)
    assert predictor.computed == 2


def test_memory_is_bounded(predictor, candles, tmp_path, monkeypatch):
    monkeypatch.setattr(forecast_cache, "KEPT_IN_MEMORY", 3)
    cache = ForecastCache(tmp_path)
    for count in range(80, 86):
        cache.forecasts(predictor, candles.time[:count], candles.ohlcv[:count])
    assert len(ForecastCache._memory) == 3
    cache.forecasts(predictor, candles.time[:85], candles.ohlcv[:85])
    assert predictor.computed == 6
