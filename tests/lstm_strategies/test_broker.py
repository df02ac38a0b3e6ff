"""Fills, fees, cash and equity against ledgers worked out by hand."""

from __future__ import annotations

import logging
import math
import pickle

import backtrader as bt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_models.candles import Candles
from lstm_strategies.broker import SimulatedBroker, upgrade_broker
from lstm_strategies.commission import CryptoCommission
from lstm_strategies.feed import CandleData

EXACT = {"rel": 0, "abs": 1e-9}

FLAT = (100.0, 100.0, 100.0, 100.0)


def simulated(**fees):
    broker = SimulatedBroker()
    broker.addcommissioninfo(CryptoCommission(**(fees or {"maker_fee": 0.0, "taker_fee": 0.0})))
    return broker


def stock():
    return bt.brokers.BackBroker()


def bracket(strategy, *, size=1.0, stop=95.0, target=110.0, side=1, offsets=False, **parent):
    """Entry, stop and target, levels given for a close of 100."""
    enter, leave = (strategy.buy, strategy.sell) if side > 0 else (strategy.sell, strategy.buy)
    entry = enter(size=size, transmit=False, **parent)
    extra = ({"offset": stop - 100.0}, {"offset": target - 100.0}) if offsets else ({}, {})
    stopped = leave(
        size=size, price=stop, exectype=bt.Order.Stop, parent=entry, transmit=False, **extra[0]
    )
    taken = leave(
        size=size, price=target, exectype=bt.Order.Limit, parent=entry, transmit=True, **extra[1]
    )
    return {"entry": entry, "stop": stopped, "target": taken}


# --- the entry bar


def test_stop_fires_on_the_entry_bar(play, both_ways):
    rows = [FLAT, (100, 101, 80, 90), (90, 91, 89, 90)]
    ledger = play(rows, {0: bracket}, broker=simulated(), **both_ways)
    assert ledger.fill("entry") == (1, 100.0, 1.0)
    assert ledger.fill("stop") == (1, 95.0, -1.0)
    assert ledger.status("target") == "Canceled"
    assert ledger.size == [0.0, 0.0, 0.0]
    assert ledger.equity == pytest.approx([10_000.0, 9_995.0, 9_995.0], **EXACT)


def test_stock_broker_misses_the_stop_on_the_entry_bar(play, both_ways):
    rows = [FLAT, (100, 101, 80, 90), (90, 91, 89, 90)]
    ledger = play(rows, {0: bracket}, broker=stock(), **both_ways)
    assert ledger.size[1] == 1.0
    assert ledger.fill("stop") == (2, 90.0, -1.0)


def test_target_fires_on_the_entry_bar(play, both_ways):
    rows = [FLAT, (100, 112, 99, 111), FLAT]
    ledger = play(rows, {0: bracket}, broker=simulated(), **both_ways)
    assert ledger.fill("target") == (1, 110.0, -1.0)
    assert ledger.status("stop") == "Canceled"


def test_short_bracket_mirrors_the_long_one(play, both_ways):
    def short(strategy):
        return bracket(strategy, side=-1, stop=105.0, target=90.0)

    rows = [FLAT, (100, 106, 89, 95), FLAT]
    ledger = play(rows, {0: short}, broker=simulated(), **both_ways)
    assert ledger.fill("stop") == (1, 105.0, 1.0)
    assert ledger.status("target") == "Canceled"
    assert ledger.equity[-1] == pytest.approx(9_995.0, **EXACT)


# --- order within a bar


@pytest.mark.parametrize("target_first", [False, True])
def test_stop_comes_before_target_when_both_lie_in_the_bar(play, both_ways, target_first):
    def enter(strategy):
        entry = strategy.buy(size=1.0, transmit=False)
        legs = [
            ("stop", {"price": 95.0, "exectype": bt.Order.Stop}),
            ("target", {"price": 110.0, "exectype": bt.Order.Limit}),
        ]
        made = {"entry": entry}
        for number, (name, level) in enumerate(reversed(legs) if target_first else legs):
            made[name] = strategy.sell(size=1.0, parent=entry, transmit=number == 1, **level)
        return made

    rows = [FLAT, (100, 101, 99, 100), (100, 115, 90, 100), FLAT]
    ledger = play(rows, {0: enter}, broker=simulated(), **both_ways)
    assert ledger.fill("stop") == (2, 95.0, -1.0)
    assert ledger.status("target") == "Canceled"
    assert ledger.size[-1] == 0.0


