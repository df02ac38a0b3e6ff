from __future__ import annotations

import logging
import math
import statistics
from itertools import pairwise

import backtrader as bt
import pytest

from lstm_strategies.broker import SimulatedBroker
from lstm_strategies.commission import CryptoCommission
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import CandleData
from lstm_strategies.reserved_cash import reserved_cash
from lstm_strategies.sizer import RiskSizer
from lstm_strategies.sizing import round_down

FLAT = (100.0, 101.0, 99.0, 100.0)


class Exchange(bt.CommInfoBase):
    """A scheme of a user's own: margined, with lots and a least notional."""

    params = (
        ("leverage", 3.0),
        ("lot_step", 0.0),
        ("min_notional", 0.0),
        ("commtype", bt.CommInfoBase.COMM_PERC),
        ("stocklike", True),
        ("percabs", True),
    )


def sizes(candles, *, strategy=None, sizer=None, buys=True, fee=0.0, scheme=None, **mode):
    """The size the sizer gives on each bar."""

    class Asks(strategy or bt.Strategy):
        def __init__(self):
            super().__init__()
            self.sizes = []

        def prenext(self):
            self.next()

        def next(self):
            self.sizes.append(self.getsizing(self.data, isbuy=buys))

    cerebro = bt.Cerebro(stdstats=False)
    broker = SimulatedBroker()
    broker.addcommissioninfo(scheme or CryptoCommission(maker_fee=0.0, taker_fee=fee))
    cerebro.setbroker(broker)
    cerebro.adddata(CandleData(dataname=candles))
    cerebro.addsizer(RiskSizer, **(sizer or {}))
    cerebro.addstrategy(Asks)
    return cerebro.run(**mode)[0].sizes


class Stops(bt.Strategy):
    def stop_distance(self, data):
        return 4.0


class NaNStops(bt.Strategy):
    def stop_distance(self, data):
        return math.nan


class NoStops(bt.Strategy):
    def stop_distance(self, data):
        return 0.0


class WithoutStop(bt.Strategy):
    def stop_distance(self, data):
        return math.inf


class Expects(WithoutStop):
    volatility = 0.02

    def expected_volatility(self, data):
        return self.volatility


def test_risk_over_the_stop_distance_of_the_strategy(candles_of, run_mode):
    # 2 % of 10,000 at 4 a unit
    assert sizes(candles_of([FLAT] * 4), strategy=Stops, **run_mode) == [50.0] * 4


def test_stop_distance_from_the_mean_true_range(candles_of):
    rows = [FLAT, (100, 104, 100, 102), (105, 107, 105, 106), (106, 106, 100, 100)]
    found = sizes(candles_of(rows), sizer={"atr_period": 2, "atr_stop": 10.0})
    # True ranges: 4, 5 (from the close of 102), 6.
    assert found[:2] == [0.0, 0.0]
    assert found[2] == pytest.approx(200.0 / (10.0 * (4 + 5) / 2), abs=1e-8)
    assert found[3] == pytest.approx(200.0 / (10.0 * (5 + 6) / 2), abs=1e-8)


def test_later_candles_change_nothing(random_walk, candles_of):
    candles = random_walk(30)
    whole = sizes(candles)
    assert any(whole)
    for cut in (16, 20, 29):
        assert sizes(candles.between(None, int(candles.time[cut]))) == whole[:cut]


def test_limited_by_cash_fee_and_buffer(candles_of):
    sizer = {"risk": 1.0, "cash_buffer": 0.01}
    (size, *_) = sizes(candles_of([FLAT] * 2), strategy=Stops, sizer=sizer, fee=0.002)
    assert size == round_down(10_000 / (100 * 1.012), 1e-8)
    assert size * 100 * (1 + 0.002 + 0.01) <= 10_000


def test_rounded_down_to_the_lot_step(candles_of):
    sizer = {"lot_step": 0.15}
    assert sizes(candles_of([FLAT] * 2), strategy=Stops, sizer=sizer)[0] == 49.95
    assert sizes(candles_of([FLAT] * 2), strategy=Stops, sizer={"lot_step": 60.0})[0] == 0.0


BOTH_DIRECTIONS = pytest.mark.parametrize("buys", [True, False], ids=["long", "short"])


