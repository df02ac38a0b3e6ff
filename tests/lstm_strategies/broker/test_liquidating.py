"""Liquidation: where, at what price, for which fee, and in what order with other orders."""

from __future__ import annotations

import logging

import backtrader as bt
import pytest

from lstm_strategies.broker import SimulatedBroker
from lstm_strategies.commission import CryptoCommission
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import CandleData

EXACT = {"rel": 0, "abs": 1e-9}
FLAT = (100.0, 100.0, 100.0, 100.0)
CRASH = (100.0, 101.0, 50.0, 55.0)
SURGE = (100.0, 150.0, 99.0, 145.0)


def enter(side, size=10.0, **kwargs):
    def act(strategy):
        order = strategy.buy if side > 0 else strategy.sell
        return {"entry": order(size=size, **kwargs)}

    return act


def bracket(side, *, stop, target, size=10.0, **parent):
    def act(strategy):
        order, leave = strategy.buy, strategy.sell
        if side < 0:
            order, leave = leave, order
        entry = order(size=size, transmit=False, **parent)
        stopped = leave(size=size, price=stop, exectype=bt.Order.Stop, parent=entry, transmit=False)
        taken = leave(size=size, price=target, exectype=bt.Order.Limit, parent=entry)
        return {"entry": entry, "stop": stopped, "target": taken}

    return act


def fills_named(account, name):
    return [fill[1:] for fill in account.fills if fill[0] == name]


# --- where and for how much


@pytest.mark.parametrize(
    ("side", "leverage", "level"),
    [
        (1, 3.0, 100 * (1 - 1 / 3) / 0.995),
        (1, 10.0, 90 / 0.995),
        (-1, 3.0, 100 * (1 + 1 / 3) / 1.005),
        (-1, 10.0, 110 / 1.005),
        (-1, 1.0, 200 / 1.005),
    ],
)
def test_position_is_liquidated_at_its_level(act, exchange, run_mode, side, leverage, level):
    beyond = level * (0.99 if side > 0 else 1.01)
    row = (100.0, max(100.0, beyond), min(100.0, beyond), beyond)
    rows = [FLAT, FLAT, row, row[-1:] * 4]
    account = act(rows, {0: enter(side)}, exchange(leverage=leverage), **run_mode)
    assert account.level[1] == pytest.approx(level, **EXACT)
    ((bar, price, size),) = fills_named(account, "liquidation")
    assert (bar, size) == (2, -10.0 * side)
    assert price == pytest.approx(level, **EXACT)
    lost = 10 * abs(100 - level)
    assert account.cash[-1] == account.equity[-1] == pytest.approx(10_000 - lost, **EXACT)
    assert account.level[2:] == [None, None]


def test_long_without_leverage_is_never_liquidated(act, exchange):
    rows = [FLAT, FLAT, (100.0, 100.0, 0.01, 0.01), (0.01,) * 4]
    account = act(rows, {0: enter(1)}, exchange())
    assert account.level == [None] * 4
    assert account.size[-1] == 10.0
    assert account.equity[-1] == pytest.approx(10_000 - 999.9, **EXACT)


@pytest.mark.parametrize(("side", "row"), [(1, CRASH), (-1, SURGE)])
def test_level_that_the_bar_does_not_reach_leaves_the_position(act, exchange, side, row):
    account = act([FLAT, FLAT, row], {0: enter(side)}, exchange(leverage=1.5))
    assert account.size[-1] == 10.0 * side


def test_stock_broker_keeps_a_10x_long_below_zero(act):
    class Stock(bt.brokers.BackBroker):
        def liquidation_price(self, data):
            return None

    rows = [FLAT, FLAT, (100.0, 100.0, 50.0, 50.0), (50.0,) * 4]
    results = []
    for kind in (SimulatedBroker, Stock):
        broker = kind()
        broker.setcash(1_000.0)
        broker.addcommissioninfo(CryptoCommission(leverage=10.0))
        results.append(act(rows, {0: enter(1, size=90.0)}, broker))
    # 90 x 50 lost of 1,000, against the margin of 900.
    assert results[0].size[-1] == 0.0
    assert results[0].equity[-1] == pytest.approx(1_000 - 900 - 3.6, **EXACT)
    assert results[1].size[-1] == 90.0
    assert results[1].equity[-1] == pytest.approx(1_000 - 4_500 - 3.6, **EXACT)


