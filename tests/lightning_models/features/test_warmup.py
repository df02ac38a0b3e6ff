"""A feature's warm-up is honest: where the data starts no longer shows after it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_models import simulate_market
from lightning_models.features import FEATURES, FeatureSpec
from lightning_models.features.compute import warmup_of

LENGTH = 1800
TOLERANCE = 1e-6
# The averages in a ratio fade alike on flat candles: a tiny first move shows them once more.
AFTER_A_FLAT_STRETCH = 1e-5
RECURSIVE = ["adx", "atr", "ema_12", "ema_26", "ema_fast", "ema_slow", "macd", "macd_histogram"]
RECURSIVE += ["macd_signal", "rsi"]


def market(seed, flat):
    ohlcv = simulate_market(candles=LENGTH, seed=seed, timeframe="1h")[0].ohlcv.copy()
    for first, length in flat:
        last = min(first + length, LENGTH)
        # Trading goes on from where it stopped.
        ohlcv[last:, :4] *= ohlcv[first - 1, 3] / ohlcv[last - 1, 3]
        ohlcv[first:last, :4] = ohlcv[first - 1, 3]
        ohlcv[first:last, 4] = 0.0
    return ohlcv


def trace_of_the_start(name, ohlcv, start, warmup):
    """Return by how much a start at `start` shows after `warmup` candles, in scaled units."""
    spec = FeatureSpec(name=name)
    whole = spec.definition.compute(ohlcv, **spec.parameters)
    late = spec.definition.compute(ohlcv[start:], **spec.parameters)
    deviation = np.nanstd(whole[spec.warmup :])
    return np.abs(late[warmup:] - whole[start + warmup :]).max() / max(deviation, 1e-12)


@settings(max_examples=6)
@given(
    seed=st.integers(0, 5),
    start=st.integers(1, 500),
    flat=st.lists(st.tuples(st.integers(1, LENGTH - 700), st.integers(1, 300)), max_size=3),
)
@pytest.mark.parametrize("name", sorted(FEATURES))
def test_where_the_data_starts_does_not_show_after_the_warm_up(name, seed, start, flat):
    ohlcv = market(seed, flat)
    trace = trace_of_the_start(name, ohlcv, start, FeatureSpec(name=name).warmup)
    assert trace <= (AFTER_A_FLAT_STRETCH if flat else TOLERANCE)


@pytest.mark.parametrize("name", RECURSIVE)
def test_half_the_warm_up_is_not_enough_for_a_recursive_feature(name):
    traces = [
        trace_of_the_start(name, market(seed, []), 200, FeatureSpec(name=name).warmup // 2)
        for seed in range(4)
    ]
    assert max(traces) > TOLERANCE


@pytest.mark.parametrize("name", sorted(set(FEATURES) - set(RECURSIVE)))
def test_a_windowed_feature_needs_all_of_its_warm_up(name):
    warmup = FeatureSpec(name=name).warmup
    if warmup == 0:
        pytest.skip("looks at its own candle alone")
    spec = FeatureSpec(name=name)
    late = spec.definition.compute(market(0, [])[200:], **spec.parameters)
    assert np.isnan(late[warmup - 1]) or name in ("stochastic_k", "obv")
    assert np.isfinite(late[warmup:]).all()


def test_a_set_of_features_warms_up_as_long_as_its_slowest_and_its_volatility():
    assert warmup_of([FeatureSpec(name="close")]) == 60
    assert warmup_of([FeatureSpec(name="close"), FeatureSpec(name="rsi")]) == (
        FeatureSpec(name="rsi").warmup
    )
