from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_models.candles import Candles, resample, simulate_market, validate
from lightning_models.errors import ConfigError
from lightning_models.timeframes import TIMEFRAMES, floor_to_open

# The time that an example takes says nothing on a machine that others use.
UNHURRIED = settings(deadline=None, max_examples=60)

HOUR = 3_600_000
DAY = 24 * HOUR
MONDAY = 4 * DAY  # 1970-01-05


def hours(at: list[int], market: str = "continuous") -> Candles:
    ohlcv = [[10.0 + h, 20.0 + h, 5.0 + h, 11.0 + h, 1.0] for h in at]
    return Candles("X", "1h", market, [h * HOUR for h in at], ohlcv)


@st.composite
def candles_with_holes(draw, market=None):
    rows = draw(st.integers(1, 120))
    shift = draw(st.integers(0, 30))
    kept = np.array(draw(st.lists(st.booleans(), min_size=rows, max_size=rows)), dtype=bool)
    whole = simulate_market(candles=rows + shift + 1, seed=draw(st.integers(0, 3)))[0]
    chosen = np.flatnonzero(kept) + shift
    market = market or draw(st.sampled_from(["continuous", "sessions"]))
    return Candles("X", "1h", market, whole.time[chosen], whole.ohlcv[chosen])


COARSER = st.sampled_from(["2h", "4h", "6h", "8h", "12h", "1d"])


def assert_starts_with(longer: Candles, shorter: Candles) -> None:
    rows = len(shorter)
    assert rows <= len(longer)
    np.testing.assert_array_equal(longer.time[:rows], shorter.time)
    np.testing.assert_array_equal(longer.ohlcv[:rows], shorter.ohlcv)
    np.testing.assert_array_equal(longer.incomplete[:rows], shorter.incomplete)


def test_a_coarser_candle_is_made_of_its_parts():
    candle = hours([0, 1, 2, 3, 4, 5]).resample("6h")
    assert candle.timeframe == "6h"
    assert candle.time.tolist() == [0]
    assert candle.ohlcv.tolist() == [[10.0, 25.0, 5.0, 16.0, 6.0]]
    assert candle.incomplete.tolist() == [False]


def test_unfinished_candle_is_never_emitted():
    assert hours([0, 1, 2, 3, 4]).resample("6h").time.tolist() == []
    assert hours([0, 1, 2, 3, 4, 5, 6]).resample("6h").time.tolist() == [0]


def test_candle_is_emitted_once_its_last_part_has_closed():
    candle = hours([0, 5]).resample("6h")
    assert candle.time.tolist() == [0]
    assert candle.incomplete.tolist() == [True]


def test_candle_without_its_last_part_is_emitted_once_a_later_candle_exists():
    parts = [0, 1, 2, 3, 4]
    assert len(hours(parts).resample("6h")) == 0
    assert hours([*parts, 7]).resample("6h").time.tolist() == [0]
    assert hours([*parts, 7]).resample("6h").incomplete.tolist() == [True]


def test_empty_bin_stays_a_hole():
    assert hours([5, 12, 17]).resample("6h").time.tolist() == [0, 12 * HOUR]


def test_weeks_begin_on_monday():
    time = MONDAY + DAY * np.arange(-3, 9)
    days = Candles("X", "1d", "continuous", time, np.tile([1.0, 1, 1, 1, 1], (12, 1)))
    weeks = days.resample("1w")
    assert weeks.time.tolist() == [MONDAY - 7 * DAY, MONDAY]
    assert weeks.incomplete.tolist() == [True, False]


def test_closing_hours_make_no_candle_incomplete():
    assert hours([0, 5], market="sessions").resample("6h").incomplete.tolist() == [False]
    assert hours([0, 5], market="continuous").resample("6h").incomplete.tolist() == [True]