def test_stock_broker_fills_whichever_was_submitted_first(play):
    def enter(strategy):
        entry = strategy.buy(size=1.0, transmit=False)
        target = strategy.sell(
            size=1.0, price=110.0, exectype=bt.Order.Limit, parent=entry, transmit=False
        )
        stop = strategy.sell(size=1.0, price=95.0, exectype=bt.Order.Stop, parent=entry)
        return {"entry": entry, "target": target, "stop": stop}

    rows = [FLAT, (100, 101, 99, 100), (100, 115, 90, 100), FLAT]
    assert play(rows, {0: enter}, broker=stock()).status("target") == "Completed"
    assert play(rows, {0: enter}, broker=simulated()).status("target") == "Canceled"


def test_gap_through_the_stop_fills_at_the_open(play, both_ways):
    rows = [FLAT, (100, 101, 99, 100), (90, 120, 85, 100), FLAT]
    ledger = play(rows, {0: bracket}, broker=simulated(), **both_ways)
    assert ledger.fill("stop") == (2, 90.0, -1.0)
    assert ledger.equity[-1] == pytest.approx(9_990.0, **EXACT)


def test_gap_through_the_target_fills_at_the_open_though_the_stop_lies_in_the_bar(play, both_ways):
    rows = [FLAT, (100, 101, 99, 100), (115, 116, 90, 100), FLAT]
    ledger = play(rows, {0: bracket}, broker=simulated(), **both_ways)
    assert ledger.fill("target") == (2, 115.0, -1.0)
    assert ledger.status("stop") == "Canceled"
    assert ledger.equity[-1] == pytest.approx(10_015.0, **EXACT)


def test_entry_that_opens_beyond_its_stop_leaves_at_once(play):
    rows = [FLAT, (90, 120, 89, 100), FLAT]
    ledger = play(rows, {0: bracket}, broker=simulated())
    assert ledger.fill("entry") == (1, 90.0, 1.0)
    assert ledger.fill("stop") == (1, 90.0, -1.0)


# --- levels follow the fill


def test_levels_are_anchored_to_the_fill(play, both_ways):
    def enter(strategy):
        return bracket(strategy, offsets=True)

    rows = [FLAT, (104, 105, 99.5, 104), (104, 113.9, 103, 104), (104, 114, 103, 104)]
    ledger = play(rows, {0: enter}, broker=simulated(), **both_ways)
    assert ledger.orders["stop"].created.price == pytest.approx(99.0)
    assert ledger.fill("target") == (3, 114.0, -1.0)


def test_levels_without_an_offset_stay(play):
    rows = [FLAT, (104, 105, 99.5, 104), (104, 110, 103, 104), FLAT]
    ledger = play(rows, {0: bracket}, broker=simulated())
    assert ledger.fill("target") == (2, 110.0, -1.0)


def test_anchoring_follows_slippage(play):
    broker = simulated()
    broker.set_slippage_fixed(1.0)

    def enter(strategy):
        return bracket(strategy, offsets=True)

    rows = [FLAT, (100, 105, 99, 100), (100, 101, 96, 97), (97, 98, 95.9, 96)]
    ledger = play(rows, {0: enter}, broker=broker)
    assert ledger.fill("entry") == (1, 101.0, 1.0)
    # The stop slips as well: triggered at 96, filled at 95.9, the bar's low.
    assert ledger.orders["stop"].created.price == pytest.approx(96.0)
    assert ledger.fill("stop") == (2, 96.0, -1.0)


def test_stop_limit_child_moves_both_its_levels(play):
    def enter(strategy):
        entry = strategy.buy(size=1.0, transmit=False)
        stop = strategy.sell(
            size=1.0,
            price=95.0,
            plimit=94.0,
            exectype=bt.Order.StopLimit,
            parent=entry,
            offset=-5.0,
        )
        return {"entry": entry, "stop": stop}

    ledger = play([FLAT, (104, 105, 103, 104), FLAT], {0: enter}, broker=simulated())
    stop = ledger.orders["stop"].created
    assert (stop.price, stop.pricelimit) == (99.0, 98.0)


def test_entry_in_parts_keeps_the_levels(play):
    broker = simulated()
    broker.set_filler(lambda order, price, ago: min(abs(order.executed.remsize), 0.6))

    def enter(strategy):
        return bracket(strategy, offsets=True)

    rows = [FLAT, (104, 105, 103, 104), (104, 105, 103, 104), (104, 105, 103, 104)]
    ledger = play(rows, {0: enter}, broker=broker)
    assert [fill[:2] for fill in ledger.fills] == [("entry", 1), ("entry", 2)]
    assert ledger.orders["stop"].created.price == 95.0
    assert ledger.orders["stop"].active()


# --- entries inside the bar


