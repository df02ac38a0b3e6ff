"""What positions in several symbols count for together, and what room they leave."""

from __future__ import annotations

import logging
import math

import backtrader as bt
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lstm_strategies.broker import SimulatedBroker
from lstm_strategies.commission import CryptoCommission
from lstm_strategies.exposure import (
    FEWEST_RETURNS,
    closes_by_stamp,
    effective_exposure,
    largest_weight,
    trailing_correlation,
)
from lstm_strategies.feed import CandleData
from lstm_strategies.sizer import RiskSizer

TOGETHER = [[1.0, 1.0], [1.0, 1.0]]
APART = [[1.0, 0.0], [0.0, 1.0]]
AGAINST = [[1.0, -1.0], [-1.0, 1.0]]


@pytest.mark.parametrize(
    ("weights", "correlation", "exposure"),
    [
        ([1.0, 1.0], TOGETHER, 2.0),
        ([1.0, -1.0], TOGETHER, 0.0),
        ([1.0, 1.0], APART, math.sqrt(2.0)),
        ([1.0, -1.0], APART, math.sqrt(2.0)),
        ([1.0, 1.0], AGAINST, 0.0),
        ([1.0, -1.0], AGAINST, 2.0),
        ([-1.5], [[1.0]], 1.5),
        ([0.0, 0.0], TOGETHER, 0.0),
        # sqrt(0.3^2 + 0.4^2 + 2 * 0.5 * 0.3 * 0.4)
        ([0.3, 0.4], [[1.0, 0.5], [0.5, 1.0]], math.sqrt(0.37)),
    ],
)
def test_effective_exposure(weights, correlation, exposure):
    assert effective_exposure(weights, correlation) == pytest.approx(exposure, abs=1e-12)


@st.composite
def portfolios(draw):
    """Weights, a correlation matrix and the index of one position."""
    count = draw(st.integers(1, 6))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(count, draw(st.integers(1, 8))))
    loadings /= np.linalg.norm(loadings, axis=1, keepdims=True)
    correlation = loadings @ loadings.T
    np.fill_diagonal(correlation, 1.0)
    return rng.normal(size=count), correlation, draw(st.integers(0, count - 1))


@given(portfolios(), st.sampled_from([1, -1]), st.floats(0.0, 5.0))
def test_the_largest_weight_keeps_to_the_limit_and_no_larger_one_does(portfolio, direction, limit):
    weights, correlation, position = portfolio
    largest = largest_weight(weights, correlation, position, direction, limit)
    assert largest >= 0.0

    def exposure_with(weight):
        changed = weights.copy()
        changed[position] = direction * weight
        return effective_exposure(changed, correlation)

    if largest > 0.0:
        assert exposure_with(largest) == pytest.approx(limit, abs=1e-6)
        # On the way there the exposure is never above the greater of both ends.
        for share in (0.25, 0.5, 0.75):
            assert exposure_with(share * largest) <= max(exposure_with(0.0), limit) + 1e-6
    for more in (1e-3, 0.1, 3.0):
        assert exposure_with(largest + more) > limit - 1e-6


def test_taking_no_account_of_the_others_would_break_the_limit():
    weights = [0.0, 1.5]
    assert largest_weight(weights, TOGETHER, 0, 1, 2.0) == 0.5
    assert largest_weight([0.0, 0.0], TOGETHER, 0, 1, 2.0) == 2.0
    assert effective_exposure([2.0, 1.5], TOGETHER) == 3.5


@pytest.mark.parametrize(
    ("held", "correlation", "direction", "largest"),
    [
        (0.0, TOGETHER, 1, 2.0),
        (0.5, TOGETHER, 1, 1.5),
        (0.5, TOGETHER, -1, 2.5),
        (0.5, AGAINST, 1, 2.5),
        (1.2, APART, 1, 1.6),
        (-1.2, APART, -1, 1.6),
        (2.0, APART, 1, 0.0),
        (3.0, APART, 1, 0.0),
        (3.0, TOGETHER, 1, 0.0),
        # A short of 5 against a long of 3 leaves 2.
        (3.0, TOGETHER, -1, 5.0),
    ],
)
def test_largest_weight_beside_one_position(held, correlation, direction, largest):
    found = largest_weight([9.0, held], correlation, 0, direction, 2.0)
    assert found == pytest.approx(largest, abs=1e-12)


