"""The test of losses: against published figures and statsmodels, and by its own error."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.sandwich_covariance import S_hac_simple

from lightning_models.errors import ConfigError
from lightning_models.evaluation import diebold_mariano, holm


def drawn(generator):
    """Draw 0 to 99 in the order in which Python 2 sampled."""
    pool, found = list(range(100)), []
    for left in range(100, 0, -1):
        place = int(generator.random() * left)
        found.append(pool[place])
        pool[place] = pool[left - 1]
    return np.array(found, dtype=np.float64)


@pytest.mark.parametrize(
    ("power", "statistic", "p_value"),
    [
        (1, 1.3275742446369585, 0.18737195617455585),
        (2, 1.2112523589452902, 0.22868210381769466),
        (4, 0.9124498079287284, 0.36374861695187799),
    ],
)
def test_figures_published_with_another_implementation_are_met(power, statistic, p_value):
    # The example of github.com/johntwk/Diebold-Mariano-Test: seed 123, horizon 1.
    generator = random.Random(123)
    actual, one, other = (drawn(generator) for _ in range(3))
    found = diebold_mariano(
        np.abs(actual - other) ** power, np.abs(actual - one) ** power, np.arange(100)
    )
    assert found.statistic == pytest.approx(statistic, rel=1e-12)
    assert found.p_value == pytest.approx(p_value, rel=1e-9)


@pytest.mark.parametrize("overlap", [1, 3, 6])
def test_variance_and_correction_agree_with_statsmodels(overlap):
    # A regression on a constant; equal weights up to the horizon.
    noise = np.random.default_rng(overlap).standard_normal(205)
    series = np.convolve(noise, np.ones(6), "valid") + 0.3
    count = len(series)
    residual = OLS(series, np.ones(count)).fit().resid[:, None]
    weights = np.ones(overlap)
    variance = S_hac_simple(residual, nlags=overlap - 1, weights_func=lambda lags: weights).item()
    small = np.sqrt((count + 1 - 2 * overlap + overlap * (overlap - 1) / count) / count)
    expected = series.mean() / np.sqrt(variance) * count * small
    found = diebold_mariano(np.zeros(count), series, np.arange(count), overlap=overlap)
    assert found.statistic == pytest.approx(expected)


def test_a_variance_that_is_not_positive_is_weighted_until_it_is():
    series = 0.1 + np.tile([1.0, -1.0], 60)
    centred = series - series.mean()
    flat = centred @ centred + 2 * centred[1:] @ centred[:-1]
    assert flat < 0
    found = diebold_mariano(np.zeros(120), series, np.arange(120), overlap=2)
    falling = (centred @ centred + centred[1:] @ centred[:-1]) / 120**2
    small = np.sqrt((121 - 4 + 2 / 120) / 120)
    assert found.statistic == pytest.approx(series.mean() / np.sqrt(falling) * small)


@pytest.fixture
def losses(overlapping):
    def drawn_losses(seed, horizon, skill):
        score, actual, time = overlapping(seed, horizon=horizon, length=400, skill=skill)
        up = actual > 0

        def log_loss(logit):
            return np.logaddexp(0.0, np.where(up, -logit, logit))

        other = np.zeros(len(score)) if skill else -0.3 * score
        return log_loss((0.5 if skill else 0.3) * score), log_loss(other), time

    return drawn_losses


@pytest.mark.parametrize("horizon", [1, 8])
def test_equal_forecasts_are_told_apart_about_five_times_in_a_hundred(losses, horizon):
    # Two mirrored guesses have the same expected loss. Stated error: at most 11 of 100.
    rejected = by_rows = 0
    for seed in range(100):
        one, other, time = losses(seed, horizon, 0.0)
        rejected += diebold_mariano(one, other, time, overlap=horizon).p_value <= 0.05
        rows = np.arange(len(time))  # as if every coin and hour were evidence of its own
        by_rows += diebold_mariano(one, other, rows).p_value <= 0.05
    assert rejected <= 11
    assert by_rows > 11


def test_a_better_forecast_is_found(losses):
    # A correlation of 0.4 with the outcome, labels over two candles, 400 times: at least 90.
    found = [diebold_mariano(*losses(seed, 2, 0.4), overlap=2) for seed in range(100)]
    assert sum(one.p_value <= 0.05 and one.difference > 0 for one in found) >= 90


def test_symbols_of_a_moment_are_averaged_first():
    random = np.random.default_rng(0)
    one, other = random.random(80), random.random(80)
    single = diebold_mariano(one, other, np.arange(80))
    copies = diebold_mariano(np.repeat(one, 5), np.repeat(other, 5), np.repeat(np.arange(80), 5))
    assert copies.moments == 80
    assert copies.statistic == pytest.approx(single.statistic)


def test_equal_losses_everywhere_have_a_p_value_of_one():
    loss = np.random.default_rng(0).random(50)
    found = diebold_mariano(loss, loss, np.arange(50))
    assert (found.statistic, found.p_value) == (0.0, 1.0)


def test_the_same_difference_everywhere_has_no_variance_to_test_by():
    found = diebold_mariano(np.zeros(50), np.full(50, 0.1), np.arange(50))
    assert found.difference == pytest.approx(0.1)
    assert found.p_value is None


def test_too_few_moments_give_no_p_value():
    loss, other = np.random.default_rng(0).random((2, 64))
    assert diebold_mariano(loss, other, np.arange(64), overlap=8).p_value is not None
    assert diebold_mariano(loss, other, np.arange(64), overlap=9).p_value is None
    assert diebold_mariano(loss[:29], other[:29], np.arange(29)).p_value is None
    assert diebold_mariano(loss[:0], other[:0], np.arange(0)).difference is None


def test_losses_of_other_rows_are_refused():
    with pytest.raises(ConfigError, match="of 3 and 2 rows at 3 times"):
        diebold_mariano(np.zeros(3), np.zeros(2), np.arange(3))


@settings(max_examples=10)  # statsmodels collects garbage at every call
@given(st.lists(st.one_of(st.none(), st.floats(0.0, 1.0)), max_size=8))
def test_corrected_p_values_are_those_of_statsmodels_and_skip_tests_not_made(p_values):
    corrected = holm(p_values)
    made = [p for p in p_values if p is not None]
    assert [p is None for p in corrected] == [p is None for p in p_values]
    if made:
        expected = multipletests(made, method="holm")[1]
        assert [p for p in corrected if p is not None] == pytest.approx(list(expected))
        assert all(c >= p for c, p in zip(corrected, p_values, strict=True) if p is not None)


def test_one_true_null_of_five_is_seldom_rejected_once_corrected():
    # Without the correction one of five unrelated tests comes out below 5 % in 23 of 100.
    random = np.random.default_rng(5)
    draws = random.random((400, 5))
    corrected = np.mean([min(holm(list(row))) <= 0.05 for row in draws])
    assert corrected <= 0.08
    assert np.mean(draws.min(axis=1) <= 0.05) > 0.15
