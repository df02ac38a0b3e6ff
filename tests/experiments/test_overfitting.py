"""Whether choosing the best of several trials is called overfitting where it is."""

from __future__ import annotations

import itertools
import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import ndtri

from experiments.overfitting import BacktestOverfitting, backtest_overfitting
from lightning_models.errors import ConfigError


def rnorm(seed, count):
    """Normal numbers as R's ``set.seed(seed); rnorm(count)`` gives them."""
    state = []
    for step in range(675):
        seed = (69069 * seed + 1) % 2**32
        if step >= 50:
            state.append(seed)
    source = np.random.MT19937()
    source.state = {
        "bit_generator": "MT19937",
        "state": {"key": np.array(state[1:], dtype=np.uint32), "pos": 624},
    }
    uniform = source.random_raw(2 * count) * 2.3283064365386963e-10
    return ndtri((np.floor(2**27 * uniform[::2]) + uniform[1::2]) / 2**27)


def noise(bars, trials, seed=0, *, volatility=0.01):
    return volatility * np.random.default_rng(seed).standard_normal((bars, trials))


def sharpe(returns):
    moves = np.ptp(returns) > 1e-12 * np.abs(returns).max()
    return returns.mean() / returns.std(ddof=1) if moves else 0.0


def by_hand(returns, blocks, metric="sharpe", *, ranked="outside"):
    """The paper's algorithm in plain loops: one (in sample, out of sample, rank) a split."""
    value = {"sharpe": sharpe, "mean": np.mean}[metric]
    parts = np.array_split(np.arange(len(returns)), blocks)
    found = []
    for taken in itertools.combinations(range(blocks), blocks // 2):
        rows = np.concatenate([parts[one] for one in taken])
        others = np.setdiff1d(np.arange(len(returns)), rows)
        first = np.array([value(column[rows]) for column in returns.T])
        second = np.array([value(column[others]) for column in returns.T])
        judged = second if ranked == "outside" else first
        ranks = [
            (judged < one - 1e-9).sum() + ((np.abs(judged - one) <= 1e-9).sum() + 1) / 2
            for one in judged
        ]
        best = np.flatnonzero(first >= first.max() - 1e-9)
        found.append((first.max(), second[best].mean(), np.take(ranks, best).mean()))
    return np.array(found).T


def probability_by_hand(returns, blocks, metric="sharpe", *, ranked="outside"):
    ranks = by_hand(returns, blocks, metric, ranked=ranked)[2]
    return np.mean(ranks / (returns.shape[1] + 1) <= 0.5 + 1e-12)


def as_pbo_of_r(found):
    # That package regresses in sample on out of sample, and what it prints as the slope is the
    # intercept of that line.
    turned = found.r_squared / found.slope
    splits = found.combinations
    adjusted = 1.0 - (1.0 - found.r_squared) * (splits - 1) / (splits - 2)
    return found.in_sample - turned * found.out_of_sample, adjusted


def test_generator_gives_the_known_numbers_of_r():
    assert rnorm(42, 3) == pytest.approx([1.37095845, -0.56469817, 0.36312841], abs=1e-8)
    assert rnorm(123, 3) == pytest.approx([-0.56047565, -0.23017749, 1.55870831], abs=1e-8)


@pytest.mark.parametrize(
    ("blocks", "intercept", "rounding", "r_squared"),
    [(8, -0.0030456, 5e-8, 0.97), (4, -0.005909, 5e-7, 0.88)],
)
def test_centred_trials_have_the_figures_of_the_vignette_of_pbo_for_r(
    blocks, intercept, rounding, r_squared
):
    # The vignette of pbo 1.3.5 on CRAN, and its version of 2014 for four blocks: 100 trials of
    # 2,400 bars without any mean, in excess of 3 % over 252 bars.
    returns = rnorm(765, 100 * 2400).reshape(100, 2400).T
    returns = returns / returns.std(axis=0, ddof=1) / np.sqrt(252)
    returns = returns - returns.mean(axis=0) - 0.03 / 252
    found = backtest_overfitting(returns, blocks=blocks)
    assert (found.probability, found.p_loss) == (1.0, 1.0)
    printed, adjusted = as_pbo_of_r(found)
    assert printed == pytest.approx(intercept, abs=rounding)
    assert adjusted == pytest.approx(r_squared, abs=0.005)


def test_random_trials_have_the_figures_of_the_tests_of_pbo_for_r():
    returns = rnorm(852, 200 * 40).reshape(200, 40) - 0.03 / 252
    found = backtest_overfitting(returns, blocks=4)
    assert found.combinations == 6
    assert (found.probability, found.p_loss) == (0.5, 0.5)
    printed, adjusted = as_pbo_of_r(found)
    assert 0.19 < printed < 0.20
    assert -0.24 < adjusted < -0.22


@pytest.mark.parametrize("metric", ["sharpe", "mean"])
@pytest.mark.parametrize(("bars", "trials", "blocks"), [(203, 7, 4), (300, 10, 6), (95, 2, 8)])
def test_every_figure_agrees_with_the_algorithm_in_plain_loops(bars, trials, blocks, metric):
    returns = noise(bars, trials, bars) * np.linspace(0.5, 2.0, trials)
    found = backtest_overfitting(returns, blocks=blocks, metric=metric)
    inside, outside, ranks = by_hand(returns, blocks, metric)
    relative = ranks / (trials + 1)
    slope, _ = np.polyfit(inside, outside, 1)
    assert found.combinations == len(ranks)
    assert found.probability == np.mean(relative <= 0.5)
    assert found.median_logit == pytest.approx(np.median(np.log(relative / (1.0 - relative))))
    assert found.p_loss == np.mean(outside < 0.0)
    assert found.in_sample == pytest.approx(inside.mean(), rel=1e-6)
    assert found.out_of_sample == pytest.approx(outside.mean(), rel=1e-6)
    assert found.slope == pytest.approx(slope, rel=1e-5)
    assert found.r_squared == pytest.approx(np.corrcoef(inside, outside)[0, 1] ** 2, rel=1e-5)


@settings(max_examples=50, deadline=None)
@given(
    arrays(
        np.float64,
        st.tuples(st.sampled_from([32, 37]), st.integers(2, 4)),
        elements=st.sampled_from([0.0, 0.0, 0.01, -0.01, 0.02]),
    ),
    st.sampled_from(["sharpe", "mean"]),
)
def test_ties_are_shared_as_in_plain_loops(returns, metric):
    found = backtest_overfitting(returns, blocks=4, metric=metric)
    if found.probability is not None:
        assert found.probability == probability_by_hand(returns, 4, metric)
    else:
        assert (returns == returns[:, :1]).all() or "did the same" in found.reason


@given(st.integers(0, 1000), st.floats(1e-150, 1e100), st.permutations(range(5)))
@settings(max_examples=30, deadline=None)
def test_neither_units_nor_leverage_nor_order_matter(seed, unit, order):
    returns = noise(120, 5, seed)
    found = backtest_overfitting(returns)
    leverage = np.array([1.0, 2.0, 0.1, 7.0, 3.0])
    assert backtest_overfitting(returns * unit * leverage).probability == found.probability
    assert backtest_overfitting(returns[:, order]).probability == found.probability
    means = backtest_overfitting(returns, metric="mean")
    scaled = backtest_overfitting(returns * unit, metric="mean")
    assert scaled.probability == means.probability
    assert scaled.in_sample == pytest.approx(unit * means.in_sample)


def test_sum_of_squares_does_not_drown_in_a_large_mean():
    # One part in a hundred million is what moves: its square is beyond the digits of the mean's.
    returns = 1.0 + 1e-8 * noise(240, 6, 3, volatility=1.0)
    found = backtest_overfitting(returns, blocks=8)
    assert found.probability == probability_by_hand(returns, 8)


@pytest.mark.parametrize(
    ("trials", "expected"),
    # The median of an odd number counts as overfitting.
    [(10, 0.5), (3, 2.0 / 3.0)],
)
@pytest.mark.parametrize("studies", [100, pytest.param(1000, marks=pytest.mark.soak)])
def test_choice_among_noise_is_as_often_above_the_median_as_below(studies, trials, expected):
    # Stated error: three standard errors of the mean, which one in 370 sequences exceeds.
    found = [
        backtest_overfitting(noise(240, trials, seed), blocks=6).probability
        for seed in range(studies)
    ]
    error = np.std(found, ddof=1) / np.sqrt(studies)
    assert np.mean(found) == pytest.approx(expected, abs=3.0 * error)
    assert error < 0.3 / np.sqrt(studies)


def test_ranks_of_the_same_half_would_never_find_overfitting():
    returns = noise(240, 10, 1)
    assert probability_by_hand(returns, 6, ranked="inside") == 0.0
    assert probability_by_hand(returns, 6) == backtest_overfitting(returns, blocks=6).probability
    assert backtest_overfitting(returns, blocks=6).probability > 0.2


@pytest.mark.parametrize("studies", [10, pytest.param(100, marks=pytest.mark.soak)])
def test_one_truly_better_trial_is_no_overfitting(studies):
    # Stated error: at least 90 of 100 are found.
    better = np.where(np.arange(10) == 4, 0.003, 0.0)
    found = [backtest_overfitting(noise(480, 10, seed) + better) for seed in range(studies)]
    assert sum(not one.is_overfitted() for one in found) >= 0.9 * studies
    equal = [backtest_overfitting(noise(480, 10, seed)) for seed in range(studies)]
    assert sum(not one.is_overfitted() for one in equal) <= 0.1 * studies


def test_equally_skilful_trials_are_a_needless_choice_and_no_loss():
    # Section 5.2 of the paper: with trials as good as each other the probability is high.
    found = [backtest_overfitting(noise(480, 10, seed) + 0.004) for seed in range(20)]
    assert np.mean([one.probability for one in found]) > 0.35
    assert max(one.p_loss for one in found) == 0.0


@pytest.mark.parametrize(
    ("bars", "blocks", "combinations"),
    [(120, 4, 6), (209, 6, 20), (479, 14, 3432), (480, 16, 12870), (5000, 16, 12870)],
)
def test_number_of_blocks_leaves_thirty_bars_each_and_is_sixteen_at_most(
    bars, blocks, combinations
):
    found = backtest_overfitting(noise(bars, 2))
    assert (found.blocks, found.combinations) == (blocks, combinations)


def test_no_bar_is_dropped_where_the_blocks_do_not_divide_them():
    returns = noise(127, 3, 2)
    longer = np.vstack([returns, [[0.0, 0.0, 0.5]]])
    assert backtest_overfitting(returns, blocks=4).in_sample != pytest.approx(
        backtest_overfitting(longer, blocks=4).in_sample
    )
    cut = backtest_overfitting(longer[:-1], blocks=4)
    assert cut == backtest_overfitting(returns, blocks=4)


def test_trial_that_traded_in_one_half_alone_has_a_sharpe_ratio_of_zero_in_the_other():
    returns = noise(160, 3, 5)
    returns[80:, 0] = 0.0
    found = backtest_overfitting(returns, blocks=4)
    assert found.probability == probability_by_hand(returns, 4)
    # Taken for the rounding of its variance, its Sharpe ratio would be beyond all others.
    assert found.in_sample < 0.5


def test_equal_trials_share_their_ranks():
    # The second is the first at another leverage; the best of them is alone, then there twice.
    better = noise(480, 1, 1) + 0.004
    others = noise(480, 5, 2)
    once = backtest_overfitting(np.hstack([better, others]))
    twice = backtest_overfitting(np.hstack([better, 3.0 * better, others]))
    assert (once.probability, twice.probability) == (0.0, 0.0)
    assert once.median_logit == pytest.approx(np.log(6 / 1))
    assert twice.median_logit == pytest.approx(np.log(6.5 / 1.5))


@pytest.mark.parametrize("metric", ["sharpe", "mean"])
def test_trials_that_did_the_same_are_no_choice(metric):
    same = np.tile(noise(200, 1, 1), 5)
    for returns in (same, np.zeros((200, 5))):
        found = backtest_overfitting(returns, metric=metric)
        assert found.probability is None
        assert found.words() == (
            "No probability of backtest overfitting: all trials did the same, so there was no "
            "choice."
        )
    assert backtest_overfitting(same + noise(200, 5, 2), metric=metric).probability is not None


@pytest.mark.parametrize(
    ("returns", "blocks", "reason"),
    [
        (np.zeros((500, 0)), None, "no trial is no choice"),
        (np.zeros((500, 1)), None, "one trial is no choice"),
        (np.zeros((0, 3)), None, "too few bars, 0 where 120 are the least"),
        (np.zeros((119, 3)), None, "too few bars, 119 where 120 are the least"),
        (np.zeros((31, 3)), 16, "too few bars, 31 for 16 blocks"),
        (np.zeros((29, 3)), 4, "too few bars, 29 for 4 blocks"),
    ],
)
def test_too_little_to_choose_among_or_on_gives_no_probability(returns, blocks, reason):
    found = backtest_overfitting(returns, blocks=blocks)
    assert (found.probability, found.p_loss, found.blocks) == (None, None, None)
    assert found.reason == reason
    assert not found.is_overfitted()


def test_words_say_what_the_choice_is_worth():
    better = np.where(np.arange(10) == 4, 0.005, 0.0)
    assert backtest_overfitting(noise(480, 10, 1) + better).words() == (
        "Probability of backtest overfitting 0.00 over 10 trials: the best of one half of the bars "
        "by their Sharpe ratio is above the median in the other half as well."
    )
    by_mean = backtest_overfitting(noise(480, 10, 1) + better, metric="mean").words()
    assert "the best of one half of the bars by their mean return is above" in by_mean
    common = {"bars": 500, "trials": 10, "metric": "sharpe", "combinations": 70, "p_loss": 0.4}
    words = BacktestOverfitting(**common, probability=0.0501).words()
    assert "overfitting 0.06 over" in words
    assert words.endswith("is not reliably above the median in the other half.")
    words = BacktestOverfitting(**common, probability=0.4999).words()
    assert "overfitting 0.50 over" in words
    assert "so the choice among them tells nothing" in words


@given(
    arrays(
        np.float64,
        st.tuples(st.sampled_from([0, 29, 33, 64]), st.integers(0, 3)),
        elements=st.sampled_from([0.0, 0.01, -0.01, 1e-200, 1e150, -0.9]),
    ),
    st.sampled_from(["sharpe", "mean"]),
)
def test_every_answer_is_json_without_nan(returns, metric):
    found = backtest_overfitting(returns, metric=metric, blocks=4)
    text = json.dumps(found.model_dump(), allow_nan=False)
    assert BacktestOverfitting.model_validate_json(text) == found
    assert found.words()
    assert (found.probability is None) == (found.reason is not None)


def test_two_hundred_trials_of_five_thousand_bars_take_seconds():
    returns = noise(5000, 200)
    started = time.process_time()
    assert backtest_overfitting(returns).combinations == 12870
    assert time.process_time() - started < 10.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"returns": np.zeros(40)}, r"returns have shape \(40,\)"),
        ({"returns": np.full((40, 2), np.nan)}, "returns: bar 0 of trial 0 is nan"),
        ({"blocks": 7}, "blocks is 7: give an even number from 4 to 20"),
        ({"blocks": 2}, "blocks is 2"),
        ({"blocks": 22}, "blocks is 22"),
        ({"metric": "omega"}, "metric is 'omega': give one of sharpe, mean"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes, words):
    good = {"returns": noise(200, 3), "blocks": 6, "metric": "sharpe"}
    backtest_overfitting(**good)
    with pytest.raises(ConfigError, match=words):
        backtest_overfitting(**{**good, **changes})
