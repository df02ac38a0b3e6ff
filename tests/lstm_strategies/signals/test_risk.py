"""Risk figures are those of the quantile function that is stated, and near a normal's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from lightning_models.errors import ConfigError
from lstm_strategies.signals.risk import (
    SHORTFALL_SHARE,
    forecast_risk,
    position_size_pct,
    quantile_knots,
    risk_arrays,
)

DEVIATION, MEAN = 0.02, 0.003
LEVELS_OF = {3: [0.1, 0.5, 0.9], 7: [0.1, 0.5, 0.9, 0.1, 0.9, 0.025, 0.975]}

# 10, 50, 90 %, and the bounds of 80 and 95 %; not symmetric.
SKEWED = [-0.03, 0.002, 0.02, -0.035, 0.018, -0.09, 0.03]


def normal(columns, mean=MEAN, deviation=DEVIATION):
    return [norm.ppf(level, mean, deviation) for level in LEVELS_OF[columns]]


@pytest.fixture(params=[3, 7, 8])
def skewed(request):
    return np.array([*SKEWED, 0.4][: request.param])


def sampled(quantiles):
    """Outcomes at evenly spaced levels of the stated quantile function."""
    levels, values = quantile_knots(quantiles)
    count = 200_000
    return np.interp((np.arange(count) + 0.5) / count, levels, values)


def test_figures_equal_numerical_integration(skewed):
    outcomes = sampled(skewed)
    for direction in (1, -1):
        for fee in (0.0, 0.004):
            risk = forecast_risk(skewed, direction, fee=fee)
            profit = direction * outcomes
            worst = np.sort(profit)[: round(SHORTFALL_SHARE * len(profit))]
            assert risk.volatility == pytest.approx(outcomes.std(), rel=1e-4)
            assert risk.loss_probability == pytest.approx(np.mean(profit < fee), abs=1e-4)
            assert risk.expected_shortfall == pytest.approx(-worst.mean(), rel=1e-4)


@pytest.mark.parametrize("columns", [3, 7])
@pytest.mark.parametrize("direction", [1, -1])
def test_of_a_normal_distribution_the_figures_are_nearly_its_own(columns, direction):
    risk = forecast_risk(normal(columns), direction, fee=0.001)
    assert risk.volatility == pytest.approx(DEVIATION, rel=0.025)
    assert risk.volatility > DEVIATION
    shortfall = DEVIATION * norm.pdf(norm.ppf(0.05)) / 0.05 - direction * MEAN
    assert risk.expected_shortfall == pytest.approx(shortfall, rel=2e-3)
    loss = norm.cdf(0.001, direction * MEAN, DEVIATION)
    assert risk.loss_probability == pytest.approx(loss, abs=0.006)


def test_a_straight_line_from_the_median_would_hold_too_much_far_from_it():
    levels, values = quantile_knots(normal(3, 0.0, 1.0))
    without = np.delete(values, [2, 4]), np.delete(levels, [2, 4])
    inside = norm.cdf(0.25)
    assert abs(np.interp(0.25, values, levels) - inside) < 0.007
    assert abs(np.interp(0.25, *without) - inside) > 0.02


def test_a_short_position_is_the_mirror_of_a_long_one(skewed):
    mirrored = -skewed[[2, 1, 0, 4, 3, 6, 5][: len(skewed)]]
    for fee in (0.0, 0.002):
        short = forecast_risk(skewed, -1, probability_up=0.3, fee=fee)
        long = forecast_risk(mirrored, 1, probability_up=0.7, fee=fee)
        for name in ("volatility", "loss_probability", "expected_shortfall"):
            assert getattr(short, name) == pytest.approx(getattr(long, name), abs=1e-12)


def test_bounds_take_the_place_of_the_networks_own_quantiles():
    networks_own = forecast_risk(SKEWED[:3], 1)
    bounded = forecast_risk(SKEWED, 1)
    assert bounded.expected_shortfall > 1.5 * networks_own.expected_shortfall
    assert forecast_risk([-9.0, 0.002, 9.0, *SKEWED[3:]], 1) == bounded


def test_without_a_fee_the_calibrated_probability_is_the_loss_probability(skewed):
    assert forecast_risk(skewed, 1, probability_up=0.57).loss_probability == pytest.approx(0.43)
    assert forecast_risk(skewed, -1, probability_up=0.57).loss_probability == pytest.approx(0.57)
    # The quantiles' own would have said something else.
    assert abs(forecast_risk(skewed, 1).loss_probability - 0.43) > 0.02


def test_with_a_fee_each_side_keeps_its_shape(skewed):
    outcomes = sampled(skewed)
    fee, up = 0.004, 0.57
    won = np.mean(outcomes > fee) / np.mean(outcomes > 0.0)
    risk = forecast_risk(skewed, 1, probability_up=up, fee=fee)
    assert risk.loss_probability == pytest.approx(1 - up * won, abs=1e-4)
    assert forecast_risk(skewed, 1, probability_up=up).loss_probability < risk.loss_probability


def test_the_calibrated_probability_leaves_volatility_and_shortfall_alone(skewed):
    known, unknown = (forecast_risk(skewed, 1, probability_up=up) for up in (0.9, None))
    assert known.volatility == unknown.volatility
    assert known.expected_shortfall == unknown.expected_shortfall


@pytest.mark.parametrize("columns", [3, 7, 8])
def test_a_distribution_that_is_all_zero_has_no_risk(columns):
    for direction in (1, -1):
        risk = forecast_risk([0.0] * columns, direction)
        assert list(risk.model_dump().values()) == [0.0, 0.0, 0.0]
        assert "-" not in risk.model_dump_json()


def test_a_certain_outcome_is_lost_or_not():
    fall = forecast_risk([-0.01] * 3, 1)
    assert (fall.volatility, fall.loss_probability) == (0.0, 1.0)
    assert fall.expected_shortfall == pytest.approx(0.01)
    assert forecast_risk([-0.01] * 3, -1).model_dump() == {
        "volatility": 0.0,
        "loss_probability": 0.0,
        "expected_shortfall": 0.0,
    }
    assert forecast_risk([-0.01] * 3, -1, fee=0.02).loss_probability == 1.0
    for fee, loss in ((0.0, 0.4), (0.02, 1.0)):
        risk = forecast_risk([-0.01] * 3, 1, probability_up=0.6, fee=fee)
        assert risk.loss_probability == pytest.approx(loss)


def test_points_out_of_order_are_put_in_order():
    assert forecast_risk([0.02, -0.01, 0.0], 1) == forecast_risk([-0.01, 0.0, 0.02], 1)
    _, values = quantile_knots([0.02, -0.01, 0.0])
    assert (np.diff(values) >= 0.0).all()


@pytest.mark.parametrize("hole", [math.nan, math.inf])
def test_without_a_quantile_there_is_no_risk(hole):
    assert forecast_risk([-0.01, hole, 0.01], 1, probability_up=0.6) is None
    arrays = risk_arrays([[-0.01, hole, 0.01], [-0.01, 0.0, 0.01]], [1, 1])
    for column in (arrays.volatility, arrays.loss_probability, arrays.expected_shortfall):
        assert np.isnan(column).tolist() == [True, False]


def test_without_a_direction_there_is_only_volatility():
    risk = forecast_risk([-0.01, 0.0, 0.01], 0, probability_up=0.6)
    assert risk.volatility > 0.0
    assert (risk.loss_probability, risk.expected_shortfall) == (None, None)


def test_a_row_without_a_calibrated_probability_uses_the_quantiles():
    rows = np.array([SKEWED, SKEWED])
    arrays = risk_arrays(rows, [1, 1], probability_up=[0.6, math.nan])
    own = forecast_risk(SKEWED, 1).loss_probability
    np.testing.assert_allclose(arrays.loss_probability, [0.4, own])


@given(
    rows=st.lists(st.lists(st.floats(-1.0, 1.0), min_size=7, max_size=7), min_size=1, max_size=5),
    direction=st.sampled_from([1, -1]),
    up=st.none() | st.floats(0.0, 1.0),
    fee=st.floats(0.0, 0.1),
)
def test_any_quantiles_give_figures_in_their_ranges_one_row_like_many(rows, direction, up, fee):
    chances = None if up is None else [up] * len(rows)
    arrays = risk_arrays(rows, [direction] * len(rows), probability_up=chances, fee=fee)
    for i, row in enumerate(rows):
        single = forecast_risk(row, direction, probability_up=up, fee=fee)
        assert single.volatility == pytest.approx(arrays.volatility[i], abs=1e-12)
        assert single.loss_probability == pytest.approx(arrays.loss_probability[i], abs=1e-12)
        assert single.expected_shortfall == pytest.approx(arrays.expected_shortfall[i], abs=1e-12)


@pytest.mark.parametrize("columns", [0, 1, 2, 5, 9])
def test_another_number_of_quantiles_is_refused(columns):
    with pytest.raises(ConfigError, match=f"quantiles in {columns} columns: give 3"):
        quantile_knots(np.zeros(columns))


@pytest.mark.parametrize("fee", [-0.001, 4.0, math.nan])
def test_a_fee_that_is_no_fraction_is_refused(fee):
    with pytest.raises(ConfigError, match="give a fraction from 0 to 1"):
        forecast_risk([0.0, 0.0, 0.0], 1, fee=fee)


def test_a_position_loses_what_is_risked_at_its_stop():
    size = position_size_pct(200.0, 10.0, risk_per_trade=0.01)
    assert size / 100.0 * 10.0 / 200.0 == pytest.approx(0.01)
    assert position_size_pct(200.0, 0.1, risk_per_trade=0.05, leverage=3.0) == 300.0
    for unknown in (0.0, math.nan, math.inf):
        assert position_size_pct(200.0, unknown, risk_per_trade=0.01) is None