def closes_of_returns(returns):
    return 100.0 * np.exp(np.vstack([np.zeros(returns.shape[1]), np.cumsum(returns, axis=0)]))


def test_correlation_of_log_returns_is_that_of_numpy():
    rng = np.random.default_rng(3)
    returns = rng.normal(size=(80, 4)) @ rng.normal(size=(4, 4)) * 0.01
    found = trailing_correlation(closes_of_returns(returns))
    np.testing.assert_allclose(found, np.corrcoef(returns.T), atol=1e-12)


def test_missing_closes_leave_the_returns_in_common_as_pandas_takes_them():
    rng = np.random.default_rng(4)
    mixing = [[1.0, 0.5, 0.2], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]]
    returns = rng.normal(size=(200, 3)) @ mixing * 0.01
    closes = closes_of_returns(returns)
    closes[rng.random(closes.shape) < 0.05] = np.nan
    expected = pd.DataFrame(np.diff(np.log(closes), axis=0)).corr(min_periods=FEWEST_RETURNS)
    np.testing.assert_allclose(trailing_correlation(closes), expected, atol=1e-10)


def test_pairs_with_too_few_common_returns_count_as_fully_correlated():
    rng = np.random.default_rng(5)
    closes = closes_of_returns(rng.normal(size=(60, 2)) * 0.01)
    independent = trailing_correlation(closes)
    assert abs(independent[0, 1]) < 0.4
    closes[: 60 - FEWEST_RETURNS, 1] = np.nan
    assert abs(trailing_correlation(closes)[0, 1]) < 0.7
    closes[60 - FEWEST_RETURNS, 1] = np.nan
    assert trailing_correlation(closes).tolist() == TOGETHER
    assert trailing_correlation(closes, directions=[1, -1]).tolist() == AGAINST
    assert trailing_correlation(closes, directions=[-1, -1]).tolist() == TOGETHER


@pytest.mark.parametrize("closes", [np.empty((0, 2)), np.ones((1, 2)), np.ones((50, 2))])
def test_without_any_movement_nothing_is_known(closes):
    assert trailing_correlation(closes).tolist() == TOGETHER


def test_steady_growth_is_no_movement():
    steady = 100.0 * 1.01 ** np.arange(60.0)
    closes = np.column_stack([steady, closes_of_returns(np.full((59, 1), -0.02))[:, 0]])
    assert trailing_correlation(closes).tolist() == TOGETHER


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 6),
    rows=st.integers(0, 60),
    missing=st.floats(0.0, 0.9),
    signed=st.booleans(),
)
def test_correlations_are_always_a_correlation_matrix(seed, count, rows, missing, signed):
    rng = np.random.default_rng(seed)
    closes = closes_of_returns(rng.normal(size=(rows, count)) * 0.01)
    closes[rng.random(closes.shape) < missing] = np.nan
    directions = rng.choice([-1.0, 1.0], size=count) if signed else None
    found = trailing_correlation(closes, directions=directions, fewest=5)
    assert found.shape == (count, count)
    assert (np.diag(found) == 1.0).all()
    assert np.array_equal(found, found.T)
    assert np.abs(found).max() <= 1.0
    assert np.linalg.eigvalsh(found)[0] >= -1e-9


def test_contradicting_pairs_are_put_right():
    # Each pair has 30 rows of its own: both others go with the first one, and against each other.
    rng = np.random.default_rng(6)
    closes = np.full((96, 3), np.nan)
    for start, (one, other), sign in ((0, (0, 1), 1), (32, (0, 2), 1), (64, (1, 2), -1)):
        walk = np.cumsum(rng.normal(size=32) * 0.01)
        closes[start : start + 32, one] = 100.0 * np.exp(walk)
        closes[start : start + 32, other] = 100.0 * np.exp(sign * walk)
    pairs = pd.DataFrame(np.diff(np.log(closes), axis=0)).corr()
    assert np.linalg.eigvalsh(pairs)[0] == pytest.approx(-1.0)
    found = trailing_correlation(closes)
    expected = [[1.0, 0.5, 0.5], [0.5, 1.0, -0.5], [0.5, -0.5, 1.0]]
    np.testing.assert_allclose(found, expected, atol=1e-9)


# The sizer's limit, in backtests of an account of 10,000 at prices near 100.