def test_liquidation_pays_both_fees(act, exchange):
    terms = {"leverage": 10.0, "maintenance_margin": 0.01}
    broker = exchange(**terms, taker_fee=0.001, liquidation_fee=0.002)
    account = act([FLAT, FLAT, CRASH, FLAT], {0: enter(1)}, broker)
    level = 90 / 0.99
    # Opening: 0.1 % of 1,000. What is left of the margin is 1 % of the notional at the level,
    # and the fees are 0.3 %.
    expected = 10_000 - 1 - 10 * (100 - level) - 0.003 * 10 * level
    assert account.cash[-1] == pytest.approx(expected, **EXACT)
    assert account.metrics["fees_paid"] == pytest.approx(1 + 0.003 * 10 * level, **EXACT)


def test_fees_take_at_most_what_is_left_of_the_margin(act, exchange):
    terms = {"leverage": 10.0, "maintenance_margin": 0.001}
    broker = exchange(**terms, taker_fee=0.001, liquidation_fee=0.002)
    account = act([FLAT, FLAT, CRASH, FLAT], {0: enter(1)}, broker)
    assert account.cash[-1] == pytest.approx(10_000 - 1 - 100, **EXACT)
    assert account.metrics["fees_paid"] == pytest.approx(1 + 0.001 * 10 * 90 / 0.999, **EXACT)


@pytest.mark.parametrize(
    ("side", "opened", "price"),
    [(1, 90.2, 90.2), (1, 80.0, 90.0), (-1, 109.9, 109.9), (-1, 130.0, 110.0)],
)
def test_gap_fills_at_the_open_but_not_beyond_bankruptcy(
    act, exchange, both_ways, side, opened, price
):
    rows = [FLAT, FLAT, (opened, opened + 1, opened - 1, opened), FLAT]
    broker = exchange(leverage=10.0, taker_fee=0.0, liquidation_fee=0.005)
    account = act(rows, {0: enter(side)}, broker, **both_ways)
    assert fills_named(account, "liquidation") == [(2, pytest.approx(price), -10.0 * side)]
    # 0.5 % of the notional is more than the 2.00 and 1.00 that are left, or the nothing.
    assert account.cash[-1] == pytest.approx(10_000 - 100, **EXACT)


def test_partial_close_shrinks_the_order_and_keeps_the_level(act, exchange):
    def half(strategy):
        strategy.sell(size=4.0)

    account = act([FLAT, FLAT, FLAT, CRASH], {0: enter(1), 1: half}, exchange(leverage=10.0))
    assert account.level[1] == account.level[2] == pytest.approx(90 / 0.995, **EXACT)
    assert fills_named(account, "liquidation") == [(3, pytest.approx(90 / 0.995), -6.0)]


def test_reversal_turns_the_level(act, exchange):
    def turn(strategy):
        strategy.sell(size=25.0)

    account = act([FLAT, FLAT, FLAT, SURGE], {0: enter(1), 1: turn}, exchange(leverage=10.0))
    assert account.level[2] == pytest.approx(110 / 1.005, **EXACT)
    assert fills_named(account, "liquidation") == [(3, pytest.approx(110 / 1.005), 15.0)]


