"""Bars that touch no order are passed over: the same fills, fees and equity as a closer look."""

from __future__ import annotations

import datetime as dt

import backtrader as bt
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstm_strategies.broker import SimulatedBroker
from lstm_strategies.commission import CryptoCommission
from lstm_strategies.feed import CandleData


class LooksAtEachOrder(SimulatedBroker):
    def _all_untouched(self):
        return False


class TakesEveryBarForUntouched(SimulatedBroker):
    def _all_untouched(self):
        return True


class MixedOrders(bt.Strategy):
    """Brackets and single orders of every kind, at random distances from the close."""

    params = (("seed", 0),)

    def __init__(self):
        super().__init__()
        self.random = np.random.default_rng(self.p.seed)
        self.told = []
        self.equity = []

    def notify_order(self, order):
        self.told.append(
            (len(self), order.getstatusname(), order.executed.price, order.executed.comm)
        )

    def next(self):
        self.equity.append(self.broker.getvalue())
        if self.random.random() > 0.3:
            return
        kind, side = self.random.integers(6), self.random.choice([-1, 1])
        close, near = self.data.close[0], self.data.close[0] * self.random.uniform(0.001, 0.02)
        enter = self.buy if side > 0 else self.sell
        if kind == 0:
            bracket = self.buy_bracket if side > 0 else self.sell_bracket
            bracket(
                size=1.0,
                exectype=bt.Order.Market,
                stopprice=close - side * near,
                stopargs={"offset": -side * near},
                limitprice=close + side * near,
                limitargs={"offset": side * near},
            )
        elif kind == 1:
            enter(size=1.0, exectype=bt.Order.Limit, price=close - side * near)
        elif kind == 2:
            enter(size=1.0, exectype=bt.Order.Stop, price=close + side * near)
        elif kind == 3:
            enter(
                size=1.0,
                exectype=bt.Order.Limit,
                price=close - side * near,
                valid=dt.timedelta(hours=3),
            )
        elif kind == 4:
            enter(size=1.0, exectype=bt.Order.StopTrail, trailamount=near)
        else:
            self.close()


def played(broker, candles, seed):
    cerebro = bt.Cerebro(stdstats=False)
    broker.addcommissioninfo(CryptoCommission())
    cerebro.setbroker(broker)
    cerebro.adddata(CandleData(dataname=candles))
    cerebro.addstrategy(MixedOrders, seed=seed)
    strategy = cerebro.run()[0]
    return strategy.told, strategy.equity


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000))
def test_passing_untouched_orders_over_changes_nothing(random_walk, seed):
    candles = random_walk(150, seed=seed)
    assert played(SimulatedBroker(), candles, seed) == played(LooksAtEachOrder(), candles, seed)


def test_passing_over_touched_ones_would(random_walk):
    candles = random_walk(150, seed=1)
    assert played(TakesEveryBarForUntouched(), candles, 1) != played(LooksAtEachOrder(), candles, 1)


@pytest.mark.parametrize("side", [1, -1])
def test_a_level_that_the_bar_only_just_reaches_is_touched(candles_of, side):
    class Waits(bt.Strategy):
        def next(self):
            if len(self) == 1:
                enter = self.buy if side > 0 else self.sell
                self.order = enter(size=1.0, exectype=bt.Order.Limit, price=100.0 - side)

    rows = [(100.0,) * 4, (100.0, 101.0, 99.0, 100.0), (100.0,) * 4]
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(SimulatedBroker())
    cerebro.adddata(CandleData(dataname=candles_of(rows)))
    cerebro.addstrategy(Waits)
    assert cerebro.run()[0].order.status == bt.Order.Completed
