"""Whether the best of several strategies is called that no more often than it is."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from arch.bootstrap import SPA, StationaryBootstrap, StepM
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from experiments.superiority import BenchmarkTest, Superiority, beats_benchmark, superiority
from lightning_models.errors import ConfigError

NAMES = ("lstm", "forest", "breakout", "reversion", "trend", "random")

# At the 5 % level the bounds are exceeded about once and four times in 1,000.
AT_MOST = pytest.mark.parametrize(
    ("markets", "most"), [(10, 3), pytest.param(100, 11, marks=pytest.mark.soak)]
)


def returns_of(bars, count, seed=0, *, gain=0.0, volatility=0.006):
    """Strategies that share a market; the last one earns `gain` a bar more."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_t(5, (bars, 1))
    returns = volatility * (0.7 * shared + 0.7 * rng.standard_t(5, (bars, count)))
    returns[:, -1] += gain
    return returns


def compare(returns, **changes) -> Superiority:
    names = NAMES[: np.shape(returns)[1]]
    return superiority(returns, names, **{"replications": 300, **changes})


def p_values(found):
    return {one.name: one.p_best for one in found.contenders}


def as_counted(share, replications):
    # arch counts the replicates alone; here the sample itself counts as one of them.
    return (1 + round(share * replications)) / (1 + replications)


@pytest.mark.parametrize("seed", range(4))
def test_p_value_of_two_agrees_with_the_spa_of_arch(seed):
    returns = returns_of(300, 2, seed)
    found = compare(returns, seed=seed, block=5)
    worse, better = np.argsort(returns.mean(0))
    test = SPA(-returns[:, worse], -returns[:, [better]], block_size=5, reps=300, seed=seed)
    test.compute()
    expected = as_counted(test.pvalues["consistent"], 300)
    assert found.contenders[worse].p_best == pytest.approx(expected)
    assert found.contenders[better].p_best == 1.0


@pytest.mark.parametrize("seed", range(4))
def test_p_value_of_many_agrees_with_the_spa_of_arch_on_scaled_differences(seed):
    # arch leaves differences as large as they are; scaled beforehand, its maximum is Hansen's.
    returns = returns_of(300, 5, seed) * [1.0, 3.0, 0.5, 1.0, 2.0]
    returns[:, 3] -= 0.004
    found = compare(returns, seed=seed, block=5)
    for benchmark in range(5):
        gains = np.delete(returns, benchmark, axis=1) - returns[:, [benchmark]]
        sampler = StationaryBootstrap(5, gains, seed=np.random.default_rng(seed))
        deviation = sampler.apply(lambda sample: sample.mean(0), 300).std(axis=0)
        test = SPA(
            np.zeros(300), -gains / deviation, block_size=5, reps=300, nested=True, seed=seed
        )
        test.compute()
        if gains.mean(0).max() > 0.0:
            expected = as_counted(test.pvalues["consistent"], 300)
            assert found.contenders[benchmark].p_best == pytest.approx(expected)
        else:
            assert found.contenders[benchmark].p_best == 1.0


def test_strategies_that_beat_the_benchmark_are_those_of_arch_stepm():
    returns = returns_of(1500, 5, 2)
    returns[:, 1] += 0.001
    returns[:, 4] += 0.0012
    market = returns_of(1500, 1, 3)[:, 0]
    found = compare(returns, against=market, block=5, level=0.9)
    step = StepM(-market, -returns, size=0.05, block_size=5, reps=300, seed=0)
    step.compute()
    assert found.better_than_against == tuple(NAMES[one] for one in step.superior_models)
    assert found.better_than_against == ("forest", "trend")


