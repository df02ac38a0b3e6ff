from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_models.candles import read_candles, simulate_market, validate
from lightning_models.candles.simulation import START_MS, _SharedMoves, _simulate
from lightning_models.errors import ConfigError
from lightning_models.timeframes import TIMEFRAMES, floor_to_open

# The time that an example takes says nothing on a machine that others use.
UNHURRIED = settings(deadline=None, max_examples=60)

YEAR_MS = 365.25 * 86_400_000
ROWS = 60_000


def log_returns(candles):
    return np.log(candles.ohlcv[:, 3] / candles.ohlcv[:, 0])


def volume_deviation(candles, span=48):
    """Log volume over its trailing median, NaN until the span is full."""
    log_volume = pd.Series(np.log(candles.ohlcv[:, 4]))
    return (log_volume - log_volume.rolling(span).median()).to_numpy()


def autocorrelation(values, lag):
    return np.corrcoef(values[:-lag], values[lag:])[0, 1]


@pytest.fixture(scope="module")
def unpredictable():
    return simulate_market(candles=ROWS, symbols=("A", "B", "C"), seed=1)


@UNHURRIED
@given(
    candles=st.integers(2, 60),
    timeframe=st.sampled_from(sorted(TIMEFRAMES)),
    seed=st.integers(0, 2**40),
    signal=st.floats(-0.95, 0.95),
)
def test_every_candle_is_valid_and_opens_at_the_close_before_it(candles, timeframe, seed, signal):
    market = simulate_market(
        candles=candles, symbols=("A", "B"), timeframe=timeframe, seed=seed, signal=signal
    )
    for one in market:
        assert len(validate(one)) == candles
        assert (one.ohlcv[1:, 0] == one.ohlcv[:-1, 3]).all()
        assert set(np.diff(one.time)) <= {TIMEFRAMES[timeframe]}
        assert read_candles(one.to_frame()).fingerprint == one.fingerprint


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_the_first_open_time_is_a_stated_monday_on_every_bin(timeframe):
    first = int(simulate_market(candles=2, timeframe=timeframe)[0].time[0])
    assert first == START_MS == pd.Timestamp("2020-01-06", tz="UTC").timestamp() * 1000
    assert int(floor_to_open(np.array([START_MS]), timeframe)[0]) == START_MS


@UNHURRIED
@given(
    shorter=st.integers(2, 300),
    more=st.integers(0, 300),
    seed=st.integers(0, 100),
    signal=st.sampled_from([0.0, 0.3, -0.9]),
)
def test_a_longer_simulation_starts_with_the_same_candles(shorter, more, seed, signal):
    short = simulate_market(candles=shorter, symbols=("A",), seed=seed, signal=signal)[0]
    long = simulate_market(candles=shorter + more, symbols=("B", "A"), seed=seed, signal=signal)[1]
    assert long.between(None, int(short.time[-1]) + 1).fingerprint == short.fingerprint


def test_one_generator_for_everything_would_change_the_candles_already_drawn():
    """The control: drawing a second purpose after the first depends on the length."""

    def volumes(candles):
        generator = np.random.default_rng(4)
        generator.standard_normal(candles)
        return generator.standard_normal(candles)

    assert (volumes(60)[:50] != volumes(50)).all()


def test_the_seed_decides_everything():
    one, again, other = (simulate_market(candles=50, seed=seed)[0] for seed in (4, 4, 5))
    assert one.fingerprint == again.fingerprint
    assert one.fingerprint != other.fingerprint


def test_symbols_are_different_series():
    one, two = simulate_market(candles=50, symbols=("A", "B"))
    assert one.fingerprint != two.fingerprint


def test_tails_are_fat(unpredictable):
    for one in unpredictable:
        assert pd.Series(log_returns(one)).kurt() > 2
    # The control: normal returns have no excess kurtosis.
    normal = np.random.default_rng(0).standard_normal(ROWS)
    assert abs(pd.Series(normal).kurt()) < 0.1


def test_volatility_clusters_and_returns_do_not(unpredictable):
    for one in unpredictable:
        returns = log_returns(one)
        assert autocorrelation(np.abs(returns), 1) > 0.08
        assert autocorrelation(np.abs(returns), 24) > 0.05
        assert abs(autocorrelation(returns, 1)) < 0.02
    # The control: the same returns in random order have lost it.
    shuffled = np.random.default_rng(0).permutation(np.abs(log_returns(unpredictable[0])))
    assert abs(autocorrelation(shuffled, 1)) < 0.02


@pytest.mark.parametrize("timeframe", ["1m", "1h", "1d"])
def test_volatility_is_seventy_percent_a_year_in_every_timeframe(timeframe):
    returns = log_returns(simulate_market(candles=20_000, timeframe=timeframe, seed=2)[0])
    a_year = returns.std() * np.sqrt(YEAR_MS / TIMEFRAMES[timeframe])
    assert 0.6 < a_year < 0.8


