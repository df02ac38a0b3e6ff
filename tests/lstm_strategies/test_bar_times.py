from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_models.timeframes import TIMEFRAMES, floor_to_open, period_ms
from lstm_strategies.bar_times import closes_of, is_closed, opens_of

NATIVE = SimpleNamespace(resampling=0, replaying=False)
RESAMPLED = SimpleNamespace(resampling=1, replaying=False)
REPLAYED = SimpleNamespace(resampling=1, replaying=True)

timeframes = st.sampled_from(list(TIMEFRAMES))
moments = st.integers(0, 4_102_444_800_000)


@given(timeframes, moments, st.floats(0, 1, exclude_max=True))
def test_any_stamp_inside_a_candle_belongs_to_it(timeframe, moment, share):
    opened = int(floor_to_open(np.array([moment]), timeframe)[0])
    stamp = opened + int(share * period_ms(timeframe))
    assert opens_of(NATIVE, np.array([stamp]), timeframe).tolist() == [opened]


@pytest.mark.parametrize("data", [RESAMPLED, REPLAYED])
@given(timeframe=timeframes, moment=moments, early=st.booleans())
def test_border_is_the_end_of_a_bar_that_backtrader_made(data, timeframe, moment, early):
    opened = floor_to_open(np.array([moment]), timeframe)
    end = opened + period_ms(timeframe) - early
    assert opens_of(data, end, timeframe).tolist() == opened.tolist()


@given(timeframes, moments)
def test_close_is_never_taken_for_later_than_the_stamp_allows(timeframe, moment):
    stamp = np.array([moment])
    (closes,) = closes_of(stamp, timeframe).tolist()
    assert moment <= closes < moment + period_ms(timeframe)
    assert floor_to_open(np.array([closes]), timeframe).tolist() == [closes]


@given(timeframes, moments)
def test_replayed_bar_is_closed_in_its_last_millisecond_only(timeframe, moment):
    opened = int(floor_to_open(np.array([moment]), timeframe)[0])
    end = opened + period_ms(timeframe)
    assert is_closed(end, timeframe)
    assert is_closed(end - 1, timeframe)
    assert not is_closed(end - 2, timeframe)
    assert not is_closed(opened + 1, timeframe)
