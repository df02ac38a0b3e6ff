"""Whether a search that closes in on something is judged by as many trials as it amounts to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from experiments.deflation import deflated_sharpe, expected_maximum_sharpe
from experiments.tuning.search_deflation import deflated_best, independent_trials
from lstm_strategies.performance import sharpe_ratio

STUDIES = pytest.mark.parametrize("studies", [20, pytest.param(100, marks=pytest.mark.soak)])


def noise(bars, trials, seed=0):
    return 0.01 * np.random.default_rng(seed).standard_normal((bars, trials))


def uncorrelated(bars, trials, seed=0, volatility=0.01):
    """Columns without any correlation in the sample, around the means of noise."""
    drawn = noise(bars, trials, seed)
    basis, _ = np.linalg.qr(drawn - drawn.mean(axis=0))
    return volatility * np.sqrt(bars) * basis + drawn.mean(axis=0)


def with_correlation(correlation, bars, trials, seed=0):
    apart = uncorrelated(bars, trials + 1, seed)
    return np.sqrt(correlation) * apart[:, :1] + np.sqrt(1.0 - correlation) * apart[:, 1:]


def sharpes_of(returns):
    return np.array([sharpe_ratio(column, 1.0) for column in returns.T])


def closing_in(trials, seed, *, bars=1000):
    """Trials of ten parameters: 20 at random, then each beside the best one so far.

    A trial's returns are those of ten series of noise in the mixture of its parameters.
    """
    generator = np.random.default_rng(seed)
    series = generator.standard_normal((bars, 10))
    mean, covariance = series.mean(axis=0), np.cov(series.T)
    mixtures, sharpes = [], []
    for number in range(trials):
        mixture = generator.standard_normal(10)
        if number >= 20:
            mixture = mixtures[int(np.argmax(sharpes))] + 0.35 * mixture
        mixture /= np.linalg.norm(mixture)
        mixtures.append(mixture)
        sharpes.append(mixture @ mean / np.sqrt(mixture @ covariance @ mixture))
    return series @ np.array(mixtures).T


def probability(returns):
    best = int((returns.mean(axis=0) / returns.std(axis=0)).argmax())
    return deflated_best(returns, best, trials=returns.shape[1]).probability


def published(returns):
    sharpes = returns.mean(axis=0) / returns.std(axis=0, ddof=1)
    return deflated_sharpe(returns[:, sharpes.argmax()], sharpes).probability


def test_independent_trials_have_the_published_figures():
    # Their Sharpe ratios scatter more widely than without skill, as a search's mostly do.
    returns = uncorrelated(400, 12, 3) + np.linspace(-0.002, 0.002, 12)
    sharpes = sharpes_of(returns)
    assert sharpes.var(ddof=1) > 1.0 / 399.0
    found = deflated_best(returns, 11, trials=12)
    expected = deflated_sharpe(returns[:, 11], sharpes)
    assert (found.trials, found.bars) == (12, 400)
    assert found.sharpe == pytest.approx(expected.sharpe)
    assert found.expected_maximum == pytest.approx(expected.expected_maximum)
    assert found.probability == pytest.approx(expected.probability)


@pytest.mark.parametrize(
    ("studies", "counts"), [(20, (100, 300)), pytest.param(100, (100, 600), marks=pytest.mark.soak)]
)
def test_search_of_noise_that_closes_in_is_called_luck_however_long_it_is(studies, counts):
    # Stated error: at most 5 of 100 reach 0.95, and the median grows by no more than 0.1 with the
    # number. By the trials' own scatter it grows with every trial near the best one.
    searches = [closing_in(counts[1], seed) for seed in range(studies)]
    found, naive = (
        np.array([[judge(one[:, :count]) for count in counts] for one in searches])
        for judge in (probability, published)
    )
    assert (found >= 0.95).mean(axis=0).max() <= 0.05
    rise, naive_rise = (np.diff(np.median(one, axis=0))[0] for one in (found, naive))
    assert rise <= 0.1
    assert naive_rise > rise + 0.05


@STUDIES
def test_planted_gain_of_one_trial_among_alike_ones_is_found(studies):
    # Stated error: at least 90 of 100 of a Sharpe ratio of 0.3 a bar over 400 bars, among ten
    # trials that correlate by a half.
    planted = np.where(np.arange(10) == 3, 0.003, 0.0)
    found = [probability(with_correlation(0.5, 400, 10, seed) + planted) for seed in range(studies)]
    assert np.mean(np.array(found) >= 0.95) >= 0.9


@pytest.mark.parametrize(
    ("correlation", "counted"),
    [(0.0, 10.0), (0.28, 9.64), (0.6, 8.2), (0.8, 6.4), (0.96, 3.52), (0.9999, 1.1272761)],
)
def test_alike_trials_count_as_fewer(correlation, counted):
    returns = with_correlation(correlation, 300, 10)
    assert independent_trials(returns, 10) == pytest.approx(counted)
    # Pruned and earlier trials are added in full.
    assert independent_trials(returns, 40) == pytest.approx(counted + 30.0)


def test_expected_maximum_is_that_of_the_trials_that_they_count_as():
    # Ten count as four where a third of each is its own.
    returns = with_correlation(np.sqrt(8.0) / 3.0, 500, 10, 1)
    found = deflated_best(returns, 0, trials=10)
    assert sharpes_of(returns).var(ddof=1) < 1.0 / 499.0
    assert found.expected_maximum == pytest.approx(expected_maximum_sharpe(1.0 / 499.0, 4))
    # Between two whole numbers, between theirs.
    halved = with_correlation(np.sqrt(0.75), 500, 10, 1)
    between = deflated_best(halved, 0, trials=10).expected_maximum
    five, six = (expected_maximum_sharpe(1.0 / 499.0, count) for count in (5, 6))
    assert between == pytest.approx((five + six) / 2.0)


def test_trials_that_did_the_same_are_one_and_have_nothing_to_beat():
    same = np.tile(noise(300, 1, 4), 3)
    assert independent_trials(same, 3) == 1.0
    assert deflated_best(same, 0, trials=3).expected_maximum == 0.0
    leveraged = same * np.array([1.0, 2.0, 0.5])
    assert independent_trials(leveraged, 3) == pytest.approx(1.0)


def test_opposite_trials_count_as_no_more_than_there_are():
    one = noise(300, 1, 4)
    assert independent_trials(np.hstack([one, -one]), 2) == 2.0


def test_trials_that_never_traded_are_like_no_other():
    returns = np.tile(noise(300, 1, 4), 4)
    returns[:, 2:] = 0.0
    # One pair of six correlates.
    assert independent_trials(returns, 4) == pytest.approx(1.0 + 3.0 * np.sqrt(1.0 - 1.0 / 36.0))
    assert independent_trials(np.zeros((300, 4)), 4) == 4.0


@pytest.mark.parametrize("bars", [0, 1, 29])
def test_few_bars_have_no_probability(bars):
    assert deflated_best(noise(bars, 3), 0, trials=3).probability is None


@settings(max_examples=50, deadline=None)
@given(
    arrays(
        np.float64,
        st.tuples(st.sampled_from([0, 1, 2, 31]), st.integers(1, 4)),
        elements=st.sampled_from([0.0, 0.01, -0.01, 1e-200, 1e150, -0.9]),
    ),
    st.integers(0, 1000),
)
def test_count_lies_between_one_and_all_and_the_rest_is_free_of_nan(returns, others):
    trials = returns.shape[1] + others
    assert 1.0 + others <= independent_trials(returns, trials) <= trials
    found = deflated_best(returns, 0, trials=trials)
    assert np.isfinite([found.sharpe, found.expected_maximum]).all()
    assert found.expected_maximum >= 0.0