def test_target_after_a_limit_entry_needs_the_close(play, both_ways):
    def enter(strategy):
        return bracket(strategy, price=98.0, exectype=bt.Order.Limit, stop=90.0, target=103.0)

    # The high of 104 came before or after the fill at 98: nobody knows.
    rows = [FLAT, (100, 104, 97, 99), (99, 100, 98, 99)]
    ledger = play(rows, {0: enter}, broker=simulated(), **both_ways)
    assert ledger.fill("entry") == (1, 98.0, 1.0)
    assert ledger.size == [0.0, 1.0, 1.0]
    closes_beyond = [FLAT, (100, 105, 97, 104), FLAT]
    ledger = play(closes_beyond, {0: enter}, broker=simulated(), **both_ways)
    assert ledger.fill("target") == (1, 103.0, -1.0)


def test_stop_after_a_limit_entry_counts_the_whole_bar(play, both_ways):
    def enter(strategy):
        return bracket(strategy, price=98.0, exectype=bt.Order.Limit, stop=96.0, target=103.0)

    rows = [FLAT, (100, 104, 95, 99), FLAT]
    ledger = play(rows, {0: enter}, broker=simulated(), **both_ways)
    assert ledger.fill("stop") == (1, 96.0, -1.0)


def test_target_below_the_open_of_a_limit_entry_is_not_filled_at_that_open(play):
    def enter(strategy):
        return bracket(strategy, price=95.0, exectype=bt.Order.Limit, stop=90.0, target=97.0)

    rows = [FLAT, (100, 101, 94, 98), FLAT]
    ledger = play(rows, {0: enter}, broker=simulated())
    assert ledger.fill("target") == (1, 97.0, -1.0)


def test_short_limit_entry_mirrors(play):
    def enter(strategy):
        return bracket(
            strategy, side=-1, price=102.0, exectype=bt.Order.Limit, stop=110.0, target=97.0
        )

    rows = [FLAT, (100, 103, 96, 101), (101, 102, 98, 101)]
    ledger = play(rows, {0: enter}, broker=simulated())
    assert ledger.size == [0.0, -1.0, -1.0]


def test_after_a_stop_entry_the_high_came_later(play):
    def enter(strategy):
        return bracket(strategy, price=102.0, exectype=bt.Order.Stop, stop=90.0, target=105.0)

    rows = [FLAT, (100, 106, 99, 103), FLAT]
    ledger = play(rows, {0: enter}, broker=simulated())
    assert ledger.fill("entry") == (1, 102.0, 1.0)
    assert ledger.fill("target") == (1, 105.0, -1.0)


def test_after_an_entry_at_the_close_nothing_of_the_bar_is_left(play, candles_of):
    def enter(strategy):
        return bracket(strategy, exectype=bt.Order.Close)

    rows = [FLAT, (100, 120, 80, 100), (100, 101, 94, 100)]
    ledger = play(candles_of(rows, "1d"), {0: enter}, broker=simulated())
    assert ledger.fill("entry") == (1, 100.0, 1.0)
    assert ledger.fill("stop") == (2, 95.0, -1.0)


# --- brackets that never live


def test_refused_parent_takes_its_children_with_it(play, both_ways, caplog):
    def enter(strategy):
        return bracket(strategy, size=101.0)

    rows = [FLAT, (100, 101, 80, 90), (90, 120, 80, 90)]
    with caplog.at_level(logging.WARNING, logger="lstm_strategies.broker"):
        ledger = play(rows, {0: enter}, broker=simulated(), **both_ways)
    assert [ledger.status(name) for name in ("entry", "stop", "target")] == [
        "Margin",
        "Canceled",
        "Canceled",
    ]
    assert ledger.equity == [10_000.0] * 3
    assert ledger.statuses["entry"][-1] == "Margin"
    assert "refused" in caplog.text


def test_parent_that_a_gap_makes_too_dear_takes_its_children_with_it(play, both_ways, caplog):
    def enter(strategy):
        return bracket(strategy, size=100.0)

    rows = [FLAT, (101, 102, 80, 90), (90, 120, 80, 90)]
    ledger = play(rows, {0: enter}, broker=simulated(), **both_ways)
    assert [ledger.status(name) for name in ("entry", "stop", "target")] == [
        "Margin",
        "Canceled",
        "Canceled",
    ]
    assert "refused" in caplog.text


def test_cancelled_parent_takes_its_children_with_it(play):
    def enter(strategy):
        return bracket(strategy, price=50.0, exectype=bt.Order.Limit)

    def cancel(strategy):
        strategy.cancel(strategy.ledger.orders["entry"])

    rows = [FLAT, FLAT, FLAT, (100, 120, 40, 100), FLAT]
    ledger = play(rows, {0: enter, 1: cancel}, broker=simulated())
    assert ledger.fills == []
    assert ledger.status("stop") == ledger.status("target") == "Canceled"