@BOTH_DIRECTIONS
@pytest.mark.parametrize(
    ("sizer", "scheme", "size"),
    [
        # 10,000 / 100
        ({}, {"leverage": 1.0}, 100.0),
        # 10,000 / (100 * (1 / 3 + 0.001 + 0.01)): fee and buffer are fractions of the notional
        ({"cash_buffer": 0.01}, {"commission": 0.001}, 290.41626331),
        ({"position_size": 0.1}, {}, 30.0),
        ({"position_size": 0.1}, {"leverage": 1.0}, 10.0),
        ({"position_size": 1.0}, {"leverage": 1.0}, 100.0),
        ({"volatility_target": 0.01}, {}, 50.0),
        ({"max_exposure": 2.5}, {}, 250.0),
        ({"max_exposure": 0.25, "position_size": 0.1}, {}, 25.0),
        # multiples of a lot of the exchange's, of the sizer's own, of both
        ({"position_size": 0.1}, {"lot_step": 0.7}, 29.4),
        ({"position_size": 0.1, "lot_step": 8.0}, {}, 24.0),
        ({"position_size": 0.1, "lot_step": 0.4}, {"lot_step": 0.7}, 28.0),
        ({"position_size": 0.1}, {"min_notional": 3_000.0}, 30.0),
        ({"position_size": 0.1}, {"min_notional": 3_000.01}, 0.0),
        ({"position_size": 0.1}, {"min_notional": 3_000.0, "lot_step": 0.7}, 0.0),
    ],
)
def test_each_limit_binds_in_turn(candles_of, both_ways, buys, sizer, scheme, size):
    found = sizes(
        candles_of([FLAT] * 3),
        strategy=Expects,
        sizer={"cash_buffer": 0.0} | sizer,
        scheme=Exchange(**scheme),
        buys=buys,
        **both_ways,
    )
    assert found == [size] * 3


@BOTH_DIRECTIONS
def test_terms_of_a_crypto_exchange(candles_of, both_ways, buys):
    terms = {"taker_fee": 0.001, "leverage": 3.0, "lot_step": 0.7, "min_notional": 29_000.0}
    candles, mode = candles_of([FLAT] * 3), {"buys": buys} | both_ways
    # 10,000 / (100 * (1 / 3 + 0.001 + 0.01)) is 290.4, and 414 lots of 0.7 are 289.8.
    scheme = CryptoCommission(**terms | {"min_notional": 28_980.0})
    assert sizes(candles, strategy=WithoutStop, scheme=scheme, **mode) == [289.8] * 3
    scheme = CryptoCommission(**terms)
    assert sizes(candles, strategy=WithoutStop, scheme=scheme, **mode) == [0.0] * 3


@BOTH_DIRECTIONS
def test_without_a_stop_the_cash_alone_limits(candles_of, buys, both_ways):
    candles = candles_of([FLAT] * 3)
    sizer = {"risk": 0.0001, "cash_buffer": 0.25}
    found = sizes(candles, strategy=WithoutStop, sizer=sizer, buys=buys, **both_ways)
    assert found == [80.0] * 3
    assert sizes(candles, strategy=Stops, sizer=sizer, buys=buys, **both_ways) == [0.25] * 3


def test_the_stop_still_limits_beside_a_leverage(candles_of):
    sizer = {"position_size": 0.5}
    found = sizes(candles_of([FLAT] * 2), strategy=Stops, sizer=sizer, scheme=Exchange())
    assert found == [50.0] * 2


def test_volatility_from_the_last_closes_where_the_strategy_expects_none(random_walk, both_ways):
    class Remembers(WithoutStop):
        def __init__(self):
            super().__init__()
            self.average = bt.indicators.SMA(self.data, period=11)  # keeps 11 bars in memory

    candles = random_walk(30)
    sizer = {"volatility_target": 0.001, "atr_period": 10}
    found = sizes(candles, strategy=Remembers, sizer=sizer, **both_ways)
    closes = candles.ohlcv[:, 3]
    assert found[:10] == [0.0] * 10
    bars = range(11, 31)
    expected = [
        10.0 / (statistics.stdev(after / before - 1 for before, after in pairwise(last)) * last[-1])
        for last in (closes[bar - 11 : bar] for bar in bars)
    ]
    assert found[10:] == pytest.approx(expected, abs=1e-7)