class Acts(bt.Strategy):
    """Does what it is told on a bar, and asks for sizes on the last one."""

    params = (("script", {}), ("asks_on", 40))

    def __init__(self):
        super().__init__()
        self.answers = {}
        self.reasons = {}

    def stop_distance(self, data):
        return math.inf

    def prenext(self):
        self.next()

    def next(self):
        bar = len(self.datas[0])
        if bar in self.p.script:
            self.p.script[bar](self)
        if bar == self.p.asks_on:
            for index, data in enumerate(self.datas):
                for isbuy in (True, False):
                    found = self._sizer.limits(data, isbuy)
                    self.answers[index, isbuy] = found.size
                    self.reasons[index, isbuy] = found.binding
            self.equity = self.broker.getvalue()
            self.held = [self.getposition(data).size for data in self.datas]
            self.prices = [data.close[0] for data in self.datas]


def run(feeds, script=None, *, asks_on=40, sizer=None, leverage=1.0, **mode):
    cerebro = bt.Cerebro(stdstats=False)
    broker = SimulatedBroker()
    broker.addcommissioninfo(CryptoCommission(maker_fee=0.0, taker_fee=0.0, leverage=leverage))
    cerebro.setbroker(broker)
    for candles in feeds:
        cerebro.adddata(CandleData(dataname=candles))
    cerebro.addsizer(RiskSizer, **({"max_exposure": 0.5} | (sizer or {})))
    cerebro.addstrategy(Acts, script=script or {}, asks_on=asks_on)
    return cerebro.run(**mode)[0]


@pytest.fixture
def market(candles_of):
    """Two symbols that move as given: alike, opposite, or each by itself; 60 bars of 1 hour."""

    def build(kind, count=60):
        rng = np.random.default_rng(7)
        moves = rng.normal(0.0, 0.002, size=(count, 2))
        if kind == "alike":
            moves[:, 1] = moves[:, 0]
        elif kind == "opposite":
            moves[:, 1] = -moves[:, 0]
        closes = 100.0 * np.exp(np.cumsum(moves, axis=0))
        return [
            candles_of(np.repeat(column[:, None], 4, axis=1), symbol=symbol)
            for column, symbol in zip(closes.T, ("A/USDT", "B/USDT"), strict=True)
        ]

    return build


def buys(size, index=0, **kwargs):
    return lambda strategy: strategy.buy(data=strategy.datas[index], size=size, **kwargs)


def sells(size, index=0, **kwargs):
    return lambda strategy: strategy.sell(data=strategy.datas[index], size=size, **kwargs)


def notional(strategy, index, isbuy):
    return strategy.answers[index, isbuy] * strategy.prices[index] / strategy.equity


def test_of_a_single_feed_the_weight_itself_is_limited(market, both_ways):
    strategy = run(market("alike")[:1], {10: buys(20.0)}, **both_ways)
    weight = 20.0 * strategy.prices[0] / strategy.equity
    # 20 are held; of the other direction the whole of 0.5 is free, as those 20 count as closed.
    assert notional(strategy, 0, True) == pytest.approx(0.5 - weight, abs=1e-6)
    assert notional(strategy, 0, False) == pytest.approx(0.5, abs=1e-6)
    assert set(strategy.reasons.values()) == {"max_exposure"}


@pytest.mark.parametrize(
    ("kind", "room_to_buy", "room_to_sell"),
    [
        ("alike", lambda held: 0.5 - held, lambda held: 0.5 + held),
        ("opposite", lambda held: 0.5 + held, lambda held: 0.5 - held),
    ],
)
def test_a_symbol_beside_another_that_is_held(market, both_ways, kind, room_to_buy, room_to_sell):
    strategy = run(market(kind), {10: buys(20.0)}, **both_ways)
    held = 20.0 * strategy.prices[0] / strategy.equity
    assert notional(strategy, 1, True) == pytest.approx(room_to_buy(held), abs=1e-6)
    assert notional(strategy, 1, False) == pytest.approx(room_to_sell(held), abs=1e-6)


