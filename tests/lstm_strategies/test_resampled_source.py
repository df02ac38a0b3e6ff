"""Resampled feeds: whose stamps may be opens, and when the last bar is finished."""

from __future__ import annotations

import backtrader as bt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_models import simulate_market
from lightning_models.forecast import LINE_NAMES
from lightning_models.timeframes import period_ms
from lstm_strategies.feed import CandleData, backtrader_dates
from lstm_strategies.indicator import LSTMForecast
from lstm_strategies.parameters import attach
from lstm_strategies.resampled_source import ResampledSource, source_of

HOURS = {"timeframe": bt.TimeFrame.Minutes, "compression": 60}

SOURCES = st.sampled_from(["1m", "5m", "15m", "30m"])
COARSER = st.sampled_from(["1h", "2h", "4h"])
STARTS = st.integers(400_000, 500_000).map(lambda hours: hours * 3_600_000)


class Passes:
    """Stands where backtrader's resampler does, and lets every bar pass."""

    def __call__(self, data):
        return False


class Bar:
    def __init__(self, date):
        self.datetime = [date]


def fed(stamps):
    source = ResampledSource(Passes())
    for date in backtrader_dates(np.asarray(stamps, dtype=np.int64)):
        source(Bar(float(date)))
    return source


def opens(start, timeframe, coarser):
    begun = start // period_ms(coarser) * period_ms(coarser)
    return begun + np.arange(30) * period_ms(timeframe)


# --- stamps


@given(SOURCES, COARSER, STARTS)
def test_opens_of_bars_that_begin_with_a_candle_are_seen(timeframe, coarser, start):
    source = fed(opens(start, timeframe, coarser))
    assert source.border_of_opens(coarser) == period_ms(timeframe)


@given(SOURCES, COARSER, STARTS)
def test_ends_of_bars_that_begin_with_a_candle_are_ends(timeframe, coarser, start):
    ends = opens(start, timeframe, coarser) + period_ms(timeframe)
    assert fed(ends).border_of_opens(coarser) is None


@given(SOURCES, COARSER, STARTS, st.integers(0, 28), st.data())
def test_stamps_inside_bars_say_for_themselves(timeframe, coarser, start, first, data):
    within = data.draw(st.integers(1, period_ms(timeframe) - 1))
    stamps = opens(start, timeframe, coarser)[first:] + within
    assert fed(stamps).border_of_opens(coarser) is None


def test_holes_hide_no_border():
    stamps = opens(0, "15m", "1h")[[0, 3, 4, 9]]
    assert fed(stamps).border_of_opens("1h") == period_ms("15m")


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_bars_show_no_period(count):
    assert fed(opens(0, "15m", "1h")[:count]).border_of_opens("1h") is None


# --- ends


@given(SOURCES, STARTS)
def test_source_has_reached_the_end_of_its_last_bar_and_no_more(timeframe, start):
    end = start + period_ms(timeframe)
    source = fed([end - 1])
    assert source.has_reached(end)
    assert not source.has_reached(end + 1)
    assert not fed([]).has_reached(0)


def test_feed_has_one_source_however_often_it_is_asked_for():
    data = CandleData(dataname=simulate_market(candles=8, timeframe="15m")[0])
    assert source_of(data) is None
    data.resample(**HOURS)
    source = source_of(data)
    assert source is not None
    assert source_of(data) is source
    assert [each for each, _, _ in data._filters] == [source]
    assert [each for each, _, _ in data._ffilters] == [source]


def test_replayed_feed_still_hands_nothing_out_at_its_end():
    data = CandleData(dataname=simulate_market(candles=8, timeframe="15m")[0])
    data.replay(**HOURS)
    assert source_of(data) is not None
    assert data._ffilters == []


# --- forecasts


class Records(bt.Strategy):
    """Keeps the lines at each bar, by the bar's number."""

    params = (("forecast", None),)

    def __init__(self):
        self.forecast = attach(LSTMForecast, self.data, **self.p.forecast)
        self.rows = {}

    def next(self):
        self.rows[len(self.data)] = [line[0] for line in self.forecast.lines]


@pytest.fixture(scope="module")
def fine_candles():
    """Quarters of an hour, as many as make 110 whole hours."""
    return simulate_market(candles=440, timeframe="15m", seed=5)[0]


@pytest.fixture
def cerebro_of(trained):
    def build(add):
        cerebro = bt.Cerebro(stdstats=False)
        add(cerebro)
        given_model = {"model": trained.champion, "home": str(trained.home.path)}
        cerebro.addstrategy(Records, forecast=given_model)
        return cerebro

    return build


def resampled(candles):
    return lambda cerebro: cerebro.resampledata(CandleData(dataname=candles), **HOURS)


def assert_rows_are(strategy, expected, required):
    assert sorted(strategy.rows) == list(range(required, len(expected) + 1))
    got = np.array([strategy.rows[bar] for bar in sorted(strategy.rows)])
    wanted = expected[list(LINE_NAMES)].to_numpy()[required - 1 :]
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_last_bar_is_forecast_without_a_base_feed_if_it_is_finished(
    cerebro_of, trained, fine_candles, run_mode
):
    (strategy,) = cerebro_of(resampled(fine_candles)).run(**run_mode)
    predictor = trained.predictor()
    expected = predictor.predict_batch(fine_candles.resample("1h"))
    assert not expected.iloc[-1].isna().any()
    assert_rows_are(strategy, expected, predictor.required_bars)


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_last_bar_is_not_forecast_if_it_is_unfinished(
    cerebro_of, trained, fine_candles, both_ways, missing
):
    cut = fine_candles.between(None, int(fine_candles.time[-missing]))
    (strategy,) = cerebro_of(resampled(cut)).run(**both_ways)
    whole = cut.resample("1h")
    # backtrader shows the part of a candle all the same.
    assert max(strategy.rows) == len(whole) + 1
    assert np.isnan(strategy.rows.pop(len(whole) + 1)).all()
    predictor = trained.predictor()
    assert_rows_are(strategy, predictor.predict_batch(whole), predictor.required_bars)


def test_bars_resampled_while_preloading_are_not_forecast_where_they_may_be_unfinished(
    cerebro_of, trained, fine_candles, both_ways
):
    # feed.resample() lets backtrader preload: nobody saw then what the last bar was made of.
    cut = fine_candles.between(None, int(fine_candles.time[-1]))
    data = CandleData(dataname=cut)
    data.resample(**HOURS)
    (strategy,) = cerebro_of(lambda cerebro: cerebro.adddata(data)).run(**both_ways)
    whole = cut.resample("1h")
    assert np.isnan(strategy.rows.pop(len(whole) + 1)).all()
    predictor = trained.predictor()
    assert_rows_are(strategy, predictor.predict_batch(whole), predictor.required_bars)