def test_sharpe_ratios_differ_by_the_standard_error_of_jobson_and_korkie():
    # For independent normal returns, Jobson & Korkie (1981) as corrected by Memmel (2003):
    # T var = 2 (1 - rho) + (a^2 + b^2 - 2 a b rho^2) / 2.
    bars, gap = 4000, 0.03
    rng = np.random.default_rng(1)
    shared = rng.standard_normal((bars, 1))
    returns = np.sqrt(0.5) * shared + np.sqrt(0.5) * rng.standard_normal((bars, 2))
    returns = (returns - returns.mean(0)) / returns.std(0, ddof=1)
    one, two = 0.1, 0.1 + gap
    rho = np.corrcoef(returns.T)[0, 1]
    error = np.sqrt((2 * (1 - rho) + (one**2 + two**2 - 2 * one * two * rho**2) / 2) / bars)
    found = compare(
        (returns + np.array([one, two])) * [0.01, 0.03], metric="sharpe", replications=4000
    )
    assert found.contenders[0].p_best == pytest.approx(stats.norm.sf(gap / error), rel=0.2)


def test_values_are_those_of_their_definition():
    returns = returns_of(200, 3, 1)
    means = [one.value for one in compare(returns).contenders]
    assert means == pytest.approx(returns.mean(0))
    ratios = [one.value for one in compare(returns, metric="sharpe").contenders]
    assert ratios == pytest.approx(returns.mean(0) / returns.std(0, ddof=1))


def test_truly_better_strategy_is_found():
    found = compare(returns_of(3000, 6, 1, gain=0.0012))
    assert found.best == "random"
    assert found.best_is_distinguishable
    assert found.could_be_best == ("random",)
    assert found.verdict == (
        "random has the highest mean return of 6 over 3,000 bars, and each other one is beaten at "
        "95% confidence."
    )
    # The same strategies without the advantage.
    assert not compare(returns_of(3000, 6, 1)).best_is_distinguishable


@pytest.mark.parametrize("metric", ["mean", "sharpe"])
@pytest.mark.parametrize("markets", [10, pytest.param(100, marks=pytest.mark.soak)])
def test_truly_better_strategy_is_found_in_nearly_every_market(markets, metric):
    # Stated error: at least 90 of 100 are found.
    found = [
        compare(returns_of(800, 4, seed, gain=0.0016), metric=metric, seed=seed)
        for seed in range(markets)
    ]
    named = sum(one.best == "reversion" and one.best_is_distinguishable for one in found)
    assert named >= 0.9 * markets


@pytest.mark.parametrize("metric", ["mean", "sharpe"])
@pytest.mark.parametrize("count", [2, 3, 6])
@AT_MOST
def test_equal_strategies_have_a_best_no_more_often_than_stated(markets, most, count, metric):
    found = sum(
        compare(returns_of(300, count, seed), metric=metric, seed=seed).best_is_distinguishable
        for seed in range(markets)
    )
    assert found <= most


@AT_MOST
def test_luckiest_of_six_does_not_beat_the_market_by_having_been_chosen(markets, most):
    chosen, alone = [], []
    for seed in range(markets):
        returns, market = returns_of(300, 6, seed), returns_of(300, 1, seed + 500)[:, 0]
        found = compare(returns, against=market, seed=seed, block=2)
        lucky = returns[:, [NAMES.index(found.best)]]
        chosen.append(found.against_p)
        alone.append(compare(lucky, against=market, seed=seed, block=2).against_p)
    assert sum(p <= 0.05 for p in chosen) <= most
    # As if it had been the only one it looks better than that.
    assert np.mean(alone) < np.mean(chosen) - 0.1


def test_equal_strategies_are_not_told_apart():
    returns = returns_of(500, 3, 4)
    returns[:, 1] = returns[:, 2]
    found = compare(returns + np.array([0.0, 0.003, 0.003]))
    assert found.best == "forest"
    assert found.could_be_best == ("forest", "breakout")
    assert not found.best_is_distinguishable
    assert "chance could have put it above breakout (p 1.000)" in found.verdict


def test_strategy_at_twice_the_leverage_has_the_same_sharpe_ratio():
    returns = returns_of(2000, 1, 4, gain=0.002)
    pair = np.column_stack([returns, 2.0 * returns])
    assert compare(pair, metric="sharpe").could_be_best == ("lstm", "forest")
    # In its mean return it is ahead.
    assert compare(pair, metric="mean").could_be_best == ("forest",)