def test_bracket_of_all_the_cash_is_accepted(play, both_ways):
    def enter(strategy):
        return bracket(strategy, size=100.0)

    ledger = play([FLAT, (100, 101, 99, 100), FLAT], {0: enter}, broker=simulated(), **both_ways)
    assert ledger.size[-1] == 100.0
    assert ledger.cash[-1] == pytest.approx(0.0, **EXACT)


def test_stock_cash_check_refuses_that_bracket(play):
    def enter(strategy):
        return bracket(strategy, size=100.0)

    broker = stock()
    broker.set_shortcash(False)
    ledger = play([FLAT, (100, 101, 99, 100), FLAT], {0: enter}, broker=broker)
    assert "Margin" in {ledger.status(name) for name in ledger.orders}


def test_refused_order_does_not_spoil_the_next_one(play, caplog):
    def enter(strategy):
        return {"large": strategy.buy(size=1000.0), "small": strategy.buy(size=1.0)}

    ledger = play([FLAT, FLAT, FLAT], {0: enter}, broker=simulated())
    assert ledger.status("large") == "Margin"
    assert ledger.status("small") == "Completed"
    assert "refused" in caplog.text


# --- leaving and turning


def turn(strategy):
    """Cancel the bracket, close, and enter the other way, all on one bar."""
    orders = strategy.ledger.orders
    strategy.cancel(orders["stop"])
    strategy.cancel(orders["target"])
    closing = strategy.close()
    made = bracket(strategy, side=-1, size=90.0, stop=120.0, target=50.0)
    return {"close": closing, **{f"short {name}": order for name, order in made.items()}}


def test_reversal_leaves_exactly_the_new_position(play, both_ways):
    def enter(strategy):
        return bracket(strategy, size=99.0)

    rows = [FLAT, (100, 101, 99, 100), (100, 111, 94, 100), (100, 101, 99, 100)]
    ledger = play(rows, {0: enter, 1: turn}, broker=simulated(), **both_ways)
    assert ledger.fill("close") == (2, 100.0, -99.0)
    assert ledger.fill("short entry") == (2, 100.0, -90.0)
    assert ledger.size == [0.0, 99.0, -90.0, -90.0]
    assert ledger.status("short stop") == "Accepted"
    assert ledger.equity[-1] == pytest.approx(10_000.0, **EXACT)


def test_reversal_of_a_winning_short_may_spend_what_it_won(play, both_ways):
    def enter(strategy):
        return {"short": strategy.sell(size=100.0)}

    def reverse(strategy):
        return {"close": strategy.close(), "long": strategy.buy(size=290.0)}

    fifty = (50.0, 50.0, 50.0, 50.0)
    rows = [FLAT, FLAT, fifty, fifty, fifty]
    ledger = play(rows, {0: enter, 2: reverse}, broker=simulated(), **both_ways)
    assert ledger.status("long") == "Completed"
    assert ledger.cash[-1] == pytest.approx(15_000.0 - 290 * 50.0, **EXACT)


def test_exit_without_cancelling_leaves_no_orphans(play, both_ways):
    def leave(strategy):
        return {"close": strategy.close()}

    rows = [FLAT, (100, 101, 99, 100), (94, 112, 90, 100), (100, 120, 80, 100), FLAT]
    ledger = play(rows, {0: bracket, 1: leave}, broker=simulated(), **both_ways)
    assert ledger.fill("close") == (2, 94.0, -1.0)
    assert ledger.status("stop") == ledger.status("target") == "Canceled"
    assert ledger.size == [0.0, 1.0, 0.0, 0.0, 0.0]


def test_stock_broker_turns_the_position_by_an_orphan(play):
    def leave(strategy):
        return {"close": strategy.close()}

    rows = [FLAT, (100, 101, 99, 100), (94, 112, 90, 100), (100, 120, 80, 100), FLAT]
    assert play(rows, {0: bracket, 1: leave}, broker=stock()).size[2] == -1.0


def test_stop_is_cut_to_what_is_left_of_the_position(play, both_ways):
    def leave_half(strategy):
        return {"half": strategy.sell(size=0.5)}

    rows = [FLAT, (100, 101, 99, 100), (100, 101, 99, 100), (100, 101, 90, 95), FLAT]
    ledger = play(rows, {0: bracket, 1: leave_half}, broker=simulated(), **both_ways)
    assert ledger.fill("stop") == (3, 95.0, -0.5)
    assert ledger.status("stop") == "Completed"
    assert ledger.size[-1] == 0.0


def test_two_brackets_keep_their_own_stops(play):
    def second(strategy):
        made = bracket(strategy, stop=90.0, target=130.0)
        return {f"second {name}": order for name, order in made.items()}

    rows = [FLAT, (100, 101, 99, 100), (100, 101, 99, 100), (100, 101, 94, 95), FLAT]
    ledger = play(rows, {0: bracket, 1: second}, broker=simulated())
    assert ledger.fill("stop") == (3, 95.0, -1.0)
    assert ledger.status("second stop") == "Accepted"
    assert ledger.size[-1] == 1.0


