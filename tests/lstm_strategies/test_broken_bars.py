"""Bars without a price, and bars stamped at the very end of a day."""

from __future__ import annotations

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from lstm_strategies import SimulatedBroker
from lstm_strategies.feed import milliseconds_of_date, milliseconds_of_dates

DAY = 86_400_000


class _BuyOnce(bt.Strategy):
    def __init__(self):
        self.filled = []

    def next(self):
        if len(self) == 2:
            self.buy(size=1)

    def notify_order(self, order):
        if order.status == order.Completed:
            self.filled.append((len(self), order.executed.price))


def filled_across_a_bar_without_a_price(broker):
    frame = pd.DataFrame(
        {name: [10.0, 11.0, np.nan, 13.0, 14.0] for name in ("open", "high", "low", "close")},
        index=pd.date_range("2024-01-01", periods=5, freq="h"),
    ).assign(volume=1.0)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(broker)
    cerebro.broker.set_checksubmit(False)
    cerebro.adddata(bt.feeds.PandasData(dataname=frame))
    cerebro.addstrategy(_BuyOnce)
    return cerebro.run()[0].filled


def test_an_order_waits_for_a_bar_with_a_price():
    assert filled_across_a_bar_without_a_price(SimulatedBroker()) == [(4, 13.0)]


def test_the_stock_broker_fills_at_no_price():
    ((bar, price),) = filled_across_a_bar_without_a_price(bt.brokers.BackBroker())
    assert bar == 3
    assert np.isnan(price)


@pytest.mark.parametrize("days", [0, 1, 18_000])
def test_a_stamp_just_before_midnight_stays_in_its_day(days):
    stamp = bt.date2num(pd.Timestamp(days * DAY, unit="ms") + pd.Timedelta("23:59:59.999990"))
    assert milliseconds_of_date(stamp) // DAY == days
    assert milliseconds_of_dates(np.array([stamp]))[0] // DAY == days
