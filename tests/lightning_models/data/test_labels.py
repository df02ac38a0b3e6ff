"""Labels start where a trade can, and never on a candle that was not there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_models import simulate_market
from lightning_models.data import Horizon, label_returns, resolve_horizons
from lightning_models.errors import ConfigError
from lightning_models.features import bridge

HOUR = 3_600_000
CANDLES = simulate_market(candles=60, seed=2)[0]


def labels(candles=CANDLES, *, reaches=(1,), real=None, market="continuous"):
    horizons = [Horizon(name=f"{reach}h", candles=reach) for reach in reaches]
    return label_returns(
        candles.time,
        candles.ohlcv[:, 0],
        candles.ohlcv[:, 3],
        np.ones(len(candles), dtype=bool) if real is None else real,
        horizons=horizons,
        period=HOUR,
        market=market,
    )


def test_a_label_runs_from_the_next_open_to_the_close_of_its_horizon():
    found = labels(reaches=(1, 3))
    opened, closed = CANDLES.ohlcv[:, 0], CANDLES.ohlcv[:, 3]
    assert found.returns[10, 0] == closed[11] / opened[11] - 1
    assert found.returns[10, 1] == closed[13] / opened[11] - 1


def test_a_label_ends_when_the_last_candle_of_its_furthest_horizon_closes():
    found = labels(reaches=(1, 3))
    assert found.end[10] == CANDLES.time[13] + HOUR


def test_the_last_candles_have_no_label():
    found = labels(reaches=(1, 3))
    assert np.isfinite(found.returns[:57]).all()
    assert np.isnan(found.returns[57:]).all()
    assert (found.end[57:] == 0).all()


def test_a_horizon_longer_than_the_data_leaves_no_labels():
    assert np.isnan(labels(reaches=(100,)).returns).all()


@given(bridged=st.sets(st.integers(1, 58), max_size=25), reach=st.integers(1, 6))
def test_no_label_begins_or_ends_on_a_bridged_candle(bridged, reach):
    real = np.ones(60, dtype=bool)
    real[sorted(bridged)] = False
    found = labels(reaches=(reach,), real=real)
    for row in range(60 - reach):
        tradable = row + 1 not in bridged and row + reach not in bridged
        assert np.isfinite(found.returns[row, 0]) == tradable
        assert (found.end[row] > 0) == tradable


def test_without_that_rule_labels_would_be_made_of_candles_nobody_traded():
    keep = np.setdiff1d(np.arange(60), [30, 31, 32])
    bridged = bridge(CANDLES.time[keep], CANDLES.ohlcv[keep], "1h")
    blind = label_returns(
        bridged.time,
        bridged.ohlcv[:, 0],
        bridged.ohlcv[:, 3],
        np.ones(60, dtype=bool),
        horizons=[Horizon(name="1h", candles=1)],
        period=HOUR,
    )
    assert blind.returns[30:32, 0].tolist() == [0.0, 0.0]


def test_a_row_without_one_of_its_horizons_has_none():
    real = np.ones(60, dtype=bool)
    real[13] = False
    found = labels(reaches=(1, 3), real=real)
    assert np.isnan(found.returns[10]).all()


def test_in_sessions_a_label_ends_when_its_candle_does_not_after_so_many_hours():
    closed_for_the_night = CANDLES.time + (np.arange(60) >= 20) * 12 * HOUR
    candles = type(CANDLES)("SIM/USDT", "1h", "sessions", closed_for_the_night, CANDLES.ohlcv)
    found = labels(candles, reaches=(2,), market="sessions")
    assert found.end[18] == closed_for_the_night[20] + HOUR
    assert labels(candles, reaches=(2,)).end[18] < found.end[18]


def test_horizons_are_candles_or_durations():
    resolved = resolve_horizons([1, "1d", "1w"], "6h")
    assert [(each.name, each.candles) for each in resolved] == [("6h", 1), ("1d", 4), ("1w", 28)]
    assert [each.name for each in resolve_horizons([4, 24], "1h")] == ["4h", "1d"]


@pytest.mark.parametrize(
    ("horizons", "message"),
    [
        (["5h"], "'5h' is no multiple of the 6h timeframe"),
        (["0h"], "no multiple"),
        (["soon"], "unreadable horizon 'soon': give a number of candles, or a duration"),
        (["6h", 1], "given once each"),
        ([], "given once each"),
    ],
)
def test_a_horizon_that_cannot_be_meant_is_refused(horizons, message):
    with pytest.raises(ConfigError, match=message):
        resolve_horizons(horizons, "6h")
