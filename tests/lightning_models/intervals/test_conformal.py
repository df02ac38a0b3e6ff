"""Conformal offsets: what they promise, to whom, and what the bounds they give never do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lightning_models.errors import TrainingError
from lightning_models.forecast import LEVELS
from lightning_models.intervals import (
    MAX_OFFSET,
    ConformalIntervals,
    bounds_of,
    conformal_offset,
    conformity_scores,
    fit_intervals,
)
from lightning_models.intervals.conformal import SCORES_KEPT


def drawn(count, *, seed=0, horizons=1, spread=1.0):
    """Return quantiles that are too narrow for the outcomes, and the outcomes."""
    random = np.random.default_rng(seed)
    centre = random.standard_normal((count, horizons))
    quantiles = centre[..., None] + np.array([-0.5, 0.0, 0.7])
    return quantiles, centre + spread * random.standard_t(4, (count, horizons))


def held(quantiles, outcomes, offsets):
    """Return the share of outcomes inside the bounds, with a hundredth for volatility."""
    bounds = bounds_of(quantiles / 100, np.full(outcomes.shape, 0.01), offsets)
    outcomes = outcomes[..., None] / 100
    return ((bounds[..., 0] <= outcomes) & (outcomes <= bounds[..., 1])).mean(axis=0)


# --- offsets


@pytest.mark.parametrize("count", [39, 60, 137, 500])
def test_offsets_are_those_of_another_implementation(count):
    regression = pytest.importorskip("mapie.regression", reason="MAPIE is not installed")
    from sklearn.base import BaseEstimator, RegressorMixin

    class Column(RegressorMixin, BaseEstimator):
        def __init__(self, column=0):
            self.column = column

        def fit(self, x, y):
            self.fitted_ = True
            return self

        def predict(self, x):
            return x[:, self.column]

    quantiles, outcomes = drawn(count, seed=count)
    quantiles, outcomes = quantiles[:, 0], outcomes[:, 0]
    found = fit_intervals(quantiles[:, None], outcomes[:, None])
    columns = [Column(column).fit(quantiles, outcomes) for column in (0, 2, 1)]
    for position, level in enumerate(LEVELS):
        other = regression.ConformalizedQuantileRegressor(
            columns, confidence_level=level, prefit=True
        )
        other.conformalize(quantiles, outcomes)
        _, intervals = other.predict_interval(quantiles, symmetric_correction=True)
        offset = found.offsets[0][position]
        np.testing.assert_allclose(intervals[:, 0, 0], quantiles[:, 0] - offset, rtol=0, atol=1e-12)
        np.testing.assert_allclose(intervals[:, 1, 0], quantiles[:, 2] + offset, rtol=0, atol=1e-12)


@pytest.mark.parametrize("count", [4, 19, 20, 99, 101, 250, 999])
def test_offsets_are_the_corrected_empirical_quantile(count):
    scores = np.random.default_rng(count).standard_normal(count)
    for level in LEVELS:
        share = math.ceil(round((count + 1) * level, 9)) / count
        offset, capped = conformal_offset(np.sort(scores).tolist(), level)
        assert capped == (share > 1)
        if not capped:
            assert offset == np.quantile(scores, share, method="inverted_cdf")


def test_an_infinite_offset_is_capped_and_counted():
    quantiles, outcomes = drawn(18, horizons=2)
    found = fit_intervals(quantiles, outcomes)
    assert found.capped == 2
    assert [row[1] for row in found.offsets] == [MAX_OFFSET] * 2
    assert all(row[0] < MAX_OFFSET for row in found.offsets)
    assert fit_intervals(*drawn(19, horizons=2)).capped == 0


def test_an_outcome_beyond_the_cap_is_counted_too():
    quantiles, outcomes = drawn(100)
    outcomes[:10] = 10 * MAX_OFFSET
    found = fit_intervals(quantiles, outcomes)
    assert found.capped == 1
    assert found.offsets[0][1] == MAX_OFFSET


def test_without_any_outcome_every_offset_is_capped():
    found = fit_intervals(np.zeros((0, 1, 3)), np.zeros((0, 1)))
    assert found.offsets == ((MAX_OFFSET, MAX_OFFSET),)
    assert (found.capped, found.samples, found.scores) == (2, 0, ((),))


# --- what they promise


def test_bounds_hold_the_share_they_were_made_for_and_quantiles_alone_do_not():
    # The promise is over calibration slices and outcomes together: many small slices.
    shares, alone = [], []
    for seed in range(200):
        quantiles, outcomes = drawn(79 + 200, seed=seed)
        found = fit_intervals(quantiles[:79], outcomes[:79])
        offsets = np.array(found.offsets)
        shares.append(held(quantiles[79:], outcomes[79:], offsets)[0])
        alone.append(held(quantiles[79:], outcomes[79:], np.zeros((1, 2)))[0, 0])
    mean, error = np.mean(shares, axis=0), np.std(shares, axis=0) / math.sqrt(200)
    # For 79 scores (n + 1) * level is whole: the expected share is the level itself.
    assert np.all(np.abs(mean - LEVELS) < 3 * error)
    assert np.mean(alone) < 0.5


def test_without_the_finite_sample_correction_small_slices_hold_too_little():
    shares = []
    for seed in range(200):
        quantiles, outcomes = drawn(20 + 200, seed=seed)
        scores = conformity_scores(quantiles[:20], outcomes[:20])
        plain = np.quantile(scores, LEVELS, axis=0, method="inverted_cdf").T
        corrected = np.array(fit_intervals(quantiles[:20], outcomes[:20]).offsets)
        rest = quantiles[20:], outcomes[20:]
        shares.append([held(*rest, plain)[0], held(*rest, corrected)[0]])
    plain, corrected = np.mean(shares, axis=0)
    assert corrected == pytest.approx([17 / 21, 20 / 21], abs=0.015)
    assert plain == pytest.approx([16 / 21, 19 / 21], abs=0.015)
    assert np.all(plain < np.array(LEVELS) - 0.02)


def test_under_drift_they_promise_nothing():
    quantiles, outcomes = drawn(400)
    offsets = np.array(fit_intervals(quantiles, outcomes).offsets)
    later, drifted = drawn(2000, seed=1, spread=2.5)
    assert np.all(held(later, drifted, offsets)[0] < np.array(LEVELS) - 0.1)


# --- what bounds never do

FINITE = {"allow_nan": False, "allow_infinity": False}


@given(
    quantiles=arrays.arrays(float, (5, 2, 3), elements=st.floats(-0.9, 5, **FINITE)),
    unit=arrays.arrays(float, (5, 2), elements=st.floats(0, 1, **FINITE)),
    offsets=st.lists(st.floats(-MAX_OFFSET, MAX_OFFSET, **FINITE), min_size=4, max_size=4),
)
def test_narrow_bounds_lie_inside_wide_ones_and_hold_the_median(quantiles, unit, offsets):
    quantiles = np.sort(quantiles, axis=2)
    ascending = np.sort(np.reshape(offsets, (2, 2)), axis=1)
    bounds = bounds_of(quantiles, unit, ascending)
    lower, upper = bounds[..., 0], bounds[..., 1]
    median = quantiles[..., 1, None]
    assert np.all((lower <= median) & (median <= upper))
    assert np.all(lower >= -1)
    assert np.all((lower[..., 1] <= lower[..., 0]) & (upper[..., 0] <= upper[..., 1]))


@given(
    scores=st.lists(st.floats(-50, 50, **FINITE), max_size=60),
    levels=st.tuples(st.floats(-0.1, 1.1), st.floats(-0.1, 1.1)),
)
def test_a_wider_level_never_has_a_smaller_offset(scores, levels):
    narrow, wide = sorted(levels)
    ascending = sorted(scores)
    assert conformal_offset(ascending, narrow)[0] <= conformal_offset(ascending, wide)[0]


@given(count=st.integers(0, 400), level=st.sampled_from(LEVELS))
def test_the_offset_holds_enough_scores(count, level):
    ascending = sorted(np.random.default_rng(count).standard_normal(count).tolist())
    offset, capped = conformal_offset(ascending, level)
    inside = sum(score <= offset for score in ascending)
    assert capped or inside >= (count + 1) * level - 1e-6


# --- what a bundle keeps


def test_scores_are_kept_in_order_of_time_and_evenly_spread():
    quantiles, outcomes = drawn(1300, horizons=2)
    found = fit_intervals(quantiles, outcomes)
    scores = conformity_scores(quantiles, outcomes)
    assert found.samples == 1300
    for column, kept in enumerate(found.scores):
        assert len(kept) == SCORES_KEPT
        rows = [int(np.flatnonzero(scores[:, column] == score)[0]) for score in kept]
        assert rows[0] == 0
        assert rows[-1] == 1299
        assert set(np.diff(rows)) <= {2, 3}


def test_they_come_back_from_json_as_they_were():
    found = fit_intervals(*drawn(50, horizons=2))
    assert ConformalIntervals.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"levels": [0.8, 0.9]}, "this release reads"),
        ({"offsets": [[0.5, 0.4]]}, "do not rise"),
        ({"offsets": [[0.5]]}, "do not rise"),
        ({"offsets": [[0.1, 0.2], [0.1, 0.2]]}, "rows of scores"),
        ({"offsets": [[float("nan"), 0.4]]}, "finite"),
    ],
)
def test_numbers_that_do_not_fit_together_are_refused(change, message):
    found = fit_intervals(*drawn(50)).model_dump()
    with pytest.raises(ValueError, match=message):
        ConformalIntervals.model_validate(found | change)


@pytest.mark.parametrize("broken", [0, 1])
def test_what_is_not_finite_is_refused_with_a_next_step(broken):
    given = list(drawn(50))
    given[broken][3] = np.nan
    with pytest.raises(TrainingError, match=r"not finite: .*training\.learning_rate"):
        fit_intervals(*given)