def test_symbols_that_move_apart_leave_the_room_that_their_correlation_says(market, both_ways):
    feeds = market("apart")
    strategy = run(feeds, {10: buys(20.0)}, **both_ways)
    held = 20.0 * strategy.prices[0] / strategy.equity
    closes = np.column_stack([candles.ohlcv[:40, 3] for candles in feeds])
    correlation = np.corrcoef(np.diff(np.log(closes), axis=0).T)
    for isbuy, direction in ((True, 1), (False, -1)):
        after = [held, direction * notional(strategy, 1, isbuy)]
        assert effective_exposure(after, correlation) == pytest.approx(0.5, abs=1e-6)
    # Each by itself might have gone to 0.5, and both together would be too much.
    assert effective_exposure([held, 0.5], correlation) > 0.51


def test_orders_at_the_market_count_before_they_are_filled(market):
    strategy = run(market("alike"), {40: buys(20.0)})
    assert strategy.held == [0.0, 0.0]
    pending = 20.0 * strategy.prices[0] / strategy.equity
    assert notional(strategy, 0, True) == pytest.approx(0.5 - pending, abs=1e-6)
    assert notional(strategy, 1, True) == pytest.approx(0.5 - pending, abs=1e-6)


def test_resting_entries_count_and_resting_exits_do_not(market):
    far_below = {"exectype": bt.Order.Limit, "price": 50.0}
    far_above = {"exectype": bt.Order.Limit, "price": 200.0}
    entering = run(market("alike"), {30: buys(20.0, **far_below)})
    assert entering.held == [0.0, 0.0]
    room = 0.5 - 20.0 * entering.prices[0] / entering.equity
    assert notional(entering, 1, True) == pytest.approx(room, abs=1e-6)
    leaving = run(market("alike"), {10: buys(20.0), 30: sells(20.0, **far_above)})
    assert leaving.held == [20.0, 0.0]
    room = 0.5 - 20.0 * leaving.prices[0] / leaving.equity
    assert notional(leaving, 1, True) == pytest.approx(room, abs=1e-6)


def test_an_exit_at_the_market_frees_its_room(market):
    strategy = run(market("alike"), {10: buys(20.0), 40: sells(20.0)})
    assert strategy.held == [20.0, 0.0]
    assert notional(strategy, 1, True) == pytest.approx(0.5, abs=1e-6)


def test_stops_and_targets_of_a_bracket_count_for_nothing(market):
    def enters(strategy):
        strategy.buy_bracket(size=20.0, exectype=bt.Order.Market, stopprice=50, limitprice=200)

    strategy = run(market("alike"), {10: enters})
    assert strategy.held == [20.0, 0.0]
    room = 0.5 - 20.0 * strategy.prices[0] / strategy.equity
    assert notional(strategy, 1, True) == pytest.approx(room, abs=1e-6)


@pytest.mark.parametrize(("first", "is_long"), [(buys(90.0), True), (sells(90.0), False)])
def test_notional_counts_and_not_the_margin_behind_it(market, both_ways, first, is_long):
    strategy = run(
        market("alike"), {10: first}, sizer={"max_exposure": 1.5}, leverage=3.0, **both_ways
    )
    held = 90.0 * strategy.prices[0] / strategy.equity
    # 90 at 100 took 3,000 of the 10,000 for margin: 7,000 are left for 21,000 of notional.
    for index in (0, 1):
        assert notional(strategy, index, is_long) == pytest.approx(1.5 - held, abs=1e-6)
    assert notional(strategy, 0, not is_long) == pytest.approx(1.5, abs=1e-6)
    assert strategy.reasons[1, not is_long] == "cash"


def test_the_order_that_would_liquidate_is_no_exit(market):
    strategy = run(market("alike"), {10: buys(20.0), 40: sells(20.0)}, leverage=10.0)
    assert strategy.held == [20.0, 0.0]
    for isbuy in (True, False):
        assert notional(strategy, 1, isbuy) == pytest.approx(0.5, abs=1e-6)


def test_the_stop_of_an_entry_that_rests_offsets_nothing(market):
    def rests(strategy):
        strategy.buy_bracket(size=20.0, price=50.0, stopprice=40.0, limitprice=60.0)

    def turns_over(strategy):
        # The broker puts waiting orders into another order when it fills one.
        strategy.buy(data=strategy.datas[1], size=1.0)
        strategy.sell(data=strategy.datas[1], size=1.0)

    strategy = run(market("alike"), {30: rests, 35: turns_over})
    assert strategy.held == [0.0, 0.0]
    room = 0.5 - 20.0 * strategy.prices[0] / strategy.equity
    assert notional(strategy, 1, True) == pytest.approx(room, abs=1e-6)


