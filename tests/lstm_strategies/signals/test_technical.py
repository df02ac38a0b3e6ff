"""Technical readings are TA-Lib's, of the last bars alone, and mean the same at every price."""

from __future__ import annotations

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lightning_models.errors import CandleError
from lstm_strategies.signals.technical import (
    READING_NAMES,
    WARMUP,
    Reading,
    readings_at,
    technical_arrays,
)

COUNT = 1500
SETTLED = slice(1000, None)


def candles_at(close):
    close = np.asarray(close, dtype=float)
    return np.column_stack([close, close, close, close, np.ones(len(close))])


def walk(count=COUNT, seed=0):
    rng = np.random.default_rng(seed)
    return 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, count)))


def columns(arrays):
    readings = [getattr(arrays, name) for name in READING_NAMES]
    return np.stack([each.value for each in readings] + [each.score for each in readings])


@pytest.fixture(scope="module")
def close():
    return walk()


@pytest.fixture(scope="module")
def arrays(close):
    return technical_arrays(candles_at(close))


def test_values_are_those_of_talib(close, arrays):
    upper, _, lower = talib.BBANDS(close, timeperiod=20, nbdevup=2, nbdevdn=2)
    references = {
        "rsi": (talib.RSI(close, 14), 1e-3),
        "macd": (100.0 * talib.MACD(close, 12, 26, 9)[2] / close, 1e-4),
        "bollinger": ((close - lower) / (upper - lower), 1e-9),
        "trend": (100.0 * (talib.SMA(close, 20) / talib.SMA(close, 50) - 1.0), 1e-9),
    }
    for name, (reference, tolerance) in references.items():
        value = getattr(arrays, name).value
        np.testing.assert_allclose(value[SETTLED], reference[SETTLED], rtol=0, atol=tolerance)


def test_scores_follow_their_formulas(close, arrays):
    rsi, percent_b = arrays.rsi.value[SETTLED], arrays.bollinger.value[SETTLED]
    np.testing.assert_allclose(arrays.rsi.score[SETTLED], np.clip((50 - rsi) / 20, -1, 1))
    np.testing.assert_allclose(
        arrays.bollinger.score[SETTLED], np.clip(1 - 2 * percent_b, -1, 1), atol=1e-12
    )
    # With high = low = close, the true range is the absolute change.
    moves = talib.ATR(close, close, close, 14)
    histogram = talib.MACD(close)[2]
    np.testing.assert_allclose(
        arrays.macd.score[SETTLED], np.clip(histogram / moves, -1, 1)[SETTLED], atol=1e-4
    )
    gap = talib.SMA(close, 20) - talib.SMA(close, 50)
    np.testing.assert_allclose(
        arrays.trend.score[SETTLED],
        np.clip(gap / talib.STDDEV(close, 50), -1, 1)[SETTLED],
        atol=1e-7,
    )


def test_the_score_is_the_mean_of_the_four(arrays):
    four = columns(arrays)[4:]
    np.testing.assert_allclose(arrays.score, four.mean(axis=0))
    assert np.nanmax(np.abs(four)) <= 1.0


def test_nothing_is_said_before_the_warm_up_and_everything_after(arrays):
    assert np.isnan(columns(arrays)[:, : WARMUP - 1]).all()
    assert np.isfinite(columns(arrays)[:, WARMUP - 1 :]).all()


@pytest.mark.parametrize("end", [WARMUP, 700, COUNT])
def test_a_window_of_the_warm_up_says_what_the_whole_series_says(close, arrays, end):
    window = technical_arrays(candles_at(close[end - WARMUP : end]))
    np.testing.assert_allclose(
        columns(window)[:, -1], columns(arrays)[:, end - 1], rtol=0, atol=1e-9
    )


