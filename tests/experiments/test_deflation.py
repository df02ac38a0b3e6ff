"""Whether a Sharpe ratio is judged by the number of trials behind it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import integrate, stats

from experiments.deflation import DeflatedSharpe, deflated_sharpe, expected_maximum_sharpe
from lightning_models.errors import ConfigError
from lstm_strategies.performance import probabilistic_sharpe_ratio, psr_of_moments

# Bailey & López de Prado 2014, the numerical example: the best of 100 trials has an annualised
# Sharpe ratio of 2.5 over 1,250 days of 250 a year, skewness -3 and kurtosis 10; the trials'
# annualised Sharpe ratios have a variance of 1/2.
PAPER_SHARPE = 2.5 / math.sqrt(250)
PAPER_VARIANCE = 0.5 / 250


def paper_returns():
    # Kurtosis 10 = skewness^2 + 1 leaves one distribution, of two values. 105 of 1,250 days
    # with the large loss have a skewness of -2.999 and a kurtosis of 9.996.
    shape = np.where(np.arange(1250) < 105, -1.0, 0.0)
    standard = (shape - shape.mean()) / shape.std(ddof=1)
    return 0.01 * (standard + PAPER_SHARPE)


def trials_of(variance, count):
    spread = np.random.default_rng(0).standard_normal(count)
    return (spread - spread.mean()) / spread.std(ddof=1) * math.sqrt(variance)


def test_expected_maximum_is_that_of_bailey_and_lopez_de_prado_2014():
    assert expected_maximum_sharpe(PAPER_VARIANCE, 100) == pytest.approx(0.1132, abs=5e-5)


def test_deflated_sharpe_ratio_is_that_of_bailey_and_lopez_de_prado_2014():
    benchmark = expected_maximum_sharpe(PAPER_VARIANCE, 100)
    found = psr_of_moments(
        PAPER_SHARPE, benchmark=benchmark, bars=1250, skewness=-3.0, kurtosis=10.0
    )
    assert found == pytest.approx(0.9004, abs=5e-5)


def test_returns_with_the_moments_of_the_paper_have_its_deflated_sharpe_ratio():
    returns = paper_returns()
    assert stats.skew(returns) == pytest.approx(-3.0, abs=0.001)
    assert stats.kurtosis(returns, fisher=False) == pytest.approx(10.0, abs=0.005)
    found = deflated_sharpe(returns, trials_of(PAPER_VARIANCE, 100))
    assert found.sharpe == pytest.approx(PAPER_SHARPE)
    assert found.expected_maximum == pytest.approx(0.1132, abs=5e-5)
    assert found.probability == pytest.approx(0.9004, abs=2e-4)
    assert not found.is_above_luck()
    # The paper's second example: with 46 trials the same returns pass 95 %.
    assert deflated_sharpe(returns, trials_of(PAPER_VARIANCE, 46)).probability == pytest.approx(
        0.9505, abs=2e-4
    )


@pytest.mark.parametrize("trials", [5, 10, 100, 1000])
def test_expected_maximum_agrees_with_the_integral_over_normal_trials(trials):
    def weighted(x):
        return x * trials * stats.norm.pdf(x) * stats.norm.cdf(x) ** (trials - 1)

    exact = integrate.quad(weighted, -10.0, 10.0)[0]
    # The paper's expression is an approximation: 4 % off for 5 trials, under 2 % from 10 on.
    assert expected_maximum_sharpe(1.0, trials) == pytest.approx(exact, rel=0.04)


def test_one_trial_is_no_search():
    returns = paper_returns()
    found = deflated_sharpe(returns, [PAPER_SHARPE])
    assert found.expected_maximum == 0.0
    assert found.probability == pytest.approx(probabilistic_sharpe_ratio(returns))
    assert found.words().endswith("after one trial: above a strategy without skill.")


def test_more_trials_leave_less():
    returns = paper_returns()
    chances = [
        deflated_sharpe(returns, trials_of(PAPER_VARIANCE, count)).probability
        for count in (2, 10, 100, 1000)
    ]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] > 0.95 > chances[-1]


def test_trials_without_a_trade_count_as_sharpe_ratios_of_zero():
    returns = paper_returns()
    with_gaps = deflated_sharpe(returns, [PAPER_SHARPE, np.nan, 0.05, np.nan])
    assert with_gaps == deflated_sharpe(returns, [PAPER_SHARPE, 0.0, 0.05, 0.0])
    # Left out they would make the search look smaller.
    assert with_gaps.trials == 4


def test_strategy_that_never_traded_has_shown_nothing():
    found = deflated_sharpe(np.zeros(500), [0.0, 0.1])
    assert (found.sharpe, found.probability) == (0.0, 0.0)
    assert not found.is_above_luck()


def test_trials_without_known_sharpe_ratios_spread_as_luck_does():
    returns = paper_returns()
    found = deflated_sharpe(returns, [PAPER_SHARPE], trials=100)
    assert found.expected_maximum == expected_maximum_sharpe(1 / 1249, 100)
    assert found.trials == 100
    # Lo (2002): the Sharpe ratio of T independent returns without skill varies by 1 / T.
    noise = np.random.default_rng(1).standard_normal((2000, 1250))
    assert np.var(noise.mean(1) / noise.std(1, ddof=1)) == pytest.approx(1 / 1249, rel=0.1)


def test_best_of_a_hundred_without_skill_rarely_passes_where_it_nearly_always_would_alone():
    # Stated error: at most 11 of 100 searches pass at 95 %.
    plain = deflated = 0
    for seed in range(100):
        searched = np.random.default_rng(seed).standard_normal((100, 250))
        ratios = searched.mean(1) / searched.std(1, ddof=1)
        best = searched[int(ratios.argmax())]
        plain += probabilistic_sharpe_ratio(best) >= 0.95
        deflated += deflated_sharpe(best, ratios).is_above_luck()
    assert deflated <= 11
    assert plain >= 90


def test_few_bars_have_no_deflated_sharpe_ratio():
    found = deflated_sharpe(paper_returns()[:29], [0.1, 0.0])
    assert found.probability is None
    assert found.words() == "Too few bars for a deflated Sharpe ratio: 29 of 30."
    assert deflated_sharpe(paper_returns()[90:120], [0.1, 0.0]).probability is not None


def test_probability_just_under_the_level_is_not_written_as_the_level():
    found = DeflatedSharpe(
        bars=500, trials=9, sharpe=0.1, expected_maximum=0.05, probability=0.9499
    )
    assert found.words() == (
        "Deflated Sharpe ratio 0.94 after 9 trials: not distinguishable from the best of as many "
        "without skill."
    )


@given(
    arrays(np.float64, st.integers(0, 50), elements=st.floats(-0.9, 5.0) | st.just(5e-324)),
    arrays(np.float64, st.integers(1, 8), elements=st.floats(-3.0, 3.0) | st.just(math.nan)),
)
def test_every_answer_is_json_without_nan(returns, sharpes):
    found = deflated_sharpe(returns, sharpes)
    text = json.dumps(found.model_dump(), allow_nan=False)
    assert DeflatedSharpe.model_validate_json(text) == found
    assert found.words()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"returns": np.array([0.1, np.nan])}, "returns: bar 1 is nan"),
        ({"returns": np.zeros((2, 2))}, r"returns has shape \(2, 2\)"),
        ({"trial_sharpes": [0.1, np.inf]}, "trial_sharpes: trial 1 is inf"),
        ({"trial_sharpes": []}, "trials is 0"),
        ({"trials": 1}, "trials is 1 and there are 2 Sharpe ratios"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes, words):
    good = {"returns": np.zeros(40), "trial_sharpes": [0.1, 0.2], "trials": None}
    deflated_sharpe(**good)
    with pytest.raises(ConfigError, match=words):
        deflated_sharpe(**{**good, **changes})


@pytest.mark.parametrize(
    ("variance", "trials", "words"),
    [(-0.1, 5, "variance is -0.1"), (math.nan, 5, "variance is nan"), (0.1, 0, "trials is 0")],
)
def test_variance_and_trials_that_cannot_be_are_refused(variance, trials, words):
    with pytest.raises(ConfigError, match=words):
        expected_maximum_sharpe(variance, trials)
