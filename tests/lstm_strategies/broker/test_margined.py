"""Cash, margin and equity at leverage, worked out by hand."""

from __future__ import annotations

import backtrader as bt
import pytest

from lstm_strategies.broker import SimulatedBroker
from lstm_strategies.commission import CryptoCommission
from lstm_strategies.reserved_cash import reserved_cash, worth_of_closing

EXACT = {"rel": 0, "abs": 1e-9}
FLAT = (100.0, 100.0, 100.0, 100.0)
FEES = {"maker_fee": 0.0005, "taker_fee": 0.001}


def buy(size, **kwargs):
    return lambda strategy: {"buy": strategy.buy(size=size, **kwargs)}


def sell(size, **kwargs):
    return lambda strategy: {"sell": strategy.sell(size=size, **kwargs)}


def test_long_at_3x_to_the_cent(act, exchange, run_mode):
    rows = [FLAT, (100, 112, 99, 110), (110, 111, 104, 105), (105, 106, 104, 105), FLAT]
    script = {0: buy(30.0), 1: sell(10.0), 2: lambda strategy: {"close": strategy.close()}}
    account = act(rows, script, exchange(leverage=3.0, **FEES), **run_mode)
    # Buys 30 at 100: margin 3,000 / 3, fee 3. Sells 10 at 110: a third of the margin, 100 of
    # profit, fee 1.10. Sells 20 at 105: the rest of the margin, 100 of profit, fee 2.10.
    opened = 10_000 - 1_000 - 3
    reduced = opened + 1_000 / 3 + 100 - 1.10
    closed = reduced + 2_000 / 3 + 100 - 2.10
    assert account.cash == pytest.approx([10_000, opened, reduced, closed, closed], **EXACT)
    marked = [10_000, opened + 1_000 + 300, reduced + 2_000 / 3 + 100, closed, closed]
    assert account.equity == pytest.approx(marked, **EXACT)


def test_short_at_10x_to_the_cent(act, exchange, run_mode):
    rows = [FLAT, (100, 101, 95, 96), (96, 97, 95, 97), (97, 98, 94, 95), FLAT]
    script = {0: sell(50.0), 1: buy(20.0), 2: lambda strategy: {"close": strategy.close()}}
    account = act(rows, script, exchange(leverage=10.0, **FEES), **run_mode)
    # Sells 50 at 100: margin 500, fee 5. Buys 20 at 96: 200 of margin, 80 of profit, fee 1.92.
    # Buys 30 at 97: 300 of margin, 90 of profit, fee 2.91.
    opened = 10_000 - 500 - 5
    reduced = opened + 200 + 80 - 1.92
    closed = reduced + 300 + 90 - 2.91
    assert account.cash == pytest.approx([10_000, opened, reduced, closed, closed], **EXACT)
    marked = [10_000, opened + 500 + 200, reduced + 300 + 90, closed, closed]
    assert account.equity == pytest.approx(marked, **EXACT)


@pytest.mark.parametrize("side", [1, -1])
def test_reversal_in_one_order_at_5x(act, exchange, side):
    near, far = (100, 105), (100, 95)
    price = near[1] if side > 0 else far[1]
    rows = [FLAT, FLAT, (price,) * 4, (price,) * 4]
    script = {0: buy(10.0), 1: sell(25.0)} if side > 0 else {0: sell(10.0), 1: buy(25.0)}
    account = act(rows, script, exchange(leverage=5.0, **FEES))
    # 10 at 100: margin 200, fee 1. Closed at 105 or 95: 200 + 50, fee of 10. Turned: 15 at it.
    turned = 10_000 - 1 + 50 - 0.001 * 25 * price - 15 * price / 5
    assert account.cash[2:] == pytest.approx([turned, turned], **EXACT)
    assert account.equity[-1] == pytest.approx(turned + 15 * price / 5, **EXACT)
    assert account.size[-1] == -15.0 * side


@pytest.mark.parametrize("side", [1, -1])
def test_position_added_to_has_the_margin_of_its_mean_price(act, exchange, side):
    enter = buy if side > 0 else sell
    rows = [FLAT, FLAT, (104,) * 4, (104,) * 4]
    account = act(rows, {0: enter(10.0), 1: enter(30.0)}, exchange(leverage=4.0))
    # 1,000 / 4 and 3,120 / 4; mean price 103.
    assert account.cash[-1] == pytest.approx(10_000 - 250 - 780, **EXACT)
    margin = account.broker.position_margin(account.broker.cerebro.datas[0])
    assert margin == pytest.approx(40 * 103 / 4, **EXACT)
    assert account.equity[-1] == pytest.approx(10_000 + side * 40, **EXACT)


@pytest.mark.parametrize("side", [1, -1])
def test_margin_decides_what_the_cash_covers(act, exchange, side):
    enter = buy if side > 0 else sell
    # Each of a price of 100 takes 10 of margin and 0.1 of fee: 990.09 of them take 9,999.909.
    most = 990.09
    rows = [FLAT] * 3
    accepted = act(rows, {0: enter(most)}, exchange(leverage=10.0, **FEES))
    assert accepted.size[-1] == most * side
    assert accepted.cash[-1] == pytest.approx(0.091, **EXACT)
    refused = act(rows, {0: enter(990.10)}, exchange(leverage=10.0, **FEES))
    assert refused.notified[-1][1] == "Margin"
    assert refused.equity[-1] == 10_000.0


