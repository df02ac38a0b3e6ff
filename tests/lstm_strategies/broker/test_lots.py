"""Lot step and least notional: what is refused, what is said, and that nothing odd is left."""

from __future__ import annotations

import logging

import backtrader as bt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_strategies.broker.lots import refusal, whole_lots
from lstm_strategies.commission import CryptoCommission

FLAT = (100.0, 100.0, 100.0, 100.0)


def buy(size, **kwargs):
    return lambda strategy: {"buy": strategy.buy(size=size, **kwargs)}


def bracket(size, **kwargs):
    def act(strategy):
        orders = strategy.buy_bracket(
            size=size,
            stopprice=90.0,
            limitprice=110.0,
            exectype=bt.Order.Market,
            **kwargs,
        )
        return dict(zip(("entry", "stop", "target"), orders, strict=True))

    return act


@pytest.mark.parametrize(
    ("size", "nearest"), [(0.1234, "0.12"), (0.1299, "0.13"), (0.004, "0.01"), (2.499, "2.5")]
)
def test_size_off_the_lot_step_is_rejected_with_the_nearest_one(
    act, exchange, both_ways, caplog, size, nearest
):
    with caplog.at_level(logging.WARNING, logger="lstm_strategies.broker"):
        account = act([FLAT] * 3, {0: buy(size)}, exchange(lot_step=0.01), **both_ways)
    assert account.notified == [("buy", "Submitted"), ("buy", "Rejected")]
    assert account.fills == []
    (record,) = caplog.records
    assert f"buy {size:g} BTC/USDT" in record.getMessage()
    assert record.getMessage().endswith(f"the nearest allowed size is {nearest}")


def test_backtraders_own_broker_fills_any_size(act, candles_of):
    class Stock(bt.brokers.BackBroker):
        def liquidation_price(self, data):
            return None

    broker = Stock()
    broker.addcommissioninfo(CryptoCommission(lot_step=0.01, min_notional=50.0))
    account = act([FLAT] * 3, {0: buy(0.1234)}, broker)
    assert account.size[-1] == 0.1234


@pytest.mark.parametrize("size", [0.1 + 0.2, 0.3, 1e-3, 12345.678])
def test_size_on_the_lot_step_is_filled_whatever_its_binary_digits(act, exchange, size):
    account = act([FLAT] * 3, {0: buy(size)}, exchange(cash=1e8, lot_step=0.001))
    assert account.size[-1] == size


@pytest.mark.parametrize(("size", "price"), [(0.04, 100.0), (0.09, 50.0)])
def test_notional_under_the_least_is_rejected_with_the_size_that_makes_it(
    act, exchange, caplog, size, price
):
    limit = buy(size, price=price, exectype=bt.Order.Limit)
    account = act([FLAT] * 3, {0: limit}, exchange(lot_step=0.01, min_notional=5.0))
    assert account.status("buy") == "Rejected"
    assert f"the nearest allowed size is {5.0 / price:g}" in caplog.text
    accepted = act([FLAT] * 3, {0: buy(0.05)}, exchange(lot_step=0.01, min_notional=5.0))
    assert accepted.size[-1] == 0.05


def test_reducing_below_the_least_notional_is_taken(act, exchange):
    script = {
        0: buy(0.1),
        1: lambda strategy: {"reduce": strategy.sell(size=0.07)},
        2: lambda strategy: {"close": strategy.close()},
    }
    account = act([FLAT] * 5, script, exchange(lot_step=0.01, min_notional=5.0))
    assert account.size == [0.0, 0.1, pytest.approx(0.03), 0.0, 0.0]


def test_turning_order_needs_the_least_notional_and_reducing_one_whole_lots(act, exchange):
    for size, status in ((0.02, "Completed"), (0.015, "Rejected"), (0.045, "Rejected")):

        def leave(strategy, size=size):
            return {"leave": strategy.sell(size=size)}

        broker = exchange(lot_step=0.01, min_notional=5.0)
        cheap = (50.0,) * 4
        account = act([FLAT, FLAT, cheap, cheap], {0: buy(0.1), 1: leave}, broker)
        assert account.status("leave") == status
    # Long 0.1 at 100; an order of 0.2 at 20 has a notional of 4.

    def turn(strategy):
        return {"turn": strategy.sell(size=0.2)}

    low = (20.0,) * 4
    broker = exchange(lot_step=0.01, min_notional=5.0)
    account = act([FLAT, FLAT, low, low], {0: buy(0.1), 2: turn}, broker)
    assert account.status("turn") == "Rejected"


def test_entry_behind_a_close_on_the_same_bar_is_no_reduction(act, exchange):
    def turn(strategy):
        return {"close": strategy.close(), "turn": strategy.sell(size=0.04)}

    broker = exchange(lot_step=0.01, min_notional=5.0)
    account = act([FLAT] * 4, {0: buy(0.1), 1: turn}, broker)
    assert account.status("close") == "Completed"
    assert account.status("turn") == "Rejected"


