"""A score becomes a probability only after it was held against outcomes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import expit

from lightning_models.calibration import MAX_TEMPERATURE
from lightning_models.errors import ConfigError
from lstm_strategies.signals.score_calibration import (
    MIN_OUTCOMES,
    ScoreCalibration,
    fit_score_calibration,
)


def outcomes(slope, bias=0.0, *, count=20_000, seed=0):
    rng = np.random.default_rng(seed)
    scores = rng.uniform(-1.0, 1.0, count)
    up = rng.random(count) < expit(slope * scores + bias)
    return scores, np.where(up, 0.01, -0.01)


def test_a_planted_slope_and_bias_are_found():
    fitted = fit_score_calibration(*outcomes(1.5, 0.2))
    assert 1 / fitted.temperature == pytest.approx(1.5, abs=0.1)
    assert fitted.bias == pytest.approx(0.2, abs=0.05)
    assert not fitted.no_skill
    assert fitted.outcomes == 20_000
    assert fitted.probability_up(0.5) == pytest.approx(expit(0.95), abs=0.02)
    assert fitted.confidence(-0.5) == pytest.approx(1 - expit(-0.55), abs=0.02)


def test_stated_probabilities_come_true_on_outcomes_not_fitted_on():
    fitted = fit_score_calibration(*outcomes(1.5, 0.2))
    scores, returns = outcomes(1.5, 0.2, seed=1)
    stated = fitted.probability_up(scores)
    for low in (0.2, 0.4, 0.6, 0.8):
        chosen = (stated >= low) & (stated < low + 0.2)
        if chosen.sum() > 500:
            assert np.mean(returns[chosen] > 0) == pytest.approx(stated[chosen].mean(), abs=0.04)
    # Taken for a probability as it is, the strength would be far off.
    strong = scores > 0.8
    assert np.mean(returns[strong] > 0) < np.mean((1 + scores[strong]) / 2) - 0.08


@pytest.mark.parametrize("slope", [0.0, -1.0])
def test_a_score_that_says_nothing_or_the_opposite_has_no_skill(slope):
    fitted = fit_score_calibration(*outcomes(slope))
    assert fitted.no_skill
    assert fitted.temperature == pytest.approx(MAX_TEMPERATURE)
    assert abs(fitted.confidence(1.0) - 0.5) < 0.03


@pytest.mark.parametrize("known", [0, 1, MIN_OUTCOMES - 1])
def test_too_few_outcomes_are_refused_with_their_number(known):
    scores, returns = outcomes(1.0, count=300)
    returns[known : known + 100] = 0.0
    returns[known + 100 :] = np.nan
    with pytest.raises(ConfigError, match=f"^{known} outcomes are too few .* at least 100"):
        fit_score_calibration(scores, returns)


def test_a_hundred_outcomes_are_enough():
    assert fit_score_calibration(*outcomes(1.0, count=100)).outcomes == 100


def test_bars_without_score_or_return_take_no_part():
    scores, returns = outcomes(1.0, count=2000)
    more = np.concatenate([scores, [np.nan, 0.9, 0.9]])
    came = np.concatenate([returns, [-0.01, np.nan, 0.0]])
    assert fit_score_calibration(more, came) == fit_score_calibration(scores, returns)


def test_lengths_that_differ_are_refused():
    with pytest.raises(ConfigError, match="give one return for each score"):
        fit_score_calibration(np.zeros(200), np.zeros(201))


def test_a_score_that_takes_no_side_has_no_confidence():
    fitted = fit_score_calibration(*outcomes(1.0))
    assert math.isnan(fitted.confidence(0.0))
    assert math.isnan(fitted.confidence(math.nan))
    assert math.isnan(fitted.probability_up(math.nan))


def test_arrays_give_what_each_score_gives():
    fitted = fit_score_calibration(*outcomes(1.0, 0.3))
    scores = np.array([-1.0, -0.2, 0.0, 0.7, np.nan])
    singly = [fitted.confidence(float(score)) for score in scores]
    np.testing.assert_array_equal(fitted.confidence(scores), singly)


def test_it_survives_json_and_cannot_be_changed():
    fitted = fit_score_calibration(*outcomes(0.0))
    assert ScoreCalibration.model_validate_json(fitted.model_dump_json()) == fitted
    with pytest.raises(ValidationError, match="frozen"):
        fitted.bias = 0.1
    with pytest.raises(ValidationError, match=r"greater than or equal to 0\.25"):
        ScoreCalibration(temperature=-1.0, bias=0.0, no_skill=False, outcomes=100)
