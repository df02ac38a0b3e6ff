"""Finer candles decide what came first within a bar, where the rule for the bar guesses."""

from __future__ import annotations

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from lightning_models.candles import read_candles
from lightning_models.errors import CandleError
from lstm_strategies.broker import FundingRates
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import CandleData

EXACT = {"rel": 0, "abs": 1e-9}
FLAT = (100.0, 100.0, 100.0, 100.0)
CALM = [FLAT] * 4
START = 1_609_459_200_000  # 2021-01-01
QUARTER = 900_000


@pytest.fixture
def quarters(candles_of):
    """Candles of 15 minutes and the hours that they make, from a list of four a bar."""

    def build(*hours, symbol="BTC/USDT"):
        rows = [row for hour in hours for row in hour]
        fine = candles_of(rows, "15m", symbol=symbol)
        return fine.resample("1h"), fine

    return build


def enter(side, *, stop=None, target=None, size=10.0, **parent):
    def act(strategy):
        order, leave = strategy.buy, strategy.sell
        if side < 0:
            order, leave = leave, order
        entry = order(size=size, transmit=stop is None and target is None, **parent)
        made = {"entry": entry}
        if stop is not None:
            made["stop"] = leave(
                size=size,
                price=stop,
                exectype=bt.Order.Stop,
                parent=entry,
                transmit=target is None,
            )
        if target is not None:
            made["target"] = leave(size=size, price=target, exectype=bt.Order.Limit, parent=entry)
        return made

    return act


def names(account):
    return [fill[0] for fill in account.fills]


UP_THEN_DOWN = [(100, 111, 100, 110), (110, 110, 99, 99), (99, 99, 94, 95), (95, 96, 95, 96)]


def test_target_that_came_first_is_filled_where_the_bar_would_stop(
    act, exchange, quarters, run_mode
):
    bars, fine = quarters(CALM, CALM, UP_THEN_DOWN, CALM)
    script = {0: enter(1, stop=95.0, target=110.0)}
    coarse = act(bars, script, exchange(), **run_mode)
    assert names(coarse) == ["entry", "stop"]
    account = act(bars, script, exchange(), detail=fine, **run_mode)
    assert account.fills[1:] == [("target", 2, 110.0, -10.0)]
    assert account.status("stop") == "Canceled"
    assert account.equity[-1] == pytest.approx(10_100.0, **EXACT)


def test_stop_that_came_first_is_filled(act, exchange, quarters):
    hour = [(100, 100, 94, 96), (96, 112, 96, 111), *CALM[2:]]
    bars, fine = quarters(CALM, CALM, hour, CALM)
    account = act(bars, {0: enter(1, stop=95.0, target=110.0)}, exchange(), detail=fine)
    assert account.fills[1:] == [("stop", 2, 95.0, -10.0)]


def test_entry_bar_too_is_gone_through(act, exchange, quarters):
    bars, fine = quarters(CALM, UP_THEN_DOWN, CALM)
    account = act(bars, {0: enter(1, stop=95.0, target=110.0)}, exchange(), detail=fine)
    assert account.fills == [("entry", 1, 100.0, 10.0), ("target", 1, 110.0, -10.0)]


def test_target_before_the_liquidation(act, exchange, quarters):
    hour = [(100, 111, 100, 110), (110, 110, 80, 80), (80, 81, 80, 80), (80, 80, 80, 80)]
    bars, fine = quarters(CALM, CALM, hour, CALM)
    script = {0: enter(1, target=110.0)}
    assert names(act(bars, script, exchange(leverage=10.0))) == ["entry", "liquidation"]
    account = act(bars, script, exchange(leverage=10.0), detail=fine)
    assert names(account) == ["entry", "target"]


def test_gap_between_finer_candles_fills_at_the_open_of_the_next(act, exchange, quarters):
    hour = [FLAT, (88, 89, 85, 86), *CALM[2:]]
    bars, fine = quarters(CALM, CALM, hour, CALM)
    account = act(bars, {0: enter(1)}, exchange(leverage=5.0), detail=fine)
    assert names(account) == ["entry"]
    account = act(bars, {0: enter(1)}, exchange(leverage=8.0), detail=fine)
    # Level 87.5 / 0.995 = 87.94: reached within the candle that opens at 88.
    assert account.fills[-1][2] == pytest.approx(87.5 / 0.995, **EXACT)
    account = act(bars, {0: enter(1, stop=95.0)}, exchange(), detail=fine)
    assert account.fills[-1] == ("stop", 2, 88.0, -10.0)


