"""Adaptive conformal inference: it follows drift, and learns from nothing before its time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lightning_models.forecast import LEVELS
from lightning_models.intervals import MAX_OFFSET, AdaptiveSettings, AdaptiveState

KINDS = ["grows", "shrinks", "jumps", "swings"]
QUANTILES = [-0.01, 0.0, 0.01]
CALIBRATION = np.random.default_rng(5).standard_normal(300) - 0.5


def state_of(*, candles=1, scores=CALIBRATION, **settings):
    return AdaptiveState(list(scores), candles=candles, settings=AdaptiveSettings(**settings))


def step(state, position, outcome, *, opened=1.0, quantiles=QUANTILES, learns=True):
    return state.step(position, opened, 1.0 + outcome, quantiles, 0.01, learns=learns)


# --- coverage


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("candles", [1, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_coverage_under_drift_is_within_three_points_over_two_thousand_bars(
    drifting, kind, candles, seed
):
    walked = drifting(kind, candles=candles, seed=seed).adaptive()
    assert len(walked.outcome) == 2000
    assert walked.coverage() == pytest.approx(LEVELS, abs=0.03)


@pytest.mark.parametrize("kind", KINDS)
def test_split_conformal_alone_misses_there(drifting, kind):
    off = np.abs(drifting(kind).split().coverage() - LEVELS)
    assert off[0] > 0.06
    # Where the market calms down, 95 % bounds have five points to be wrong by at most.
    assert off[1] > (0.02 if kind == "shrinks" else 0.03)


def test_where_nothing_drifts_both_hold_what_they_were_made_for(drifting):
    calm = drifting("stays", seed=3)
    # Of 500 scores and 2,000 outcomes, chance alone has a deviation of two points.
    assert calm.split().coverage() == pytest.approx(LEVELS, abs=0.05)
    assert calm.adaptive().coverage() == pytest.approx(LEVELS, abs=0.03)


def test_it_needs_no_gamma_so_large_that_bounds_become_infinite(drifting):
    shares = {
        gamma: drifting("grows", candles=6).adaptive(AdaptiveSettings(gamma=gamma)).capped.mean()
        for gamma in (0.005, 0.05)
    }
    assert shares[0.005] < 0.01
    assert shares[0.05] > 3 * shares[0.005]


@given(
    outcomes=st.lists(st.floats(-0.1, 0.1, allow_nan=False), min_size=1, max_size=300),
    gamma=st.sampled_from([0.02, 0.05, 0.2]),
)
def test_misses_are_bounded_whatever_the_data(outcomes, gamma):
    # Proposition 4.1 of Gibbs and Candès (2021); no outcome lies beyond the cap here.
    state = state_of(gamma=gamma)
    missed = np.zeros(len(LEVELS))
    issued = step(state, 0, 0.0)
    # As a return comes from prices: an outcome may lie on a bound to the last bit.
    for row, outcome in enumerate([(1.0 + one) - 1.0 for one in outcomes], start=1):
        missed += [not low <= outcome <= high for low, high in issued.bounds]
        issued = step(state, row, outcome)
    alpha = 1 - np.array(LEVELS)
    count = len(outcomes)
    assert np.all(missed / count - alpha <= (alpha + gamma) / (count * gamma) + 1e-9)


# --- its time


@pytest.mark.parametrize("candles", [1, 4, 24])
def test_nothing_moves_before_the_horizons_last_candle_has_closed(candles):
    state = state_of(candles=candles)
    first = step(state, 0, 0.0)
    for row in range(1, candles):
        issued = step(state, row, 0.0, quantiles=[np.nan] * 3)
        assert issued is None
        assert state.alphas == first.alphas
        assert state.waiting == 1
    step(state, candles, 0.5, quantiles=[np.nan] * 3)
    assert state.waiting == 0
    gamma = AdaptiveSettings().gamma
    expected = [alpha + gamma * (alpha - 1) for alpha in (1 - np.array(LEVELS))]
    assert state.alphas == pytest.approx(expected, abs=1e-12)


def test_an_outcome_inside_gives_error_rate_back():
    state = state_of()
    step(state, 0, 0.0)
    step(state, 1, 0.001)
    gamma = AdaptiveSettings().gamma
    expected = [alpha + gamma * alpha for alpha in (1 - np.array(LEVELS))]
    assert state.alphas == pytest.approx(expected, abs=1e-12)


def bounds_at(case, row, *, known, peeks):
    """Return the bounds of a row where `known` candles are there.

    With `peeks`, each step is told the close of so many candles later, as a label that is
    joined to its forecast's row invites to.
    """
    cut = replace(case, returns=case.returns[:known])
    state = AdaptiveState(
        case.intervals().scores[0], candles=case.candles - peeks, settings=AdaptiveSettings()
    )
    for position in range(row + 1):
        close = cut.closes[min(position + peeks, known - 1)]
        issued = state.step(position, cut.opens[position], close, case.quantiles, 0.02, learns=True)
    return issued


@pytest.mark.parametrize("rows", [30, 100, 333])
def test_what_comes_later_changes_no_earlier_bounds(drifting, rows):
    case = drifting("grows", candles=4)
    walked = case.adaptive()
    until = replace(case, returns=case.returns[:rows]).adaptive()
    assert (until.alphas == walked.alphas[:rows]).all()
    assert (until.bounds == walked.bounds[: len(until.bounds)]).all()


def test_a_walk_that_learns_outcomes_early_is_caught_by_cutting(drifting):
    case = drifting("grows", candles=4)
    rows = range(40, 200, 8)

    def changed(peeks):
        return sum(
            bounds_at(case, row, known=row + 1, peeks=peeks)
            != bounds_at(case, row, known=row + 50, peeks=peeks)
            for row in rows
        )

    assert changed(peeks=3) >= 5
    assert changed(peeks=0) == 0


# --- holes, and what is not to be learnt from


def test_a_label_that_would_start_or_end_in_a_hole_teaches_nothing():
    for hole in (1, 3):  # the entry's candle, and the horizon's last
        state = state_of(candles=3)
        first = step(state, 0, 0.0)
        for row in (1, 2, 3, 4):
            if row != hole:
                step(state, row, 0.5, quantiles=[np.nan] * 3)
        assert state.alphas == first.alphas, hole
        assert state.waiting == 0, hole
    inner = state_of(candles=3)
    first = step(inner, 0, 0.0)
    for row in (1, 3):
        step(inner, row, 0.5, quantiles=[np.nan] * 3)
    assert inner.alphas != first.alphas


def test_a_forecast_that_shall_not_teach_does_not():
    state = state_of()
    first = step(state, 0, 0.0, learns=False)
    step(state, 1, 0.5)
    assert state.alphas == first.alphas
    assert state.waiting == 1


@pytest.mark.parametrize("broken", [[np.nan] * 3, [-0.01, np.nan, 0.01], [-np.inf, 0.0, 0.01]])
def test_without_a_forecast_there_are_no_bounds(broken):
    assert step(state_of(), 0, 0.0, quantiles=broken) is None


# --- what bounds never do


@given(
    outcomes=st.lists(st.floats(-1.0, 3.0, allow_nan=False), max_size=150),
    candles=st.integers(1, 5),
    gamma=st.sampled_from([0.005, 0.1, 0.5]),
)
def test_bounds_are_nested_finite_and_hold_the_median_whatever_follows(outcomes, candles, gamma):
    state = state_of(candles=candles, gamma=gamma)
    for row, outcome in enumerate(outcomes):
        issued = step(state, row, outcome)
        (low, high), (lowest, highest) = issued.bounds
        assert -1 <= lowest <= low <= 0 <= high <= highest <= 0.01 + MAX_OFFSET * 0.01
        assert all(-gamma <= alpha <= 1 + gamma for alpha in state.alphas)


def test_bounds_that_would_be_infinite_are_capped_and_said_to_be():
    state = state_of(gamma=0.2)
    step(state, 0, 0.0)
    for row in range(1, 4):
        issued = step(state, row, 0.15)
    assert issued.capped == (True, True)
    assert issued.bounds[1] == pytest.approx((-0.01 - MAX_OFFSET * 0.01, 0.01 + MAX_OFFSET * 0.01))


def test_offsets_come_from_the_newest_scores_alone():
    old = state_of(scores=np.concatenate([np.full(500, 9.0), np.linspace(0, 1, 50)]), window=50)
    new = state_of(scores=np.linspace(0, 1, 50), window=50)
    assert step(old, 0, 0.0) == step(new, 0, 0.0)
    longer = state_of(scores=np.concatenate([np.full(500, 9.0), np.linspace(0, 1, 50)]))
    assert step(longer, 0, 0.0) != step(new, 0, 0.0)


@pytest.mark.parametrize(
    "settings", [{"gamma": 0}, {"gamma": 1}, {"gamma": np.nan}, {"window": 39}, {"gama": 0.1}]
)
def test_settings_that_cannot_be_meant_are_refused(settings):
    with pytest.raises(ValidationError):
        AdaptiveSettings(**settings)