@pytest.mark.parametrize("market", ["continuous", "sessions"])
def test_a_part_that_was_incomplete_makes_the_whole_incomplete(market):
    candles = replace(hours([0, 1], market), incomplete=np.array([False, True]))
    assert candles.resample("2h").incomplete.tolist() == [True]
    assert hours([0, 1], market).resample("2h").incomplete.tolist() == [False]


def test_the_same_timeframe_returns_the_candles_themselves():
    candles = hours([0, 1])
    assert candles.resample("1h") is candles


@pytest.mark.parametrize(
    ("have", "want", "message"),
    [
        ("1h", "30m", "30m is finer than 1h"),
        ("8h", "12h", "12h is no multiple of 8h, .*; ask for 8h, 1d or 1w"),
        ("1w", "1d", "1d is finer than 1w, .*; ask for 1w"),
        ("1h", "6hours", "unknown timeframe '6hours'"),
    ],
)
def test_a_timeframe_that_cannot_be_made_is_refused(have, want, message):
    candles = simulate_market(candles=3, timeframe=have)[0]
    with pytest.raises(ConfigError, match=message):
        candles.resample(want)


@UNHURRIED
@given(candles=candles_with_holes(), timeframe=COARSER, data=st.data())
def test_what_was_emitted_never_changes_when_more_candles_come(candles, timeframe, data):
    rows = data.draw(st.integers(0, len(candles)))
    prefix = replace(
        candles, time=candles.time[:rows], ohlcv=candles.ohlcv[:rows], incomplete=np.zeros(rows)
    )
    assert_starts_with(candles.resample(timeframe), prefix.resample(timeframe))


def test_emitting_unfinished_candles_would_change_what_was_emitted():
    """The control: pandas emits a bin with its first part."""

    def closes(candles: Candles) -> list[float]:
        frame = candles.to_frame().set_index("timestamp")
        return frame["close"].resample("6h").last().dropna().tolist()

    assert closes(hours([0, 1, 2])) != closes(hours([0, 1, 2, 3, 4, 5]))[:1]


@UNHURRIED
@given(candles=candles_with_holes(), timeframe=COARSER)
def test_resampling_agrees_with_pandas_on_every_candle_it_emits(candles, timeframe):
    coarse = validate(candles.resample(timeframe))
    frame = candles.to_frame().set_index("timestamp")
    expected = (
        frame.resample(pd.Timedelta(milliseconds=TIMEFRAMES[timeframe]), origin="epoch")
        .agg({"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"})
        .dropna()
    )
    assert len(expected) - len(coarse) in (0, 1)
    np.testing.assert_allclose(coarse.ohlcv, expected.to_numpy()[: len(coarse)], rtol=1e-12)


@UNHURRIED
@given(candles=candles_with_holes(market="continuous"), timeframe=COARSER)
def test_a_candle_is_incomplete_exactly_where_it_lacks_parts(candles, timeframe):
    coarse = candles.resample(timeframe)
    parts = TIMEFRAMES[timeframe] // HOUR
    bins = floor_to_open(candles.time, timeframe)
    counted = np.array([(bins == open_).sum() for open_ in coarse.time], dtype=int)
    np.testing.assert_array_equal(coarse.incomplete, counted < parts)


@UNHURRIED
@given(candles=candles_with_holes(), first=st.sampled_from(["2h", "4h", "6h", "12h"]))
def test_in_two_steps_as_in_one(candles, first):
    at_once = candles.resample("1d")
    in_steps = candles.resample(first).resample("1d")
    rows = len(in_steps)
    assert len(at_once) - rows in (0, 1)
    np.testing.assert_array_equal(at_once.time[:rows], in_steps.time)
    np.testing.assert_allclose(at_once.ohlcv[:rows], in_steps.ohlcv, rtol=1e-12)
    np.testing.assert_array_equal(at_once.incomplete[:rows], in_steps.incomplete)


def test_no_candles_give_no_candles():
    empty = hours([0]).between(0, 0)
    assert len(resample(empty, "6h")) == 0
    assert resample(empty, "6h").timeframe == "6h"
