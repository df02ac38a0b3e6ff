"""Whether a study's best trial is called luck where it is nothing else."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from experiments.deflation import deflated_sharpe
from experiments.overfitting import backtest_overfitting
from experiments.significance import annualised_sharpe, measure_significance
from experiments.superiority import beats_benchmark
from experiments.tuning.luck import StudyLuck, study_luck
from experiments.tuning.search_deflation import deflated_best, independent_trials
from lightning_models.errors import ConfigError
from lstm_strategies.performance import sharpe_ratio

LUCK = "not distinguishable from luck"
STUDIES = pytest.mark.parametrize("studies", [20, pytest.param(100, marks=pytest.mark.soak)])


def noise(bars, trials, seed=0):
    return 0.01 * np.random.default_rng(seed).standard_normal((bars, trials))


def sharpes_of(returns):
    return np.array([sharpe_ratio(column, 1.0) for column in returns.T])


def judge(returns, market=None, **changes) -> StudyLuck:
    """A study that chose the highest Sharpe ratio; every trial complete unless told otherwise."""
    options = {
        "chosen": int(sharpes_of(returns).argmax()),
        "trials": returns.shape[1] + changes.get("pruned", 0) + changes.get("earlier", 0),
        "pruned": 0,
        "earlier": 0,
        "periods_per_year": 365.0,
        "costs_included": True,
        "replications": 50,
    }
    if market is None:
        market = noise(len(returns), 1, 999)[:, 0]
    return study_luck(returns, market, **{**options, **changes})


def skilled(bars, trials, seed, gain=0.004):
    returns = noise(bars, trials, seed)
    returns[:, trials // 2] += gain
    return returns


def survivors(seed):
    """Ten of a thousand trials of noise, which a pruner kept after nine tenths of the bars."""
    returns = noise(240, 1000, seed)
    return returns[:, np.argsort(-returns[:216].mean(axis=0))[:10]]


@STUDIES
def test_best_of_twenty_without_skill_is_called_luck(studies):
    # Stated error: at least 90 of 100. Twenty together exceed the deflated level in about one
    # study of 200.
    called = [LUCK in judge(noise(250, 20, seed)).verdict for seed in range(studies)]
    assert sum(called) >= 0.9 * studies


@STUDIES
def test_best_of_twenty_would_be_called_skill_as_if_it_had_been_the_only_one(studies):
    # 1 - 0.95^20 = 64 in 100 are expected, against less than one of those that are counted.
    found = []
    for seed in range(studies):
        returns = noise(250, 20, seed)
        alone = returns[:, [int(sharpes_of(returns).argmax())]]
        found.append(LUCK not in judge(alone).verdict)
    assert sum(found) >= 0.4 * studies


@STUDIES
def test_planted_gain_is_found(studies):
    # Stated error: at least 90 of 100 of a Sharpe ratio of 0.4 a bar over 250 bars.
    verdicts = [judge(skilled(250, 20, seed)).verdict for seed in range(studies)]
    assert sum(LUCK not in verdict for verdict in verdicts) >= 0.9 * studies
    assert sum("above what luck explains" in verdict for verdict in verdicts) >= 0.9 * studies


@STUDIES
def test_pruning_does_not_make_the_search_look_smaller(studies):
    # Stated error: at least 90 of 100 studies of noise are called luck. What the pruner kept is
    # alike: by its own scatter alone far more studies would pass.
    called, naive = [], []
    for seed in range(studies):
        kept = survivors(seed)
        called.append(LUCK in judge(kept, pruned=990).verdict)
        sharpes = sharpes_of(kept)
        own = kept[:, sharpes.argmax()]
        naive.append(deflated_sharpe(own, sharpes, trials=1000).is_above_luck())
    assert sum(called) >= 0.9 * studies
    assert sum(naive) >= 0.2 * studies


def test_every_figure_is_that_of_its_own_module():
    returns, market = skilled(300, 8, 1), noise(300, 1, 2)[:, 0]
    found = judge(returns, market, seed=5, replications=100)
    own = returns[:, 4]
    assert (found.bars, found.complete, found.trials, found.chosen) == (300, 8, 8, 4)
    assert found.sharpe == pytest.approx(annualised_sharpe(own, 365.0))
    assert found.buy_and_hold == pytest.approx(annualised_sharpe(market, 365.0))
    interval = measure_significance(
        own, market, periods_per_year=365.0, trades=9, seed=5, replications=100
    )
    assert (found.sharpe_low, found.sharpe_high) == (interval.sharpe_low, interval.sharpe_high)
    deflated = deflated_best(returns, 4, trials=8)
    assert found.deflated == deflated
    assert found.independent == independent_trials(returns, 8)
    assert found.expected_maximum == pytest.approx(deflated.expected_maximum * np.sqrt(365.0))
    assert found.overfitting == backtest_overfitting(returns)
    test = beats_benchmark(returns, market, metric="sharpe", seed=5, replications=100)
    assert found.market == test
    assert (found.market_p, found.chosen_market_p) == (test.p_value, test.p_values[4])


def rising(bars, trials, seed=0):
    """A rising market, and trials that hold it with a little noise of their own."""
    market = noise(bars, 1, seed)[:, 0] + 0.002
    return market[:, None] + 0.02 * noise(bars, trials, seed + 1), market


def test_position_held_through_a_rising_market_is_led_by_what_was_not_shown():
    returns, market = rising(900, 3)
    found = judge(returns, market, replications=1000)
    assert found.is_above_luck
    assert not found.beats_market
    assert found.exposure_may_explain
    assert 1.0 < found.independent < 1.1
    assert found.verdict.split(". ")[0].startswith(
        f"The best of 3 trials is not shown to beat buy-and-hold (Sharpe ratio {found.sharpe:.2f} "
        f"against {found.buy_and_hold:.2f}, p "
    )
    assert (
        "), though it is above what luck explains at 95% confidence after 3 trials, as a position "
        f"held through the rising market may be: the best of as many without skill is expected at "
        f"{found.expected_maximum:.2f} (deflated Sharpe ratio 0.99; alike, they count as 1.1). "
        in found.verdict
    )
    assert found.verdict.count(". ") == 3


def test_exposure_explains_nothing_of_returns_that_do_not_move_with_the_market():
    # As good as the market, and of their own.
    apart = noise(900, 3, 5) + 0.002
    found = judge(apart, rising(900, 1)[1], replications=1000)
    assert found.is_above_luck
    assert not found.beats_market
    assert found.without_market > 0.95
    assert not found.exposure_may_explain
    assert "rising market" not in found.verdict
    # Nor in a market that fell.
    falling = judge(-apart, -rising(900, 1)[1] - 0.004)
    assert not falling.exposure_may_explain


def test_market_itself_has_nothing_left_without_the_market():
    market = rising(900, 1)[1]
    assert judge(np.column_stack([market, 2.0 * market]), market).without_market == 0.0
    assert judge(noise(20, 2), noise(20, 1)[:, 0]).without_market is None


def test_objective_other_than_the_sharpe_ratio_is_told_apart_from_what_is_tested():
    plain = judge(noise(300, 5, 1)).verdict
    assert "one half of the bars by their Sharpe ratio" in plain
    assert "the study itself" not in plain
    named = judge(noise(300, 5, 1), objective="log-loss").verdict
    assert "; the study itself chose by log-loss, which this does not test. " in named
    assert "log-loss" not in judge(noise(300, 1, 1), objective="log-loss").verdict


def test_p_value_against_the_market_counts_the_trials_that_are_not_in_it():
    returns, market = skilled(500, 10, 1, gain=0.0015), noise(500, 1, 2)[:, 0]
    alone = judge(returns, market)
    searched = judge(returns, market, pruned=20, earlier=10)
    assert alone.market_p == alone.market.p_value < 0.2
    assert searched.market_p == pytest.approx(4.0 * alone.market_p)
    assert searched.chosen_market_p == pytest.approx(4.0 * alone.chosen_market_p)
    assert judge(returns, market, pruned=100_000).market_p == 1.0


def test_verdict_on_a_planted_gain():
    found = judge(skilled(600, 20, 1, gain=0.005), replications=1000)
    assert found.is_above_luck
    assert found.beats_market
    assert found.verdict == (
        "The best of 20 trials is above what luck explains at 95% confidence after 20 trials, and "
        f"better than buy-and-hold: Sharpe ratio {found.sharpe:.2f}, where the best of as many "
        f"without skill is expected at {found.expected_maximum:.2f} (deflated Sharpe ratio 0.99); "
        f"buy-and-hold's is {found.buy_and_hold:.2f} (p 0.001). Probability of backtest "
        "overfitting 0.00 over 20 trials: the best of one half of the bars by their Sharpe ratio "
        "is above the median in the other half as well. Costs are included. This describes the "
        "period tested and promises nothing."
    )


def test_verdict_on_noise():
    found = judge(noise(600, 20, 1), pruned=30, costs_included=False)
    assert not found.is_above_luck
    assert not found.beats_market
    assert found.verdict.startswith(
        "The best of 50 trials is not distinguishable from luck and not shown to beat "
        f"buy-and-hold: Sharpe ratio {found.sharpe:.2f}, where "
    )
    assert "; 30 of the 50 trials, pruned, are not in it. " in found.verdict
    assert (
        " Costs are not included: fees, slippage and funding would lower every figure. "
        in found.verdict
    )
    assert found.verdict.count(". ") == 3


def test_trials_of_an_earlier_stage_are_spoken_of():
    verdict = judge(noise(200, 3, 1), pruned=4, earlier=5).verdict
    assert "The best of 12 trials" in verdict
    assert "; 9 of the 12 trials, pruned or earlier, are not in it." in verdict


def test_other_trial_than_the_chosen_one_may_beat_the_market():
    found = judge(skilled(600, 10, 1), chosen=0, replications=1000)
    assert not found.is_above_luck
    assert not found.beats_market
    assert "luck and not shown to beat buy-and-hold" in found.verdict
    assert found.market_p < 0.025 < found.chosen_market_p


def test_trial_that_lost_less_than_the_market_is_luck_though_better_than_it():
    returns, market = noise(600, 5, 1), noise(600, 1, 2)[:, 0] - 0.004
    found = judge(returns, market, replications=1000)
    assert found.verdict.startswith(
        "The best of 5 trials is not distinguishable from luck, though shown to beat buy-and-hold: "
    )


def test_only_trial_is_no_search():
    found = judge(noise(300, 1, 1) + 0.004)
    assert found.expected_maximum == 0.0
    assert found.is_above_luck
    assert found.verdict.startswith(
        "The only trial is above what luck explains at 95% confidence after one trial, and better "
        "than buy-and-hold: Sharpe "
    )
    assert "where 0 is expected without skill" in found.verdict
    assert "No probability of backtest overfitting: one trial is no choice." in found.verdict
    # The only one that was left of many is judged as one of many.
    last = judge(noise(300, 1, 1) + 0.0012, pruned=999)
    assert last.expected_maximum == pytest.approx(3.255 * np.sqrt(365.0 / 299.0), rel=1e-3)
    assert LUCK in last.verdict
    assert "999 of the 1,000 trials, pruned, are not in it" not in last.verdict


def test_best_trial_that_never_traded_is_luck_and_beats_nothing():
    losing = noise(300, 4, 1) - 0.004
    losing[:, 2] = 0.0
    found = judge(losing, market=noise(300, 1, 2)[:, 0] - 0.01)
    assert (found.chosen, found.sharpe, found.sharpe_low) == (2, 0.0, None)
    assert found.verdict.startswith(
        "The best of 4 trials is not distinguishable from luck: its returns do not vary, as where "
        "nothing is traded."
    )
    # In a market that falls, doing nothing is better than holding.
    assert found.chosen_market_p < 0.025
    assert not found.beats_market
    assert "buy-and-hold" not in found.verdict


@pytest.mark.parametrize("bars", [0, 1, 29])
def test_few_bars_are_not_told_from_luck(bars):
    found = judge(noise(bars, 3, 1) + 0.05)
    assert found.deflated.probability is None
    assert (found.sharpe_low, found.market_p) == (None, None)
    assert found.verdict.startswith(
        f"The best of 3 trials is not distinguishable from luck: {bars} bars are too few, 30 are "
        "the least. No probability of backtest overfitting"
    )


def test_trials_that_did_the_same_are_one_trial_unless_others_were_pruned():
    same = np.tile(noise(300, 1, 4) + 0.0005, 20)
    found = judge(same)
    assert found.expected_maximum == 0.0
    assert found.is_above_luck
    assert "all trials did the same, so there was no choice" in found.verdict
    assert LUCK in judge(same, pruned=200).verdict


@pytest.mark.parametrize("gain", [-0.004, 0.0, 0.004])
def test_no_verdict_promises_a_profit(gain):
    verdict = judge(noise(300, 5, 2) + gain).verdict
    assert verdict.endswith("This describes the period tested and promises nothing.")
    for word in ("profit", "will ", "earn", "guarantee"):
        assert word not in verdict


def test_same_seed_gives_the_same_answer():
    returns = noise(300, 3, 1)
    assert judge(returns, seed=3) == judge(returns, seed=3)
    assert judge(returns, seed=3) != judge(returns, seed=4)


@settings(max_examples=40, deadline=None)
@given(
    arrays(
        np.float64,
        st.tuples(st.sampled_from([0, 3, 31, 130]), st.integers(1, 3)),
        elements=st.sampled_from([0.0, 0.01, -0.01, 1e-12, 0.3, -0.9, 5.0]),
    ),
    st.integers(0, 10**9),
    st.booleans(),
)
def test_every_answer_is_json_without_nan(returns, pruned, held):
    market = returns[:, 0] if held else np.zeros(len(returns))
    found = judge(returns, market, pruned=pruned, replications=5)
    text = json.dumps(found.model_dump(), allow_nan=False)
    assert StudyLuck.model_validate_json(text) == found
    assert (LUCK in found.verdict) != found.is_above_luck


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"returns": np.zeros(40)}, r"returns have shape \(40,\)"),
        ({"returns": np.zeros((40, 0))}, r"shape \(40, 0\): .* at least one"),
        ({"returns": np.full((40, 2), np.nan)}, "returns: bar 0 holds nan"),
        ({"market": np.zeros(39)}, r"against has shape \(39,\)"),
        ({"chosen": 2}, "chosen is 2 of 2 complete trials"),
        ({"chosen": -1}, "chosen is -1"),
        ({"trials": 8}, "trials is 8, with 2 complete, 4 pruned and 3 earlier: count every one"),
        ({"pruned": -1}, "pruned is -1"),
        ({"earlier": -1}, "earlier -1"),
        ({"periods_per_year": 0.0}, "periods_per_year is 0.0"),
        ({"periods_per_year": float("inf")}, "periods_per_year is inf"),
        ({"replications": 0}, "replications is 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes, words):
    good = {
        "returns": np.zeros((40, 2)),
        "market": np.zeros(40),
        "chosen": 1,
        "trials": 9,
        "pruned": 4,
        "earlier": 3,
        "periods_per_year": 365.0,
        "costs_included": True,
        "replications": 5,
    }
    study_luck(**good)
    with pytest.raises(ConfigError, match=words):
        study_luck(**{**good, **changes})
