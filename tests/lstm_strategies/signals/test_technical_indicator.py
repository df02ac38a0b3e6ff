"""The indicator's lines are the arrays' numbers, however backtrader runs."""

from __future__ import annotations

import backtrader as bt
import numpy as np
import pytest

from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import CandleData
from lstm_strategies.parameters import attach
from lstm_strategies.signals.technical import WARMUP, technical_arrays
from lstm_strategies.signals.technical_indicator import LINES, TechnicalIndicator

COUNT = WARMUP + 60


class Records(bt.Strategy):
    """Keeps the lines at each bar, by the bar's number."""

    params = (("feed", 0),)

    def __init__(self):
        super().__init__()
        self.technical = attach(TechnicalIndicator, self.datas[self.p.feed])
        self.rows = {}

    def next(self):
        bar = len(self.datas[self.p.feed])
        self.rows[bar] = tuple(line[0] for line in self.technical.lines)


def record(*feeds, mode=None, feed=0):
    cerebro = bt.Cerebro(stdstats=False)
    for add in feeds:
        add(cerebro)
    cerebro.addstrategy(Records, feed=feed)
    return cerebro.run(**(mode or {}))[0]


def added(candles):
    return lambda cerebro: cerebro.adddata(
        CandleData(dataname=candles, timeframe=candles.timeframe)
    )


def expected_rows(candles):
    arrays = technical_arrays(candles.ohlcv)
    readings = (arrays.rsi, arrays.macd, arrays.bollinger, arrays.trend)
    return np.column_stack([arrays.score, *(each.value for each in readings)])


def assert_rows_are(strategy, expected):
    assert sorted(strategy.rows) == list(range(WARMUP, len(expected) + 1))
    got = np.array([strategy.rows[bar] for bar in sorted(strategy.rows)])
    np.testing.assert_allclose(got, expected[WARMUP - 1 :], rtol=0, atol=1e-5)


@pytest.fixture
def candles(random_walk):
    return random_walk(COUNT)


def test_lines_are_the_arrays_numbers_in_every_run_mode(candles, run_mode):
    assert_rows_are(record(added(candles), mode=run_mode), expected_rows(candles))


def test_bars_without_a_price_have_no_readings_in_either_way_to_run(random_walk, both_ways):
    candles = random_walk(2 * WARMUP + 40)
    broken = candles.ohlcv.copy()
    broken[WARMUP + 10, 3] = np.nan
    frame = candles.to_frame().set_index("timestamp").tz_localize(None)
    frame["close"] = broken[:, 3]

    def add(cerebro):
        cerebro.adddata(bt.feeds.PandasData(dataname=frame))

    strategy = record(add, mode=both_ways)
    arrays = technical_arrays(broken)
    scores = np.array([strategy.rows[bar][0] for bar in sorted(strategy.rows)])
    np.testing.assert_allclose(scores, arrays.score[WARMUP - 1 :], rtol=0, atol=1e-5)
    assert np.isfinite(scores[10 + WARMUP + 1 :]).all()
    assert np.isnan(scores[11 : 11 + WARMUP]).all()


def test_data_shorter_than_the_warm_up_has_no_bar_to_act_on(random_walk, both_ways):
    assert record(added(random_walk(WARMUP - 1)), mode=both_ways).rows == {}


def test_one_bar_of_enough_history_is_acted_on(random_walk, both_ways):
    assert list(record(added(random_walk(WARMUP)), mode=both_ways).rows) == [WARMUP]


@pytest.mark.parametrize("mode", [{}, {"runonce": False}, {"exactbars": -1}])
def test_a_slower_feed_beside_a_faster_one_keeps_its_numbers(random_walk, mode):
    fine = random_walk(4 * (WARMUP + 8))
    slow = fine.resample("4h")
    strategy = record(added(fine), added(slow), mode=mode, feed=1)
    expected = expected_rows(slow)
    assert len(strategy.rows) >= 8
    for bar, row in strategy.rows.items():
        np.testing.assert_allclose(row, expected[bar - 1], rtol=0, atol=1e-5)


def test_a_slower_feed_that_backtrader_reads_ahead_in_is_refused(random_walk):
    fine = random_walk(4 * (WARMUP + 8))
    with pytest.raises(ParameterError, match="Run with exactbars=0 or exactbars=-1"):
        record(added(fine), added(fine.resample("4h")), mode={"exactbars": 1}, feed=1)


def test_a_replayed_bar_is_read_anew_as_it_grows(random_walk):
    fine = random_walk(4 * (WARMUP + 3))
    slow = expected_rows(fine.resample("4h"))

    def replayed(cerebro):
        data = CandleData(dataname=fine, timeframe="1h")
        cerebro.replaydata(data, timeframe=bt.TimeFrame.Minutes, compression=240)

    strategy = record(replayed)
    # The last call for each bar saw it whole.
    for bar in range(WARMUP, WARMUP + 3):
        np.testing.assert_allclose(strategy.rows[bar], slow[bar - 1], rtol=0, atol=1e-5)


def test_asked_again_for_the_same_bar_it_answers_the_same(candles):
    class Twice(Records):
        def next(self):
            super().next()
            before = self.rows[len(self.data)]
            self.technical.next()
            assert tuple(line[0] for line in self.technical.lines) == before

    cerebro = bt.Cerebro(stdstats=False)
    added(candles)(cerebro)
    cerebro.addstrategy(Twice)
    assert len(cerebro.run(runonce=False)[0].rows) == COUNT - WARMUP + 1


def test_the_score_is_the_first_line():
    assert LINES[0] == "score"
    assert tuple(TechnicalIndicator.lines._getlines()) == LINES


def test_a_misspelt_parameter_is_refused(candles):
    cerebro = bt.Cerebro(stdstats=False)
    added(candles)(cerebro)
    cerebro.addindicator(TechnicalIndicator, perod=14)
    with pytest.raises(ParameterError, match="TechnicalIndicator has no parameter 'perod'"):
        cerebro.run()