def test_half_the_warm_up_would_not_do(close):
    whole, half = talib.RSI(close, 14)[-1], talib.RSI(close[-WARMUP // 2 :], 14)[-1]
    assert abs(whole - half) > 1e-4
    whole, half = talib.MACD(close)[2][-1], talib.MACD(close[-WARMUP // 2 :])[2][-1]
    assert abs(whole - half) / close[-1] * 100.0 > 1e-6
    assert np.isnan(technical_arrays(candles_at(close[-WARMUP // 2 :])).score).all()


def standing_still_after(moves, still):
    return np.concatenate([walk(moves), np.full(still, walk(moves)[-1])])


@pytest.mark.parametrize("still", [30, 150, 238, 400])
def test_a_stretch_without_moves_is_forgotten_alike(still):
    series = standing_still_after(900, still)
    whole = technical_arrays(candles_at(series))
    window = technical_arrays(candles_at(series[-WARMUP:]))
    np.testing.assert_allclose(columns(window)[:, -1], columns(whole)[:, -1], rtol=0, atol=1e-5)
    # TA-Lib's own RSI keeps the last moves' ratio for ever; a window of it has none to keep.
    if still == 400:
        assert abs(talib.RSI(series, 14)[-1] - 50.0) > 1.0
        assert readings_at(whole, -1) == readings_at(window, -1)


def test_flat_candles_say_nothing_and_are_finite():
    flat = np.full((WARMUP + 50, 5), 0.1)
    flat[:, 4] = 0.0
    arrays = technical_arrays(flat)
    readings = readings_at(arrays, -1)
    assert [each.value for each in readings] == [50.0, 0.0, 0.5, 0.0]
    assert [each.score for each in readings] == [0.0, 0.0, 0.0, 0.0]
    assert [each.reading for each in readings] == [
        "neutral",
        "flat",
        "between the bands",
        "sideways",
    ]
    assert arrays.score[-1] == 0.0


@pytest.mark.parametrize("factor", [1e6, 1e-6, 3.7e-9])
def test_the_unit_of_prices_changes_nothing(close, arrays, factor):
    scaled = technical_arrays(candles_at(close * factor))
    np.testing.assert_allclose(columns(scaled), columns(arrays), rtol=0, atol=1e-9)


@pytest.mark.parametrize("hole", [np.nan, np.inf, 0.0, -1.0])
@pytest.mark.parametrize("column", range(4))
def test_a_missing_price_silences_the_bars_it_reaches_and_no_more(close, arrays, hole, column):
    candles = candles_at(close)
    candles[600, column] = hole
    broken = columns(technical_arrays(candles))
    assert np.isnan(broken[:, 600 : 600 + WARMUP]).all()
    np.testing.assert_array_equal(broken[:, :600], columns(arrays)[:, :600])
    after = slice(600 + WARMUP, None)
    np.testing.assert_allclose(broken[:, after], columns(arrays)[:, after], rtol=0, atol=1e-9)


def test_talib_alone_would_be_poisoned_for_good(close):
    broken = close.copy()
    broken[600] = np.nan
    assert talib.RSI(broken, 14)[-1] == 0.0  # oversold as can be
    assert np.isnan(talib.MACD(broken)[2][-1])


def test_a_missing_volume_is_no_missing_price(close, arrays):
    candles = candles_at(close)
    candles[:, 4] = np.nan
    np.testing.assert_array_equal(columns(technical_arrays(candles)), columns(arrays))


@given(cut=st.integers(WARMUP, COUNT - 1), seed=st.integers(0, 20), jump=st.floats(0.01, 100.0))
@settings(max_examples=25)
def test_no_reading_knows_what_comes_later(cut, seed, jump):
    series = walk(seed=seed)
    before = technical_arrays(candles_at(series))
    series[cut:] *= jump
    after = technical_arrays(candles_at(series))
    np.testing.assert_array_equal(columns(before)[:, :cut], columns(after)[:, :cut])


def falling_then(step, count=5):
    start = walk(400)
    return technical_arrays(candles_at(np.append(start, start[-1] * step ** np.arange(1, count))))


@pytest.mark.parametrize(
    ("step", "words", "signs"),
    [
        (0.9, ["oversold", "bearish", "below the lower band"], [1, -1, 1]),
        (1.1, ["overbought", "bullish", "above the upper band"], [-1, 1, -1]),
    ],
)
def test_a_fall_is_oversold_bearish_and_below_the_band(step, words, signs):
    readings = readings_at(falling_then(step), -1)[:3]
    assert [each.reading for each in readings] == words
    assert [np.sign(each.score) for each in readings] == signs


@pytest.mark.parametrize(("step", "word", "sign"), [(0.99, "downtrend", -1), (1.01, "uptrend", 1)])
def test_a_long_move_is_a_trend(step, word, sign):
    trend = readings_at(falling_then(step, 100), -1)[3]
    assert (trend.reading, np.sign(trend.score)) == (word, sign)


def test_readings_of_a_row_are_the_arrays_numbers(arrays):
    readings = readings_at(arrays, 800)
    assert tuple(each.name for each in readings) == READING_NAMES
    for each in readings:
        assert each.value == getattr(arrays, each.name).value[800]
        assert each.score == getattr(arrays, each.name).score[800]
    assert readings_at(arrays, WARMUP - 2) == ()
    with pytest.raises(IndexError):
        readings_at(arrays, COUNT)


def test_a_reading_is_checked_and_cannot_be_changed():
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        Reading(name="rsi", value=20.0, score=1.5, reading="oversold")
    reading = Reading(name="rsi", value=20.0, score=1.0, reading="oversold")
    with pytest.raises(ValidationError, match="frozen"):
        reading.score = 0.0


@pytest.mark.parametrize("shape", [(10,), (10, 4), (0,), (2, 5, 1)])
def test_what_is_no_table_of_candles_is_refused(shape):
    with pytest.raises(CandleError, match="holds no candles: give"):
        technical_arrays(np.ones(shape))


@pytest.mark.parametrize("count", [0, 1, WARMUP - 1])
def test_too_few_candles_have_no_readings(count):
    arrays = technical_arrays(candles_at(walk(max(count, 1))[:count]))
    assert len(arrays) == count
    assert np.isnan(arrays.score).all()