def test_child_sent_after_its_parents_fill_is_live(play):
    def enter(strategy):
        return {"entry": strategy.buy(size=1.0)}

    def protect(strategy):
        parent = strategy.ledger.orders["entry"]
        stop = strategy.sell(size=1.0, price=95.0, exectype=bt.Order.Stop, parent=parent)
        return {"stop": stop}

    rows = [FLAT, (100, 101, 99, 100), (100, 101, 90, 92), FLAT]
    ledger = play(rows, {0: enter, 1: protect}, broker=simulated())
    assert ledger.fill("stop") == (2, 95.0, -1.0)


def test_market_order_fills_at_the_next_open(play, run_mode):
    def enter(strategy):
        return {"entry": strategy.buy(size=1.0)}

    rows = [FLAT, FLAT, (107, 109, 106, 108), (108, 109, 107, 108)]
    ledger = play(rows, {1: enter}, broker=simulated(), **run_mode)
    assert ledger.fill("entry") == (2, 107.0, 1.0)


# --- fees, cash and equity


def test_long_ledger_to_the_last_digit(play, run_mode):
    broker = simulated(maker_fee=0.001, taker_fee=0.002)

    def enter(strategy):
        return bracket(strategy, size=10.0)

    rows = [FLAT, (100, 104, 99, 103), (103, 111, 102, 104), FLAT]
    ledger = play(rows, {0: enter}, broker=broker, **run_mode)
    entry_fee = 10 * 100 * 0.002
    target_fee = 10 * 110 * 0.001
    cash = [
        10_000.0,
        10_000.0 - 1_000.0 - entry_fee,
        10_000.0 + 100.0 - entry_fee - target_fee,
        10_000.0 + 100.0 - entry_fee - target_fee,
    ]
    assert ledger.cash == pytest.approx(cash, **EXACT)
    assert ledger.equity == pytest.approx([cash[0], cash[1] + 1_030.0, *cash[2:]], **EXACT)


def test_short_ledger_to_the_last_digit(play, run_mode):
    broker = simulated(maker_fee=0.001, taker_fee=0.002)

    def enter(strategy):
        return {"short": strategy.sell(size=10.0)}

    def leave(strategy):
        return {"close": strategy.close()}

    rows = [FLAT, (100, 104, 99, 103), (103, 104, 90, 92), (91, 92, 90, 91), FLAT]
    ledger = play(rows, {0: enter, 2: leave}, broker=broker, **run_mode)
    opened = 10_000.0 - 1_000.0 - 2.0
    closed = 10_000.0 - 2.0 + 10 * (100 - 91) - 10 * 91 * 0.002
    assert ledger.cash == pytest.approx([10_000.0, opened, opened, closed, closed], **EXACT)
    equity = [10_000.0, 9_998.0 - 30.0, 9_998.0 + 80.0, closed, closed]
    assert ledger.equity == pytest.approx(equity, **EXACT)


def test_losing_short_ledger(play, both_ways):
    def enter(strategy):
        return {"short": strategy.sell(size=10.0)}

    def leave(strategy):
        return {"close": strategy.close()}

    high = (130.0, 130.0, 130.0, 130.0)
    rows = [FLAT, FLAT, high, high, high]
    ledger = play(rows, {0: enter, 2: leave}, broker=simulated(), **both_ways)
    assert ledger.equity == pytest.approx([10_000.0, 10_000.0, 9_700.0, 9_700.0, 9_700.0], **EXACT)
    assert ledger.cash[-1] == pytest.approx(9_700.0, **EXACT)


def test_short_that_lost_more_than_its_notional_is_not_worth_more_again(play, both_ways):
    def enter(strategy):
        return {"short": strategy.sell(size=100.0)}

    def leave(strategy):
        return {"close": strategy.close()}

    high = (250.0, 250.0, 250.0, 250.0)
    rows = [FLAT, FLAT, high, high, high]
    # Under backtrader's own commission scheme, which knows no maintenance margin.
    ledger = play(rows, {0: enter, 2: leave}, broker=SimulatedBroker(), **both_ways)
    # 10,000 of cash less 100 x 150: there is no liquidation, and closing is never refused.
    assert ledger.equity == pytest.approx([1e4, 1e4, -5e3, -5e3, -5e3], **EXACT)
    assert ledger.size[-1] == 0.0
    broker = stock()
    broker.set_shortcash(False)
    assert play(rows, {0: enter}, broker=broker).equity[-1] == pytest.approx(5_000.0)