def test_no_fill_slips_beyond_bankruptcy(act, exchange):
    broker = exchange(leverage=10.0)
    broker.set_slippage_perc(0.05, slip_out=True)

    def protect(strategy):
        return {"stop": strategy.sell(size=10.0, price=95.0, exectype=bt.Order.Stop)}

    rows = [FLAT, FLAT, (100.0, 100.0, 94.0, 95.0), FLAT]
    account = act(rows, {0: enter(1), 1: protect}, broker)
    # Entered at 105: bankrupt at 94.5, where 5 % below 95 would be 90.25.
    assert fills_named(account, "stop") == [(2, pytest.approx(94.5), -10.0)]


# --- in what order


def test_stop_before_the_liquidation_comes_first(act, exchange, both_ways):
    rows = [FLAT, FLAT, CRASH, FLAT]
    script = {0: bracket(1, stop=98.0, target=200.0)}
    account = act(rows, script, exchange(leverage=10.0), **both_ways)
    assert fills_named(account, "stop") == [(2, 98.0, -10.0)]
    assert fills_named(account, "liquidation") == []
    assert account.metrics["liquidations"] == 0


def test_liquidation_before_the_stop_cancels_stop_and_target(act, exchange, both_ways):
    rows = [FLAT, FLAT, CRASH, FLAT]
    script = {0: bracket(1, stop=70.0, target=200.0)}
    account = act(rows, script, exchange(leverage=10.0), **both_ways)
    assert fills_named(account, "liquidation") == [(2, pytest.approx(90 / 0.995), -10.0)]
    assert account.status("stop") == account.status("target") == "Canceled"
    assert account.size[-1] == 0.0


@pytest.mark.parametrize(("side", "target"), [(1, 105.0), (-1, 95.0)])
def test_liquidation_comes_before_the_target(act, exchange, both_ways, side, target):
    rows = [FLAT, FLAT, (100.0, 120.0, 80.0, 100.0), FLAT]
    script = {0: bracket(side, stop=100 - 60 * side, target=target)}
    account = act(rows, script, exchange(leverage=10.0), **both_ways)
    assert len(fills_named(account, "liquidation")) == 1
    assert fills_named(account, "target") == []


def test_gap_beyond_stop_and_liquidation_liquidates(act, exchange):
    rows = [FLAT, FLAT, (80.0, 81.0, 79.0, 80.0), FLAT]
    script = {0: bracket(1, stop=98.0, target=200.0)}
    account = act(rows, script, exchange(leverage=10.0))
    assert fills_named(account, "liquidation") == [(2, 90.0, -10.0)]
    assert account.status("stop") == "Canceled"


@pytest.mark.parametrize("exectype", [bt.Order.Market, bt.Order.Stop])
def test_gap_cancels_an_order_that_was_to_close_the_position(act, exchange, exectype):
    def leave(strategy):
        price = None if exectype == bt.Order.Market else 97.0
        return {"leave": strategy.sell(size=10.0, price=price, exectype=exectype)}

    rows = [FLAT, FLAT, (80.0, 81.0, 79.0, 80.0), (80.0,) * 4]
    account = act(rows, {0: enter(1), 1: leave}, exchange(leverage=10.0))
    assert fills_named(account, "liquidation") == [(2, 90.0, -10.0)]
    assert account.status("leave") == "Canceled"
    assert account.size[-1] == 0.0


def test_entry_behind_that_order_still_lives(act, exchange):
    def turn(strategy):
        return {"leave": strategy.close(), "turn": strategy.sell(size=5.0)}

    rows = [FLAT, FLAT, (80.0, 81.0, 79.0, 80.0), (80.0,) * 4]
    account = act(rows, {0: enter(1), 1: turn}, exchange(leverage=10.0))
    assert account.status("leave") == "Canceled"
    assert fills_named(account, "turn") == [(2, 80.0, -5.0)]
    assert account.size[-1] == -5.0


def test_position_is_liquidated_on_its_entry_bar(act, exchange, both_ways):
    account = act([FLAT, CRASH, FLAT], {0: enter(1)}, exchange(leverage=10.0), **both_ways)
    assert fills_named(account, "entry") == [(1, 100.0, 10.0)]
    assert fills_named(account, "liquidation") == [(1, pytest.approx(90 / 0.995), -10.0)]


