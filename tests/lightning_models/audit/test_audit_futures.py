"""Futures that never came: the past stays, and what follows are candles all the same."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lightning_models import simulate_market
from lightning_models.audit.coarser import audit_resampling
from lightning_models.audit.futures import exchanged_future, section_before_end, with_holes
from lightning_models.candles.resampling import resample

MARKET = simulate_market(candles=300, seed=9)[0]


@given(known=st.integers(0, 300), seed=st.integers(0, 5))
def test_known_rows_stay_and_the_others_are_candles(known, seed):
    other = exchanged_future(MARKET.ohlcv, known, seed)
    assert np.array_equal(other[:known], MARKET.ohlcv[:known])
    opened, high, low, close, volume = other.T
    assert (low <= np.minimum(opened, close)).all()
    assert (high >= np.maximum(opened, close)).all()
    assert (volume >= 0).all()
    if known < 300:
        assert not np.array_equal(other[known:, :4], MARKET.ohlcv[known:, :4])


def test_holes_leave_the_ends_and_most_candles():
    broken = with_holes(MARKET)
    assert broken.time[0] == MARKET.time[0]
    assert broken.time[-1] == MARKET.time[-1]
    assert 270 < len(broken) < 300
    assert np.diff(broken.time).max() >= 4 * MARKET.period_ms


def test_section_holds_the_newest_candles():
    assert np.array_equal(section_before_end(MARKET, 10).time, MARKET.time[-10:])
    assert section_before_end(MARKET, 1000) is MARKET


def unfinished(candles, timeframe):
    # A bin as soon as its first candle is there, as a pandas resample gives it.
    whole = resample(candles, timeframe)
    start = int(whole.time[-1]) + whole.period_ms if len(whole) else int(candles.time[0])
    rest = candles.between(start, None)
    if not len(rest):
        return whole
    bar = [rest.ohlcv[0, 0], rest.ohlcv[:, 1].max(), rest.ohlcv[:, 2].min(), rest.ohlcv[-1, 3], 1.0]
    return type(whole)(
        symbol=whole.symbol,
        timeframe=timeframe,
        market=whole.market,
        time=np.append(whole.time, start),
        ohlcv=np.vstack([whole.ohlcv, bar]),
    )


def test_coarser_candles_of_the_project_appear_once_they_have_closed():
    check = audit_resampling([MARKET], "4h")
    assert check.status == "passed"
    assert check.compared > 1000


def test_coarser_candle_that_has_not_closed_is_caught():
    check = audit_resampling([MARKET], "4h", resampler=unfinished)
    told = {finding.detail for finding in check.findings}
    assert told == {"appears before it has closed", "changes after it has appeared"}
    assert {finding.subject for finding in check.findings} == {"4h candles"}


def test_bins_counted_from_the_end_of_the_data_are_caught():
    def from_the_end(candles, timeframe):
        width = 4
        rows = np.arange(len(candles) % width, len(candles), width)
        rows = rows[rows + width <= len(candles)]
        ohlcv = candles.ohlcv[rows].copy()
        ohlcv[:, 3] = candles.ohlcv[rows + width - 1, 3]
        return type(candles)(
            symbol=candles.symbol,
            timeframe=timeframe,
            market=candles.market,
            time=candles.time[rows],
            ohlcv=ohlcv,
        )

    assert audit_resampling([MARKET], "4h", resampler=from_the_end).status == "failed"
