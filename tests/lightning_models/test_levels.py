"""Bounds at 80 % and at 95 %, in bulk and alone, of models with and without them."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_models.errors import BundleError, ConfigError
from lightning_models.forecast import LEVELS, ForecastArrays, check_level, forecast_lines
from lightning_models.predictor import Predictor


@pytest.fixture(scope="module")
def predictor(trained):
    return trained.predictor()


@pytest.fixture(scope="module")
def older(predictor):
    """The same model as it was written before there were conformal bounds."""
    bundle = predictor.bundle.model_copy(update={"intervals": None})
    return Predictor(bundle, predictor._runner, model="older", sha256="")


@pytest.fixture(scope="module")
def candles(trained):
    return trained.candles[0].between(int(trained.candles[0].time[2000]), None)


def test_wide_bounds_hold_narrow_ones_and_nothing_else_differs(predictor, candles):
    narrow, wide = (predictor.predict_batch(candles, level=level).dropna() for level in LEVELS)
    assert len(narrow) > 800
    assert (wide["lower"] < narrow["lower"]).all()
    assert (wide["upper"] > narrow["upper"]).all()
    assert (narrow["lower"] <= narrow["predicted_price"]).all()
    assert (narrow["predicted_price"] <= narrow["upper"]).all()
    rest = ["signal", "direction", "change_pct", "confidence", "predicted_price"]
    assert narrow[rest].equals(wide[rest])


def test_by_default_bounds_are_those_of_eighty_percent(predictor, candles):
    given = predictor.predict_batch(candles, level=0.80)
    assert predictor.predict_batch(candles).equals(given)
    assert predictor.predict_latest(candles).interval == 0.80


@pytest.mark.parametrize("level", LEVELS)
def test_the_latest_bounds_are_the_batchs(predictor, candles, level):
    line = predictor.predict_batch(candles, level=level).iloc[-1]
    latest = predictor.predict_latest(candles, level=level)
    assert latest.interval == level
    assert latest.lower == pytest.approx(line["lower"], rel=1e-5)
    assert latest.upper == pytest.approx(line["upper"], rel=1e-5)


def test_bounds_are_quantiles_moved_by_the_bundles_offsets(predictor, candles):
    arrays = predictor.forecast_arrays(candles.time, candles.ohlcv)
    units = predictor.units(candles.time, candles.ohlcv)
    for level, offset in zip(LEVELS, predictor.bundle.intervals.offsets[0], strict=True):
        low, high = arrays.bounds(level)
        median = arrays.quantiles[..., 1]
        expected = np.minimum(arrays.quantiles[..., 0] - offset * units, median)
        np.testing.assert_allclose(low, expected, rtol=1e-12)
        expected = np.maximum(arrays.quantiles[..., 2] + offset * units, median)
        np.testing.assert_allclose(high, expected, rtol=1e-12)


def test_an_older_model_keeps_its_quantiles_at_eighty_and_refuses_the_rest(older, candles):
    line = older.predict_batch(candles).iloc[-1]
    low, _, high = older.forecast_arrays(candles.time, candles.ohlcv).quantiles[-1, 0]
    price = candles.ohlcv[-1, 3]
    assert line["lower"] == pytest.approx(price * (1 + low))
    assert line["upper"] == pytest.approx(price * (1 + high))
    assert older.predict_latest(candles).interval == 0.80
    refused = r"no conformal intervals, .* Train it again for more, or give level=0\.8"
    for ask in (
        lambda: older.predict_batch(candles, level=0.95),
        lambda: older.predict_latest(candles, level=0.95),
        lambda: older.check_level(0.95),
    ):
        with pytest.raises(BundleError, match=refused):
            ask()


@pytest.mark.parametrize("level", [0.9, 0, 80, 1.0, float("nan"), "0.8", None])
def test_a_level_that_there_are_no_bounds_of_is_refused(predictor, candles, level):
    for ask in (
        lambda: predictor.predict_batch(candles, level=level),
        lambda: predictor.predict_latest(candles, level=level),
        lambda: check_level(level),
    ):
        with pytest.raises(ConfigError, match=r"give level=0\.8 or level=0\.95"):
            ask()


def test_lines_take_the_bounds_of_their_horizon():
    quantiles = np.array([[[-1.0, 0.0, 1.0, -0.1, 0.1, -0.2, 0.3], [0.0] * 7]])
    arrays = ForecastArrays(np.array([[0.6, 0.6]]), quantiles)
    price = np.array([100.0])
    for horizon, level, expected in (
        (0, 0.80, (90.0, 110.0)),
        (0, 0.95, (80.0, 130.0)),
        (1, 0.95, (100.0, 100.0)),
    ):
        lines = forecast_lines(arrays, price, horizon=horizon, min_confidence=0, level=level)
        assert (lines["lower"][0], lines["upper"][0]) == pytest.approx(expected)
