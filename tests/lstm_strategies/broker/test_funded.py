"""Funding: when it is charged, at which price, on which position, and to which trade."""

from __future__ import annotations

import logging

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from lightning_models.candles import Candles
from lstm_strategies.broker import FundingRates, SimulatedBroker
from lstm_strategies.commission import CryptoCommission
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import CandleData
from lstm_strategies.metrics import BacktestMetrics

EXACT = {"rel": 0, "abs": 1e-9}
HOUR = 3_600_000
START = 1_609_459_200_000  # 2021-01-01


def at(price):
    return (float(price),) * 4


def buy(size, **kwargs):
    return lambda strategy: {"buy": strategy.buy(size=size, **kwargs)}


def sell(size, **kwargs):
    return lambda strategy: {"sell": strategy.sell(size=size, **kwargs)}


def close(strategy):
    return {"close": strategy.close()}


def paid(account):
    return [
        ((payment.time - START) // HOUR, pytest.approx(payment.amount, **EXACT))
        for payment in account.broker.funding_payments
    ]


def rates_at(hours, rate=0.001):
    stamps = [START + hour * HOUR for hour in hours]
    return FundingRates.read(pd.DataFrame({"timestamp": stamps, "rate": [rate] * len(stamps)}))


@pytest.mark.parametrize("side", [1, -1])
def test_hourly_bars_pay_at_the_open_of_00_08_and_16(act, exchange, run_mode, side):
    rows = [at(100)] * 8 + [(102.0, 103.0, 101.0, 101.0)] + [at(101)] * 7 + [at(98)] * 2
    broker = exchange(params={"funding_rate": 0.001})
    enter = buy if side > 0 else sell
    account = act(rows, {2: enter(10.0)}, broker, **run_mode)
    # 10 x 102 x 0.001 at 08:00, 10 x 98 x 0.001 at 16:00; the short receives them.
    assert paid(account) == [(8, side * 1.02), (16, side * 0.98)]
    cash = 10_000 - 1_000
    assert account.cash[7] == pytest.approx(cash, **EXACT)
    assert account.cash[8] == pytest.approx(cash - side * 1.02, **EXACT)
    assert account.equity[-1] == pytest.approx(10_000 - side * (2.0 + 20), **EXACT)
    assert account.metrics["funding_paid"] == pytest.approx(side * 2.0, **EXACT)
    (trade,) = account.metrics["trades"]
    assert trade["funding"] == pytest.approx(side * 2.0, **EXACT)
    assert trade["pnl"] == pytest.approx(account.metrics["total_return"], **EXACT)


@pytest.mark.parametrize("side", [1, -1])
def test_six_hour_bars_pay_inside_them_at_their_open(act, exchange, both_ways, side):
    rows = [at(100), (100.0, 110.0, 90.0, 104.0), (104.0, 106.0, 95.0, 96.0), at(96)]
    enter = buy if side > 0 else sell
    broker = exchange(params={"funding_rate": 0.001})
    account = act(rows, {0: enter(10.0)}, broker, timeframe="6h", **both_ways)
    # 08:00 lies in the bar of 06:00, which opened at 100; 16:00 in that of 12:00, at 104.
    assert paid(account) == [(8, side * 1.0), (16, side * 1.04)]
    assert account.cash[1] == pytest.approx(9_000 - side * 1.0, **EXACT)


def test_position_opened_at_the_open_pays_what_is_due_inside_and_not_what_was_due_then(
    act, exchange
):
    # At 06:00 with rates at 06:00 and 07:00.
    account = act(
        [at(100)] * 3, {0: buy(10.0)}, exchange(), timeframe="6h", funding=rates_at([6, 7, 12])
    )
    assert paid(account) == [(7, 1.0), (12, 1.0)]


def test_position_closed_at_the_open_pays_what_was_due_then_and_not_what_is_due_inside(
    act, exchange
):
    rows = [at(100), at(100), (110.0, 111.0, 109.0, 110.0), at(110)]
    script = {0: buy(10.0), 1: close}
    account = act(rows, script, exchange(), timeframe="6h", funding=rates_at([12, 13, 18]))
    assert paid(account) == [(12, 1.1)]


def test_inside_a_bar_it_is_charged_before_stops_and_limits(act, exchange):
    def protect(strategy):
        return {"stop": strategy.sell(size=10.0, price=95.0, exectype=bt.Order.Stop)}

    rows = [at(100), at(100), (100.0, 101.0, 90.0, 91.0), at(91)]
    script = {0: buy(10.0), 1: protect}
    account = act(rows, script, exchange(), timeframe="6h", funding=rates_at([13]))
    assert account.size[-1] == 0.0
    assert paid(account) == [(13, 1.0)]
    # But a stop that the open jumps over comes first.
    rows[2] = (94.0, 94.0, 90.0, 91.0)
    account = act(rows, script, exchange(), timeframe="6h", funding=rates_at([13]))
    assert paid(account) == []


def test_position_opened_by_a_limit_inside_the_bar_pays_from_the_next_one_on(act, exchange):
    limit = buy(10.0, price=95.0, exectype=bt.Order.Limit)
    rows = [at(100), (100.0, 101.0, 90.0, 96.0), at(96), at(96)]
    account = act(rows, {0: limit}, exchange(), timeframe="6h", funding=rates_at([7, 13]))
    assert paid(account) == [(13, 0.96)]


def test_reversal_splits_the_payments_of_a_bar_between_two_trades(act, exchange):
    rows = [at(100), at(100), at(110), at(110)]
    script = {0: buy(10.0), 1: lambda strategy: {"turn": strategy.sell(size=30.0)}}
    account = act(rows, script, exchange(), timeframe="6h", funding=rates_at([12, 13]))
    assert paid(account) == [(12, 1.1), (13, -2.2)]
    first, second = account.metrics["trades"]
    assert first["funding"] == pytest.approx(1.1, **EXACT)
    assert second["funding"] == pytest.approx(-2.2, **EXACT)
    assert first["pnl"] == pytest.approx(100 - 1.1, **EXACT)
    assert second["pnl"] == pytest.approx(2.2, **EXACT)


def test_two_longs_one_after_the_other_on_one_bar_keep_their_payments_apart(act, exchange):
    def again(strategy):
        return {"close": strategy.close(), "again": strategy.buy(size=10.0)}

    account = act(
        [at(100)] * 4,
        {0: buy(10.0), 1: again},
        exchange(),
        timeframe="6h",
        funding=rates_at([12, 13, 14]),
    )
    first, second = account.metrics["trades"]
    assert (first["funding"], second["funding"]) == (pytest.approx(1.0), pytest.approx(2.0))


def with_a_hole(rows, missing):
    keep = [row for row in range(len(rows)) if row not in missing]
    time = START + np.array(keep, dtype=np.int64) * HOUR
    ohlcv = np.column_stack([np.array([rows[row] for row in keep]), np.full(len(keep), 1e3)])
    return Candles(symbol="BTC/USDT", timeframe="1h", market="continuous", time=time, ohlcv=ohlcv)


def test_what_falls_due_in_a_hole_is_charged_at_the_close_before_it(act, exchange, both_ways):
    rows = [at(100)] * 6 + [(100.0, 106.0, 100.0, 105.0)] + [at(0)] * 11 + [at(120)] * 2
    candles = with_a_hole(rows, range(7, 18))
    broker = exchange(params={"funding_rate": 0.001})
    account = act(candles, {2: buy(10.0)}, broker, **both_ways)
    # 08:00 and 16:00 lie between the bar of 06:00, closed at 105, and that of 18:00.
    assert paid(account) == [(8, 1.05), (16, 1.05)]


def test_hole_while_nothing_is_held_costs_nothing(act, exchange):
    candles = with_a_hole([at(100)] * 20, range(7, 18))
    broker = exchange(params={"funding_rate": 0.001})
    account = act(candles, {2: buy(10.0), 5: close, 7: buy(10.0)}, broker)
    assert paid(account) == []
    assert account.size[-1] == 10.0


def test_without_a_position_no_payment_and_no_record(act, exchange):
    account = act([at(100)] * 20, {}, exchange(params={"funding_rate": 0.001}))
    assert account.broker.funding_payments == []
    assert account.metrics["funding_paid"] == 0.0


def test_rates_of_a_feed_come_before_those_of_all_and_the_constant(act, exchange):
    broker = exchange(params={"funding_rate": 0.003})
    broker.set_funding(None, FundingRates.constant(0.002))
    account = act([at(100)] * 10, {0: buy(10.0)}, broker)
    assert paid(account) == [(8, 2.0)]
    broker = exchange(params={"funding_rate": 0.003})
    account = act([at(100)] * 10, {0: buy(10.0)}, broker, funding=rates_at([4]))
    assert paid(account) == [(4, 1.0)]


def test_cash_that_lacks_is_taken_from_an_isolated_margin(act, exchange):
    # 5 x 100 at 5x take all of 100; the payment of 5.00 finds no cash.
    broker = exchange(cash=100.0, leverage=5.0)
    rows = [at(100)] * 6
    account = act(rows, {0: buy(5.0), 3: close}, broker, funding=rates_at([3], 0.01))
    assert account.cash[3] == 0.0
    assert account.equity[3] == pytest.approx(95.0, **EXACT)
    # Margin 95 / 5 = 19 each: bankrupt at 81.
    assert account.level[2] == pytest.approx(80 / 0.995, **EXACT)
    assert account.level[3] == pytest.approx(81 / 0.995, **EXACT)
    assert account.cash[-1] == account.equity[-1] == pytest.approx(95.0, **EXACT)


def test_part_of_what_was_taken_is_missing_where_a_part_is_closed(act, exchange):
    broker = exchange(cash=100.0, leverage=5.0)
    script = {0: buy(5.0), 3: sell(2.0), 4: sell(2.0)}
    account = act([at(100)] * 7, script, broker, funding=rates_at([3], 0.01))
    # Of 19 each, two come back at a time.
    assert account.cash[3:] == pytest.approx([0.0, 38.0, 76.0, 76.0], **EXACT)
    assert account.equity[3:] == pytest.approx([95.0] * 4, **EXACT)


def test_payment_beyond_what_is_left_of_the_margin_takes_no_more(act, exchange):
    broker = exchange(cash=100.0, leverage=50.0, maintenance_margin=0.0)
    rows = [at(100)] * 3 + [at(98.5)] * 3
    account = act(rows, {0: buy(50.0)}, broker, funding=rates_at([3], 0.05))
    # 50 x 98.5 x 0.05 = 246.25 are due; 100 - 75 are left.
    assert paid(account) == [(3, 25.0)]
    assert account.equity[-1] == pytest.approx(0.0, **EXACT)
    assert account.size[-1] == 0.0


def test_cross_account_pays_from_what_it_has(act, exchange):
    broker = exchange(cash=100.0, leverage=5.0, params={"margin_mode": "cross"})
    account = act([at(100)] * 6, {0: buy(5.0)}, broker, funding=rates_at([3], 0.01))
    assert account.cash[-1] == pytest.approx(-5.0, **EXACT)
    assert account.equity[-1] == pytest.approx(95.0, **EXACT)
    assert account.level[3] == pytest.approx((100 - 95 / 5) / 0.995, **EXACT)


def test_rates_that_do_not_cover_the_run_are_warned_of(act, exchange, caplog):
    with caplog.at_level(logging.WARNING, logger="lstm_strategies.broker"):
        act([at(100)] * 40, {0: buy(1.0)}, exchange(), funding=rates_at([8, 16]))
    (record,) = caplog.records
    assert "40.0 % of the run of BTC/USDT, 2021-01-01T00:00:00Z" in record.getMessage()
    caplog.clear()
    act([at(100)] * 24, {0: buy(1.0)}, exchange(), funding=rates_at([8, 16]))
    assert caplog.records == []


def test_second_run_pays_anew(exchange, candles_of):
    broker = exchange(params={"funding_rate": 0.001})
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(broker)
    cerebro.adddata(CandleData(dataname=candles_of([at(100)] * 10)))
    cerebro.addstrategy(Holds)
    for _ in range(2):
        cerebro.run()
        assert len(broker.funding_payments) == 1


class Holds(bt.Strategy):
    params = (("feed", 0), ("bar", 1))

    def __init__(self):
        super().__init__()
        self.order = None

    def next(self):
        # A replayed bar comes several times.
        if len(self) == self.p.bar and self.order is None:
            self.order = self.buy(data=self.datas[self.p.feed], size=10.0)


def run_of(broker, *feeds, strategy_params=None, replay=None):
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(broker)
    for feed in feeds:
        if replay:
            cerebro.replaydata(feed, timeframe=bt.TimeFrame.Minutes, compression=replay)
        else:
            cerebro.adddata(feed)
    cerebro.addstrategy(Holds, **(strategy_params or {}))
    cerebro.run()
    return [
        ((each.time - START) // HOUR, round(each.amount, 9)) for each in broker.funding_payments
    ]


def test_slower_feed_pays_once(exchange, candles_of):
    fast, slow = candles_of([at(100)] * 36), candles_of([at(50)] * 6, "6h", symbol="ETH/USDT")
    feeds = [CandleData(dataname=fast), CandleData(dataname=slow)]
    found = run_of(
        exchange(params={"funding_rate": 0.001}), *feeds, strategy_params={"feed": 1, "bar": 7}
    )
    # Its order of 07:00 fills at the open of its bar of 06:00, the first to come after it.
    assert found == [(8, 0.5), (16, 0.5), (24, 0.5), (32, 0.5)]


def test_replayed_bar_pays_part_by_part(exchange, candles_of):
    rows = [at(100)] * 6 + [at(101)] * 2 + [at(102)] * 10
    feed = CandleData(dataname=candles_of(rows))
    broker = exchange(params={"funding_rate": 0.001})
    assert run_of(broker, feed, replay=360) == [(8, 1.02), (16, 1.02)]


def test_payment_inside_a_bar_brings_its_liquidation_nearer_on_that_bar(act, exchange):
    # 5 x 100 at 5x take all of 100. 5.00 due at 13:00 leave 19 each: the level goes from 80.40
    # to 81.41, and the low is 81.
    rows = [at(100), at(100), (100.0, 100.0, 81.0, 85.0), at(85)]
    funding = rates_at([13], 0.01)
    broker = exchange(cash=100.0, leverage=5.0)
    account = act(rows, {0: buy(5.0)}, broker, timeframe="6h", funding=funding)
    assert account.fills[-1] == ("liquidation", 2, pytest.approx(81 / 0.995), -5.0)
    account = act(rows, {0: buy(5.0)}, exchange(cash=100.0, leverage=5.0), timeframe="6h")
    assert account.size[-1] == 5.0


def test_payments_before_the_figures_begin_are_not_counted(exchange, candles_of):
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(exchange(params={"funding_rate": 0.001}))
    cerebro.adddata(CandleData(dataname=candles_of([at(100)] * 20)))
    cerebro.addstrategy(Holds)
    cerebro.addanalyzer(BacktestMetrics, _name="metrics", from_time=START + 10 * HOUR)
    found = cerebro.run()[0].analyzers.metrics.get_analysis()
    # 1.00 at 08:00 lies before, 1.00 at 16:00 after.
    assert found["funding_paid"] == pytest.approx(1.0, **EXACT)
    (trade,) = found["trades"]
    assert trade["funding"] == pytest.approx(1.0, **EXACT)
    assert trade["pnl"] == found["total_return"] == pytest.approx(-1.0, **EXACT)


def test_feed_without_a_known_timeframe_is_refused(exchange, candles_of, frame_on_stamps):
    frame = frame_on_stamps(candles_of([at(100)] * 4, "1m"))
    feed = bt.feeds.PandasData(dataname=frame, timeframe=bt.TimeFrame.Minutes, compression=7)
    with pytest.raises(ParameterError, match="nobody knows when they open"):
        run_of(exchange(params={"funding_rate": 0.001}), feed)


def test_impossible_settings_are_refused(exchange):
    with pytest.raises(ParameterError, match=r"for 1 % write funding_rate=0\.01"):
        SimulatedBroker(funding_rate=1.0)
    with pytest.raises(ParameterError, match=r"give FundingRates\.constant"):
        exchange().set_funding(None, 0.001)


def test_stock_broker_pays_none(candles_of):
    broker = bt.brokers.BackBroker()
    broker.addcommissioninfo(CryptoCommission())
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(broker)
    cerebro.adddata(CandleData(dataname=candles_of([at(100)] * 10)))
    cerebro.addstrategy(Holds)
    cerebro.run()
    assert broker.getvalue() == pytest.approx(10_000 - 0.4, **EXACT)