def test_limit_entry_and_its_target_on_one_bar(act, exchange, quarters):
    script = {0: enter(1, price=96.0, exectype=bt.Order.Limit, stop=90.0, target=104.0)}
    fell_first = [(100, 100, 95, 97), (97, 105, 97, 99), (99, 99, 99, 99), (99, 99, 99, 99)]
    bars, fine = quarters(CALM, fell_first, CALM, CALM)
    assert names(act(bars, script, exchange())) == ["entry"]
    assert names(act(bars, script, exchange(), detail=fine)) == ["entry", "target"]
    rose_first = [(100, 105, 100, 100), (100, 100, 95, 99), (99, 99, 99, 99), (99, 99, 99, 99)]
    bars, fine = quarters(CALM, rose_first, CALM, CALM)
    assert names(act(bars, script, exchange(), detail=fine)) == ["entry"]


def test_limit_that_rested_over_a_finer_candle_pays_the_maker_fee_in_a_gap(act, exchange, quarters):
    limit = enter(1, price=98.0, exectype=bt.Order.Limit)
    bars, fine = quarters(CALM, [FLAT, (97, 97, 97, 97), *CALM[2:]], CALM)
    account = act(bars, {0: limit}, exchange(maker_fee=0.001, taker_fee=0.01), detail=fine)
    assert account.cash[-1] == pytest.approx(10_000 - 970 - 0.97, **EXACT)


def test_trailing_stop_follows_the_finer_closes(act, exchange, quarters):
    def trail(strategy):
        return {"trail": strategy.sell(size=10.0, exectype=bt.Order.StopTrail, trailamount=5.0)}

    hour = [(100, 108, 100, 108), (108, 108, 102, 102), (102, 106, 102, 106), FLAT]
    bars, fine = quarters(CALM, CALM, hour, CALM)
    script = {0: enter(1), 1: trail}
    assert act(bars, script, exchange()).fills[1:] == []
    account = act(bars, script, exchange(), detail=fine)
    assert account.fills[1:] == [("trail", 2, 103.0, -10.0)]


def test_stop_limit_triggered_first_is_filled_by_what_came_later(act, exchange, quarters):
    def wait(strategy):
        order = strategy.buy(size=10.0, price=104.0, plimit=103.0, exectype=bt.Order.StopLimit)
        return {"wait": order}

    hour = [(105, 106, 104, 106), (106, 107, 105, 105), (105, 105, 102, 102), (102,) * 4]
    bars, fine = quarters(CALM, hour, CALM)
    account = act(bars, {0: wait}, exchange(), detail=fine)
    assert account.fills == [("wait", 1, 103.0, 10.0)]


def test_funding_is_charged_at_the_finer_candles_price(act, exchange, quarters):
    hour = [(100, 104, 100, 104), (104, 106, 104, 106), (106, 106, 98, 98), (98, 99, 98, 99)]
    bars, fine = quarters(CALM, CALM, hour, CALM)
    # At 02:20, within the second candle, and at 02:45, as the fourth opens.
    stamps = [START + 8 * QUARTER + 1_200_000, START + 11 * QUARTER]
    rates = FundingRates.read(pd.DataFrame({"timestamp": stamps, "rate": [0.001, 0.002]}))
    coarse = act(bars, {0: enter(1)}, exchange(), funding=rates)
    assert [each.amount for each in coarse.broker.funding_payments] == [1.0, 2.0]
    account = act(bars, {0: enter(1)}, exchange(), funding=rates, detail=fine)
    amounts = [each.amount for each in account.broker.funding_payments]
    assert amounts == pytest.approx([1.04, 1.96], **EXACT)


def test_funding_after_the_stop_is_not_charged(act, exchange, quarters):
    hour = [(100, 100, 94, 96), (96, 97, 96, 96), (96,) * 4, (96,) * 4]
    bars, fine = quarters(CALM, CALM, hour, CALM)
    stamps = [START + 10 * QUARTER]
    rates = FundingRates.read(pd.DataFrame({"timestamp": stamps, "rate": [0.001]}))
    script = {0: enter(1, stop=95.0)}
    coarse = act(bars, script, exchange(), funding=rates)
    assert len(coarse.broker.funding_payments) == 1
    account = act(bars, script, exchange(), funding=rates, detail=fine)
    assert account.broker.funding_payments == []