@pytest.mark.parametrize("metric", ["mean", "sharpe"])
def test_strategy_that_never_traded_is_compared_with_its_zeros(metric):
    idle = np.zeros((2000, 1))
    losing = np.hstack([returns_of(2000, 2, 1) - 0.002, idle])
    found = compare(losing, metric=metric)
    assert (found.best, found.best_is_distinguishable) == ("breakout", True)
    winning = np.hstack([returns_of(2000, 2, 1, gain=0.004), idle])
    found = compare(winning, metric=metric)
    assert (found.best, p_values(found)["breakout"]) == ("forest", pytest.approx(1 / 301))


def test_strategies_that_never_traded_have_no_best():
    found = compare(np.zeros((100, 3)), against=returns_of(100, 1)[:, 0])
    assert found.could_be_best == ("lstm", "forest", "breakout")
    assert found.verdict.startswith("No best: all 3 have the same mean return over 100 bars.")


def test_constant_gain_over_a_strategy_is_beyond_chance():
    returns = returns_of(200, 1, 1)
    found = compare(np.hstack([returns, returns + 0.001]))
    assert p_values(found) == {"lstm": pytest.approx(1 / 301), "forest": 1.0}


def test_far_worse_strategies_do_not_hide_a_better_one():
    # The reason for Hansen's test: White's loses its power to poor rivals.
    returns, market = returns_of(600, 4, 3, gain=0.0013), returns_of(600, 1, 93)[:, 0]
    poor = 5.0 * returns_of(600, 20, 53) - 0.02
    crowd = np.hstack([returns, poor])
    few = compare(returns, against=market, block=3)
    many = superiority(
        crowd, [str(one) for one in range(24)], against=market, block=3, replications=300
    )
    assert few.against_p <= 0.025
    assert many.against_p == few.against_p
    white = SPA(-market, -crowd, block_size=3, reps=300, seed=0)
    white.compute()
    assert white.pvalues["upper"] > 0.5


def test_benchmark_is_spoken_of():
    returns, market = returns_of(2000, 3, 1, gain=0.0015), returns_of(2000, 1, 2)[:, 0]
    found = compare(returns, against=market, against_name="holding BTC/USDT")
    assert found.better_than_against == ("breakout",)
    assert found.verdict.endswith("breakout is better than holding BTC/USDT (p 0.003).")
    equal = compare(returns_of(2000, 3, 1), against=market)
    assert equal.better_than_against == ()
    assert "None of them is shown to be better than buy-and-hold (p " in equal.verdict


def test_single_strategy_is_held_against_the_benchmark_alone():
    returns, market = returns_of(2000, 1, 1, gain=0.0015), returns_of(2000, 1, 2)[:, 0]
    found = compare(returns, against=market)
    assert found.contenders[0].p_best is None
    assert not found.best_is_distinguishable
    assert (
        found.verdict == "Nothing to compare lstm with. lstm is better than buy-and-hold (p 0.003)."
    )
    assert compare(returns).verdict == "Nothing to compare lstm with."


@pytest.mark.parametrize("bars", [0, 1, 29])
def test_few_bars_tell_nothing_apart(bars):
    found = compare(returns_of(bars, 3), against=returns_of(bars, 1)[:, 0])
    assert p_values(found) == dict.fromkeys(NAMES[:3])
    assert (found.against_p, found.could_be_best, found.best_is_distinguishable) == (
        None,
        (),
        False,
    )
    assert found.verdict == (
        f"Too few bars to tell 3 strategies apart: {bars}, where 30 are the least."
    )


def test_thirty_bars_are_enough():
    assert compare(returns_of(30, 3)).contenders[0].p_best is not None


def test_no_more_than_three_others_are_named():
    verdict = compare(returns_of(300, 6, 5)).verdict
    assert verdict.count("(p ") == 3
    assert "and 2 more: no best is shown at 95% confidence." in verdict


