from __future__ import annotations

import logging
import math
from decimal import Decimal

import backtrader as bt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_strategies.broker import SimulatedBroker
from lstm_strategies.commission import CryptoCommission
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import CandleData
from lstm_strategies.reserved_cash import reserved_cash
from lstm_strategies.sizer import RiskSizer, round_down

FLAT = (100.0, 101.0, 99.0, 100.0)


def sizes(candles, *, strategy=None, sizer=None, buys=True, fee=0.0, **mode):
    """The size the sizer gives on each bar."""

    class Asks(strategy or bt.Strategy):
        def __init__(self):
            super().__init__()
            self.sizes = []

        def prenext(self):
            self.next()

        def next(self):
            self.sizes.append(self.getsizing(self.data, isbuy=buys))

    cerebro = bt.Cerebro(stdstats=False)
    broker = SimulatedBroker()
    broker.addcommissioninfo(CryptoCommission(maker_fee=0.0, taker_fee=fee))
    cerebro.setbroker(broker)
    cerebro.adddata(CandleData(dataname=candles))
    cerebro.addsizer(RiskSizer, **(sizer or {}))
    cerebro.addstrategy(Asks)
    return cerebro.run(**mode)[0].sizes


class Stops(bt.Strategy):
    def stop_distance(self, data):
        return 4.0


class NaNStops(bt.Strategy):
    def stop_distance(self, data):
        return math.nan


class NoStops(bt.Strategy):
    def stop_distance(self, data):
        return 0.0


def test_risk_over_the_stop_distance_of_the_strategy(candles_of, run_mode):
    # 2 % of 10,000 at 4 a unit
    assert sizes(candles_of([FLAT] * 4), strategy=Stops, **run_mode) == [50.0] * 4


def test_stop_distance_from_the_mean_true_range(candles_of):
    rows = [FLAT, (100, 104, 100, 102), (105, 107, 105, 106), (106, 106, 100, 100)]
    found = sizes(candles_of(rows), sizer={"atr_period": 2, "atr_stop": 10.0})
    # True ranges: 4, 5 (from the close of 102), 6.
    assert found[:2] == [0.0, 0.0]
    assert found[2] == pytest.approx(200.0 / (10.0 * (4 + 5) / 2), abs=1e-8)
    assert found[3] == pytest.approx(200.0 / (10.0 * (5 + 6) / 2), abs=1e-8)


def test_later_candles_change_nothing(random_walk, candles_of):
    candles = random_walk(30)
    whole = sizes(candles)
    assert any(whole)
    for cut in (16, 20, 29):
        assert sizes(candles.between(None, int(candles.time[cut]))) == whole[:cut]


def test_limited_by_cash_fee_and_buffer(candles_of):
    sizer = {"risk": 1.0, "cash_buffer": 0.01}
    (size, *_) = sizes(candles_of([FLAT] * 2), strategy=Stops, sizer=sizer, fee=0.002)
    assert size == round_down(10_000 / (100 * 1.012), 1e-8)
    assert size * 100 * (1 + 0.002 + 0.01) <= 10_000


def test_rounded_down_to_the_lot_step(candles_of):
    sizer = {"lot_step": 0.15}
    assert sizes(candles_of([FLAT] * 2), strategy=Stops, sizer=sizer)[0] == 49.95
    assert sizes(candles_of([FLAT] * 2), strategy=Stops, sizer={"lot_step": 60.0})[0] == 0.0


@pytest.mark.parametrize(("strategy", "reason"), [(NaNStops, "nan"), (NoStops, "0.0")])
def test_unknown_stop_distance_gives_no_position(candles_of, strategy, reason, caplog):
    caplog.set_level(logging.INFO, logger="lstm_strategies.sizer")
    assert sizes(candles_of([FLAT] * 2), strategy=strategy) == [0.0, 0.0]
    assert f"the stop distance is {reason}" in caplog.text


def test_flat_candles_give_no_position(candles_of):
    assert set(sizes(candles_of([(100,) * 4] * 20))) == {0.0}


def test_too_few_bars_in_memory_give_no_position_and_a_reason(random_walk, caplog):
    caplog.set_level(logging.INFO, logger="lstm_strategies.sizer")
    assert set(sizes(random_walk(30), exactbars=1)) == {0.0}
    assert "needs 15 bars in memory" in caplog.text


def test_enough_bars_in_memory_give_the_same_sizes_in_every_mode(random_walk, run_mode):
    class KeepsBars(bt.Strategy):
        def __init__(self):
            self.average = bt.indicators.SMA(self.data, period=15)

    candles = random_walk(40)
    expected = sizes(candles, strategy=KeepsBars)
    assert any(expected)
    assert sizes(candles, strategy=KeepsBars, **run_mode) == expected