def test_short_without_cash_is_refused(play, both_ways, caplog):
    def enter(strategy):
        return {"short": strategy.sell(size=101.0)}

    ledger = play([FLAT] * 3, {0: enter}, broker=simulated(), **both_ways)
    assert ledger.status("short") == "Margin"
    assert ledger.size[-1] == 0.0
    assert "refused: sell 101 BTC/USDT" in caplog.text


def test_stock_broker_accepts_that_short(play):
    def enter(strategy):
        return {"short": strategy.sell(size=1_000.0)}

    assert play([FLAT] * 3, {0: enter}, broker=stock()).size[-1] == -1_000.0


def test_limit_that_rested_pays_the_maker_fee(play, both_ways):
    def enter(strategy):
        return {"entry": strategy.buy(size=1.0, price=98.0, exectype=bt.Order.Limit)}

    for row, price, fee in (
        ((100, 101, 97, 99), 98.0, 0.001),  # reached from above
        ((97, 98, 96, 97), 97.0, 0.002),  # the open is below already: it never rested
    ):
        broker = simulated(maker_fee=0.001, taker_fee=0.002)
        ledger = play([FLAT, row, FLAT], {0: enter}, broker=broker, **both_ways)
        assert ledger.cash[-1] == pytest.approx(10_000.0 - price * (1 + fee), **EXACT)


def test_limit_that_rested_a_bar_pays_the_maker_fee_even_in_a_gap(play):
    def enter(strategy):
        return {"entry": strategy.buy(size=1.0, price=98.0, exectype=bt.Order.Limit)}

    broker = simulated(maker_fee=0.001, taker_fee=0.002)
    ledger = play([FLAT, FLAT, (97, 98, 96, 97), FLAT], {0: enter}, broker=broker)
    assert ledger.cash[-1] == pytest.approx(10_000.0 - 97.0 * 1.001, **EXACT)


def test_stop_limit_pays_the_maker_fee_only_once_it_rests(play):
    def enter(strategy):
        order = strategy.buy(size=1.0, price=102.0, plimit=101.0, exectype=bt.Order.StopLimit)
        return {"entry": order}

    broker = simulated(maker_fee=0.001, taker_fee=0.002)
    rows = [FLAT, (101.5, 103, 101.2, 102), (102, 103, 100, 101), FLAT]
    ledger = play(rows, {0: enter}, broker=broker)
    assert ledger.fill("entry") == (2, 101.0, 1.0)
    assert ledger.cash[-1] == pytest.approx(10_000.0 - 101.0 * 1.001, **EXACT)


def test_lots_that_add_up_leave_no_residue(play, both_ways):
    def enter(strategy):
        return {f"buy {n}": strategy.buy(size=0.1) for n in range(3)}

    def leave(strategy):
        return {"sell": strategy.sell(size=0.3)}

    rows = [FLAT] * 4
    ledger = play(rows, {0: enter, 1: leave}, broker=simulated(), **both_ways)
    assert ledger.size[-1] == 0.0
    assert ledger.status("sell") == "Completed"
    (trade,) = ledger.strategy._trades[ledger.strategy.data][0]
    assert trade.isclosed
    assert play(rows, {0: enter, 1: leave}, broker=stock()).size[-1] == pytest.approx(
        5.6e-17, rel=0.1
    )


@given(lots=st.lists(st.integers(1, 50).map(lambda n: n / 1000), min_size=1, max_size=8))
@settings(max_examples=25, deadline=None)
def test_lots_bought_and_sold_in_another_split_always_leave_nothing(lots):
    broker = simulated()

    class Splits(bt.Strategy):
        def next(self):
            if len(self) == 1:
                for lot in lots:
                    self.buy(size=lot)
            elif len(self) == 3:
                whole = round(sum(lots), 3)
                self.sell(size=round(whole / 3, 3) or whole)
            elif len(self) == 5:
                whole = round(sum(lots), 3)
                sold = round(whole / 3, 3) or whole
                if round(whole - sold, 3):
                    self.sell(size=round(whole - sold, 3))

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(broker)
    cerebro.adddata(_flat_feed(7))
    cerebro.addstrategy(Splits)
    (strategy,) = cerebro.run()
    assert strategy.position.size == 0.0


def _flat_feed(count):
    index = pd.date_range("2021-01-01", periods=count, freq="h")
    columns = {"open": 100.0, "high": 100.0, "low": 100.0, "close": 100.0, "volume": 1.0}
    return CandleData(dataname=pd.DataFrame(columns, index=index), timeframe="1h")


prices = st.tuples(
    st.floats(80, 120), st.floats(80, 120), st.floats(80, 120), st.floats(80, 120)
).map(lambda four: (four[0], max(four), min(four), four[3]))


