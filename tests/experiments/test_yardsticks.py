"""Whether a strategy's timing is told from the exposure it had."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from experiments.yardsticks import RandomExposure, random_exposure
from lightning_models.errors import ConfigError

HOURS = 8760.0

# At the 5 % level each bound is exceeded about four times in 1,000.
AT_MOST = pytest.mark.parametrize(
    ("markets", "most"), [(30, 5), pytest.param(100, 11, marks=pytest.mark.soak)]
)


def market_of(bars, seed=0, *, drift=0.0, volatility=0.006):
    return drift + volatility * np.random.default_rng(seed).standard_t(5, bars)


def random_positions(bars, seed=0, *, share=0.3, mean_bars=12):
    """Flat, long or short for stretches of random length, without a look at the market."""
    rng = np.random.default_rng(seed + 10_000)
    lengths = rng.geometric(1.0 / mean_bars, bars)
    kinds = rng.choice([0.0, 1.0, -1.0], size=bars, p=[1.0 - share, share / 2, share / 2])
    return np.repeat(kinds, lengths)[:bars]


def timed_positions(market, seed=0, *, skill):
    """Decided at a close: right about the next bar's direction more often than wrong."""
    rng = np.random.default_rng(seed + 20_000)
    following = np.sign(np.append(market[1:], 0.0))
    right = rng.random(len(market)) < 0.5 + skill / 2.0
    active = rng.random(len(market)) < 0.4
    return np.where(active, np.where(right, following, -following), 0.0)


def measure(positions, market, **changes) -> RandomExposure:
    return random_exposure(positions, market, **{"periods_per_year": HOURS, **changes})


def test_figures_agree_with_an_account_kept_bar_by_bar():
    bars, cost = 80, 0.001
    positions, market = random_positions(bars, 3, share=0.6), market_of(bars, 3)
    funding = 0.0001 * np.random.default_rng(1).standard_normal(bars)

    def account(shift):
        held = [positions[(bar - shift) % (bars - 1)] for bar in range(bars - 1)]
        equity, returns = 1.0, []
        for bar in range(bars - 1):
            earned = held[bar] * (market[bar + 1] - funding[bar + 1])
            paid = cost * abs(held[bar] - held[bar - 1])
            returns.append(earned - paid)
            equity *= 1.0 + earned - paid
        ratio = np.mean(returns) / np.std(returns, ddof=1) * np.sqrt(HOURS)
        return 100.0 * (equity - 1.0), ratio

    found = measure(positions, market, cost_per_turnover=cost, funding_rates=funding)
    block = found.block_length
    others = [account(shift) for shift in range(block, bars - 1 - block + 1)]
    own = account(0)
    assert found.bars == bars - 1
    assert found.distinct_shifts == len(others)
    assert found.exposure == pytest.approx(np.abs(positions[:-1]).mean())
    assert found.total_return_pct == pytest.approx(own[0])
    assert found.sharpe_ratio == pytest.approx(own[1])
    returns, ratios = np.array(others).T
    assert found.random_return_pct == pytest.approx(np.median(returns))
    assert found.random_return_low == pytest.approx(np.quantile(returns, 0.025))
    assert found.random_return_high == pytest.approx(np.quantile(returns, 0.975))
    assert found.random_sharpe == pytest.approx(np.median(ratios))
    assert found.random_sharpe_low == pytest.approx(np.quantile(ratios, 0.025))
    assert found.random_sharpe_high == pytest.approx(np.quantile(ratios, 0.975))
    assert found.percentile == pytest.approx(100.0 * np.mean(returns < own[0]))
    assert found.p_value == pytest.approx((1 + np.sum(returns >= own[0])) / (1 + len(others)))
    assert found.sharpe_p == pytest.approx((1 + np.sum(ratios >= own[1])) / (1 + len(others)))


def test_planted_timing_is_found():
    market = market_of(3000, 1)
    found = measure(timed_positions(market, skill=0.2), market, cost_per_turnover=0.0001)
    assert found.is_distinguishable()
    assert found.p_value == pytest.approx(1 / 1001)
    assert found.percentile == 100.0
    assert found.sharpe_percentile == 100.0
    assert found.total_return_pct > found.random_return_high
    assert found.words().startswith("Distinguishable from the same exposure held at random: +")
    # The same positions without the planted timing.
    assert not measure(timed_positions(market, skill=0.0), market).is_distinguishable()


@pytest.mark.parametrize("markets", [20, pytest.param(100, marks=pytest.mark.soak)])
def test_planted_timing_is_found_in_nearly_every_market(markets):
    # Stated error: at least 90 of 100 are found.
    found = 0
    for seed in range(markets):
        market = market_of(500, seed)
        positions = timed_positions(market, seed, skill=0.35)
        found += measure(positions, market, replications=200).p_value <= 0.05
    assert found >= 0.9 * markets


