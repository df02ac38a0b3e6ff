from __future__ import annotations

import numpy as np
import pytest

from lightning_models.errors import CandleError
from lstm_strategies.detail import Detail, Step, merged
from lstm_strategies.errors import ParameterError
from lstm_strategies.intrabar import Prices

START = 1_609_459_200_000  # 2021-01-01
QUARTER = 900_000

ROWS = [(100, 103, 100, 102), (102, 104, 101, 101), (101, 101, 97, 98), (98, 99, 98, 99)]
BAR = Prices(100.0, 104.0, 97.0, 99.0)


@pytest.fixture
def detail(candles_of):
    def build(rows=ROWS, start=START, timeframe="15m"):
        candles = candles_of(rows, timeframe, start=start)
        return Detail(candles, name="BTC/USDT", timeframe="1h")

    return build


def test_candles_of_a_bar_come_in_order_of_time(detail):
    steps = detail(ROWS * 2).of_bar(START + 3_600_000, BAR)
    assert [step.time for step in steps] == [START + 3_600_000 + n * QUARTER for n in range(4)]
    assert [step.prices for step in steps] == [Prices(*map(float, row)) for row in ROWS]


def test_bar_without_candles_has_none(detail):
    assert detail().of_bar(START + 3_600_000, BAR) == ()


@pytest.mark.parametrize("missing", [1, 2])
def test_candles_that_do_not_reach_the_bars_extremes_say_nothing(detail, candles_of, missing):
    candles = candles_of(ROWS, "15m")
    rest = np.delete(np.arange(4), missing)
    part = type(candles)(
        symbol="BTC/USDT",
        timeframe="15m",
        market="continuous",
        time=candles.time[rest],
        ohlcv=candles.ohlcv[rest],
    )
    found = Detail(part, name="BTC/USDT", timeframe="1h").of_bar(START, BAR)
    assert found == ()


def test_candle_without_a_trade_may_be_missing(detail, candles_of):
    steps = detail(ROWS[:3]).of_bar(START, BAR._replace(close=98.0))
    assert len(steps) == 3


@pytest.mark.parametrize("bar", [BAR._replace(high=103.9), BAR._replace(low=97.1)])
def test_candles_outside_the_bar_are_refused(detail, bar):
    with pytest.raises(CandleError, match="bar of 2021-01-01T00:00:00Z: they span 97 to 104"):
        detail().of_bar(START, bar)


def test_rounding_is_no_contradiction(detail):
    bar = BAR._replace(high=104.0 * (1 - 1e-7), low=97.0 * (1 + 1e-7))
    assert len(detail().of_bar(START, bar)) == 4


@pytest.mark.parametrize("timeframe", ["1h", "2h", "1d"])
def test_coarser_candles_are_refused(detail, timeframe):
    with pytest.raises(ParameterError, match=f"{timeframe} candles, which do not divide"):
        detail(timeframe=timeframe)


def test_candles_that_do_not_divide_the_bar_are_refused(candles_of):
    with pytest.raises(ParameterError, match="do not divide its bars of 6h"):
        Detail(candles_of(ROWS, "4h"), name="BTC/USDT", timeframe="6h")


def test_anything_but_candles_is_refused():
    with pytest.raises(ParameterError, match="is a list: give Candles"):
        Detail([1, 2], name="BTC/USDT", timeframe="1h")


def test_steps_of_two_feeds_are_merged_by_time():
    prices = Prices(1.0, 1.0, 1.0, 1.0)
    steps = {"a": [Step(0, prices), Step(60, prices)], "b": [Step(0, prices), Step(30, prices)]}
    assert [(step.time, data) for step, data in merged(steps)] == [
        (0, "a"),
        (0, "b"),
        (30, "b"),
        (60, "a"),
    ]