def test_position_that_has_an_odd_size_can_be_closed_whole(act, exchange):
    broker = exchange()

    def change(strategy):
        strategy.broker.addcommissioninfo(CryptoCommission(lot_step=0.1))
        return {"close": strategy.close()}

    account = act([FLAT] * 4, {0: buy(0.123), 1: change}, broker)
    assert account.size[-1] == 0.0


def test_children_of_a_rejected_parent_never_live(act, exchange, both_ways):
    rows = [FLAT, (100.0, 120.0, 80.0, 100.0), (100.0, 120.0, 80.0, 100.0)]
    account = act(rows, {0: bracket(0.123)}, exchange(lot_step=0.01), **both_ways)
    assert account.status("entry") == "Rejected"
    assert {account.status("stop"), account.status("target")} == {"Canceled"}
    assert account.fills == []
    assert account.open_orders[-1] == []


def test_child_with_an_odd_size_is_rejected_and_its_parent_lives(act, exchange):
    def enter(strategy):
        entry = strategy.buy(size=0.5, transmit=False)
        stop = strategy.sell(size=0.333, price=90.0, exectype=bt.Order.Stop, parent=entry)
        return {"entry": entry, "stop": stop}

    account = act([FLAT] * 3, {0: enter}, exchange(lot_step=0.01))
    assert (account.status("entry"), account.status("stop")) == ("Completed", "Rejected")


def test_small_children_are_no_matter_of_the_least_notional(act, exchange):
    def enter(strategy):
        entry = strategy.buy(size=0.5, transmit=False)
        stop = strategy.sell(size=0.02, price=90.0, exectype=bt.Order.Stop, parent=entry)
        return {"entry": entry, "stop": stop}

    account = act([FLAT] * 3, {0: enter}, exchange(lot_step=0.01, min_notional=20.0))
    assert account.status("stop") == "Accepted"


def test_unchecked_orders_are_rejected_too(act, exchange):
    broker = exchange(lot_step=0.01, params={"checksubmit": False})
    rows = [FLAT, (100.0, 120.0, 80.0, 100.0), FLAT]
    account = act(rows, {0: bracket(0.123)}, broker)
    assert account.status("entry") == "Rejected"
    assert account.status("stop") == account.status("target") == "Canceled"
    taken = act([FLAT] * 3, {0: bracket(0.12)}, exchange(lot_step=0.01))
    assert taken.size[-1] == 0.12


def test_volume_filler_fills_whole_lots_and_finishes(act, exchange):
    broker = exchange(lot_step=0.1)
    broker.set_filler(lambda order, price, ago: min(abs(order.executed.remsize), 0.27))
    script = {0: buy(0.5), 3: lambda strategy: {"close": strategy.close()}}
    account = act([FLAT] * 8, script, broker)
    assert [abs(fill[3]) for fill in account.fills] == pytest.approx([0.2, 0.2, 0.1, 0.2, 0.2, 0.1])
    assert account.size[-1] == 0.0
    assert account.status("buy") == account.status("close") == "Completed"


def test_margin_refused_parent_takes_its_children_with_it(act, exchange):
    rows = [FLAT, (100.0, 120.0, 80.0, 100.0), FLAT]
    account = act(rows, {0: bracket(501.0)}, exchange(leverage=5.0))
    assert account.status("entry") == "Margin"
    assert account.status("stop") == account.status("target") == "Canceled"
    assert account.fills == []


def test_control_backtrader_refuses_the_bracket_of_all_the_cash_for_its_children(act):
    class Stock(bt.brokers.BackBroker):
        def liquidation_price(self, data):
            return None

    broker = Stock(shortcash=False)
    broker.addcommissioninfo(CryptoCommission(leverage=5.0, maker_fee=0.0, taker_fee=0.0))
    account = act([FLAT] * 3, {0: bracket(500.0)}, broker)
    assert "Margin" in {account.status(name) for name in ("entry", "stop", "target")}


def test_all_the_cash_makes_a_bracket_at_leverage(act, exchange):
    account = act([FLAT] * 3, {0: bracket(500.0)}, exchange(leverage=5.0))
    assert account.size[-1] == 500.0


@given(lots=st.integers(1, 10**6), step=st.sampled_from([1e-8, 1e-5, 0.001, 0.1, 0.25, 1.0, 10.0]))
def test_whole_lots_are_never_refused_and_halves_always(lots, step):
    terms = CryptoCommission(lot_step=step)
    assert refusal(lots * step, 100.0, terms) == ""
    assert "lot step" in refusal(-(lots + 0.5) * step, 100.0, terms, reduces=True)
    assert whole_lots((lots + 0.5) * step, step) == pytest.approx(lots * step, rel=1e-12)