@AT_MOST
@pytest.mark.parametrize("drift", [0.0, 0.001])
def test_random_timing_is_rejected_no_more_often_than_stated(drift, markets, most):
    values = [
        measure(random_positions(400, seed), market_of(400, seed, drift=drift), replications=200)
        for seed in range(markets)
    ]
    assert sum(one.p_value <= 0.05 for one in values) <= most
    assert sum(one.sharpe_p <= 0.05 for one in values) <= most


@AT_MOST
def test_long_positions_in_a_rising_market_are_exposure_and_no_timing(markets, most):
    # Against zero such a strategy looks skilled in every market; against its own shifts it
    # does not.
    gained = found = 0
    for seed in range(markets):
        positions, market = np.abs(random_positions(600, seed)), market_of(600, seed, drift=0.002)
        one = measure(positions, market, replications=200)
        gained += one.total_return_pct > 0.0
        found += one.p_value <= 0.05
    assert gained >= 0.9 * markets
    assert found <= most


@pytest.mark.parametrize("size", [1.0, 0.4, -0.7])
def test_position_held_throughout_has_no_timing(size):
    found = measure(np.full(500, size), market_of(500, 1, drift=0.001))
    assert found.always_in_market
    assert (found.p_value, found.percentile, found.sharpe_p) == (1.0, 0.0, 1.0)
    assert found.random_return_low == pytest.approx(found.total_return_pct)
    assert not found.is_distinguishable()
    assert found.words().endswith("it is always in the market.")


def test_buying_at_the_second_bar_and_holding_has_no_timing():
    # The market falls hard once, on the one bar before the purchase: whoever takes that for
    # timing finds it the best of all shifts.
    market = market_of(500, 1, drift=0.001)
    market[1] = -0.3
    prices = np.cumprod(1.0 + market)
    units, cash = 0.97 / prices[1], 0.03
    positions = units * prices / (units * prices + cash)
    positions[0] = 0.0
    found = measure(positions, market)
    assert 0.95 <= positions[1:].min() < positions[1:].max() < 1.0
    assert (found.always_in_market, found.p_value) == (True, 1.0)
    # Held for nine tenths of the time the same fall is a time that was chosen.
    positions[:60] = 0.0
    assert not measure(positions, market).always_in_market


def test_leaving_the_market_once_is_timing():
    positions = np.ones(500)
    positions[250:254] = 0.0
    found = measure(positions, market_of(500, 1))
    assert not found.always_in_market
    assert found.p_value < 1.0


def test_stop_that_leaves_the_close_flat_makes_no_timing():
    # Long half of the time at random, and out at once on a bar that falls. The position at the
    # close knows that bar's return, so it must earn on the next one.
    market = market_of(2000, 5)
    held = np.abs(random_positions(2000, 5, share=0.5))
    at_close = np.where(market < -0.008, 0.0, held)
    assert measure(at_close, market).p_value > 0.05
    # Said to be held from the open, it would have avoided every fall.
    assert measure(at_close, market, held_from="open").p_value < 0.01


def test_position_held_from_the_open_earns_on_its_own_bar():
    market = market_of(400, 2)
    following = timed_positions(market, skill=0.5)
    from_open = np.roll(following, 1)
    from_open[0] = 0.0
    one, other = measure(following, market), measure(from_open[1:], market[1:], held_from="open")
    assert one == other


def test_costs_are_paid_alike_at_all_times():
    positions, market = random_positions(600, 4), market_of(600, 4)
    free, dear = measure(positions, market), measure(positions, market, cost_per_turnover=0.002)
    turned = np.abs(np.diff(positions[:-1], prepend=positions[-2])).sum()
    assert np.log1p(dear.total_return_pct / 100) == pytest.approx(
        np.log1p(free.total_return_pct / 100) - 0.002 * turned, rel=0.02
    )
    assert dear.random_return_pct < free.random_return_pct
    assert dear.percentile == pytest.approx(free.percentile, abs=5.0)


def test_funding_that_longs_pay_is_earned_by_shorts():
    positions, market = np.abs(random_positions(600, 4)), np.zeros(600)
    long = measure(positions, market, funding_rates=0.0001)
    short = measure(-positions, market, funding_rates=np.full(600, 0.0001))
    assert long.total_return_pct == pytest.approx(
        100 * (0.9999 ** positions[:-1].sum() - 1), rel=1e-6
    )
    assert short.total_return_pct == pytest.approx(
        100 * (1.0001 ** positions[:-1].sum() - 1), rel=1e-6
    )