@given(rows=st.lists(prices, min_size=4, max_size=12), sides=st.lists(st.sampled_from([-1, 0, 1])))
@settings(max_examples=40, deadline=None)
def test_equity_is_cash_and_every_profit_whatever_happens(rows, sides):
    """Brackets at random: the position is always flat or the last one, and money is conserved."""
    broker = simulated(maker_fee=0.001, taker_fee=0.002)
    fills = []

    class Random(bt.Strategy):
        def notify_order(self, order):
            fills.extend((bit.price, bit.size, bit.comm) for bit in order.executed.iterpending())

        def next(self):
            side = sides[len(self) - 1] if len(self) <= len(sides) else 0
            if side and not self.position:
                close = self.data.close[0]
                bracket(
                    self,
                    side=side,
                    stop=close * (1 - side * 0.04),
                    target=close * (1 + side * 0.06),
                )
            elif side and (self.position.size > 0) != (side > 0):
                self.close()
            spent = sum(-price * size - fee for price, size, fee in fills)
            held = sum(size for _, size, _ in fills)
            assert self.position.size == pytest.approx(held, abs=1e-12)
            assert abs(held) <= 1.0 + 1e-12
            equity = 10_000.0 + spent + held * self.data.close[0]
            assert self.broker.getvalue() == pytest.approx(equity, abs=1e-8)

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(broker)
    cerebro.adddata(CandleData(dataname=_made(rows)))
    cerebro.addstrategy(Random)
    cerebro.run()


def _made(rows):
    prices = np.asarray(rows, dtype=float)
    return Candles(
        symbol="BTC/USDT",
        timeframe="1h",
        market="continuous",
        time=np.arange(len(rows), dtype=np.int64) * 3_600_000,
        ohlcv=np.column_stack([prices, np.ones(len(rows))]),
    )


# --- slower feeds


class OnTheSlowFeed(bt.Strategy):
    params = (("enter_at", 7),)

    def __init__(self):
        self.fills = []

    def notify_order(self, order):
        for bit in order.executed.iterpending():
            self.fills.append((len(self.data0), bit.price))

    def next(self):
        if len(self.data0) == self.p.enter_at:
            self.buy(self.data1, size=1.0, price=97.0, exectype=bt.Order.Limit)


@pytest.mark.parametrize("runonce", [True, False])
def test_order_on_a_slower_feed_never_fills_on_a_bar_that_was_over(runonce):
    rows = [FLAT] * 4 + [(100, 100, 95, 100)] + [FLAT] * 5 + [(96, 96, 96, 96)] * 8
    candles = _made(rows)
    times = {}
    for broker in (simulated(), stock()):
        cerebro = bt.Cerebro(stdstats=False)
        cerebro.setbroker(broker)
        cerebro.adddata(CandleData(dataname=candles))
        cerebro.adddata(CandleData(dataname=candles, timeframe="6h"))
        cerebro.addstrategy(OnTheSlowFeed)
        times[type(broker).__name__] = cerebro.run(runonce=runonce)[0].fills
    assert times["SimulatedBroker"] == [(12, 97.0)]
    # The low of 95 lay in the slow bar that had ended before the order was made.
    assert times["BackBroker"] == [(8, 97.0)]


def test_trailing_stop_on_a_slower_feed_is_checked_once_a_bar():
    rows = [FLAT] * 6 + [(100, 120, 100, 120)] * 6 + [(120, 121, 119, 120)] * 12
    candles = _made(rows)

    class Trails(bt.Strategy):
        def __init__(self):
            self.fills = []

        def notify_order(self, order):
            self.fills.extend(bit.price for bit in order.executed.iterpending())

        def next(self):
            if len(self.data0) == 6:
                self.buy(self.data1, size=1.0)
                self.sell(self.data1, size=1.0, exectype=bt.Order.StopTrail, trailamount=15.0)

    results = {}
    for broker in (simulated(), stock()):
        cerebro = bt.Cerebro(stdstats=False)
        cerebro.setbroker(broker)
        cerebro.adddata(CandleData(dataname=candles))
        cerebro.adddata(CandleData(dataname=candles, timeframe="6h"))
        cerebro.addstrategy(Trails)
        results[type(broker).__name__] = cerebro.run()[0].fills
    assert results["SimulatedBroker"] == [100.0]
    # Raised to 105 by the close of the bar, then held against the open of the same bar.
    assert results["BackBroker"] == [100.0, 100.0]


