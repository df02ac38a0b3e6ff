"""Pictures drawn with fewer points keep what stands out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from experiments.report.thinning import join_candles, joined_count, thin

series = arrays(np.float64, st.integers(1, 300), elements=st.floats(-1e6, 1e6))


@given(series, st.integers(4, 60))
def test_thinned_curve_keeps_ends_and_extremes_within_the_limit(values, limit):
    kept = thin(values, limit)
    assert len(kept) <= limit or len(values) <= limit
    assert (np.diff(kept) > 0).all()
    assert kept[0] == 0
    assert kept[-1] == len(values) - 1
    assert values[kept].max() == values.max()
    assert values[kept].min() == values.min()


def test_even_steps_would_have_lost_the_crash():
    values = np.zeros(10_000)
    values[4_321] = -90.0
    assert values[thin(values, 100)].min() == -90.0
    assert values[:: len(values) // 100].min() == 0.0


def test_short_curve_is_drawn_whole():
    assert thin(np.arange(5.0), 5).tolist() == [0, 1, 2, 3, 4]
    assert thin(np.zeros(0), 5).tolist() == []


@given(st.integers(1, 120), st.integers(1, 50))
def test_joined_candles_keep_first_open_last_close_extremes_and_volume(length, count):
    random = np.random.default_rng(length)
    time = np.arange(length) * 60_000
    ohlcv = random.uniform(1, 2, (length, 5))
    joined_time, joined = join_candles(time, ohlcv, count)
    for number, start in enumerate(range(0, length, count)):
        group = ohlcv[start : start + count]
        assert joined_time[number] == time[start]
        expected = [
            group[0, 0],
            group[:, 1].max(),
            group[:, 2].min(),
            group[-1, 3],
            group[:, 4].sum(),
        ]
        np.testing.assert_allclose(joined[number], expected, rtol=1e-12)
    assert len(joined) == -(-length // count)


@given(st.integers(0, 100_000), st.integers(1, 5000))
def test_no_more_candles_than_the_limit_are_drawn(length, limit):
    count = joined_count(length, limit)
    assert -(-length // count) <= limit
    assert count == 1 or length > limit
