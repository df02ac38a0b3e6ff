"""Bins of a reliability diagram and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest

from lightning_models.evaluation import bin_of, reliability_bins, wilson_interval

probabilities = arrays(np.float64, st.integers(1, 200), elements=st.floats(0, 1))


@given(st.integers(1, 500), st.data())
def test_wilson_interval_agrees_with_scipy(count, data):
    successes = data.draw(st.integers(0, count))
    expected = binomtest(successes, count).proportion_ci(0.9, method="wilson")
    assert wilson_interval(successes, count, 0.9) == pytest.approx(
        (expected.low, expected.high), abs=1e-9
    )


@given(probabilities)
def test_bins_are_ordered_never_empty_and_at_most_ten(probability):
    index = bin_of(probability)
    assert set(index) == set(range(index.max() + 1))
    assert index.max() < 10
    order = np.argsort(probability, kind="stable")
    assert (np.diff(index[order]) >= 0).all()
    for value in np.unique(probability):
        assert len(set(index[probability == value])) == 1


def test_crowded_probabilities_still_fill_ten_bins():
    probability = 0.5 + 0.001 * np.random.default_rng(0).standard_normal(1000)
    assert np.bincount(bin_of(probability)).tolist() == [100] * 10
    # Ten bins of equal width would hold them all in two.
    assert len(np.unique(np.floor(probability * 10))) == 2


def test_constant_probability_gives_one_bin():
    (only,) = reliability_bins(np.full(50, 0.5), np.arange(50) < 20)
    assert (only.count, only.predicted, only.observed) == (50, 0.5, 0.4)
    assert only.low < 0.4 < only.high


@given(probabilities)
def test_bins_hold_every_forecast_once(probability):
    up = probability > 0.5
    bins = reliability_bins(probability, up)
    assert sum(each.count for each in bins) == len(probability)
    assert sum(each.count * each.observed for each in bins) == pytest.approx(up.sum())
    assert sum(each.count * each.predicted for each in bins) == pytest.approx(probability.sum())


def test_no_forecasts_give_no_bins():
    assert reliability_bins(np.zeros(0), np.zeros(0, dtype=bool)) == ()