def test_after_a_limit_entry_only_what_came_later_liquidates(act, exchange):
    limit = enter(-1, price=104.0, exectype=bt.Order.Limit)
    level = 104 * 1.1 / 1.005
    # The high is adverse and counts in full.
    account = act([FLAT, (100, 115, 99, 101), FLAT], {0: limit}, exchange(leverage=10.0))
    assert fills_named(account, "liquidation") == [(1, pytest.approx(level), 10.0)]
    account = act([FLAT, (100, 113, 60, 101), FLAT], {0: limit}, exchange(leverage=10.0))
    assert fills_named(account, "liquidation") == []


def test_limit_that_adds_on_the_way_down_moves_the_level_first(act, exchange, both_ways):
    def add(strategy):
        return {"add": strategy.buy(size=10.0, price=92.0, exectype=bt.Order.Limit)}

    script = {0: enter(1), 1: add}
    level = 96 * 0.9 / 0.995
    # Down to 88: below the old level of 90.45, above the new one of 86.83.
    rows = [FLAT, FLAT, (100.0, 100.0, 88.0, 89.0), (89.0,) * 4]
    account = act(rows, script, exchange(leverage=10.0), **both_ways)
    assert account.level[-1] == pytest.approx(level, **EXACT)
    assert account.size[-1] == 20.0
    rows[2] = (100.0, 100.0, 86.0, 87.0)
    account = act(rows, script, exchange(leverage=10.0), **both_ways)
    assert fills_named(account, "liquidation") == [(2, pytest.approx(level), -20.0)]


def test_stop_that_adds_raises_the_level_within_the_bar(act, exchange):
    def add(strategy):
        return {"add": strategy.buy(size=90.0, price=110.0, exectype=bt.Order.Stop)}

    # Mean price 109: level 98.59. The fall to 98 may have come after the rise to 110.
    rows = [FLAT, FLAT, (100.0, 111.0, 98.0, 99.0), FLAT]
    account = act(rows, {0: enter(1), 1: add}, exchange(leverage=10.0))
    assert fills_named(account, "liquidation") == [(2, pytest.approx(109 * 0.9 / 0.995), -100.0)]


def test_market_order_at_the_open_of_a_gap_meets_no_position(act, exchange):
    def add(strategy):
        return {"add": strategy.buy(size=1.0)}

    rows = [FLAT, FLAT, (80.0, 81.0, 79.0, 80.0), (80.0,) * 4]
    account = act(rows, {0: enter(1), 1: add}, exchange(leverage=10.0))
    assert [fill[0] for fill in account.fills] == ["entry", "liquidation", "add"]
    assert account.size[-1] == 1.0
    assert account.level[-1] == pytest.approx(72 / 0.995, **EXACT)


# --- what the strategy and the log see of it


def test_strategy_hears_of_it_once_and_sees_no_other_trace(act, exchange, both_ways, caplog):
    rows = [FLAT, FLAT, FLAT, CRASH, FLAT]
    with caplog.at_level(logging.WARNING, logger="lstm_strategies.broker"):
        account = act(rows, {0: enter(1)}, exchange(leverage=10.0), **both_ways)
    assert account.open_orders[1:] == [[], [], [], []]
    assert account.notified == [
        ("entry", "Submitted"),
        ("entry", "Accepted"),
        ("entry", "Completed"),
        ("liquidation", "Completed"),
    ]
    (record,) = caplog.records
    assert "liquidated: long 10 BTC/USDT, entered at 100, at 90.45" in record.getMessage()
    assert len(account.broker.orders) == 1
    (trade,) = account.metrics["trades"]
    assert trade["exit_reason"] == "liquidation"
    assert account.metrics["liquidations"] == 1
    assert trade["pnl"] == pytest.approx(account.equity[-1] - 10_000, **EXACT)


