"""Coverage asked and got: by hand, over time, and with the interval that chance leaves it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lightning_models.evaluation.coverage import (
    coverage_metrics,
    coverage_sentence,
    measure_coverage,
    rolling_coverage,
)
from lightning_models.evaluation.reliability import wilson_interval
from lightning_models.forecast import LEVELS

HOUR = 3_600_000


@pytest.fixture
def bounded(outcomes_of):
    """Make normal outcomes of a deviation of 0.01, under bounds for a deviation of 0.01."""

    def make(count=1000, *, deviation=0.01, seed=0, **fields):
        actual = np.random.default_rng(seed).standard_normal(count) * deviation
        reach = 0.01 * np.array([1.2815515655, 1.9599639845])
        bounds = np.tile(np.stack([-reach, reach], axis=1), (count, 1, 1))
        return replace(outcomes_of(np.full(count, 0.5), actual, **fields), bounds=bounds)

    return make


def test_coverage_by_hand(outcomes_of):
    actual = np.array([-0.2, -0.1, 0.0, 0.1, 0.25])
    bounds = np.tile([[-0.1, 0.1], [-0.15, 0.15]], (5, 1, 1))
    outcomes = replace(outcomes_of(np.full(5, 0.5), actual), bounds=bounds)
    narrow, wide = measure_coverage(outcomes)
    # A return on a bound is inside, and a return of zero counts.
    assert (narrow.asked, narrow.got, narrow.above) == (0.80, 0.6, 0.2)
    assert (wide.asked, wide.got, wide.above) == (0.95, 0.6, 0.2)
    assert narrow.width == pytest.approx(0.2)
    assert (narrow.n, narrow.moments) == (5, 5)
    assert (narrow.low, narrow.high) == (None, None)


def test_bounds_that_fit_hold_what_they_were_made_for(bounded):
    found = measure_coverage(bounded(3000))
    assert all(one.low <= one.asked <= one.high for one in found)
    said = coverage_sentence(found)
    assert said.count(", as asked.") == 2
    assert said.startswith("Bounds made for 80% of outcomes held ")


@pytest.mark.parametrize(
    ("deviation", "words"), [(0.015, ": too few."), (0.006, ": more than asked.")]
)
def test_bounds_that_do_not_fit_are_said_not_to(bounded, deviation, words):
    found = measure_coverage(bounded(3000, deviation=deviation))
    assert not any(one.low <= one.asked <= one.high for one in found)
    assert coverage_sentence(found).count(words) == 2


def test_intervals_hold_the_true_share_as_often_as_they_say(bounded):
    held = [
        one.low <= level <= one.high
        for seed in range(60)
        for level, one in zip(
            LEVELS, measure_coverage(bounded(300, seed=seed), replications=200), strict=True
        )
    ]
    # 114 of 120 are expected of 95 %; blocks of a few make them a little too narrow.
    assert sum(held) >= 103


def test_symbols_of_one_moment_are_drawn_together(bounded, outcomes_of):
    one = bounded(400)
    ten = replace(
        outcomes_of(
            np.full(4000, 0.5),
            np.tile(one.actual, 10),
            time=np.tile(one.time, 10),
            symbol=np.repeat(np.arange(10), 400),
        ),
        bounds=np.tile(one.bounds, (10, 1, 1)),
    )
    alone, together = (measure_coverage(each)[0] for each in (one, ten))
    assert together.moments == alone.moments == 400
    assert together.n == 4000
    assert together.got == pytest.approx(alone.got)
    # Ten copies know no more than one; taken for 4,000, they would seem three times as sure.
    assert together.high - together.low == pytest.approx(alone.high - alone.low, rel=0.15)
    naive = wilson_interval(round(4000 * alone.got), 4000)
    assert together.high - together.low > 2.5 * (naive[1] - naive[0])


def test_labels_that_overlap_widen_the_interval(bounded):
    free = bounded(2000, seed=4)
    runs = np.repeat(free.actual[::20], 20)
    overlapping = replace(free, actual=runs, overlap=20)
    wide, narrow = (measure_coverage(each)[0] for each in (overlapping, free))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_without_bounds_or_forecasts_there_is_no_coverage(bounded):
    whole = bounded(50)
    for nothing in (replace(whole, bounds=None), whole.take(np.zeros(50, dtype=bool))):
        assert measure_coverage(nothing) == ()
        assert rolling_coverage(nothing) == ()
    assert coverage_metrics(()) == {}
    assert coverage_sentence(()) == ""


def test_too_few_forecasts_are_said_to_be_too_few(bounded):
    assert "too few forecasts for an interval" in coverage_sentence(measure_coverage(bounded(5)))


def test_metrics_bear_the_level_in_their_names(bounded):
    found = measure_coverage(bounded(200), replications=50)
    metrics = coverage_metrics(found)
    assert set(metrics) == {
        f"test/coverage_{level}{bound}" for level in (80, 95) for bound in ("", "_low", "_high")
    }
    assert metrics["test/coverage_95_low"] == found[1].low


# --- over time


def test_each_point_is_the_share_of_the_newest_moments(bounded):
    outcomes = bounded(600)
    for one, column in zip(rolling_coverage(outcomes, window=100), (0, 1), strict=True):
        low, high = outcomes.bounds[:, column].T
        inside = (low <= outcomes.actual) & (outcomes.actual <= high)
        for point in (0, 137, 500):
            newest = inside[point : point + 100]
            assert one.time[point] == outcomes.time[point + 99]
            assert one.got[point] == pytest.approx(newest.mean())
            band = wilson_interval(int(newest.sum()), 100)
            assert (one.low[point], one.high[point]) == pytest.approx(band)


def test_what_comes_later_changes_no_point(bounded):
    outcomes = bounded(600)
    until = outcomes.take(np.arange(600) < 400)
    for whole, part in zip(rolling_coverage(outcomes), rolling_coverage(until), strict=True):
        assert np.array_equal(whole.got[: len(part.got)], part.got)
        assert np.array_equal(whole.time[: len(part.time)], part.time)


def test_the_order_of_rows_does_not_matter(bounded):
    outcomes = bounded(300)
    shuffled = outcomes.take(np.random.default_rng(0).permutation(300))
    assert measure_coverage(shuffled) == measure_coverage(outcomes)
    for one, other in zip(rolling_coverage(shuffled), rolling_coverage(outcomes), strict=True):
        assert np.array_equal(one.got, other.got)


def test_drift_shows_as_a_fall(bounded):
    calm, wild = bounded(500), bounded(500, deviation=0.02, seed=1)
    both = replace(
        calm,
        symbol=np.zeros(1000, dtype=np.int64),
        time=np.arange(1000) * HOUR,
        probability_up=np.full(1000, 0.5),
        predicted=np.zeros(1000),
        actual=np.concatenate([calm.actual, wild.actual]),
        bounds=np.concatenate([calm.bounds, wild.bounds]),
    )
    narrow, _ = rolling_coverage(both)
    assert narrow.low[0] < 0.80 < narrow.high[0]
    assert narrow.high[-1] < 0.80


def test_fewer_moments_than_a_stretch_make_one_stretch(bounded):
    narrow, wide = rolling_coverage(bounded(40))
    assert len(narrow.time) == len(wide.time) == 1
    assert narrow.window == 40