def test_the_volatility_that_the_strategy_expects_comes_first(random_walk):
    candles = random_walk(30)
    sizer = {"volatility_target": 0.001}
    found = sizes(candles, strategy=Expects, sizer=sizer)
    assert found == pytest.approx(
        [10.0 / (0.02 * close) for close in candles.ohlcv[:, 3]], abs=1e-7
    )


@pytest.mark.parametrize("volatility", [math.nan, 0.0, -0.01, math.inf])
def test_an_unknown_volatility_gives_no_position_where_one_is_asked_for(
    candles_of, volatility, caplog
):
    class ExpectsWrongly(Expects):
        pass

    ExpectsWrongly.volatility = volatility
    caplog.set_level(logging.INFO, logger="lstm_strategies.sizer")
    candles = candles_of([FLAT] * 2)
    sizer = {"volatility_target": 0.01}
    assert sizes(candles, strategy=ExpectsWrongly, sizer=sizer) == [0.0, 0.0]
    assert f"the expected volatility is {volatility}" in caplog.text
    assert sizes(candles, strategy=ExpectsWrongly)[0] > 0.0


def test_too_few_closes_for_a_volatility_give_no_position_and_a_reason(random_walk, caplog):
    caplog.set_level(logging.INFO, logger="lstm_strategies.sizer")
    sizer = {"volatility_target": 0.01}
    assert set(sizes(random_walk(14), strategy=WithoutStop, sizer=sizer)) == {0.0}
    assert "the volatility needs 15 bars in memory" in caplog.text


def test_flat_closes_give_no_position_where_a_volatility_is_asked_for(candles_of):
    candles = candles_of([FLAT] * 20)
    sizer = {"volatility_target": 0.01}
    assert set(sizes(candles, strategy=WithoutStop, sizer=sizer)) == {0.0}


def test_the_log_says_which_limit_binds_or_why_there_is_no_position(candles_of, caplog):
    caplog.set_level(logging.DEBUG, logger="lstm_strategies.sizer")
    scheme = Exchange(min_notional=4_000.0)
    candles = candles_of([FLAT])
    sizes(candles, strategy=Expects, sizer={"volatility_target": 0.01}, scheme=scheme)
    sizes(candles, strategy=Expects, sizer={"position_size": 0.1}, scheme=scheme)
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert [level for level, _ in told] == ["DEBUG", "INFO"]
    assert told[0][1].startswith("a position of 50 in BTC/USDT: volatility_target binds, ")
    assert told[1][1] == (
        "no position in BTC/USDT: a notional of 3000 is under the least one of 4000"
    )


def test_the_limits_of_a_moment_are_told_without_an_order(candles_of):
    class Looks(Expects):
        def next(self):
            self.seen = self._sizer.limits(self.data, isbuy=True)

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker.addcommissioninfo(Exchange(lot_step=0.001))
    cerebro.adddata(CandleData(dataname=candles_of([FLAT])))
    cerebro.addsizer(RiskSizer, position_size=0.1, volatility_target=0.01, max_exposure=2.0)
    cerebro.addstrategy(Looks)
    seen = cerebro.run()[0].seen
    assert (seen.binding, seen.size, seen.reason) == ("position_size", 30.0, "")
    assert (seen.risk, seen.volatility_target, seen.max_exposure) == (math.inf, 50.0, 200.0)
    assert seen.cash == pytest.approx(10_000 / (100 * (1 / 3 + 0.01)))
    assert seen.lot_step == 0.001


def test_a_margin_limit_reverses_in_one_step(candles_of, both_ways):
    class Reverses(WithoutStop):
        def next(self):
            if len(self) == 1:
                self.sell(size=90.0)
            elif len(self) == 3:
                self.asked = [self.getsizing(self.data, isbuy=isbuy) for isbuy in (True, False)]

    cerebro = bt.Cerebro(stdstats=False)
    broker = SimulatedBroker()
    broker.addcommissioninfo(CryptoCommission(maker_fee=0.0, taker_fee=0.0))
    cerebro.setbroker(broker)
    cerebro.adddata(CandleData(dataname=candles_of([(100,) * 4] * 4)))
    cerebro.addsizer(RiskSizer, position_size=0.5, cash_buffer=0.0)
    cerebro.addstrategy(Reverses)
    # Half of the account buys 50; of its cash the short has left what pays for 10.
    assert cerebro.run(**both_ways)[0].asked == [50.0, 10.0]