def test_opposite_position_counts_as_closed(candles_of):
    class Reverses(Stops):
        def __init__(self):
            super().__init__()
            self.asked = {}

        def next(self):
            if len(self) == 1:
                self.sell(size=90.0)
            elif len(self) == 3:
                self.asked["buy"] = self.getsizing(self.data, isbuy=True)
                self.asked["sell"] = self.getsizing(self.data, isbuy=False)
                self.close()
                self.order = self.buy(size=self.asked["buy"])

        def stop(self):
            self.final = self.position.size

    rows = [(100,) * 4] * 2 + [(50,) * 4] * 3
    cerebro = bt.Cerebro(stdstats=False)
    broker = SimulatedBroker()
    broker.addcommissioninfo(CryptoCommission())
    cerebro.setbroker(broker)
    cerebro.adddata(CandleData(dataname=candles_of(rows)))
    cerebro.addsizer(RiskSizer, risk=0.5)
    cerebro.addstrategy(Reverses)
    strategy = cerebro.run()[0]
    # The short won 4,500: the account closes at 14,500 less fees and buys with all of it.
    assert strategy.asked["buy"] == pytest.approx(14_500 / (50 * 1.0104), rel=1e-3)
    assert strategy.order.status == bt.Order.Completed
    assert strategy.final == strategy.asked["buy"]
    assert strategy.asked["sell"] < 20.0


class EntersBoth(Stops):
    """Buys the first feed and sells the second one short, on the same bar."""

    def __init__(self):
        super().__init__()
        self.fates = []

    def notify_order(self, order):
        if not order.alive():
            self.fates.append(order.getstatusname())

    def next(self):
        if len(self) == 2:
            self.buy(data=self.datas[0])
            self.sell(data=self.datas[1])

    def stop(self):
        self.sizes = [self.getposition(data).size for data in self.datas]


def enter_two_feeds(candles_of):
    cerebro = bt.Cerebro(stdstats=False)
    broker = SimulatedBroker()
    broker.addcommissioninfo(CryptoCommission())
    cerebro.setbroker(broker)
    for symbol in ("A/USDT", "B/USDT"):
        cerebro.adddata(CandleData(dataname=candles_of([FLAT] * 4, symbol=symbol)))
    cerebro.addsizer(RiskSizer, risk=0.025)
    cerebro.addstrategy(EntersBoth)
    return cerebro.run()[0]


def test_feeds_that_signal_together_share_the_cash(candles_of):
    strategy = enter_two_feeds(candles_of)
    first, second = strategy.sizes
    # A risk of 250 over a stop distance of 4 is 62.5; what that leaves pays for 37.
    assert first == 62.5
    assert second == pytest.approx(-(10_000 - 6_250 * 1.0004) / (100 * 1.0104), rel=1e-6)
    assert strategy.fates == ["Completed", "Completed"]


def test_counting_no_orders_the_second_would_be_refused(candles_of, monkeypatch):
    monkeypatch.setattr("lstm_strategies.sizer.reserved_cash", lambda broker: 0.0)
    strategy = enter_two_feeds(candles_of)
    assert strategy.sizes[1] == 0.0
    assert "Margin" in strategy.fates


def test_an_entry_that_reverses_its_own_feed_reserves_what_the_exit_does_not_bring(candles_of):
    class ReversesOneEntersOther(EntersBoth):
        def next(self):
            if len(self) == 1:
                self.buy(data=self.datas[0], size=50.0)
            elif len(self) == 3:
                self.close(data=self.datas[0])
                self.sell(data=self.datas[0], size=50.0)
                self.reserved = reserved_cash(self.broker)

    cerebro = bt.Cerebro(stdstats=False)
    broker = SimulatedBroker()
    broker.addcommissioninfo(CryptoCommission(maker_fee=0.001, taker_fee=0.001))
    cerebro.setbroker(broker)
    cerebro.adddata(CandleData(dataname=candles_of([FLAT] * 5)))
    cerebro.addstrategy(ReversesOneEntersOther)
    # 50 at 100 are bought back by the 50 sold: both fees of 5 are all it needs.
    assert cerebro.run()[0].reserved == pytest.approx(10.0)


def test_of_a_foreign_broker_nothing_is_known():
    assert reserved_cash(object()) == 0.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"risk": 0.0},
        {"risk": 1.5},
        {"risk": math.nan},
        {"atr_period": 0},
        {"atr_period": 2.5},
        {"atr_stop": -1.0},
        {"lot_step": 0.0},
        {"cash_buffer": -0.1},
    ],
)
def test_impossible_parameters_are_refused(wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        RiskSizer(**wrong)


@given(
    size=st.floats(0.0, 1e6),
    step=st.sampled_from([1e-8, 1e-5, 0.001, 0.01, 0.1, 0.15, 1.0, 5.0]),
)
def test_rounding_never_exceeds_the_size_and_loses_less_than_a_lot(size, step):
    rounded = round_down(size, step)
    exact, unit = Decimal(repr(size)), Decimal(repr(step))
    assert Decimal(repr(rounded)) <= exact
    assert exact - Decimal(repr(rounded)) < unit
    assert Decimal(repr(rounded)) % unit == 0
    assert round_down(rounded, step) == rounded


def test_rounding_in_binary_would_lose_a_lot():
    assert math.floor(0.3 / 0.1) * 0.1 != 0.3
    assert round_down(0.3, 0.1) == 0.3
    assert round_down(np.inf, 0.1) == 0.0