@pytest.mark.parametrize(("side", "price"), [(1, 130.0), (-1, 70.0)])
def test_reversal_may_spend_what_the_old_position_won(act, exchange, side, price):
    enter, turn = (buy, sell) if side > 0 else (sell, buy)
    # 100 at 100 and 2x leave 5,000; closing gives 5,000 + 3,000 back, so 13,000 make 26,000.
    size = 26_000 / price
    rows = [FLAT, FLAT, (price,) * 4, (price,) * 4]

    def reverse(strategy):
        strategy.close()
        return turn(size)(strategy)

    account = act(rows, {0: enter(100.0), 2: reverse}, exchange(leverage=2.0))
    assert account.size[-1] == pytest.approx(-side * size)
    assert account.cash[-1] == pytest.approx(0.0, abs=1e-8)
    assert account.equity[-1] == pytest.approx(13_000.0, **EXACT)


def test_reversal_that_the_losses_leave_no_cash_for_is_refused(act, exchange):
    # 100 at 100 and 2x leave 5,000; at 70 closing gives back 2,000.
    def reverse(strategy):
        strategy.close()
        return sell(7_001 * 2 / 70.0)(strategy)

    rows = [FLAT, FLAT, (70.0,) * 4, (70.0,) * 4]
    account = act(rows, {0: buy(100.0), 2: reverse}, exchange(leverage=2.0))
    assert account.status("sell") == "Margin"
    assert account.equity[-1] == pytest.approx(7_000.0, **EXACT)


def test_stock_broker_counts_the_margin_of_the_new_price_at_a_reversal(act, candles_of):
    """Control: 10x, short 100 at 100, turned at 95: backtrader's check misses the profit."""

    class Stock(bt.brokers.BackBroker):
        def liquidation_price(self, data):
            return None

    def made(kind):
        broker = kind(shortcash=False)
        broker.addcommissioninfo(CryptoCommission(leverage=10.0, maker_fee=0.0, taker_fee=0.0))
        broker.setcash(1_000.0)
        return broker

    def reverse(strategy):
        strategy.close()
        # 1,000 + 500 of profit make 15,000 of notional.
        return buy(15_000 / 95.0)(strategy)

    rows = [FLAT, FLAT, (95.0,) * 4, (95.0,) * 4]
    sizes = [
        act(rows, {0: sell(100.0), 2: reverse}, made(kind)).size[-1]
        for kind in (SimulatedBroker, Stock)
    ]
    assert sizes == [pytest.approx(15_000 / 95.0), 0.0]


@pytest.mark.parametrize("side", [1, -1])
def test_value_of_one_feed_is_its_signed_notional(act, exchange, side):
    seen = []

    def look(strategy):
        seen.append(strategy.broker.getvalue([strategy.data]))

    enter = buy if side > 0 else sell
    act([FLAT, (100, 101, 95, 96), FLAT], {0: enter(10.0), 1: look}, exchange(leverage=5.0))
    assert seen == [side * 960.0]


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("leverage", [1.0, 10.0])
def test_target_percent_is_of_the_notional_and_stays_there(act, exchange, side, leverage):
    def target(strategy):
        strategy.order_target_percent(target=0.5 * side)

    rows = [FLAT, FLAT, (96.0,) * 4, (96.0,) * 4, (96.0,) * 4]
    account = act(rows, dict.fromkeys(range(5), target), exchange(leverage=leverage))
    notional = abs(account.size[-1]) * 96.0
    assert notional == pytest.approx(0.5 * account.equity[-1], rel=1e-12)


@pytest.mark.parametrize("side", [1, -1])
def test_reserved_cash_is_the_margin_and_closing_is_worth_margin_and_profit(act, exchange, side):
    enter = buy if side > 0 else sell
    seen = {}

    def look(strategy):
        seen["closing"] = worth_of_closing(strategy.broker, strategy.data, 10.0, 95.0)
        made = enter(20.0)(strategy)
        seen["reserved"] = reserved_cash(strategy.broker)
        return made

    rows = [FLAT, (100, 101, 95, 95), (95.0,) * 4, (95.0,) * 4]
    account = act(rows, {0: enter(10.0), 1: look}, exchange(leverage=5.0, taker_fee=0.001))
    # Closing 10 at 95: 200 of margin, 50 lost or won, fee 0.95. Adding 20 at 95: 380 and 1.90.
    assert seen["closing"] == pytest.approx(200 - side * 50 - 0.95, **EXACT)
    # The liquidation order that waits gives nothing back.
    assert account.level[1] is not None
    assert seen["reserved"] == pytest.approx(380 + 1.90, **EXACT)


def test_short_beyond_twice_its_entry_keeps_its_value_in_cross_mode(act, exchange):
    rows = [FLAT, FLAT, (200.0,) * 4, (250.0,) * 4]
    for leverage in (1.0, 3.0):
        broker = exchange(leverage=leverage, params={"margin_mode": "cross"})
        account = act(rows, {0: sell(10.0)}, broker)
        assert account.equity == pytest.approx([10_000, 10_000, 9_000, 8_500], **EXACT)
