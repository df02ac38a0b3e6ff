"""P(time-out) comes true, and falls back to how often time-outs come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.special import expit, logit

from lightning_models.timeouts import (
    TimeoutCalibration,
    fit_timeout_calibration,
    timeout_probability,
)


def drawn(scale, shift=0.0, *, rate=0.2, count=6000):
    """Logits that overstate by `scale`, and time-outs that are drawn as the truth has it."""
    rng = np.random.default_rng(0)
    away = rng.normal(size=count)
    truth = expit(logit(rate) + away + shift)
    return logit(rate) + scale * away, rng.random(count) < truth


def test_overconfident_logits_are_taken_back():
    fitted = fit_timeout_calibration(*drawn(3.0), rate=0.2)
    assert fitted.slope == pytest.approx(1 / 3, abs=0.04)
    assert fitted.shift == pytest.approx(0.0, abs=0.1)


def test_another_share_in_the_calibration_slice_is_followed():
    logits, came = drawn(1.0, shift=0.5)
    fitted = fit_timeout_calibration(logits, came, rate=0.2)
    assert float(fitted.probability(logits).mean()) == pytest.approx(came.mean(), abs=0.01)


def test_logits_that_say_nothing_leave_the_share_of_time_outs():
    logits, _ = drawn(1.0)
    came = np.random.default_rng(1).random(len(logits)) < 0.2
    probability = fit_timeout_calibration(logits, came, rate=0.2).probability(logits)
    np.testing.assert_allclose(probability, 0.2, atol=0.04)


def test_a_calibration_about_one_half_would_not_find_a_rare_share():
    from lightning_models.calibration import fit_direction_calibration

    logits, _ = drawn(1.0)
    came = np.random.default_rng(1).random(len(logits)) < 0.02
    half = fit_direction_calibration(logits, np.where(came, 1.0, -1.0)).probability(logits)
    own = fit_timeout_calibration(logits, came, rate=0.02).probability(logits)
    assert abs(half.mean() - 0.02) > 0.05
    assert abs(own.mean() - 0.02) < 0.01


@given(rate=st.floats(0.01, 0.99), slope=st.floats(0, 4), shift=st.floats(-1, 1))
def test_a_larger_logit_is_never_a_smaller_probability(rate, slope, shift):
    calibration = TimeoutCalibration(rate=rate, slope=slope, shift=shift)
    probability = calibration.probability(np.linspace(-8, 8, 50))
    assert (np.diff(probability) >= 0).all()
    assert ((probability >= 0) & (probability <= 1)).all()


def test_the_second_half_of_the_logits_speaks_of_time_outs():
    plain = [TimeoutCalibration(rate=0.5), TimeoutCalibration(rate=0.5)]
    columns = timeout_probability(plain, np.array([[9.0, 9.0, 0.0, 2.0]]))
    assert columns.shape == (1, 2, 1)
    np.testing.assert_allclose(columns[0, :, 0], [0.5, expit(2.0)])


def test_a_network_that_says_nothing_of_time_outs_states_their_share():
    one = [TimeoutCalibration(rate=0.3, slope=2.0)]
    assert timeout_probability(one, np.array([[5.0]]))[0, 0, 0] == pytest.approx(0.3)


def test_without_barriers_there_is_no_column():
    assert timeout_probability((), np.zeros((4, 2))).shape == (4, 2, 0)


@pytest.mark.parametrize("rate", [0.0, 1.0, float("nan")])
def test_a_share_of_nothing_or_of_everything_is_refused(rate):
    with pytest.raises(ValidationError):
        TimeoutCalibration(rate=rate)