def test_same_seed_gives_the_same_answer():
    returns = returns_of(300, 3)
    assert compare(returns, seed=3) == compare(returns, seed=3)
    assert compare(returns, seed=3) != compare(returns, seed=4)


def test_twelve_strategies_over_twenty_thousand_bars_take_seconds():
    returns = np.hstack([returns_of(20_000, 6, 1), returns_of(20_000, 6, 2)])
    started = time.process_time()
    superiority(returns, [str(one) for one in range(12)], replications=1000)
    assert time.process_time() - started < 15.0


@given(
    arrays(
        np.float64,
        st.tuples(st.sampled_from([0, 3, 31, 40]), st.integers(1, 3)),
        elements=st.sampled_from([0.0, 0.01, -0.01, 0.3, -0.9, 5.0]),
    ),
    st.sampled_from(["mean", "sharpe"]),
    st.booleans(),
)
def test_every_answer_is_json_without_nan(returns, metric, held):
    against = returns[:, 0] if held else None
    found = compare(returns, metric=metric, against=against, replications=5)
    text = json.dumps(found.model_dump(), allow_nan=False)
    assert Superiority.model_validate_json(text) == found
    assert found.verdict


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"returns": np.zeros(40)}, r"returns have shape \(40,\) and there are 2 names"),
        ({"returns": np.zeros((40, 3))}, r"shape \(40, 3\) and there are 2 names"),
        ({"returns": np.zeros((40, 0)), "names": ()}, "there are 0 names"),
        ({"returns": np.full((40, 2), np.nan)}, "returns: bar 0 holds nan"),
        ({"names": ("a", "a")}, "'a' occurs twice"),
        ({"against": np.zeros(39)}, r"against has shape \(39,\)"),
        ({"against": np.full(40, np.inf)}, "against: bar 0 holds inf"),
        ({"metric": "median"}, "metric is 'median': give one of mean, sharpe"),
        ({"replications": 0}, "replications is 0"),
        ({"block": 0}, "block is 0"),
        ({"level": 0.0}, "level is 0.0"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes, words):
    good = {"returns": np.zeros((40, 2)), "names": ("a", "b")}
    superiority(**good)
    with pytest.raises(ConfigError, match=words):
        superiority(**{**good, **changes})


def test_one_strategy_against_a_benchmark_has_the_p_value_of_the_spa_of_arch():
    returns, market = returns_of(300, 1, 7, gain=0.0016), returns_of(300, 1, 8)[:, 0]
    found = beats_benchmark(returns, market, seed=3, replications=300, block=5)
    test = SPA(-market, -returns, block_size=5, reps=300, seed=3)
    test.compute()
    assert found.p_value == pytest.approx(as_counted(test.pvalues["consistent"], 300))
    assert 0.0 < found.p_value < 1.0


@pytest.mark.parametrize("seed", range(4))
def test_many_against_a_benchmark_have_the_p_value_of_the_spa_of_arch_on_scaled_differences(seed):
    returns = returns_of(300, 6, seed, gain=0.0014) * [1.0, 3.0, 0.5, 1.0, 2.0, 1.0]
    returns[:, 3] -= 0.004
    market = returns_of(300, 1, seed + 50)[:, 0]
    gains = returns - market[:, None]
    sampler = StationaryBootstrap(5, gains, seed=np.random.default_rng(seed))
    deviation = sampler.apply(lambda sample: sample.mean(0), 300).std(axis=0)
    test = SPA(np.zeros(300), -gains / deviation, block_size=5, reps=300, nested=True, seed=seed)
    test.compute()
    found = beats_benchmark(returns, market, seed=seed, replications=300, block=5)
    assert found.p_value == pytest.approx(as_counted(test.pvalues["consistent"], 300))