def test_order_waits_in_the_queue_of_the_broker(act, exchange):
    seen = []

    def look(strategy):
        (order,) = strategy.broker.pending
        seen.append((order.exectype, order.executed.remsize, order.info["exit_reason"]))

    act([FLAT, FLAT, FLAT], {0: enter(-1), 1: look}, exchange(leverage=10.0))
    assert seen == [(bt.Order.Stop, 10.0, "liquidation")]


def test_trade_of_its_own_number_is_closed(act, exchange):
    ended = []

    def note(strategy):
        ended.extend(trade.isclosed for trade in strategy._trades[strategy.data][7])

    script = {0: enter(1, tradeid=7), 2: note}
    act([FLAT, FLAT, CRASH], script, exchange(leverage=10.0))
    assert ended == [True]


def test_volume_filler_does_not_hold_it_up(act, exchange):
    broker = exchange(leverage=10.0)
    broker.set_filler(lambda order, price, ago: min(abs(order.executed.remsize), 4.0))
    account = act([FLAT, FLAT, FLAT, CRASH], {0: enter(1, size=8.0)}, broker)
    assert [fill[2:] for fill in account.fills] == [
        (100.0, 4.0),
        (100.0, 4.0),
        (pytest.approx(90 / 0.995), -8.0),
    ]


def test_second_run_starts_without_the_first_ones_orders(exchange, candles_of):
    cerebro = bt.Cerebro(stdstats=False)
    broker = exchange(leverage=10.0)
    cerebro.setbroker(broker)
    cerebro.adddata(CandleData(dataname=candles_of([FLAT] * 3)))
    cerebro.addstrategy(Enters)
    for _ in range(2):
        cerebro.run()
        assert len(broker.pending) == 1
        assert broker.getposition(cerebro.datas[0]).size == 10.0


class Enters(bt.Strategy):
    params = (("size", 10.0),)

    def __init__(self):
        super().__init__()
        self.reasons = []

    def next(self):
        if len(self) == 1:
            self.buy(size=self.p.size)


class CountsLiquidations(bt.Analyzer):
    def __init__(self):
        super().__init__()
        self.rets = {"liquidations": 0, "value": 0.0}

    def notify_order(self, order):
        self.rets["liquidations"] += order.info.get("exit_reason") == "liquidation"

    def stop(self):
        self.rets["value"] = self.strategy.broker.getvalue()


def test_two_workers_liquidate_alike(exchange, candles_of):
    cerebro = bt.Cerebro(stdstats=False, maxcpus=2)
    cerebro.setbroker(exchange(leverage=10.0, params={"margin_mode": "cross"}))
    cerebro.adddata(CandleData(dataname=candles_of([FLAT, FLAT, (100, 100, 10, 11), FLAT])))
    cerebro.optstrategy(Enters, size=[10.0, 500.0])
    cerebro.addanalyzer(CountsLiquidations, _name="count")
    found = [run[0].analyzers.count.rets for run in cerebro.run()]
    # 10 x 90 lost of 10,000: the account can bear it; 500 x 90 it cannot.
    assert [each["liquidations"] for each in found] == [0, 1]


# --- cross


def test_cross_position_stands_on_the_whole_account(act, exchange, run_mode):
    broker = exchange(cash=1_000.0, leverage=10.0, params={"margin_mode": "cross"})
    rows = [FLAT, FLAT, (100.0, 100.0, 79.0, 80.0), (80.0,) * 4]
    account = act(rows, {0: enter(1, size=50.0)}, broker, **run_mode)
    # 1,000 + 50 (p - 100) = 0.005 * 50 p: p = 80.40.
    level = (100 - 1_000 / 50) / 0.995
    assert account.level[1] == pytest.approx(level, **EXACT)
    assert fills_named(account, "liquidation") == [(2, pytest.approx(level), -50.0)]
    assert account.equity[-1] == pytest.approx(0.005 * 50 * level, **EXACT)


