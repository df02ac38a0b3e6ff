"""What share of the equity a position was, from each bar's open on and at its close."""

from __future__ import annotations

import backtrader as bt
import numpy as np
import pytest

from lstm_strategies import CandleData
from lstm_strategies.broker import SimulatedBroker
from lstm_strategies.position_weights import PositionWeights

PRICES = [
    # open, high, low, close
    (100, 101, 99, 100),
    (100, 101, 99, 100),  # decides to buy at its close
    (100, 111, 99, 110),
    (110, 112, 108, 110),
    (110, 111, 90, 100),  # the stop at 95 ends it within this bar
    (100, 101, 99, 100),  # decides to sell short
    (100, 101, 95, 96),  # decides to turn round
    (96, 100, 95, 98),
    (98, 99, 97, 98),
]


class Told(bt.Strategy):
    def next(self):
        row = len(self) - 1
        if row == 1:
            self.buy(size=10)
            self.sell(size=10, exectype=bt.Order.Stop, price=95.0)
        elif row == 5:
            self.sell(size=20)
        elif row == 6:
            self.buy(size=50)


def run(candles_of, mode, *, broker=None, from_time=None, strategy=Told):
    candles = candles_of(PRICES)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(CandleData(dataname=candles))
    if broker is not None:
        cerebro.setbroker(broker)
    cerebro.broker.setcash(10_000.0)
    cerebro.addanalyzer(PositionWeights, _name="weights", from_time=from_time)
    cerebro.addstrategy(strategy)
    return candles, cerebro.run(**mode)[0].analyzers.weights


OPENED = [
    0.0,
    0.0,
    10 * 100 / 10_000,
    10 * 110 / 10_100,
    # Whatever happens within the bar: it was held when that began.
    10 * 110 / 10_100,
    0.0,
    -20 * 100 / 9_950,
    30 * 96 / 10_030,
    30 * 98 / 10_090,
]
CLOSED = [
    0.0,
    0.0,
    10 * 110 / 10_100,
    10 * 110 / 10_100,
    0.0,
    0.0,
    -20 * 96 / 10_030,
    30 * 98 / 10_090,
    30 * 98 / 10_090,
]


@pytest.mark.parametrize("own_broker", [False, True])
def test_it_is_what_the_open_finds_and_what_the_close_leaves(candles_of, run_mode, own_broker):
    broker = SimulatedBroker() if own_broker else None
    _, weights = run(candles_of, run_mode, broker=broker)
    np.testing.assert_allclose(weights.opened[:, 0], OPENED, rtol=1e-9)
    np.testing.assert_allclose(weights.weights[:, 0], CLOSED, rtol=1e-9)


def test_what_was_held_before_the_first_bar_that_is_kept_is_known(candles_of, run_mode):
    candles, _ = run(candles_of, run_mode)
    first = int(candles.time[3]) + candles.period_ms - 1
    _, weights = run(candles_of, run_mode, from_time=first)
    np.testing.assert_allclose(weights.opened[:, 0], OPENED[3:], rtol=1e-9)
    np.testing.assert_allclose(weights.weights[:, 0], CLOSED[3:], rtol=1e-9)


def test_what_the_open_finds_earns_what_the_account_does(candles_of, run_mode):
    # But for the bar in which a stop ended it before the next open.
    candles, weights = run(candles_of, run_mode)
    opens = candles.ohlcv[:, 0]
    earned = weights.opened[:-1, 0] * (opens[1:] / opens[:-1] - 1.0)
    assert earned[2] == pytest.approx(100 / 10_000)
    assert earned[6] == pytest.approx(80 / 9_950)
    # The position that a close leaves says nothing of the bar after it once it is turned round.
    closes = candles.ohlcv[:, 3]
    late = weights.weights[:-1, 0] * (closes[1:] / closes[:-1] - 1.0)
    assert late[6] < 0.0 < 30 * 2 / 10_030 < earned[6]