@BOTH_DIRECTIONS
def test_the_margin_of_two_entries_on_one_bar_is_not_spent_twice(candles_of, both_ways, buys):
    class Enters(WithoutStop):
        def next(self):
            if len(self) == 2:
                enter = self.buy if buys else self.sell
                self.asked = [enter(data=data).created.size for data in self.datas]

        def stop(self):
            self.held = [self.getposition(data).size for data in self.datas]

    cerebro = bt.Cerebro(stdstats=False)
    broker = SimulatedBroker()
    broker.addcommissioninfo(CryptoCommission(maker_fee=0.0, taker_fee=0.0, leverage=3.0))
    cerebro.setbroker(broker)
    for symbol in ("A/USDT", "B/USDT"):
        cerebro.adddata(CandleData(dataname=candles_of([(100,) * 4] * 4, symbol=symbol)))
    cerebro.addsizer(RiskSizer, position_size=0.6, cash_buffer=0.0)
    cerebro.addstrategy(Enters)
    strategy = cerebro.run(**both_ways)[0]
    # 6,000 of margin carry 180, and the 4,000 left carry 120.
    sign = 1.0 if buys else -1.0
    assert strategy.asked == pytest.approx([sign * 180.0, sign * 120.0], abs=1e-7)
    assert strategy.held == strategy.asked


@pytest.mark.parametrize(("strategy", "reason"), [(NaNStops, "nan"), (NoStops, "0.0")])
def test_unknown_stop_distance_gives_no_position(candles_of, strategy, reason, caplog):
    caplog.set_level(logging.INFO, logger="lstm_strategies.sizer")
    assert sizes(candles_of([FLAT] * 2), strategy=strategy) == [0.0, 0.0]
    assert f"the stop distance is {reason}" in caplog.text


def test_flat_candles_give_no_position(candles_of):
    assert set(sizes(candles_of([(100,) * 4] * 20))) == {0.0}


def test_too_few_bars_in_memory_give_no_position_and_a_reason(random_walk, caplog):
    caplog.set_level(logging.INFO, logger="lstm_strategies.sizer")
    assert set(sizes(random_walk(30), exactbars=1)) == {0.0}
    assert "needs 15 bars in memory" in caplog.text


def test_enough_bars_in_memory_give_the_same_sizes_in_every_mode(random_walk, run_mode):
    class KeepsBars(bt.Strategy):
        def __init__(self):
            self.average = bt.indicators.SMA(self.data, period=15)

    candles = random_walk(40)
    expected = sizes(candles, strategy=KeepsBars)
    assert any(expected)
    assert sizes(candles, strategy=KeepsBars, **run_mode) == expected


def test_opposite_position_counts_as_closed(candles_of):
    class Reverses(Stops):
        def __init__(self):
            super().__init__()
            self.asked = {}

        def next(self):
            if len(self) == 1:
                self.sell(size=90.0)
            elif len(self) == 3:
                self.asked["buy"] = self.getsizing(self.data, isbuy=True)
                self.asked["sell"] = self.getsizing(self.data, isbuy=False)
                self.close()
                self.order = self.buy(size=self.asked["buy"])

        def stop(self):
            self.final = self.position.size

    rows = [(100,) * 4] * 2 + [(50,) * 4] * 3
    cerebro = bt.Cerebro(stdstats=False)
    broker = SimulatedBroker()
    broker.addcommissioninfo(CryptoCommission())
    cerebro.setbroker(broker)
    cerebro.adddata(CandleData(dataname=candles_of(rows)))
    cerebro.addsizer(RiskSizer, risk=0.5)
    cerebro.addstrategy(Reverses)
    strategy = cerebro.run()[0]
    # The short won 4,500: the account closes at 14,500 less fees and buys with all of it.
    assert strategy.asked["buy"] == pytest.approx(14_500 / (50 * 1.0104), rel=1e-3)
    assert strategy.order.status == bt.Order.Completed
    assert strategy.final == strategy.asked["buy"]
    assert strategy.asked["sell"] < 20.0