def test_stop_fires_on_the_tick_of_the_entry_in_a_replay():
    rows = [FLAT] * 6 + [FLAT, (100, 101, 90, 95), FLAT, FLAT, FLAT, FLAT] + [FLAT] * 6

    class Replays(bt.Strategy):
        def __init__(self):
            self.fills = []

        def notify_order(self, order):
            self.fills.extend((len(self), bit.price) for bit in order.executed.iterpending())

        def next(self):
            if len(self) == 2 and not self.fills and not self.broker.get_orders_open():
                bracket(self)

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(simulated())
    data = CandleData(dataname=_made(rows))
    cerebro.replaydata(data, timeframe=bt.TimeFrame.Minutes, compression=360)
    cerebro.addstrategy(Replays)
    assert cerebro.run()[0].fills == [(2, 100.0), (2, 95.0)]


# --- cheat on open


def test_cheat_on_open_fills_on_the_same_bar():
    class Cheats(bt.Strategy):
        def __init__(self):
            self.fills = []

        def notify_order(self, order):
            self.fills.extend((len(self), bit.price) for bit in order.executed.iterpending())

        def next_open(self):
            if len(self.data) == 2:
                bracket(self)

    cerebro = bt.Cerebro(stdstats=False, cheat_on_open=True)
    cerebro.setbroker(simulated())
    cerebro.adddata(CandleData(dataname=_made([FLAT, (100, 101, 94, 95), FLAT])))
    cerebro.addstrategy(Cheats)
    assert cerebro.run()[0].fills == [(2, 100.0), (2, 95.0)]


# --- upgrading


def test_stock_broker_is_upgraded_in_place(caplog):
    broker = stock()
    broker.setcash(5_000.0)
    broker.set_slippage_perc(0.001)
    broker.start()
    assert upgrade_broker(broker) is True
    assert type(broker) is SimulatedBroker
    assert broker.getcash() == 5_000.0
    assert broker.p.slip_perc == 0.001
    assert broker.p.shortcash is False
    assert isinstance(broker.comminfo[None], CryptoCommission)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "taker fee of 0.0004" in record.getMessage()


@pytest.mark.parametrize(
    "choose",
    [
        lambda broker: broker.setcommission(commission=0.001),
        lambda broker: broker.setcommission(commission=0.0),
        lambda broker: broker.addcommissioninfo(CryptoCommission(taker_fee=0.01)),
    ],
)
def test_commission_the_user_set_stays(choose, caplog):
    broker = stock()
    choose(broker)
    chosen = broker.comminfo[None]
    broker.start()
    assert upgrade_broker(broker) is True
    assert broker.comminfo[None] is chosen
    assert caplog.records == []


def test_upgraded_broker_has_the_parameters_of_the_exchange_and_liquidates(play):
    broker = stock()
    broker.p.slip_fixed = 0.5
    broker.addcommissioninfo(CryptoCommission(leverage=10.0, taker_fee=0.0, liquidation_fee=0.0))
    broker.start()
    assert upgrade_broker(broker) is True
    assert (broker.p.margin_mode, broker.p.slip_impact, broker.p.slip_fixed) == (
        "isolated",
        0.0,
        0.5,
    )
    broker.p.slip_fixed = 0.0

    def enter(strategy):
        return {"entry": strategy.buy(size=1.0)}

    ledger = play([FLAT, FLAT, (100, 100, 50, 50), FLAT], {0: enter}, broker=broker)
    assert ledger.size[-1] == 0.0


def test_upgrading_twice_changes_nothing(caplog):
    broker = stock()
    upgrade_broker(broker)
    fees = broker.comminfo[None]
    caplog.clear()
    assert upgrade_broker(broker) is True
    assert broker.comminfo[None] is fees
    assert caplog.records == []


def test_default_commission_is_known_again_in_a_worker(caplog):
    broker = pickle.loads(pickle.dumps(stock()))
    assert upgrade_broker(broker) is True
    assert isinstance(broker.comminfo[None], CryptoCommission)
    assert "taker fee" in caplog.text


def test_other_brokers_are_left_alone(caplog):
    class Other(bt.brokers.BackBroker):
        pass

    broker = Other()
    assert upgrade_broker(broker) is False
    assert type(broker) is Other
    assert "Other" in caplog.text


def test_broker_upgraded_in_a_strategy_protects_the_entry_bar(both_ways, caplog):
    class Upgrading(bt.Strategy):
        def __init__(self):
            upgrade_broker(self.broker)

        def next(self):
            if len(self) == 1:
                bracket(self)

        def stop(self):
            self.final = self.broker.getvalue()

    cerebro = bt.Cerebro()
    cerebro.adddata(CandleData(dataname=_made([FLAT, (100, 101, 80, 90), FLAT])))
    cerebro.addstrategy(Upgrading)
    strategy = cerebro.run(**both_ways)[0]
    assert strategy.final == pytest.approx(10_000 - 5 - 0.0004 * 195, **EXACT)
    assert math.isclose(cerebro.run(**both_ways)[0].final, strategy.final)
    assert len(caplog.records) == 1
