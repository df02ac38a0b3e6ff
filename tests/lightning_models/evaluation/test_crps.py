"""The CRPS of forecasts known by a few quantiles, against closed forms and plain integrals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from lightning_models.evaluation import EvaluationError, Outcomes
from lightning_models.evaluation.crps import OUTCOME_LEVELS, crps_of_outcomes, crps_of_quantiles


def of_normal(outcome):
    # Gneiting and Raftery (2007), equation 21, for the standard normal distribution.
    return (
        outcome * (2.0 * norm.cdf(outcome) - 1.0) + 2.0 * norm.pdf(outcome) - 1.0 / np.sqrt(np.pi)
    )


def with_quantiles(outcome, scale=1.0):
    quantiles = np.tile(scale * norm.ppf(OUTCOME_LEVELS), (len(outcome), 1))
    return crps_of_quantiles(outcome, quantiles, OUTCOME_LEVELS)


def test_levels_are_those_of_the_bounds_and_the_median():
    assert OUTCOME_LEVELS == (0.025, 0.1, 0.5, 0.9, 0.975)


def test_a_normal_forecast_scores_within_the_stated_error_of_the_closed_form():
    outcome = np.linspace(-6.0, 6.0, 2401)
    assert np.abs(with_quantiles(outcome) - of_normal(outcome)).max() < 0.04
    # The error is that of the approximation: more quantiles, and it is gone.
    levels = np.linspace(0.0005, 0.9995, 1000)
    many = crps_of_quantiles(outcome, np.tile(norm.ppf(levels), (len(outcome), 1)), levels)
    assert np.abs(many - of_normal(outcome)).max() < 0.001


def test_on_average_a_right_normal_forecast_scores_as_the_closed_form():
    outcome = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    closed = 1.0 / np.sqrt(np.pi)
    assert np.mean(with_quantiles(outcome)) == pytest.approx(closed, rel=0.006)
    # The five losses weighed by the trapezoidal rule, which this is not.
    width = np.diff([0.0, *OUTCOME_LEVELS, 1.0])
    weights = (width[1:] + width[:-1]) / 2.0
    trapezoid = 2.0 * np.sum(weights * norm.pdf(norm.ppf(OUTCOME_LEVELS)))
    assert trapezoid < 0.9 * closed


@pytest.mark.parametrize("outcome", [-0.07, -0.013, 0.004, 0.021, 0.3])
def test_it_is_twice_the_pinball_loss_integrated_over_all_levels(outcome):
    quantiles = np.array([-0.05, -0.02, 0.004, 0.01, 0.06])
    level = (np.arange(200_000) + 0.5) / 200_000
    quantile = np.interp(level, OUTCOME_LEVELS, quantiles)
    pinball = np.where(outcome >= quantile, level, level - 1.0) * (outcome - quantile)
    found = crps_of_quantiles(np.array([outcome]), quantiles[None], OUTCOME_LEVELS)[0]
    assert found == pytest.approx(2.0 * pinball.mean(), abs=1e-7)


def test_of_a_point_forecast_it_is_the_absolute_error():
    outcome = np.array([-3.0, 0.0, 0.5])
    found = crps_of_quantiles(outcome, np.full((3, 5), 1.0), OUTCOME_LEVELS)
    assert found.tolist() == [4.0, 1.0, 0.5]


def test_the_right_spread_scores_better_than_a_narrower_and_a_wider_one():
    outcome = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    right, narrow, wide = (with_quantiles(outcome, scale).mean() for scale in (1.0, 0.5, 2.0))
    assert right < narrow
    assert right < wide


def test_quantiles_that_cross_are_put_in_order():
    crossed = np.array([[-1.0, 0.2, 0.1, 1.0, 2.0]])
    ordered = np.sort(crossed, axis=1)
    outcome = np.array([0.15])
    assert crps_of_quantiles(outcome, crossed, OUTCOME_LEVELS) == crps_of_quantiles(
        outcome, ordered, OUTCOME_LEVELS
    )


def outcomes_with(bounds):
    return Outcomes(
        symbol=np.zeros(2),
        time=np.arange(2),
        probability_up=np.full(2, 0.6),
        predicted=np.array([0.01, -0.01]),
        actual=np.array([0.02, 0.05]),
        base_rate=0.5,
        bounds=bounds,
    )


def test_outcomes_give_their_bounds_and_median_in_rising_order():
    bounds = np.array(
        [[[-0.01, 0.03], [-0.04, 0.06]], [[-0.02, 0.01], [-0.05, 0.02]]]
    )  # [forecast, level, lower and upper]
    wanted = np.array([[-0.04, -0.01, 0.01, 0.03, 0.06], [-0.05, -0.02, -0.01, 0.01, 0.02]])
    found = crps_of_outcomes(outcomes_with(bounds))
    expected = crps_of_quantiles(np.array([0.02, 0.05]), wanted, OUTCOME_LEVELS)
    assert found.tolist() == expected.tolist()
    assert found[0] < found[1]


def test_outcomes_without_bounds_are_refused():
    with pytest.raises(EvaluationError, match="no intervals, and a CRPS needs them"):
        crps_of_outcomes(outcomes_with(None))


@pytest.mark.parametrize(
    ("quantiles", "levels", "message"),
    [
        (np.zeros((2, 3)), (0.1, 0.5), "shape"),
        (np.zeros((1, 2)), (0.1, 0.5), "shape"),
        (np.zeros((2, 2)), (0.5, 0.1), "rising"),
        (np.zeros((2, 2)), (0.0, 0.5), "between 0 and 1"),
    ],
)
def test_quantiles_that_do_not_fit_are_refused(quantiles, levels, message):
    with pytest.raises(EvaluationError, match=message):
        crps_of_quantiles(np.zeros(2), quantiles, levels)
