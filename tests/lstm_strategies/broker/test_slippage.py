"""Orders that are large for their bar's volume move the price against themselves."""

from __future__ import annotations

import backtrader as bt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_models.candles import Candles
from lstm_strategies.broker import SimulatedBroker
from lstm_strategies.broker.slippage import LARGEST_IMPACT, impact_of
from lstm_strategies.errors import ParameterError

# The fixtures' bars have a volume of 1,000.
FLAT = (100.0, 100.0, 100.0, 100.0)
IMPACT = {"slip_impact": 0.1}


def enter(side, size, **kwargs):
    def act(strategy):
        return {"entry": (strategy.buy if side > 0 else strategy.sell)(size=size, **kwargs)}

    return act


@pytest.mark.parametrize("side", [1, -1])
def test_market_order_moves_the_price_by_the_squared_share(act, exchange, both_ways, side):
    broker = exchange(cash=1e6, params=IMPACT)
    account = act([FLAT] * 3, {0: enter(side, 200.0)}, broker, **both_ways)
    # 0.1 x 0.2**2 = 0.4 %.
    assert account.fills == [("entry", 1, pytest.approx(100 + side * 0.4), side * 200.0)]


def test_without_it_the_price_stays(act, exchange):
    account = act([FLAT] * 3, {0: enter(1, 200.0)}, exchange(cash=1e6))
    assert account.fills[0][2] == 100.0


def test_it_comes_on_top_of_the_fixed_percentage(act, exchange):
    broker = exchange(cash=1e6, params=IMPACT)
    broker.set_slippage_perc(0.01, slip_out=True)
    account = act([FLAT] * 3, {0: enter(1, 200.0)}, broker)
    assert account.fills[0][2] == pytest.approx(101 * 1.004)


def test_stop_and_its_children_follow_the_moved_price(act, exchange):
    def enter_by_stop(strategy):
        entry = strategy.buy(size=200.0, price=102.0, exectype=bt.Order.Stop, transmit=False)
        stop = strategy.sell(
            size=200.0, price=97.0, exectype=bt.Order.Stop, parent=entry, offset=-5.0
        )
        return {"entry": entry, "stop": stop}

    rows = [FLAT, (100.0, 103.0, 100.0, 103.0), (103.0, 103.0, 90.0, 90.0)]
    account = act(rows, {0: enter_by_stop}, exchange(cash=1e6, params=IMPACT))
    entry = 102 * 1.004
    prices = [entry, (entry - 5) * 0.996]
    assert [fill[2] for fill in account.fills] == pytest.approx(prices)


def test_limits_and_limits_behind_a_stop_never_move(act, exchange):
    limit = enter(1, 200.0, price=98.0, exectype=bt.Order.Limit)
    rows = [FLAT, (100.0, 104.0, 97.0, 103.0), FLAT]
    account = act(rows, {0: limit}, exchange(cash=1e6, params=IMPACT))
    assert account.fills[0][2] == 98.0
    stop_limit = enter(1, 200.0, price=102.0, plimit=102.5, exectype=bt.Order.StopLimit)
    account = act(rows, {0: stop_limit}, exchange(cash=1e6, params=IMPACT))
    assert account.fills[0][2] == 102.0


def test_liquidation_moves_the_price_down_to_bankruptcy(act, exchange):
    broker = exchange(cash=1e6, leverage=10.0, params={"slip_impact": 0.01})
    rows = [FLAT, FLAT, (100.0, 100.0, 85.0, 85.0)]
    account = act(rows, {0: enter(1, 500.0)}, broker)
    # 0.01 x 0.5**2 = 0.25 %, at the entry and at the level that follows from it.
    entry = 100.25
    assert account.fills[0][2] == pytest.approx(entry)
    assert account.fills[1][2] == pytest.approx(0.9 * entry / 0.995 * 0.9975)
    broker = exchange(cash=1e6, leverage=10.0, params=IMPACT)
    account = act(rows, {0: enter(1, 500.0)}, broker)
    assert account.fills[1][2] == pytest.approx(0.9 * 102.5)


def test_order_larger_than_the_market_moves_it_by_the_cap(act, exchange):
    broker = exchange(cash=1e9, params={"slip_impact": 5.0})
    account = act([FLAT] * 3, {0: enter(1, 1e6)}, broker)
    assert account.fills[0][2] == pytest.approx(110.0)


def test_bar_without_volume_is_moved_by_the_cap(act, exchange, candles_of):
    candles = candles_of([FLAT] * 3)
    ohlcv = candles.ohlcv.copy()
    ohlcv[:, 4] = 0.0
    still = Candles(
        symbol="BTC/USDT", timeframe="1h", market="continuous", time=candles.time, ohlcv=ohlcv
    )
    account = act(still, {0: enter(1, 1.0)}, exchange(params=IMPACT))
    assert account.fills[0][2] == pytest.approx(110.0)
    assert impact_of(1.0, np.nan, 0.1) == LARGEST_IMPACT


@given(size=st.floats(0.0, 1e9), volume=st.floats(0.0, 1e9), slip_impact=st.floats(0.0, 100.0))
def test_impact_lies_between_nothing_and_the_cap(size, volume, slip_impact):
    assert 0.0 <= impact_of(size, volume, slip_impact) <= LARGEST_IMPACT


@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf, "0.1", True])
def test_impossible_impact_is_refused(value):
    with pytest.raises(ParameterError, match="slip_impact"):
        SimulatedBroker(slip_impact=value)
