"""What trials see, and what none of them does."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.tuning.development import cut_holdout
from lightning_models import simulate_market
from lightning_models.errors import CandleError, ConfigError

HOUR = 3_600_000


def test_all_symbols_are_cut_at_one_moment():
    long, short = simulate_market(candles=1000, symbols=("B/USDT", "A/USDT"))
    short = short.between(int(short.time[600]), None)
    found = cut_holdout([long, short], 0.2)
    assert [one.symbol for one in found.candles] == ["A/USDT", "B/USDT"]
    assert [len(one) for one in found.candles] == [200, 800]
    assert all(int(one.time[-1]) + HOUR == found.holdout_from for one in found.candles)
    assert found.holdout == 200
    assert [len(one) for one in found.whole] == [400, 1000]


def test_nothing_of_the_holdout_is_in_the_candles_of_the_trials():
    (market,) = simulate_market(candles=500)
    changed = market.ohlcv.copy()
    changed[425:] *= 3.0
    other = type(market)(
        symbol=market.symbol,
        timeframe=market.timeframe,
        market=market.market,
        time=market.time,
        ohlcv=changed,
        incomplete=market.incomplete,
    )
    seen, seen_otherwise = cut_holdout(market, 0.15), cut_holdout(other, 0.15)
    assert np.array_equal(seen.candles[0].ohlcv, seen_otherwise.candles[0].ohlcv)
    assert seen.fingerprint != seen_otherwise.fingerprint
    # A cut one candle later lets a changed one in.
    assert seen.candles[0].time[-1] + HOUR == market.time[425]


def test_a_symbol_that_was_listed_after_the_cut_is_in_the_holdout_alone():
    old, young = simulate_market(candles=1000, symbols=("A/USDT", "B/USDT"))
    young = young.between(int(young.time[950]), None)
    found = cut_holdout([old, young], 0.1)
    assert [one.symbol for one in found.candles] == ["A/USDT"]
    assert [one.symbol for one in found.whole] == ["A/USDT", "B/USDT"]


def test_without_a_holdout_the_trials_see_everything():
    (market,) = simulate_market(candles=300)
    found = cut_holdout(market, 0.0)
    assert found.holdout == 0
    assert found.candles[0].fingerprint == market.fingerprint


def test_what_cannot_be_cut_is_refused():
    one, two = simulate_market(candles=300, symbols=("A/USDT", "B/USDT"))
    with pytest.raises(ConfigError, match="no candles were given"):
        cut_holdout([], 0.1)
    with pytest.raises(ConfigError, match="A/USDT was given more than once"):
        cut_holdout([one, one], 0.1)
    with pytest.raises(CandleError, match="differ in timeframe"):
        cut_holdout([one, two.resample("4h")], 0.1)
    with pytest.raises(ConfigError, match="not on a DataFrame"):
        cut_holdout([one.to_frame()], 0.1)
