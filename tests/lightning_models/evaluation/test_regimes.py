"""Regimes are told from the past alone, in any market and timeframe."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_models import simulate_market
from lightning_models.evaluation import REGIMES, UNKNOWN, regime_of_outcomes, regimes
from lightning_models.evaluation.regimes import regimes_of_closes

BULL, BEAR, SIDEWAYS = range(3)


def walk(seed, count=600, drift=0.0, deviation=0.01):
    steps = np.random.default_rng(seed).standard_normal(count)
    return 100.0 * np.exp(np.cumsum(drift + deviation * steps))


def centred(close, window):
    """Tell the regime of the middle of the window, which takes its later half to know."""
    later = regimes_of_closes(close, window)[window // 2 :]
    return np.concatenate([later, np.full(len(close) - len(later), UNKNOWN)])


def changed_by_the_future(rule, close, cut, window=40):
    return bool((rule(close, window)[:cut] != rule(close[:cut], window)).any())


@given(st.integers(0, 10_000), st.integers(1, 600), st.floats(-0.01, 0.01))
def test_what_comes_later_changes_no_regime(seed, cut, drift):
    assert not changed_by_the_future(regimes_of_closes, walk(seed, drift=drift), cut)


def test_a_centred_definition_is_changed_by_what_comes_later():
    assert any(changed_by_the_future(centred, walk(seed), 300) for seed in range(3))


def test_a_steady_rise_is_bull_a_steady_fall_bear_and_no_trend_sideways():
    assert (regimes_of_closes(walk(0, drift=0.01), 60)[60:] == BULL).mean() > 0.9
    assert (regimes_of_closes(walk(0, drift=-0.01), 60)[60:] == BEAR).mean() > 0.9
    saw = 100.0 + np.tile([0.0, 1.0], 100)
    assert (regimes_of_closes(saw, 20)[20:] == SIDEWAYS).all()


def test_a_rise_that_has_fallen_far_from_its_peak_is_no_longer_bull():
    random = np.random.default_rng(0)
    steps = np.concatenate([np.full(40, 0.02), np.full(12, -0.03)])
    close = np.exp(np.cumsum(steps + 0.002 * random.standard_normal(52)))
    found = regimes_of_closes(close, 50)
    assert close[-1] > close[-51]
    assert found[-1] == SIDEWAYS
    assert regimes_of_closes(close[:41], 30)[-1] == BULL


@given(st.integers(0, 100), st.sampled_from([1e-6, 1e6]), st.sampled_from([0.2, 5.0]))
def test_neither_price_nor_volatility_matters(seed, scale, stretch):
    close = walk(seed)
    expected = regimes_of_closes(close, 50)
    other = regimes_of_closes(scale * np.exp(stretch * np.log(close)), 50)
    assert (other == expected).mean() > 0.995  # but for a measure within rounding of a bound


def test_a_random_walk_spends_a_bit_more_than_a_quarter_in_bull_and_in_bear():
    found = np.concatenate([regimes_of_closes(walk(seed, 4000), 100)[100:] for seed in range(20)])
    shares = np.bincount(found, minlength=3) / len(found)
    assert shares[BULL] == pytest.approx(0.28, abs=0.05)
    assert shares[BEAR] == pytest.approx(0.28, abs=0.05)


def test_the_first_window_has_no_regime_and_a_price_that_never_moves_is_sideways():
    found = regimes_of_closes(np.full(50, 7.0), 30)
    assert (found[:30] == UNKNOWN).all()
    assert (found[30:] == SIDEWAYS).all()
    assert (regimes_of_closes(np.full(30, 7.0), 30) == UNKNOWN).all()


def test_the_window_is_thirty_days_of_candles_and_thirty_candles_at_least():
    hours, days = (
        simulate_market(candles=800, timeframe=timeframe, seed=1)[0] for timeframe in ("1h", "1w")
    )
    assert (regimes(hours) == regimes_of_closes(hours.ohlcv[:, 3], 720)).all()
    assert (regimes(days) == regimes_of_closes(days.ohlcv[:, 3], 30)).all()


def test_a_forecast_has_the_regime_of_its_own_symbol_when_it_was_made(outcomes_of):
    one, other = simulate_market(candles=900, symbols=("A/B", "C/D"), seed=2)
    rows = np.array([100, 750, 899])
    outcomes = outcomes_of(
        np.full(6, 0.5),
        np.full(6, 0.01),
        time=np.tile(one.time[rows] + one.period_ms - 1, 2),
        symbol=np.repeat([0, 1], 3),
    )
    found = regime_of_outcomes(outcomes, [one, other])
    assert found.tolist() == [*regimes(one)[rows], *regimes(other)[rows]]
    assert found[0] == UNKNOWN
    assert {REGIMES[position] for position in found[[1, 2, 4, 5]]} <= set(REGIMES)