def test_position_opened_inside_the_bar_pays_only_what_falls_due_later(act, exchange, quarters):
    hour = [FLAT, (100, 100, 95, 97), (97,) * 4, (97,) * 4]
    bars, fine = quarters(CALM, hour, CALM)
    stamps = [START + n * QUARTER for n in (4, 5, 6, 7)]
    rates = FundingRates.read(pd.DataFrame({"timestamp": stamps, "rate": [0.001] * 4}))
    limit = enter(1, price=96.0, exectype=bt.Order.Limit)
    account = act(bars, {0: limit}, exchange(), funding=rates, detail=fine)
    assert [each.time for each in account.broker.funding_payments] == stamps[2:]
    market = act(bars, {0: enter(1)}, exchange(), funding=rates, detail=fine)
    assert [each.time for each in market.broker.funding_payments] == stamps[1:]


def test_funding_in_a_hole_between_finer_candles_is_charged_at_the_price_before(
    act, exchange, quarters
):
    hour = [(100, 104, 100, 104), FLAT, (98, 98, 98, 98), (98,) * 4]
    bars, fine = quarters(CALM, CALM, hour, CALM)
    keep = np.delete(np.arange(len(fine)), 9)
    frame = fine.to_frame().iloc[keep]
    fine = read_candles(frame, timeframe="15m")
    rates = FundingRates.read(pd.DataFrame({"timestamp": [START + 9 * QUARTER], "rate": [0.001]}))
    account = act(bars, {0: enter(1)}, exchange(), funding=rates, detail=fine)
    assert [each.amount for each in account.broker.funding_payments] == [pytest.approx(1.04)]


def test_bar_without_finer_candles_keeps_the_rule_of_the_bar(act, exchange, quarters):
    bars, fine = quarters(CALM, CALM, UP_THEN_DOWN, CALM)
    script = {0: enter(1, stop=95.0, target=110.0)}
    before = fine.between(None, START + 8 * QUARTER)
    assert names(act(bars, script, exchange(), detail=before)) == ["entry", "stop"]
    without_the_low = fine.between(None, START + 10 * QUARTER)
    assert names(act(bars, script, exchange(), detail=without_the_low)) == ["entry", "stop"]


def test_finer_candles_that_contradict_a_bar_end_the_run_there(act, exchange, quarters):
    bars, _ = quarters(CALM, CALM, CALM, CALM)
    _, fine = quarters(CALM, CALM, UP_THEN_DOWN, CALM)
    with pytest.raises(CandleError, match="contradict its bar of 2021-01-01T02:00:00Z"):
        act(bars, {}, exchange(), detail=fine)


def test_bars_that_touch_nothing_are_passed_over_alike(act, exchange, quarters):
    wave = [(100, 103, 97, 100)] * 4
    bars, fine = quarters(*[wave] * 6)
    script = {0: enter(1, stop=90.0, target=120.0)}
    coarse = act(bars, script, exchange(leverage=3.0))
    account = act(bars, script, exchange(leverage=3.0), detail=fine)
    assert (account.equity, account.fills) == (coarse.equity, coarse.fills)


def test_order_for_the_close_fills_at_the_bars_close(act, exchange, candles_of):
    fine = candles_of(
        [FLAT] * 24 + [(100, 105, 95, 100 + n % 3) for n in range(24)] + [FLAT] * 24, "1h"
    )

    def at_close(strategy):
        return {"entry": strategy.buy(size=1.0, exectype=bt.Order.Close)}

    account = act(fine.resample("1d"), {0: at_close}, exchange(), detail=fine)
    assert account.fills == [("entry", 1, 102.0, 1.0)]


def test_what_came_first_in_two_feeds_decides_over_their_common_cash(act, exchange, quarters):
    late = [FLAT, FLAT, (100, 100, 95, 95), (95,) * 4]
    early = [(100, 100, 95, 95), (95,) * 4, (95,) * 4, (95,) * 4]
    first = quarters(CALM, CALM, late, CALM)
    second = quarters(CALM, CALM, early, CALM, symbol="ETH/USDT")

    def wait(name, feed):
        # On bars of their own, so that neither is refused for the other's sake.
        def act(strategy):
            data = strategy.datas[feed]
            return {name: strategy.buy(data, size=90.0, price=97.0, exectype=bt.Order.Limit)}

        return act

    # 90 x 97 each: the cash of 10,000 is enough for one.
    script = {0: wait("first", 0), 1: wait("second", 1)}
    coarse = act([first[0], second[0]], script, exchange())
    assert names(coarse) == ["first"]
    account = act([first[0], second[0]], script, exchange(), detail=[first[1], second[1]])
    assert names(account) == ["second"]
    assert account.status("first") == "Margin"