@pytest.mark.parametrize("first", [buys(20.0), sells(20.0)])
def test_with_a_short_history_the_worst_is_assumed_in_each_direction(market, first):
    asks_on = FEWEST_RETURNS  # bars, a return fewer than that
    strategy = run(market("opposite"), {10: first}, asks_on=asks_on)
    held = 20.0 * strategy.prices[0] / strategy.equity
    for isbuy in (True, False):
        assert notional(strategy, 1, isbuy) == pytest.approx(0.5 - held, abs=1e-6)
    known = run(market("opposite"), {10: first}, asks_on=asks_on + 1)
    assert max(notional(known, 1, True), notional(known, 1, False)) > 0.6


def test_a_slower_feed_counts_as_fully_correlated(candles_of, both_ways):
    rng = np.random.default_rng(8)
    closes = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.002, size=(240, 2)), axis=0))
    fast = candles_of(np.repeat(closes[:, :1], 4, axis=1), symbol="A/USDT")
    slow = candles_of(np.repeat(closes[:, 1:], 4, axis=1), symbol="B/USDT").resample("4h")
    strategy = run([fast, slow], {10: buys(20.0)}, asks_on=200, **both_ways)
    held = 20.0 * strategy.prices[0] / strategy.equity
    for isbuy in (True, False):
        assert notional(strategy, 1, isbuy) == pytest.approx(0.5 - held, abs=1e-6)


def test_a_symbol_of_which_nothing_is_known_takes_the_room_of_the_worst_case(market, candles_of):
    feeds = market("alike")
    late, start = feeds[0].ohlcv[25:, :4], int(feeds[0].time[25])
    feeds.append(candles_of(late, start=start, symbol="C/USDT"))
    script = {10: buys(20.0), 11: sells(10.0, index=1)}
    strategy = run(feeds, script, sizer={"max_exposure": 0.6})
    weights = np.array([20.0, -10.0, 0.0]) * strategy.prices / strategy.equity
    # At worst the third one moves as those two do together: exposures add up.
    worst = 0.6 - effective_exposure(weights[:2], TOGETHER)
    assert 0.0 < notional(strategy, 2, True) < worst
    # A valid correlation matrix alone would take something away from that.
    closes = np.full((40, 3), np.nan)
    closes[:, :2] = np.column_stack([candles.ohlcv[:40, 3] for candles in feeds[:2]])
    valid = trailing_correlation(closes, directions=[1, -1, 1])
    assert largest_weight(weights, valid, 2, 1, 0.6) > notional(strategy, 2, True) + 0.01


def test_correlations_come_from_the_last_bars_alone(market, candles_of):
    # Alike for 60 bars, then opposite for 60.
    one, other = (
        np.concatenate([before.ohlcv[:, 3], before.ohlcv[-1, 3] * after.ohlcv[:, 3] / 100.0])
        for before, after in zip(market("alike"), market("opposite"), strict=True)
    )
    feeds = [
        candles_of(np.repeat(column[:, None], 4, axis=1), symbol=symbol)
        for column, symbol in ((one, "A/USDT"), (other, "B/USDT"))
    ]
    strategy = run(feeds, {10: buys(20.0)}, asks_on=120, sizer={"correlation_bars": 50})
    held = 20.0 * strategy.prices[0] / strategy.equity
    assert notional(strategy, 1, True) == pytest.approx(0.5 + held, abs=1e-6)
    both_halves = run(feeds, {10: buys(20.0)}, asks_on=120, sizer={"correlation_bars": 120})
    assert notional(both_halves, 1, True) < 0.5


# With exactbars=1 backtrader shows a slower feed's bars too early once its memory is full.
@pytest.mark.parametrize("all_at_once", [True, False], ids=["runonce", "next"])
def test_closes_stand_in_the_row_of_their_moment(candles_of, all_at_once):
    fast = candles_of([(price,) * 4 for price in range(100, 112)])
    slow = candles_of([(price,) * 4 for price in (50, 51, 52)], "4h")

    class Looks(bt.Strategy):
        def next(self):
            if len(self.datas[0]) == 10:
                self.rows = {bars: closes_by_stamp(self.datas, bars) for bars in (2, 100)}

    cerebro = bt.Cerebro(stdstats=False, runonce=all_at_once, preload=all_at_once)
    for candles in (fast, slow):
        cerebro.adddata(CandleData(dataname=candles))
    cerebro.addstrategy(Looks)
    rows = cerebro.run()[0].rows
    # Of the slow feed the bars from 00:00 and 04:00 have closed, at 04:00 and at 08:00.
    column = [np.nan] * 3 + [50.0] + [np.nan] * 3 + [51.0] + [np.nan] * 2
    np.testing.assert_array_equal(rows[100], np.column_stack([np.arange(100.0, 110.0), column]))
    np.testing.assert_array_equal(rows[2], [[108.0, np.nan], [109.0, np.nan]])