class EntersBoth(Stops):
    """Buys the first feed and sells the second one short, on the same bar."""

    def __init__(self):
        super().__init__()
        self.fates = []

    def notify_order(self, order):
        if not order.alive():
            self.fates.append(order.getstatusname())

    def next(self):
        if len(self) == 2:
            self.buy(data=self.datas[0])
            self.sell(data=self.datas[1])

    def stop(self):
        self.sizes = [self.getposition(data).size for data in self.datas]


def enter_two_feeds(candles_of):
    cerebro = bt.Cerebro(stdstats=False)
    broker = SimulatedBroker()
    broker.addcommissioninfo(CryptoCommission())
    cerebro.setbroker(broker)
    for symbol in ("A/USDT", "B/USDT"):
        cerebro.adddata(CandleData(dataname=candles_of([FLAT] * 4, symbol=symbol)))
    cerebro.addsizer(RiskSizer, risk=0.025)
    cerebro.addstrategy(EntersBoth)
    return cerebro.run()[0]


def test_feeds_that_signal_together_share_the_cash(candles_of):
    strategy = enter_two_feeds(candles_of)
    first, second = strategy.sizes
    # A risk of 250 over a stop distance of 4 is 62.5; what that leaves pays for 37.
    assert first == 62.5
    assert second == pytest.approx(-(10_000 - 6_250 * 1.0004) / (100 * 1.0104), rel=1e-6)
    assert strategy.fates == ["Completed", "Completed"]


def test_counting_no_orders_the_second_would_be_refused(candles_of, monkeypatch):
    monkeypatch.setattr("lstm_strategies.sizer.reserved_cash", lambda broker: 0.0)
    strategy = enter_two_feeds(candles_of)
    assert strategy.sizes[1] == 0.0
    assert "Margin" in strategy.fates


def test_an_entry_that_reverses_its_own_feed_reserves_what_the_exit_does_not_bring(candles_of):
    class ReversesOneEntersOther(EntersBoth):
        def next(self):
            if len(self) == 1:
                self.buy(data=self.datas[0], size=50.0)
            elif len(self) == 3:
                self.close(data=self.datas[0])
                self.sell(data=self.datas[0], size=50.0)
                self.reserved = reserved_cash(self.broker)

    cerebro = bt.Cerebro(stdstats=False)
    broker = SimulatedBroker()
    broker.addcommissioninfo(CryptoCommission(maker_fee=0.001, taker_fee=0.001))
    cerebro.setbroker(broker)
    cerebro.adddata(CandleData(dataname=candles_of([FLAT] * 5)))
    cerebro.addstrategy(ReversesOneEntersOther)
    # 50 at 100 are bought back by the 50 sold: both fees of 5 are all it needs.
    assert cerebro.run()[0].reserved == pytest.approx(10.0)


def test_of_a_foreign_broker_nothing_is_known():
    assert reserved_cash(object()) == 0.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"risk": 0.0},
        {"risk": 1.5},
        {"risk": math.nan},
        {"atr_period": 0},
        {"atr_period": 2.5},
        {"atr_stop": -1.0},
        {"lot_step": 0.0},
        {"cash_buffer": -0.1},
        {"position_size": 10},
        {"position_size": -0.1},
        {"position_size": "0.1"},
        {"volatility_target": 2.0},
        {"volatility_target": math.nan},
        {"max_exposure": -1.0},
        {"max_exposure": math.inf},
        {"correlation_bars": 0},
        {"correlation_bars": 99.5},
        {"correlation_bars": 20},
        {"atr_period": 1, "volatility_target": 0.01},
    ],
)
def test_impossible_parameters_are_refused(wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        RiskSizer(**wrong)


def test_percentages_are_refused_with_the_fraction_that_is_meant():
    with pytest.raises(ParameterError, match=r"for 2 % write risk=0\.02$"):
        RiskSizer(risk=2)
