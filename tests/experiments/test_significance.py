"""Whether a verdict on a strategy's returns says no more than they allow."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from experiments.deflation import DeflatedSharpe
from experiments.significance import (
    MINIMUM_TRADES,
    Significance,
    annualised_sharpe,
    is_distinguishable,
    measure_significance,
    sharpes_of_sums,
    verdict,
)
from experiments.yardsticks import random_exposure
from lightning_models.errors import ConfigError

HOURS = 8760.0


def market(bars: int, seed: int = 0, *, drift: float = 0.0, volatility: float = 0.006):
    return drift + volatility * np.random.default_rng(seed).standard_t(5, bars)


def measure(returns, benchmark, **changes) -> Significance:
    options = {"periods_per_year": HOURS, "trades": 200, "replications": 300, **changes}
    return measure_significance(returns, benchmark, **options)


def test_sharpe_ratio_agrees_with_its_definition():
    returns = market(500, 1)
    expected = returns.mean() / returns.std(ddof=1) * np.sqrt(HOURS)
    assert annualised_sharpe(returns, HOURS) == pytest.approx(expected, rel=1e-9)
    assert measure(returns, market(500, 2)).sharpe_ratio == pytest.approx(expected, rel=1e-9)


def test_sharpe_ratios_of_sums_agree_with_their_definition():
    returns = np.stack([market(300, seed, drift=0.0005) for seed in range(4)] + [np.full(300, 0.1)])
    sums = np.stack([returns.sum(1), np.square(returns).sum(1)], axis=1)
    expected = returns[:4].mean(1) / returns[:4].std(1, ddof=1) * np.sqrt(HOURS)
    assert sharpes_of_sums(sums, 300, HOURS) == pytest.approx([*expected, 0.0])


def test_sharpe_interval_of_noise_agrees_with_lo_2002():
    # For independent returns the standard error of a per-bar ratio is sqrt((1 + SR^2/2) / T).
    returns = np.random.default_rng(4).standard_normal(4000) * 0.01
    found = measure(returns, market(4000, 5), replications=1000)
    ratio = returns.mean() / returns.std(ddof=1)
    expected = 2 * 1.96 * np.sqrt((1 + ratio**2 / 2) / 4000 * HOURS)
    assert found.sharpe_high - found.sharpe_low == pytest.approx(expected, rel=0.15)


def test_excess_return_is_the_mean_difference_times_bars_a_year():
    returns, benchmark = market(3000, 1), market(3000, 2)
    found = measure(returns, benchmark)
    assert found.excess_return == pytest.approx((returns - benchmark).mean() * HOURS)
    assert found.excess_low < found.excess_return < found.excess_high


def test_p_value_that_passes_never_stands_beside_an_interval_that_reaches_zero():
    passed = 0
    for seed in range(12):
        found = measure(market(2500, seed, drift=0.0003), market(2500, seed + 50))
        for p, low in ((found.sharpe_p, found.sharpe_low), (found.excess_p, found.excess_low)):
            passed += p <= 0.025
            assert p > 0.025 or low > 0
    assert 0 < passed < 24


def test_luck_passes_for_an_edge_no_more_often_than_stated():
    # Stated error: at most 8 of 100 strategies without an edge at a one-sided 2.5 % level; a
    # true rate of 0.025 exceeds that twice in 1,000 times.
    found = sum(
        measure(market(400, seed), market(400, seed + 1000), seed=seed).beats_luck
        for seed in range(100)
    )
    assert found <= 8


def test_planted_edge_is_found():
    found = measure(market(4000, 1, drift=0.0006), market(4000, 2))
    assert found.beats_luck
    assert found.beats_market
    assert verdict(found).startswith("Distinguishable from luck and from buy-and-hold")
    assert verdict(found).endswith("promises nothing.")


def test_a_leveraged_market_is_no_edge_over_the_market():
    benchmark = market(4000, 3, drift=0.0005)
    found = measure(0.3 * benchmark, benchmark)
    assert found.beats_luck
    assert not found.beats_market
    assert verdict(found).startswith("Distinguishable from luck but not from buy-and-hold")


def test_returns_without_an_edge_get_a_verdict_that_says_so():
    words = verdict(measure(market(4000, 6), market(4000, 7)))
    assert words.startswith("No edge found: not distinguishable from luck nor from buy-and-hold")
    assert "95% confidence after one trial" in words
    assert "4,000 bars and 200 trades" in words


def test_more_trials_ask_for_more_evidence():
    returns, benchmark = market(4000, 1, drift=0.0003), market(4000, 2)
    one = measure(returns, benchmark, replications=1000)
    many = measure(returns, benchmark, replications=1000, trials=1000)
    assert one.beats_luck
    assert not many.beats_luck
    assert "after 1,000 trials" in verdict(many)


def test_few_trades_never_make_an_edge():
    returns, benchmark = market(4000, 1, drift=0.0006), market(4000, 2)
    few = measure(returns, benchmark, trades=MINIMUM_TRADES - 1)
    assert not few.beats_luck
    assert verdict(few).startswith("Too few trades for a verdict")
    # The same returns with one trade more do pass.
    assert measure(returns, benchmark, trades=MINIMUM_TRADES).beats_luck


def test_what_the_model_has_seen_is_never_called_an_edge():
    found = measure(market(4000, 1, drift=0.0006), market(4000, 2))
    for period in ("in_sample", "mixed"):
        assert verdict(found, period=period).startswith(
            "No evidence of an edge: the model had seen"
        )
    assert verdict(found, period="out_of_sample").startswith("Distinguishable from luck")


def test_edge_is_distinguishable_only_where_the_verdict_says_so():
    returns, benchmark = market(4000, 1, drift=0.0006), market(4000, 2)
    found = measure(returns, benchmark)
    assert is_distinguishable(found)
    # The same returns over bars the model had seen, with fewer trades, after many trials.
    assert not is_distinguishable(found, period="in_sample")
    assert not is_distinguishable(found, period="mixed")
    assert not is_distinguishable(measure(returns, benchmark, trades=MINIMUM_TRADES - 1))
    assert not is_distinguishable(measure(returns, benchmark, trials=100_000))
    assert not is_distinguishable(measure(market(4000, 6), benchmark))


def timed_and_untimed():
    moves = market(3000, 3, drift=0.0002)
    right = np.append(np.sign(moves[1:]), 0.0)
    guesses = np.random.default_rng(1).random(3000)
    timed = np.where(guesses < 0.2, right, 0.0)
    untimed = np.where(guesses < 0.2, 1.0, 0.0)
    return moves, timed, untimed


def test_verdict_says_whether_the_exposure_alone_explains_the_return():
    moves, timed, untimed = timed_and_untimed()
    for positions, words in (
        (timed, " Distinguishable from the same exposure held at random: +"),
        (untimed, " Not distinguishable from the same exposure held at random: "),
    ):
        earned = np.append(0.0, positions[:-1] * moves[1:])
        found = measure(earned, moves)
        at_random = random_exposure(positions, moves, periods_per_year=HOURS)
        assert words in verdict(found, exposure=at_random)
        assert "at random" not in verdict(found)


def test_timing_is_judged_after_all_trials():
    moves, timed, _ = timed_and_untimed()
    at_random = random_exposure(timed, moves, periods_per_year=HOURS)
    one, many = (
        verdict(measure(timed * moves, moves, trials=trials), exposure=at_random)
        for trials in (1, 1000)
    )
    assert "Distinguishable from the same exposure" in one
    assert "Not distinguishable from the same exposure" in many


def test_verdict_says_what_the_trials_leave_of_the_sharpe_ratio():
    deflated = DeflatedSharpe(
        bars=4000, trials=40, sharpe=0.05, expected_maximum=0.03, probability=0.91
    )
    words = verdict(measure(market(4000, 1, drift=0.0006), market(4000, 2)), deflated=deflated)
    assert "Deflated Sharpe ratio 0.91 after 40 trials: not distinguishable from the best" in words
    assert words.endswith(" This describes the period tested and promises nothing.")


def test_more_evidence_adds_to_a_verdict_and_changes_nothing_in_it():
    moves, timed, _ = timed_and_untimed()
    at_random = random_exposure(timed, moves, periods_per_year=HOURS)
    for trades in (200, 3):
        for period in ("out_of_sample", "in_sample"):
            found = measure(market(3000, 6), moves, trades=trades)
            short = verdict(found, period=period)
            assert verdict(found, period=period, exposure=at_random) == (
                f"{short} {at_random.words()}"
            )
    for found in (measure(np.zeros(0), np.zeros(0), trades=0), measure(moves[:9], moves[:9])):
        assert verdict(found, exposure=at_random) == verdict(found)


def test_no_trades_give_no_verdict():
    found = measure(np.zeros(1000), market(1000), trades=0)
    assert (found.sharpe_ratio, found.sharpe_p) == (None, None)
    assert verdict(found).startswith("No trades, so no verdict")


def test_few_bars_give_no_verdict():
    found = measure(market(29), market(29, 1), trades=40)
    assert found.sharpe_low is None
    assert verdict(found).startswith("Too few bars for a verdict")
    assert measure(market(30), market(30, 1)).sharpe_low is not None


def test_no_bars_give_no_verdict():
    assert verdict(measure(np.zeros(0), np.zeros(0), trades=0)).startswith("No bars")


def test_annualised_excess_is_withheld_under_ninety_days():
    bars = 90 * 24
    short = measure(market(bars - 1), market(bars - 1, 1))
    assert (short.excess_return, short.excess_low, short.excess_high) == (None, None, None)
    assert short.excess_p is not None
    assert "not annualised under 90 days" in verdict(short)
    assert measure(market(bars), market(bars, 1)).excess_return is not None


def test_holding_the_market_is_told_as_that():
    benchmark = market(3000, 3)
    assert "Its returns are those of buy-and-hold." in verdict(measure(benchmark, benchmark))


def test_same_seed_gives_the_same_answer():
    returns, benchmark = market(400, 1), market(400, 2)
    assert measure(returns, benchmark, seed=3) == measure(returns, benchmark, seed=3)
    assert measure(returns, benchmark, seed=3) != measure(returns, benchmark, seed=4)


@given(
    arrays(np.float64, st.tuples(st.just(2), st.integers(0, 60)), elements=st.floats(-0.9, 5.0)),
    st.integers(0, 100),
    st.sampled_from([52.0, 252.0, 8760.0, 525_600.0]),
)
def test_every_answer_is_json_without_nan(returns, trades, periods):
    found = measure_significance(
        returns[0], returns[1], periods_per_year=periods, trades=trades, replications=5
    )
    text = json.dumps(found.model_dump(), allow_nan=False)
    assert Significance.model_validate_json(text) == found
    assert verdict(found)


def test_a_thousand_replicates_of_ten_thousand_bars_take_seconds():
    returns, benchmark = market(10_000, 1), market(10_000, 2)
    started = time.process_time()
    measure(returns, benchmark, replications=1000)
    assert time.process_time() - started < 15.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"benchmark": np.zeros(9)}, r"shape \(10,\) and the benchmark's \(9,\)"),
        ({"returns": np.full(10, np.nan)}, "returns: bar 0 is nan"),
        ({"benchmark": np.full(10, np.inf)}, "benchmark: bar 0 is inf"),
        ({"periods_per_year": 0.0}, "periods_per_year is 0.0"),
        ({"periods_per_year": np.nan}, "periods_per_year is nan"),
        ({"trades": -1}, "trades -1"),
        ({"trials": 0}, "trials 0"),
        ({"replications": 0}, "replications 0"),
        ({"level": 1.0}, "level is 1.0"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes, words):
    good = {
        "returns": np.zeros(10),
        "benchmark": np.zeros(10),
        "periods_per_year": HOURS,
        "trades": 1,
    }
    measure_significance(**good)
    with pytest.raises(ConfigError, match=words):
        measure_significance(**{**good, **changes})