def test_in_cross_mode_one_feeds_fall_liquidates_the_other(act, exchange, quarters):
    # The account of 1,000 bears 50 x 18 lost in either feed, not in both at once.
    falls = [(100, 100, 82, 82), (82, 100, 82, 100), FLAT, FLAT]
    falls_later = [FLAT, FLAT, (100, 100, 82, 82), (82, 100, 82, 100)]
    results = []
    for other in (falls_later, falls):
        first, second = quarters(CALM, CALM, falls), quarters(CALM, CALM, other, symbol="ETH/USDT")

        def both(strategy):
            strategy.buy(data=strategy.datas[0], size=50.0)
            strategy.buy(data=strategy.datas[1], size=50.0)

        broker = exchange(cash=1_000.0, leverage=10.0, params={"margin_mode": "cross"})
        account = act([first[0], second[0]], {0: both}, broker, detail=[first[1], second[1]])
        results.append(account.metrics["liquidations"])
    assert results == [0, 1]


def test_feed_that_stood_still_is_not_gone_through_again(exchange, candles_of):
    fast = candles_of([FLAT] * 24)
    # The second slow bar dips to 94 and only then rises through 103.
    second = [FLAT, (100, 100, 94, 100), FLAT, (100, 104, 100, 104), (104,) * 4, (104,) * 4]
    fine = candles_of([FLAT] * 6 + second + [(104,) * 4] * 12, symbol="ETH/USDT")

    class Waits(bt.Strategy):
        def __init__(self):
            super().__init__()
            self.fills = []

        def notify_order(self, order):
            self.fills.extend((len(self), bit.price) for bit in order.executed.iterpending())

        def next(self):
            if len(self) == 7:
                slow = {"data": self.datas[1], "size": 1.0, "exectype": bt.Order.Stop}
                entry = self.buy(price=103.0, transmit=False, **slow)
                self.sell(price=95.0, parent=entry, **slow)

    broker = exchange()
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(broker)
    cerebro.adddata(CandleData(dataname=fast))
    feed = CandleData(dataname=fine.resample("6h"))
    cerebro.adddata(feed)
    broker.add_detail(feed, fine)
    cerebro.addstrategy(Waits)
    assert cerebro.run()[0].fills == [(12, 103.0)]


def test_feed_without_a_known_timeframe_takes_no_detail(exchange, candles_of, frame_on_stamps):
    frame = frame_on_stamps(candles_of([FLAT] * 4, "1m"))
    feed = bt.feeds.PandasData(dataname=frame, timeframe=bt.TimeFrame.Minutes, compression=7)
    with pytest.raises(ParameterError, match="no known timeframe"):
        exchange().add_detail(feed, candles_of([FLAT], "1m"))


def test_second_run_is_decided_alike(exchange, quarters):
    bars, fine = quarters(CALM, CALM, UP_THEN_DOWN, CALM)

    class Enters(bt.Strategy):
        def next(self):
            if len(self) == 1:
                enter(1, stop=95.0, target=110.0)(self)

    broker = exchange()
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(broker)
    feed = CandleData(dataname=bars)
    cerebro.adddata(feed)
    broker.add_detail(feed, fine)
    cerebro.addstrategy(Enters)
    for _ in range(2):
        cerebro.run()
        assert broker.getvalue() == pytest.approx(10_100.0, **EXACT)


class EntersOnce(bt.Strategy):
    params = (("target", 110.0),)

    def next(self):
        if len(self) == 1:
            enter(1, stop=50.0, target=self.p.target)(self)


class Ending(bt.Analyzer):
    def stop(self):
        broker = self.strategy.broker
        self.rets["end"] = (broker.getvalue(), len(broker.funding_payments))


def test_two_workers_are_given_detail_and_funding_too(exchange, quarters):
    bars, fine = quarters(CALM, CALM, UP_THEN_DOWN, CALM, *[[(96,) * 4] * 4] * 6)
    broker = exchange(params={"funding_rate": 0.001})
    cerebro = bt.Cerebro(stdstats=False, maxcpus=2)
    cerebro.setbroker(broker)
    feed = CandleData(dataname=bars)
    cerebro.adddata(feed)
    broker.add_detail(feed, fine)
    broker.set_funding(feed, FundingRates.constant(0.002))
    cerebro.optstrategy(EntersOnce, target=[110.0, 150.0])
    cerebro.addanalyzer(Ending, _name="ending")
    ends = [run[0].analyzers.ending.rets["end"] for run in cerebro.run()]
    # The second one still holds at 08:00, and pays 10 x 96 x 0.002.
    assert ends == [(10_100.0, 0), (pytest.approx(9_960 - 1.92, **EXACT), 1)]