def test_several_symbols_are_shifted_together():
    market = np.stack([market_of(2000, seed) for seed in (1, 2)], axis=1)
    positions = 0.5 * np.stack(
        [timed_positions(column, seed, skill=0.2) for seed, column in enumerate(market.T)], axis=1
    )
    found = measure(positions, market)
    assert found.exposure == pytest.approx(np.abs(positions[:-1]).sum(axis=1).mean())
    assert found.is_distinguishable()
    # One symbol of them, and another without a position, are that one alone.
    alone = measure(positions[:, 0], market[:, 0])
    positions[:, 1] = 0.0
    assert measure(positions, market) == alone


def test_market_that_never_moves_shows_no_timing():
    found = measure(random_positions(300, 1), np.full(300, 0.0), cost_per_turnover=0.001)
    assert (found.p_value, found.sharpe_p) == (1.0, 1.0)


def test_account_that_is_lost_stays_lost():
    market = np.tile([0.5, -0.6, 0.4, -0.3, 0.5], 20)
    found = measure(np.where(np.arange(100) < 50, 2.0, 1.0), market, held_from="open")
    assert found.total_return_pct == -100.0
    assert found.random_return_pct == -100.0
    assert found.p_value == 1.0


def test_more_trials_ask_for_more_evidence():
    market = market_of(3000, 1)
    found = measure(timed_positions(market, skill=0.2), market)
    assert found.is_distinguishable()
    assert not found.is_distinguishable(trials=100)
    assert found.words(trials=100).startswith("Not distinguishable")


def test_no_position_leaves_nothing_to_shift():
    found = measure(np.zeros(500), market_of(500))
    assert (found.exposure, found.p_value, found.total_return_pct) == (0.0, None, None)
    assert found.words().startswith("No position was held")


def test_few_bars_give_no_answer():
    positions = random_positions(31, share=0.9)
    short = measure(positions[:30], market_of(30))
    assert (short.bars, short.p_value) == (29, None)
    assert short.words().startswith("Too few bars to hold the same exposure at random: 29")
    assert measure(positions, market_of(31)).p_value is not None


def test_offsets_keep_a_block_away_and_differ():
    positions = random_positions(5000, 2, mean_bars=30)
    found = measure(positions, market_of(5000, 2), replications=300)
    assert found.block_length >= 1
    assert found.distinct_shifts == 300
    every = measure(positions[:200], market_of(200, 2))
    assert every.distinct_shifts == 199 - 2 * every.block_length + 1


def test_same_seed_gives_the_same_answer():
    positions, market = random_positions(3000, 1), market_of(3000, 2)
    few = {"replications": 50}
    assert measure(positions, market, seed=3, **few) == measure(positions, market, seed=3, **few)
    assert measure(positions, market, seed=3, **few) != measure(positions, market, seed=4, **few)


@given(
    arrays(np.float64, st.tuples(st.just(2), st.integers(0, 45)), elements=st.floats(-0.9, 5.0)),
    st.sampled_from(["close", "open"]),
    st.sampled_from([0.0, 0.1]),
)
def test_every_answer_is_json_without_nan(given_series, held_from, cost):
    found = measure(*given_series, held_from=held_from, cost_per_turnover=cost, replications=5)
    text = json.dumps(found.model_dump(), allow_nan=False)
    assert RandomExposure.model_validate_json(text) == found
    assert found.words()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"market_returns": np.zeros(39)}, r"shape \(40,\) and the market's returns \(39,\)"),
        ({"positions": np.full(40, np.nan)}, "positions: bar 0 is nan"),
        ({"market_returns": np.full(40, np.inf)}, "market_returns: bar 0 is inf"),
        ({"funding_rates": np.zeros(39)}, r"funding_rates have shape \(39,\)"),
        ({"funding_rates": np.nan}, "funding_rates: bar 0 is nan"),
        ({"periods_per_year": 0.0}, "periods_per_year is 0.0"),
        ({"periods_per_year": np.nan}, "periods_per_year is nan"),
        ({"held_from": "signal"}, "held_from is 'signal'"),
        ({"cost_per_turnover": 4.0}, "cost_per_turnover is 4.0"),
        ({"cost_per_turnover": -0.1}, "cost_per_turnover is -0.1"),
        ({"replications": 0}, "replications is 0"),
        ({"level": 1.0}, "level is 1.0"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes, words):
    good = {"positions": np.ones(40), "market_returns": np.zeros(40), "periods_per_year": HOURS}
    random_exposure(**good)
    with pytest.raises(ConfigError, match=words):
        random_exposure(**{**good, **changes})
