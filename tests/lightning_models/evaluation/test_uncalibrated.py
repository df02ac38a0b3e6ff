"""What the network said before its calibration, scored beside what is said after it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit

from lightning_models.calibration import DirectionCalibration, fit_direction_calibration
from lightning_models.evaluation import evaluate
from lightning_models.evaluation.uncalibrated import compare_calibration


@pytest.fixture
def boasting(skilled):
    """Outcomes, and a network four times as sure of them as it should be."""
    outcomes = skilled(4000)
    logits = 4 * logit(outcomes.probability_up) + 0.3
    calibration = fit_direction_calibration(logits, outcomes.actual)
    stated = replace(outcomes, probability_up=calibration.probability(logits))
    return logits, calibration, stated


def test_before_is_what_the_network_said_and_after_what_is_stated(boasting):
    logits, calibration, stated = boasting
    found = compare_calibration(stated, calibration)
    raw = evaluate(replace(stated, probability_up=expit(logits)), replications=10)
    assert found.ece == pytest.approx(raw.ece)
    assert found.brier == pytest.approx(raw.brier)
    assert found.metrics() == {
        "test/ece_uncalibrated": found.ece,
        "test/brier_uncalibrated": found.brier,
    }


def test_calibration_betters_what_boasts(boasting):
    _, calibration, stated = boasting
    found = compare_calibration(stated, calibration)
    after = evaluate(stated, replications=10)
    assert calibration.temperature == pytest.approx(4, rel=0.3)
    assert after.ece < 0.3 * found.ece
    assert after.brier < found.brier
    spread = [[one.predicted for one in bins] for bins in (found.before, found.after)]
    assert np.ptp(spread[0]) > 2 * np.ptp(spread[1])


def test_without_calibration_both_are_the_same(skilled):
    outcomes = skilled(500)
    found = compare_calibration(outcomes, DirectionCalibration())
    scores = evaluate(outcomes, replications=10)
    assert (found.ece, found.brier) == pytest.approx((scores.ece, scores.brier))
    assert [one.observed for one in found.before] == [one.observed for one in found.after]


def test_returns_of_zero_take_no_part(skilled):
    outcomes = skilled(500)
    actual = outcomes.actual.copy()
    actual[:100] = 0.0
    still = compare_calibration(replace(outcomes, actual=actual), DirectionCalibration())
    rest = compare_calibration(outcomes.take(np.arange(500) >= 100), DirectionCalibration())
    assert (still.ece, still.brier) == (rest.ece, rest.brier)
    assert (
        compare_calibration(replace(outcomes, actual=np.zeros(500)), DirectionCalibration()) is None
    )