def test_in_an_optimisation_no_run_waits_for_the_bars_of_another_one(market):
    class Averages(Acts):
        params = (("period", 3),)

        def __init__(self):
            super().__init__()
            self.average = bt.indicators.SMA(self.data.close, period=self.p.period)
            self.waited = 0

        def prenext(self):
            self.waited += 1

    cerebro = bt.Cerebro(stdstats=False, optreturn=False, maxcpus=1)
    for candles in market("alike"):
        cerebro.adddata(CandleData(dataname=candles))
    cerebro.addsizer(RiskSizer, max_exposure=0.5, correlation_bars=30)
    cerebro.optstrategy(Averages, period=(3, 4))
    assert [strategy.waited for (strategy,) in cerebro.run()] == [2, 3]


def test_later_candles_change_no_room(market):
    feeds = market("apart")
    cut = [candles.between(None, int(candles.time[40])) for candles in feeds]
    assert run(feeds, {10: buys(20.0)}).answers == run(cut, {10: buys(20.0)}).answers


def test_over_the_limit_nothing_more_is_bought_but_a_hedge_is(market):
    strategy = run(market("alike"), {10: buys(80.0)})
    held = 80.0 * strategy.prices[0] / strategy.equity
    assert strategy.answers[0, True] == strategy.answers[1, True] == 0.0
    assert strategy.reasons[1, False] == "cash"  # a hedge up to 0.5 the other way: 1.3
    assert held > 0.5


def test_why_there_is_no_room_is_logged(market, caplog):
    caplog.set_level(logging.INFO, logger="lstm_strategies.sizer")
    run(market("alike"), {10: buys(80.0), 20: lambda it: it.getsizing(it.datas[1])})
    assert "no position in B/USDT: the exposure left is 0 of the equity" in caplog.text


def test_without_max_exposure_the_cash_alone_limits(market):
    strategy = run(market("alike"), {10: buys(20.0)}, sizer={"max_exposure": 0.0})
    assert strategy.reasons[1, True] == "cash"
    assert notional(strategy, 1, True) > 0.7


def test_a_room_that_is_used_on_each_bar_never_breaks_the_limit(market, both_ways):
    class Fills(Acts):
        def next(self):
            if len(self) >= 25:
                for data, isbuy in zip(self.datas, (True, len(self) % 3 > 0), strict=True):
                    size = self.getsizing(data, isbuy=isbuy)
                    (self.buy if isbuy else self.sell)(data=data, size=size)
            weights = [
                self.getposition(data).size * data.close[0] / self.broker.getvalue()
                for data in self.datas
            ]
            self.answers[len(self)] = effective_exposure(weights, TOGETHER)

    cerebro = bt.Cerebro(stdstats=False)
    broker = SimulatedBroker()
    broker.addcommissioninfo(CryptoCommission(maker_fee=0.0, taker_fee=0.0))
    cerebro.setbroker(broker)
    for candles in market("alike"):
        cerebro.adddata(CandleData(dataname=candles))
    cerebro.addsizer(RiskSizer, max_exposure=0.5)
    cerebro.addstrategy(Fills)
    found = cerebro.run(**both_ways)[0].answers
    # Prices move between the close that is sized at and the next one: 0.2 % a bar.
    assert 0.45 < max(found.values()) < 0.51


@given(portfolios())
def test_a_symbol_of_which_nothing_is_known_is_never_taken_for_a_hedge(portfolio):
    weights = portfolio[0]
    assume(len(weights) > 1)
    nothing = np.full((50, len(weights)), np.nan)
    correlation = trailing_correlation(nothing, directions=weights)
    assert effective_exposure(weights, correlation) == pytest.approx(np.abs(weights).sum())
