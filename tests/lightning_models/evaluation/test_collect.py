"""Forecasts are paired with what followed them, in the slice they are asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lightning_models.evaluation.collect import collect_outcomes, labels_of, pair_outcomes
from lightning_models.forecast import ForecastArrays

HOUR = 3_600_000


@pytest.fixture(scope="module")
def predictor(trained):
    return trained.predictor()


def test_an_outcome_is_the_return_from_the_next_open(trained, predictor):
    candles = trained.candles[0]
    outcomes = collect_outcomes(predictor, [candles])
    assert len(outcomes) == len(candles) - predictor.required_bars + 1 - 1
    row = predictor.required_bars - 1
    assert outcomes.time[0] == candles.time[row] + HOUR - 1
    assert outcomes.actual[0] == candles.ohlcv[row + 1, 3] / candles.ohlcv[row + 1, 0] - 1
    batch = predictor.predict_batch(candles)
    assert outcomes.predicted[0] * 100 == pytest.approx(batch["change_pct"].iloc[row])


def test_only_decisions_of_the_span_whose_labels_end_in_it_are_taken(trained, predictor):
    candles = trained.candles[0]
    start, end = int(candles.time[2000]), int(candles.time[2100])
    outcomes = collect_outcomes(predictor, [candles], start=start, end=end)
    decided = outcomes.time + 1
    assert decided.min() == start
    assert decided.max() + HOUR == end


def test_a_later_start_changes_none_of_the_forecasts_after_it(trained, predictor):
    candles = trained.candles[0]
    start = int(candles.time[2000])
    late = collect_outcomes(predictor, [candles], start=start)
    chosen = collect_outcomes(predictor, [candles])
    after = chosen.time + 1 >= start
    np.testing.assert_array_equal(late.time, chosen.time[after])
    np.testing.assert_allclose(late.probability_up, chosen.probability_up[after], atol=1e-6)
    np.testing.assert_array_equal(late.actual, chosen.actual[after])


def test_symbols_are_numbered_in_the_order_they_are_given(trained, predictor):
    one = trained.candles[0]
    other = replace(one, symbol="XYZ/USDT").between(None, int(one.time[500]))
    outcomes = collect_outcomes(predictor, [one, other])
    assert np.unique(outcomes.symbol).tolist() == [0, 1]
    assert outcomes.base_rate == predictor.bundle.base_rate[0]


def test_labels_stand_on_the_candles_own_rows(trained, predictor):
    candles = trained.candles[0].between(None, int(trained.candles[0].time[300]))
    keep = np.setdiff1d(np.arange(300), [150])
    holed = replace(
        candles, time=candles.time[keep], ohlcv=candles.ohlcv[keep], incomplete=np.zeros(0, bool)
    )
    labels = labels_of(holed, predictor.bundle)
    assert len(labels.returns) == 299
    assert np.isnan(labels.returns[149, 0])
    assert np.isfinite(labels.returns[150, 0])


def test_rows_without_a_forecast_are_left_out(trained, predictor):
    candles = trained.candles[0]
    nothing = ForecastArrays(
        np.full((len(candles), 1), np.nan), np.full((len(candles), 1, 3), np.nan)
    )
    assert len(pair_outcomes(nothing, candles, predictor.bundle)) == 0