def test_isolated_position_of_that_account_goes_earlier(act, exchange):
    rows = [FLAT, FLAT, (100.0, 100.0, 85.0, 86.0)]
    account = act(rows, {0: enter(1, size=50.0)}, exchange(cash=1_000.0, leverage=10.0))
    assert account.size[-1] == 0.0


def test_cross_long_that_the_cash_covers_down_to_zero_has_no_level(act, exchange):
    broker = exchange(leverage=10.0, params={"margin_mode": "cross"})
    account = act([FLAT, FLAT, (100, 100, 1, 1)], {0: enter(1)}, broker)
    assert account.level == [None] * 3
    assert account.size[-1] == 10.0


def test_cross_gap_can_take_the_account_below_zero(act, exchange):
    broker = exchange(cash=1_000.0, leverage=10.0, params={"margin_mode": "cross"})
    rows = [FLAT, FLAT, (70.0,) * 4, (70.0,) * 4]
    account = act(rows, {0: enter(1, size=50.0)}, broker)
    assert fills_named(account, "liquidation") == [(2, 70.0, -50.0)]
    assert account.equity[-1] == pytest.approx(-500.0, **EXACT)


def both(strategy):
    return {
        "first": strategy.buy(data=strategy.datas[0], size=50.0),
        "second": strategy.buy(data=strategy.datas[1], size=50.0),
    }


def test_cross_levels_follow_the_other_positions_open(act, exchange, candles_of):
    broker = exchange(cash=2_000.0, leverage=10.0, params={"margin_mode": "cross"})
    first = candles_of([FLAT, FLAT, (100.0, 100.0, 95.0, 95.0), (95.0,) * 4])
    second = candles_of([FLAT, FLAT, (90.0,) * 4, (90.0,) * 4], symbol="ETH/USDT")
    seen = (account := act([first, second], {0: both}, broker)).level
    # Of 2,000 the other one has lost nothing, then 500; its maintenance is 25, then 22.50.
    assert seen[1] == pytest.approx((100 - (2_000 - 25) / 50) / 0.995, **EXACT)
    assert seen[2] == pytest.approx((100 - (2_000 - 500 - 22.5) / 50) / 0.995, **EXACT)
    assert account.size[-1] == 50.0


def test_cross_account_in_a_common_gap_gives_up_the_older_order_first(act, exchange, candles_of):
    broker = exchange(cash=2_000.0, leverage=10.0, params={"margin_mode": "cross"})
    gap = [FLAT, FLAT, (81.0,) * 4, (81.0,) * 4]
    first, second = candles_of(gap), candles_of(gap, symbol="ETH/USDT")
    account = act([first, second], {0: both}, broker)
    # 2 x 950 lost of 2,000; 40.50 of maintenance margins. 100 are left, so both stay.
    assert account.metrics["liquidations"] == 0
    gap = [FLAT, FLAT, (80.2,) * 4, (80.2,) * 4]
    first, second = candles_of(gap), candles_of(gap, symbol="ETH/USDT")
    broker = exchange(cash=2_000.0, leverage=10.0, params={"margin_mode": "cross"})
    account = act([first, second], {0: both}, broker)
    # 2 x 990 lost; 20 are left and the maintenance margins are 40.10. Without the first, 20.05.
    assert account.metrics["liquidations"] == 2
    broker = exchange(cash=2_002.0, leverage=10.0, params={"margin_mode": "cross"})
    account = act([first, second], {0: both}, broker)
    assert account.metrics["liquidations"] == 1
    assert account.size[-1] == 0.0


def test_unknown_margin_mode_is_refused():
    with pytest.raises(ParameterError, match="did you mean 'cross'"):
        SimulatedBroker(margin_mode="corss")


def test_shorts_without_cash_are_backtraders_own_and_never_liquidated(act, exchange):
    broker = exchange(leverage=10.0, params={"shortcash": True})
    account = act([FLAT, FLAT, SURGE, SURGE], {0: enter(-1)}, broker)
    assert account.level == [None] * 4
    assert account.size[-1] == -10.0
