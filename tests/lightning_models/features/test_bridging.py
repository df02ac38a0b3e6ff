"""Holes of a market that never closes are bridged by timestamp, and only they."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_models import simulate_market
from lightning_models.errors import CandleError
from lightning_models.features import FeatureSpec, bridge, compute_features
from lightning_models.timeframes import TIMEFRAMES, WEEK_ORIGIN_MS

HOUR = 3_600_000
CANDLES = simulate_market(candles=400, seed=5)[0]


def without(rows):
    keep = np.setdiff1d(np.arange(len(CANDLES)), rows)
    return CANDLES.time[keep], CANDLES.ohlcv[keep]


@given(holes=st.sets(st.integers(1, 398), max_size=120))
def test_every_hole_is_flat_at_the_last_close_without_volume(holes):
    time, ohlcv = without(sorted(holes))
    bridged = bridge(time, ohlcv, "1h")
    np.testing.assert_array_equal(bridged.time, CANDLES.time)
    assert np.flatnonzero(~bridged.real).tolist() == sorted(holes)
    np.testing.assert_array_equal(bridged.ohlcv[bridged.rows], ohlcv)
    for hole in holes:
        last = max(set(range(hole)) - holes)
        assert bridged.ohlcv[hole].tolist() == [CANDLES.ohlcv[last, 3]] * 4 + [0.0]


def test_nothing_is_added_before_the_first_candle_or_after_the_last():
    time, ohlcv = without([0, 1, 398, 399])
    bridged = bridge(time, ohlcv, "1h")
    assert bridged.real.all()
    assert len(bridged.time) == 396


def test_a_single_candle_and_no_candle_have_no_holes():
    for count in (0, 1):
        bridged = bridge(CANDLES.time[:count], CANDLES.ohlcv[:count], "1h")
        assert len(bridged.time) == len(bridged.rows) == count


def test_closing_hours_of_sessions_are_no_holes():
    time, ohlcv = without(range(100, 200))
    bridged = bridge(time, ohlcv, "1h", "sessions")
    assert bridged.real.all()
    assert len(bridged.time) == len(time)
    assert not bridge(time, ohlcv, "1h", "continuous").real.all()


@given(
    timeframe=st.sampled_from(sorted(TIMEFRAMES)),
    holes=st.sets(st.integers(1, 38), max_size=20),
)
def test_bars_stamped_at_their_end_are_the_same_candles(timeframe, holes):
    period = TIMEFRAMES[timeframe]
    opens = WEEK_ORIGIN_MS + 3000 * TIMEFRAMES["1w"] + period * np.setdiff1d(range(40), list(holes))
    ohlcv = CANDLES.ohlcv[: len(opens)]
    at_open, at_end = bridge(opens, ohlcv, timeframe), bridge(opens + period - 1, ohlcv, timeframe)
    np.testing.assert_array_equal(at_open.time, at_end.time)
    np.testing.assert_array_equal(at_open.real, at_end.real)


def test_a_stamp_far_off_is_refused_and_named():
    time, ohlcv = CANDLES.time.copy(), CANDLES.ohlcv
    time[-1] = 7_258_118_400_000
    with pytest.raises(CandleError, match=r"after row 398 .* before 2200-01-01.*must be wrong"):
        bridge(time, ohlcv, "1h")


def test_a_coarser_timeframe_taken_for_a_finer_one_is_refused():
    days = np.arange(3000) * 24 * 60 * 60_000
    with pytest.raises(CandleError, match="coarser timeframe"):
        bridge(days, np.ones((3000, 5)), "1m")


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([0, 2, 1], r"rows 1 and 2 .*out of order: sort the candles"),
        ([0, 1, 1], r"rows 1 and 2 .*it is there twice, .*drop doubles"),
    ],
)
def test_candles_out_of_order_or_doubled_are_refused(order, message):
    with pytest.raises(CandleError, match=message):
        bridge(CANDLES.time[order], CANDLES.ohlcv[order], "1h")


def test_two_finer_candles_in_one_period_are_refused():
    message = r"lie in the same 6h candle: .*finer timeframe than 6h; .*resample to 6h"
    with pytest.raises(CandleError, match=message):
        bridge(CANDLES.time, CANDLES.ohlcv, "6h")


def table(time, ohlcv):
    features = [FeatureSpec(name="close"), FeatureSpec(name="high")]
    return compute_features(time, ohlcv, features=features, timeframe="1h")


def brute_force(time, unusable, lookback, warmup, share):
    """Which grid rows may end a window, counted one by one."""
    known = {int(stamp): row for row, stamp in enumerate(time)}
    grid = range(int(time[0]), int(time[-1]) + HOUR, HOUR)
    ends = []
    for stamp in grid:
        if stamp not in known or known[stamp] in unusable:
            ends.append(False)
            continue
        window = [stamp - HOUR * back for back in range(lookback)]
        missing = sum(1 for each in window if each not in known and each >= grid[0])
        behind = 0
        row = known[stamp]
        while row >= 0 and row not in unusable:
            behind += 1
            row -= 1
        ends.append(behind >= lookback + warmup and missing <= share * lookback)
    return ends


@given(
    holes=st.sets(st.integers(1, 398), max_size=40),
    broken=st.sets(st.integers(0, 398), max_size=3),
    lookback=st.integers(1, 40),
    warmup=st.integers(0, 70),
    share=st.sampled_from([0.0, 0.05, 0.3]),
)
def test_windows_follow_the_share_of_bridged_candles(holes, broken, lookback, warmup, share):
    time, ohlcv = without(sorted(holes))
    ohlcv = ohlcv.copy()
    unusable = {row for row in broken if row < len(time)}
    ohlcv[sorted(unusable), 3] = np.nan
    found = table(time, ohlcv).ends_window(lookback, warmup, share)
    assert found.tolist() == brute_force(time, unusable, lookback, warmup, share)


def test_a_hole_after_an_unusable_candle_is_unusable_too():
    time, ohlcv = without([101, 102])
    ohlcv = ohlcv.copy()
    ohlcv[100] = np.nan
    steps = table(time, ohlcv).steps
    assert steps[99:105].tolist() == [100, 0, 0, 0, 1, 2]


@pytest.mark.parametrize("broken", [0.0, -1.0, np.inf, np.nan])
def test_bars_after_an_unusable_row_restart_as_if_the_data_started_there(broken):
    ohlcv = CANDLES.ohlcv.copy()
    ohlcv[150, 1] = broken
    restarted = table(CANDLES.time, ohlcv)
    fresh = table(CANDLES.time[151:], ohlcv[151:])
    np.testing.assert_array_equal(restarted.values[151:], fresh.values)
    np.testing.assert_array_equal(restarted.steps[151:], fresh.steps)
    assert not restarted.ends_window(10, 60, 0.05)[150 : 150 + 70].any()
    assert restarted.ends_window(10, 60, 0.05)[150 + 70]


def test_windows_over_real_holes_follow_the_five_per_cent_rule(real_hours):
    candles = real_hours("BTC_USDT").between(1_515_000_000_000, 1_521_000_000_000)
    lookback, warmup = 60, 60
    found = table(candles.time, candles.ohlcv).ends_window(lookback, warmup, 0.05)
    expected = brute_force(candles.time, set(), lookback, warmup, 0.05)
    assert found.tolist() == expected
    refused_for_holes = sum(expected[200:]) < int(
        table(candles.time, candles.ohlcv).real[200:].sum()
    )
    assert refused_for_holes