def test_symbols_move_together(unpredictable):
    correlation = np.corrcoef([log_returns(one) for one in unpredictable])
    between = correlation[np.triu_indices(3, 1)]
    assert (between > 0.4).all()
    assert (between < 0.6).all()


def test_regimes_last_a_month_and_drift_as_stated():
    rows, day = 100_000, TIMEFRAMES["1d"]
    regime = _SharedMoves.draw(rows, seed=1, period=day).regime
    lengths = np.diff(np.flatnonzero(np.diff(regime)))
    assert lengths.mean() == pytest.approx(30, rel=0.1)
    assert np.bincount(regime) / rows == pytest.approx([1 / 3] * 3, abs=0.03)
    returns = log_returns(simulate_market(candles=rows, timeframe="1d", seed=1)[0])
    a_year = [returns[regime == each].mean() * 365.25 for each in range(3)]
    # Four standard errors of a mean over a third of the days.
    assert a_year == pytest.approx([0.9, 0.0, -0.9], abs=0.3)


def test_volume_is_larger_when_the_market_is_volatile(unpredictable):
    for one in unpredictable:
        log_volume = np.log(one.ohlcv[:, 4])
        spread = np.log(one.ohlcv[:, 1] / one.ohlcv[:, 2])
        assert np.corrcoef(log_volume, spread)[0, 1] > 0.1
        # The control: the same volumes in random order.
        noise = np.random.default_rng(0).permutation(log_volume)
        assert abs(np.corrcoef(noise, spread)[0, 1]) < 0.02


def test_volume_over_its_trailing_median_shows_the_driver():
    for candles, driver in _simulate(
        candles=ROWS, symbols=("A", "B"), timeframe="1h", seed=1, signal=0.3
    ):
        deviation = volume_deviation(candles)
        assert np.corrcoef(deviation[47:], driver[47:])[0, 1] > 0.85


@pytest.mark.parametrize("signal", [0.0, 0.3, -0.6, 0.95])
def test_driver_correlates_with_the_next_return_by_the_signal_and_no_other(signal):
    # Four standard errors of a correlation over 60,000 rows, with room for fat tails.
    tolerance = 0.02
    drivers = []
    for candles, driver in _simulate(
        candles=ROWS, symbols=("A", "B"), timeframe="1h", seed=1, signal=signal
    ):
        returns = log_returns(candles)
        assert np.corrcoef(driver[:-1], returns[1:])[0, 1] == pytest.approx(signal, abs=tolerance)
        assert np.corrcoef(driver, returns)[0, 1] == pytest.approx(0, abs=tolerance)
        assert np.corrcoef(driver[:-2], returns[2:])[0, 1] == pytest.approx(0, abs=tolerance)
        drivers.append(driver)
    assert np.corrcoef(drivers)[0, 1] == pytest.approx(0, abs=tolerance)


@pytest.mark.parametrize("signal", [0.0, 0.3])
def test_the_candles_alone_give_the_signal_back(signal):
    [(candles, driver)] = _simulate(
        candles=ROWS, symbols=("A",), timeframe="1h", seed=1, signal=signal
    )
    deviation, returns = volume_deviation(candles)[47:-1], log_returns(candles)[48:]
    reliability = np.corrcoef(deviation, driver[47:-1])[0, 1]
    seen = np.corrcoef(deviation, returns)[0, 1]
    assert seen / reliability == pytest.approx(signal, abs=0.02)


def test_the_signal_leaves_the_variance_as_it_is():
    for signal in (0.0, 0.3, 0.9):
        returns = log_returns(simulate_market(candles=ROWS, seed=1, signal=signal)[0])
        assert returns.std() * np.sqrt(YEAR_MS / 3_600_000) == pytest.approx(0.70, abs=0.04)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"candles": 1}, "candles is 1; simulate at least 2"),
        ({"signal": 0.96}, "signal is 0.96"),
        ({"signal": -1.0}, "signal is -1.0"),
        ({"signal": float("nan")}, "signal is nan"),
        ({"symbols": ()}, "symbols is empty"),
        ({"symbols": "A/USDT"}, r"give a tuple: \('A/USDT',\)"),
        ({"symbols": ("A", "B", "A")}, "symbol 'A' is repeated"),
        ({"symbols": ("A", " ")}, r"symbols\[1\] is empty"),
        ({"seed": -1}, "seed is -1"),
        ({"timeframe": "3h"}, "unknown timeframe '3h'"),
    ],
)
def test_an_impossible_market_is_refused(wrong, message):
    assert simulate_market(candles=2)
    with pytest.raises(ConfigError, match=message):
        simulate_market(**{"candles": 2, **wrong})