@pytest.mark.parametrize("metric", ["mean", "sharpe"])
def test_benchmark_alone_is_tested_as_beside_all_comparisons(metric):
    returns, market = returns_of(500, 6, 1, gain=0.001), returns_of(500, 1, 2)[:, 0]
    found = beats_benchmark(returns, market, metric=metric, seed=1, replications=200, block=4)
    beside = compare(returns, against=market, metric=metric, seed=1, replications=200, block=4)
    assert found.p_values == tuple(one.p_against for one in beside.contenders)
    assert (found.p_value, found.strategies) == (beside.against_p, 6)


def test_block_of_a_test_is_the_longest_of_the_differences_from_the_benchmark():
    returns, market = returns_of(600, 100, 1), returns_of(600, 1, 2)[:, 0]
    held = np.repeat(np.random.default_rng(3).standard_normal(30), 20)
    for column in (0, 57, 99):
        # Alone among a hundred, each is looked at.
        slow = returns.copy()
        slow[:, column] = market + 0.01 * held
        assert beats_benchmark(slow, market, replications=1).block_length > 15
    assert beats_benchmark(returns, market, replications=1).block_length < 10


@pytest.mark.parametrize("metric", ["mean", "sharpe"])
@AT_MOST
def test_luckiest_of_many_beats_cash_no_more_often_than_stated(markets, most, metric):
    together, alone = [], []
    for seed in range(markets):
        returns = 0.01 * np.random.default_rng(seed).standard_normal((300, 40))
        options = {"metric": metric, "seed": seed, "replications": 200, "block": 2}
        found = beats_benchmark(returns, np.zeros(300), **options)
        together.append(found.is_beaten())
        lucky = returns[:, [int(np.argmin(found.p_values))]]
        alone.append(beats_benchmark(lucky, np.zeros(300), **options).is_beaten())
    assert sum(together) <= most
    # Tested as if it had been the only one: 1 - 0.975^40 = 64 in 100 are expected.
    assert sum(alone) >= 0.4 * markets


def test_truly_better_one_of_many_beats_the_benchmark():
    returns, market = returns_of(2000, 40, 1, gain=0.0015), returns_of(2000, 1, 2)[:, 0]
    found = beats_benchmark(returns, market, replications=300)
    assert found.is_beaten()
    assert np.argmin(found.p_values) == 39
    assert not beats_benchmark(returns[:, :-1], market, replications=300).is_beaten()


@pytest.mark.parametrize("bars", [0, 29])
def test_few_bars_give_a_test_without_a_p_value(bars):
    found = beats_benchmark(np.zeros((bars, 3)), np.zeros(bars))
    assert (found.p_value, found.p_values, found.block_length) == (None, (), None)
    assert not found.is_beaten()
    assert BenchmarkTest.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize("metric", ["mean", "sharpe"])
def test_strategies_that_are_the_benchmark_do_not_beat_it(metric):
    market = returns_of(200, 1, 1)[:, 0]
    found = beats_benchmark(
        np.column_stack([market, market]), market, metric=metric, replications=50
    )
    assert found.p_values == (1.0, 1.0)


def test_three_hundred_strategies_against_a_benchmark_take_seconds():
    returns, market = np.tile(returns_of(5000, 30, 1), 10), returns_of(5000, 1, 2)[:, 0]
    started = time.process_time()
    assert beats_benchmark(returns, market, metric="sharpe").strategies == 300
    assert time.process_time() - started < 20.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"returns": np.zeros(40)}, r"returns have shape \(40,\): give a row a bar"),
        ({"returns": np.zeros((40, 0))}, r"shape \(40, 0\)"),
        ({"returns": np.full((40, 2), np.nan)}, "returns: bar 0 holds nan"),
        ({"against": np.zeros(39)}, r"against has shape \(39,\)"),
        ({"metric": "median"}, "metric is 'median'"),
        ({"replications": 0}, "replications is 0"),
        ({"block": 0}, "block is 0"),
    ],
)
def test_test_against_a_benchmark_refuses_what_cannot_be_meant(changes, words):
    good = {"returns": np.zeros((40, 2)), "against": np.zeros(40)}
    beats_benchmark(**good)
    with pytest.raises(ConfigError, match=words):
        beats_benchmark(**{**good, **changes})
