"""Temperature and bias make a stated probability come true, or say that there is no skill."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from lightning_models.calibration import (
    MAX_BIAS,
    MAX_TEMPERATURE,
    DirectionCalibration,
    fit_direction_calibration,
)

COUNT = 20_000


def market(temperature, bias, seed=0, count=COUNT):
    """Logits of an over-confident network, and returns that follow the calibrated ones."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, count)
    up = rng.random(count) < expit(logits / temperature + bias)
    return logits, np.where(up, 0.01, -0.01)


def calibration_error(probability, returns, bins=15):
    edges = np.quantile(probability, np.linspace(0, 1, bins + 1))[1:-1]
    index = np.searchsorted(edges, probability)
    error = 0.0
    for each in range(bins):
        inside = index == each
        if inside.any():
            gap = probability[inside].mean() - (returns[inside] > 0).mean()
            error += abs(gap) * inside.mean()
    return error


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("bias", [-0.3, 0.0, 0.2])
def test_a_planted_temperature_and_bias_are_recovered(temperature, bias):
    fitted = fit_direction_calibration(*market(temperature, bias))
    assert fitted.temperature == pytest.approx(temperature, rel=0.12)
    assert fitted.bias == pytest.approx(bias, abs=0.06)
    assert not fitted.no_skill


def test_over_confident_logits_are_brought_down_to_what_comes_true():
    logits, returns = market(4.0, 0.0)
    fitted = fit_direction_calibration(logits, returns)
    later, outcome = market(4.0, 0.0, seed=1)
    assert calibration_error(expit(later), outcome) > 0.15
    assert calibration_error(fitted.probability(later), outcome) < 0.02


def test_without_skill_the_temperature_stops_at_its_bound_and_says_so():
    logits, _ = market(1.0, 0.0)
    noise = np.random.default_rng(9).normal(size=COUNT)
    against = -np.sign(logits) * 0.01
    for returns in (against, noise * np.where(logits > 0, 0.99, 1.0)):
        fitted = fit_direction_calibration(logits, returns)
        confident = np.maximum(fitted.probability(logits), 1 - fitted.probability(logits))
        assert confident.mean() < 0.56
    assert fit_direction_calibration(logits, against).no_skill
    assert fit_direction_calibration(logits, against).temperature == pytest.approx(MAX_TEMPERATURE)


def test_the_bias_is_bounded_so_that_one_slice_cannot_decide_every_direction():
    logits, _ = market(1.0, 0.0, count=200)
    nearly_all_up = np.r_[np.full(198, 0.01), -0.01, -0.01]
    assert fit_direction_calibration(logits, nearly_all_up).bias == pytest.approx(MAX_BIAS)


@pytest.mark.parametrize("returns", [np.zeros(50), np.full(50, 0.01), np.full(50, -0.01)])
def test_outcomes_that_all_agree_prove_no_skill(returns):
    fitted = fit_direction_calibration(np.linspace(-1, 1, 50), returns)
    assert fitted.no_skill
    assert fitted.bias == 0.0


def test_zero_returns_take_no_part():
    logits, returns = market(2.0, 0.1, count=2000)
    with_zeros = fit_direction_calibration(
        np.r_[logits, np.full(500, 4.0)], np.r_[returns, np.zeros(500)]
    )
    assert with_zeros == fit_direction_calibration(logits, returns)


@given(
    temperature=st.floats(0.25, MAX_TEMPERATURE),
    bias=st.floats(-MAX_BIAS, MAX_BIAS),
    logits=st.lists(st.floats(-30, 30), min_size=2, max_size=20, unique=True),
)
def test_calibration_keeps_the_order_of_forecasts(temperature, bias, logits):
    fitted = DirectionCalibration(temperature=temperature, bias=bias)
    probability = fitted.probability(np.sort(np.array(logits)))
    assert (np.diff(probability) >= 0).all()
    assert ((probability >= 0) & (probability <= 1)).all()


@given(temperature=st.floats(0.25, 20), bias=st.floats(-0.5, 0.5), raw=st.floats(0.01, 0.99))
def test_the_networks_own_probability_can_be_told_from_the_calibrated(temperature, bias, raw):
    fitted = DirectionCalibration(temperature=temperature, bias=bias)
    calibrated = fitted.probability(np.array([logit(raw)]))
    assert fitted.uncalibrated(calibrated)[0] == pytest.approx(raw, abs=1e-9)
