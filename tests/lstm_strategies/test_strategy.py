"""Entries, exits and refusals of the strategy, each checked against the candles it ran on."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import backtrader as bt
import numpy as np
import pytest

from lightning_models import simulate_market
from lightning_models.candles import Candles
from lightning_models.errors import BundleError, ModelNotFoundError
from lstm_strategies.broker import SimulatedBroker
from lstm_strategies.commission import CryptoCommission
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import CandleData, milliseconds_of_date
from lstm_strategies.sizer import RiskSizer
from lstm_strategies.strategy import LSTMStrategy

EAGER = 0.53


@dataclass(frozen=True)
class Filled:
    """One execution: the bar it happened on, counted from 0, and what the order was."""

    feed: str
    bar: int
    stamp: int
    price: float
    size: float
    kind: int
    level: float | None
    ref: int
    parent: int | None
    reason: str | None
    made: int


class Recorded(LSTMStrategy):
    """Remembers every fill, and the position at every bar."""

    params = (("records", None),)

    def __init__(self):
        super().__init__()
        self.fills, self.held, self.made = [], {}, {}

    def notify_order(self, order):
        super().notify_order(order)
        if order.status == order.Submitted:
            self.made[order.ref] = len(order.data) - 1
        if order.status == order.Completed:
            self.fills.append(
                Filled(
                    feed=order.data._name,
                    bar=len(order.data) - 1,
                    stamp=milliseconds_of_date(order.executed.dt),
                    price=order.executed.price,
                    size=order.executed.size,
                    kind=order.exectype,
                    level=order.created.price,
                    ref=order.ref,
                    parent=order.parent.ref if order.parent is not None else None,
                    reason=order.info.get("exit_reason"),
                    made=self.made.get(order.ref, -1),
                )
            )

    def stop(self):
        super().stop()
        for data in self.datas:
            self.held[data._name] = self.getposition(data).size

    @property
    def entries(self):
        return [each for each in self.fills if each.parent is None and each.reason is None]


@pytest.fixture(scope="module")
def predictor(trained):
    return trained.predictor()


@pytest.fixture(scope="module")
def candles(trained, predictor):
    """The candles around the end of what the model has seen: 120 before it, 300 after."""
    one = trained.candles[0]
    unseen = int(np.searchsorted(one.time, predictor.bundle.unseen_from_ms))
    return one.between(int(one.time[unseen - 120]), int(one.time[unseen + 300]))


@pytest.fixture(scope="module")
def other_candles(trained, candles):
    """Another symbol of the same kind over the same hours."""
    market = simulate_market(
        candles=len(trained.candles[0]), symbols=("OTHER/USDT",), seed=1, signal=0.5
    )
    return market[0].between(int(candles.time[0]), int(candles.time[-1]) + 1)


@pytest.fixture
def trade(trained):
    """Run the strategy over feeds, without fees unless they are given."""

    def run(*feeds, mode=None, cash=10_000.0, fees=0.0, prepare=None, kind=Recorded, **params):
        cerebro = bt.Cerebro(stdstats=False)
        for each in feeds:
            cerebro.adddata(CandleData(dataname=each) if isinstance(each, Candles) else each)
        cerebro.broker.setcash(cash)
        if fees is not None:
            cerebro.broker.addcommissioninfo(CryptoCommission(maker_fee=fees, taker_fee=fees))
        if prepare is not None:
            prepare(cerebro)
        given = {"model": trained.champion, "home": str(trained.home.path)}
        cerebro.addstrategy(kind, **(given | {"min_confidence": EAGER} | params))
        return cerebro.run(**(mode or {}))[0]

    return run


def mean_true_range_at(candles, bar, period=14):
    _, high, low, close, _ = candles.ohlcv.T
    rows = range(bar - period + 1, bar + 1)
    return np.mean([max(high[i], close[i - 1]) - min(low[i], close[i - 1]) for i in rows])


# --- when positions are opened


def test_no_position_before_what_the_model_has_not_seen(trade, predictor, candles):
    strategy = trade(candles)
    first = min(each.stamp for each in strategy.entries)
    # The decision falls at a close, the fill at the next open: both stamp the bar's end.
    assert first > predictor.bundle.unseen_from_ms
    assert first <= predictor.bundle.unseen_from_ms + 30 * candles.period_ms
    assert strategy.counts["before_unseen"] == 120 - predictor.required_bars


def test_in_sample_trades_on_what_the_model_has_seen(trade, predictor, candles):
    strategy = trade(candles, in_sample=True)
    early = [each for each in strategy.entries if each.stamp < predictor.bundle.unseen_from_ms]
    assert len(early) > 10
    assert strategy.counts["before_unseen"] == 0


def test_first_bar_that_may_trade_closes_when_the_model_stops_seeing(
    trade, predictor, candles, both_ways
):
    bars = len(candles) - predictor.required_bars + 1
    allowed = candles.time + candles.period_ms >= predictor.bundle.unseen_from_ms
    strategy = trade(candles, mode=both_ways)
    assert strategy.counts["forecasts"] == bars
    assert strategy.counts["before_unseen"] == bars - allowed.sum()


def test_entries_follow_a_confident_forecast_and_fill_at_the_next_open(
    trade, predictor, candles, both_ways
):
    strategy = trade(candles, mode=both_ways)
    batch = predictor.predict_batch(candles, min_confidence=EAGER)
    assert len(strategy.entries) > 30
    for entry in strategy.entries:
        decided = batch.iloc[entry.bar - 1]
        assert entry.price == pytest.approx(candles.ohlcv[entry.bar, 0], rel=1e-12)
        assert math.copysign(1, entry.size) == decided.signal


def test_a_fill_on_the_signals_own_bar_would_be_noticed(trade, candles):
    # In this market a candle opens at the close before it; only gaps tell the two apart.
    gapped = gaps_between(candles)
    strategy = trade(gapped)
    bars = np.array([each.bar for each in strategy.entries])
    prices = [each.price for each in strategy.entries]
    assert len(bars) > 10
    assert prices == pytest.approx(gapped.ohlcv[bars, 0], rel=1e-12)
    assert prices != pytest.approx(gapped.ohlcv[bars - 1, 3], rel=1e-6)


def gaps_between(candles, seed=0):
    """The same candles, each opening a little off the close before it."""
    ohlcv = candles.ohlcv.copy()
    gap = np.random.default_rng(seed).normal(0, 0.002, len(ohlcv))
    ohlcv[:, 0] *= 1 + gap
    ohlcv[:, 1] = np.maximum(ohlcv[:, 1], ohlcv[:, 0])
    ohlcv[:, 2] = np.minimum(ohlcv[:, 2], ohlcv[:, 0])
    return Candles(
        symbol=candles.symbol,
        timeframe=candles.timeframe,
        market=candles.market,
        time=candles.time,
        ohlcv=ohlcv,
    )


# --- how positions are closed


def test_levels_lie_a_multiple_of_the_true_range_from_the_fill(trade, candles, both_ways):
    gapped = gaps_between(candles)
    strategy = trade(gapped, mode=both_ways, atr_stop=0.8, atr_target=1.2)
    entries = {each.ref: each for each in strategy.entries}
    exits = [each for each in strategy.fills if each.parent is not None]
    stops = [each for each in exits if each.kind == bt.Order.Stop]
    targets = [each for each in exits if each.kind == bt.Order.Limit]
    assert len(stops) > 5
    assert len(targets) > 5
    for out, multiple in [(each, -0.8) for each in stops] + [(each, 1.2) for each in targets]:
        entry = entries[out.parent]
        direction = math.copysign(1, entry.size)
        distance = multiple * mean_true_range_at(gapped, entry.bar - 1)
        assert out.level == pytest.approx(entry.price + direction * distance, rel=1e-12)
        assert out.size == -entry.size


def test_stops_fill_at_their_level_or_at_an_open_beyond_it(trade, candles):
    gapped = gaps_between(candles)
    strategy = trade(gapped, atr_stop=0.5, atr_target=0.8)
    exits = [each for each in strategy.fills if each.parent is not None]
    at_open = 0
    for out in exits:
        opened, high, low = gapped.ohlcv[out.bar, :3]
        falling = (out.kind == bt.Order.Stop) == (out.size < 0)
        beyond = opened <= out.level if falling else opened >= out.level
        assert out.price == pytest.approx(opened if beyond else out.level, rel=1e-12)
        assert low * (1 - 1e-12) <= out.price <= high * (1 + 1e-12)
        at_open += beyond
    assert 0 < at_open < len(exits)


def test_stop_is_live_on_the_entry_bar(trade, candles):
    strategy = trade(candles, atr_stop=0.3, atr_target=0.6)
    entries = {each.ref: each for each in strategy.entries}
    exits = [each for each in strategy.fills if each.parent is not None]
    assert any(out.bar == entries[out.parent].bar for out in exits)


def test_reversal_leaves_exactly_the_new_position(trade, predictor, candles, both_ways):
    strategy = trade(candles, mode=both_ways, atr_stop=50.0, atr_target=50.0)
    reversals = [each for each in strategy.fills if each.reason == "reversal"]
    assert len(reversals) > 5
    by_bar = {each.bar: each for each in strategy.entries}
    held = 0.0
    for each in strategy.fills:
        held += each.size
    assert strategy.held["SIM/USDT"] == pytest.approx(held, abs=1e-9)
    before = None
    for out in sorted([*reversals, *strategy.entries], key=lambda each: (each.bar, each.ref)):
        if out.reason == "reversal":
            assert out.size == -before.size
            entered = by_bar[out.bar]
            assert entered.size * before.size < 0
        else:
            before = out
    # Whatever was opened last is all that is left.
    last = strategy.entries[-1]
    left = [each for each in strategy.fills if each.bar >= last.bar and each.parent is not None]
    assert left or strategy.held["SIM/USDT"] == pytest.approx(last.size, rel=1e-12)


def test_no_signal_changes_nothing(trade, predictor, candles):
    # Between two confident bars, and with levels out of reach, nothing is traded.
    strategy = trade(candles, min_confidence=0.6, atr_stop=50.0, atr_target=50.0)
    batch = predictor.predict_batch(candles, min_confidence=0.6)
    for each in strategy.fills:
        assert batch.signal.iloc[each.bar - 1] in (-1.0, 1.0)
    assert 0 < len(strategy.fills) < (batch.signal.abs() == 1).sum()


def test_missing_price_changes_no_position(trade, predictor, candles, both_ways):
    ohlcv = candles.ohlcv.copy()
    held_bar = trade(candles, mode=both_ways, atr_stop=50, atr_target=50).entries[3].bar
    # Zero volume is a candle; a missing one is not: the volume feature restarts after it.
    ohlcv[held_bar + 1, 4] = math.nan
    data = bt.feeds.PandasData(
        dataname=_frame(candles, ohlcv),
        timeframe=bt.TimeFrame.Minutes,
        compression=60,
        openinterest=None,
    )
    strategy = trade(data, mode=both_ways, atr_stop=50, atr_target=50)
    quiet = range(held_bar + 2, held_bar + 2 + predictor.required_bars)
    assert not [each for each in strategy.fills if each.bar in quiet]
    assert [each for each in strategy.fills if each.bar > quiet[-1]]
    assert strategy.counts["without_forecast"] == predictor.required_bars


def _frame(candles, ohlcv):
    frame = candles.to_frame().set_index("timestamp").tz_localize(None)
    frame.index = frame.index.as_unit("us")
    frame[["open", "high", "low", "close", "volume"]] = ohlcv
    return frame


# --- nothing looks ahead


@pytest.mark.parametrize("cut", [180, 300])
def test_cutting_the_data_changes_no_earlier_trade(trade, candles, cut, both_ways):
    whole = trade(candles, mode=both_ways)
    part = trade(candles.between(None, int(candles.time[cut])), mode=both_ways)
    before = [_what(each) for each in whole.fills if each.bar < cut]
    assert len(before) > 10
    assert [_what(each) for each in part.fills] == before


def _what(fill):
    return (fill.feed, fill.bar, fill.price, fill.size, fill.kind, fill.reason)


def test_changed_candles_do_change_later_trades(trade, candles):
    # The control: the comparison above can tell runs apart.
    later = candles.ohlcv.copy()
    later[200:, 4] = later[200:, 4][::-1]
    changed = Candles(
        symbol=candles.symbol,
        timeframe=candles.timeframe,
        market=candles.market,
        time=candles.time,
        ohlcv=later,
    )
    whole, other = trade(candles), trade(changed)
    assert [_what(each) for each in whole.fills] != [_what(each) for each in other.fills]
    before = [_what(each) for each in whole.fills if each.bar <= 200]
    assert [_what(each) for each in other.fills if each.bar <= 200] == before


def test_same_trades_in_every_run_mode(trade, candles, run_mode):
    part = candles.between(None, int(candles.time[230]))
    expected = trade(part)
    strategy = trade(part, mode=run_mode)
    assert len(expected.fills) > 20
    assert [_what(each) for each in strategy.fills] == [_what(each) for each in expected.fills]
    assert strategy.counts == expected.counts
    assert strategy.largest_confidence == pytest.approx(expected.largest_confidence, abs=1e-5)


# --- parameters


def test_long_only_never_goes_short(trade, candles):
    strategy = trade(candles, long_only=True)
    assert {math.copysign(1, each.size) for each in strategy.entries} == {1}
    assert strategy.counts["short_refused"] > 0
    assert [each for each in strategy.fills if each.reason == "reversal"]
    shorts = trade(candles).entries
    assert any(each.size < 0 for each in shorts)


def test_top_share_takes_the_threshold_from_the_calibration_slice(trade, predictor, candles):
    few, many = (trade(candles, top_share=share, min_confidence=0.99) for share in (0.1, 0.5))
    thresholds = predictor.bundle.thresholds
    assert few.threshold == thresholds.confidence_of_top(0.1)
    assert many.threshold == thresholds.confidence_of_top(0.5)
    told = [
        each.counts["forecasts"] - each.counts["before_unseen"] - each.counts["under_threshold"]
        for each in (few, many)
    ]
    assert 0 < told[0] < told[1]
    share = told[0] / (few.counts["forecasts"] - few.counts["before_unseen"])
    assert 0.02 < share < 0.3


def test_min_edge_asks_for_a_move_that_pays_the_round_trip(trade, predictor, candles):
    batch = predictor.predict_batch(candles)
    fees = float(batch.change_pct.abs().quantile(0.7)) / 100 / 3
    strategy = trade(candles, fees=fees, min_edge=1.5)
    assert strategy.counts["under_edge"] > 0
    assert strategy.entries
    for entry in strategy.entries:
        move = abs(batch.change_pct.iloc[entry.bar - 1]) / 100
        assert move >= 1.5 * 2 * fees * (1 - 1e-9)
    free = trade(candles, fees=0.0, min_edge=1.5)
    assert free.counts["under_edge"] == 0


def test_min_edge_counts_slippage(trade, candles):
    def slips(cerebro):
        cerebro.broker.set_slippage_perc(0.01)

    assert trade(candles, min_edge=1.0, prepare=slips).entries == []
    assert trade(candles, min_edge=1.0).entries


def test_risk_per_trade_is_what_the_stop_costs(trade, candles):
    strategy = trade(candles, risk_per_trade=0.001)
    first = strategy.entries[0]
    distance = 2.0 * mean_true_range_at(candles, first.bar - 1)
    assert abs(first.size) * distance == pytest.approx(10_000 * 0.001, rel=1e-6)


def test_unknown_stop_distance_opens_nothing(trade, candles):
    class NoStop(Recorded):
        def stop_distance(self, data):
            return math.nan

    strategy = trade(candles, kind=NoStop)
    assert strategy.fills == []
    assert strategy.counts["unsized"] == strategy.counts["passed"] > 0
    assert "without a stop distance" in strategy.why_no_trade()


@pytest.mark.parametrize("exactbars", [0, 1])
def test_long_true_range_is_known_in_little_memory(trade, candles, exactbars):
    strategy = trade(candles, mode={"exactbars": exactbars}, atr_period=150)
    first = strategy.entries[0]
    stop = next(each for each in strategy.fills if each.kind == bt.Order.Stop)
    entry = {each.ref: each for each in strategy.entries}[stop.parent]
    distance = 2.0 * mean_true_range_at(candles, entry.bar - 1, 150)
    assert abs(stop.level - entry.price) == pytest.approx(distance, rel=1e-9)
    assert first.bar > 150


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"model": ""}, ParameterError, "needs model"),
        ({"model": "models:/nobody@champion"}, ModelNotFoundError, "nobody"),
        ({"min_confidense": 0.6}, ParameterError, "did you mean 'min_confidence'"),
        ({"model": 3}, ParameterError, "not model=3"),
        ({"min_confidence": 60}, ParameterError, "from 0 to 1"),
        ({"min_confidence": math.nan}, ParameterError, "from 0 to 1"),
        ({"min_confidence": "0.55"}, ParameterError, "such as min_confidence=0.55"),
        ({"min_confidence": None}, ParameterError, "is a NoneType and no number: give a fraction"),
        ({"min_confidence": True}, ParameterError, "is a bool and no number: give a fraction"),
        ({"top_share": 10}, ParameterError, "from 0 to 1"),
        ({"top_share": "a lot"}, ParameterError, "give a fraction from 0 to 1$"),
        ({"min_edge": None}, ParameterError, "give a number from 0 up"),
        ({"risk_per_trade": "2%"}, ParameterError, "no number: give a number above 0$"),
        ({"atr_period": None}, ParameterError, "no number: give a number above 0"),
        ({"atr_stop": True}, ParameterError, "no number: give a number from 0 up"),
        ({"min_edge": -1}, ParameterError, "min_edge=-1"),
        ({"risk_per_trade": 0}, ParameterError, "above 0"),
        ({"atr_stop": -2}, ParameterError, "from 0 up"),
        ({"atr_target": math.inf}, ParameterError, "from 0 up"),
        ({"cooldown": -1}, ParameterError, "cooldown=-1"),
        ({"max_drawdown": 20}, ParameterError, "max_drawdown=0.2"),
        ({"atr_period": 14.5}, ParameterError, "whole number"),
    ],
)
def test_parameters_that_cannot_be_meant_are_refused(trade, candles, params, error, message):
    with pytest.raises(error, match=message):
        trade(candles, **params)


# --- feeds


def test_two_symbols_trade_side_by_side(trade, predictor, candles, other_candles, both_ways):
    strategy = trade(candles, other_candles, mode=both_ways, risk_per_trade=0.002)
    for each in (candles, other_candles):
        batch = predictor.predict_batch(each, min_confidence=EAGER)
        mine = [entry for entry in strategy.entries if entry.feed == each.symbol]
        assert len(mine) > 10
        for entry in mine:
            assert entry.price == pytest.approx(each.ohlcv[entry.bar, 0], rel=1e-12)
            assert math.copysign(1, entry.size) == batch.signal.iloc[entry.bar - 1]


def test_symbol_without_history_does_not_hold_up_the_other(
    trade, candles, other_candles, both_ways
):
    listed_late = other_candles.between(int(candles.time[200]), None)
    strategy = trade(candles, listed_late, mode=both_ways, risk_per_trade=0.002)
    first = {
        name: min(each.stamp for each in strategy.entries if each.feed == name)
        for name in ("SIM/USDT", "OTHER/USDT")
    }
    assert first["SIM/USDT"] < int(candles.time[200]) < first["OTHER/USDT"]


def test_own_next_of_a_subclass_waits_for_every_feed(trade, candles, other_candles):
    class Own(Recorded):
        def next(self):
            assert len(self.data1)
            super().next()

    listed_late = other_candles.between(int(candles.time[200]), None)
    strategy = trade(candles, listed_late, kind=Own, risk_per_trade=0.002)
    assert min(each.stamp for each in strategy.fills) > int(candles.time[200])


@pytest.mark.parametrize("count", [1, 5, 60])
def test_short_data_trades_nothing_and_says_why(trade, candles, run_mode, count, caplog):
    short = candles.between(None, int(candles.time[count]))
    with caplog.at_level(logging.WARNING):
        strategy = trade(short, mode=run_mode)
    assert strategy.fills == []
    assert f"no forecast in {count} bars" in caplog.text
    assert "needs 68 bars of history" in caplog.text


@pytest.mark.parametrize("mode", [{}, {"runonce": False, "preload": False}], ids=str)
def test_feed_of_another_timeframe_is_left_alone(trade, candles, mode):
    slow = candles.resample("4h")
    strategy = trade(candles, CandleData(dataname=slow, name="slow"), mode=mode)
    alone = trade(candles, mode=mode)
    assert strategy.traded == [strategy.data0]
    assert [_what(each) for each in strategy.fills] == [_what(each) for each in alone.fills]


def test_only_feeds_of_another_timeframe_are_refused(trade, candles):
    slow = [CandleData(dataname=candles.resample(each)) for each in ("4h", "1d")]
    with pytest.raises(ParameterError, match="reads 1h candles, and the feeds have 4h, 1d"):
        trade(*slow)
    with pytest.raises(BundleError, match="has 4h"):
        trade(CandleData(dataname=candles.resample("4h")))


@pytest.fixture(scope="module")
def few_candles(candles):
    return candles.between(None, int(candles.time[220]))


@pytest.fixture(scope="module")
def fine_candles(few_candles):
    """Quarters of an hour that make up the hourly candles."""
    candles = few_candles
    opened, high, low, close, volume = np.repeat(candles.ohlcv, 4, axis=0).T
    quarter = np.arange(len(opened)) % 4
    ends = np.where(quarter == 3, close, opened)
    ohlcv = np.column_stack(
        [
            opened,
            np.where(quarter == 1, high, np.maximum(opened, ends)),
            np.where(quarter == 2, low, np.minimum(opened, ends)),
            ends,
            volume / 4,
        ]
    )
    time = np.repeat(candles.time, 4) + quarter * candles.period_ms // 4
    return Candles(
        symbol=candles.symbol, timeframe="15m", market="continuous", time=time, ohlcv=ohlcv
    )


def test_resampled_feed_trades_as_the_candles_it_is_made_of(trade, few_candles, fine_candles):
    base = CandleData(dataname=fine_candles, name="fine")

    def coarser(cerebro):
        cerebro.resampledata(base, name="SIM/USDT", timeframe=bt.TimeFrame.Minutes, compression=60)

    strategy = trade(base, prepare=coarser)
    expected = trade(few_candles)
    assert strategy.counts["before_unseen"] == expected.counts["before_unseen"]
    assert len(expected.entries) > 10
    assert _entered(strategy, before=219) == _entered(expected, before=219)


def test_replayed_bar_is_acted_on_when_it_is_finished(trade, few_candles, fine_candles):
    def replayed(cerebro):
        cerebro.replaydata(
            CandleData(dataname=fine_candles), timeframe=bt.TimeFrame.Minutes, compression=60
        )

    strategy = trade(prepare=replayed, atr_stop=50.0, atr_target=50.0)
    expected = trade(few_candles, atr_stop=50.0, atr_target=50.0)
    assert strategy.counts["forecasts"] == expected.counts["forecasts"]
    assert len(expected.entries) > 10
    assert _entered(strategy, before=219) == _entered(expected, before=219)


def _entered(strategy, before):
    # The last bar of resampled data comes when there is no other to fill an order.
    return [(each.bar, each.price, each.size > 0) for each in strategy.entries if each.bar < before]


# --- orders


def test_order_refused_for_lack_of_cash_is_counted_and_logged(trade, candles, caplog):
    class TooMuch(bt.Sizer):
        def _getsizing(self, comminfo, cash, data, isbuy):
            return 1_000.0

    with caplog.at_level(logging.WARNING):
        strategy = trade(candles, prepare=lambda cerebro: cerebro.addsizer(TooMuch))
    assert strategy.fills == []
    # An order of the last bar has nobody left to refuse it.
    assert 0 <= strategy.counts["passed"] - strategy.counts["orders_margin"] <= 1
    assert strategy.counts["orders_margin"] > 10
    refusals = [each for each in caplog.records if "refused: " in each.getMessage()]
    assert len(refusals) == strategy.counts["orders_margin"]
    assert f"{strategy.counts['orders_margin']} refused for lack of cash" in caplog.text


def test_slow_fills_neither_double_an_entry_nor_oversell(trade, candles):
    def thin(cerebro):
        cerebro.broker.set_filler(lambda order, price, ago: min(3.0, abs(order.executed.remsize)))

    class Watched(Recorded):
        largest = 0.0

        def next(self):
            super().next()
            (feed,) = self._feeds.values()
            assert feed.held == pytest.approx(self.position.size, abs=1e-9)
            Watched.largest = max(Watched.largest, abs(self.position.size))
            worth = abs(self.position.size) * self.data.close[0]
            assert worth < 1.2 * self.broker.getvalue()

    strategy = trade(candles, prepare=thin, kind=Watched)
    # Most entries are protected, and left, before they are filled whole.
    assert strategy.counts["passed"] > 20
    assert strategy.counts["orders_completed"] > 20
    assert Watched.largest > 10


def test_users_sizer_is_kept(trade, candles):
    def sized(cerebro):
        cerebro.addsizer(bt.sizers.FixedSize, stake=2)

    assert {abs(each.size) for each in trade(candles, prepare=sized).entries} == {2}


def test_sizer_of_another_strategy_is_not_taken_for_the_users(trade, candles):
    def sized(cerebro):
        cerebro.addsizer_byidx(5, bt.sizers.FixedSize, stake=2)

    strategy = trade(candles, prepare=sized)
    assert isinstance(strategy.getsizer(), RiskSizer)
    assert 2 not in {abs(each.size) for each in strategy.entries}


def test_sizer_that_a_subclass_sets_is_kept(trade, candles):
    class Own(Recorded):
        def __init__(self):
            super().__init__()
            self.setsizer(bt.sizers.FixedSize(stake=3))

    assert {abs(each.size) for each in trade(candles, kind=Own).entries} == {3}


def test_users_commission_is_kept(trade, candles):
    def costly(cerebro):
        cerebro.broker.setcommission(commission=0.01, percabs=True)

    strategy = trade(candles, fees=None, prepare=costly)
    scheme = strategy.broker.getcommissioninfo(strategy.data)
    assert not isinstance(scheme, CryptoCommission)
    assert scheme.getcommission(1.0, 100.0) == pytest.approx(1.0)


def test_stock_broker_is_upgraded_and_given_fees(trade, candles, caplog):
    with caplog.at_level(logging.WARNING):
        strategy = trade(candles, fees=None)
    assert isinstance(strategy.broker, SimulatedBroker)
    assert isinstance(strategy.broker.getcommissioninfo(strategy.data), CryptoCommission)
    assert "no commission was set" in caplog.text


def test_broker_of_the_users_own_is_left_alone(trade, candles, caplog):
    class Own(bt.brokers.BackBroker):
        pass

    def owned(cerebro):
        cerebro.setbroker(Own())
        cerebro.broker.set_shortcash(True)

    with caplog.at_level(logging.WARNING):
        strategy = trade(candles, fees=None, prepare=owned, min_edge=0.01)
    assert type(strategy.broker) is Own
    assert strategy.broker.p.shortcash is True
    assert "left as it is" in caplog.text


def test_refusals_of_another_broker_are_logged_too(trade, candles, caplog):
    class Own(bt.brokers.BackBroker):
        pass

    def owned(cerebro):
        cerebro.setbroker(Own())
        cerebro.addsizer(bt.sizers.FixedSize, stake=1_000)

    with caplog.at_level(logging.WARNING):
        strategy = trade(candles, fees=None, prepare=owned)
    refusals = [each for each in caplog.records if ": margin, " in each.getMessage()]
    assert len(refusals) == strategy.counts["orders_margin"] > 0


def test_two_strategies_on_one_feed_are_warned_and_close_only_their_own(
    trade, trained, candles, caplog
):
    def second(cerebro):
        cerebro.addstrategy(
            Recorded,
            model=trained.champion,
            home=str(trained.home.path),
            min_confidence=EAGER,
            risk_per_trade=0.001,
            atr_stop=50.0,
            atr_target=50.0,
        )

    with caplog.at_level(logging.WARNING):
        first = trade(candles, prepare=second, risk_per_trade=0.001, atr_stop=50.0, atr_target=50.0)
    both = first.cerebro.runningstrats
    assert "strategies 0 and 1 trade the same feeds" in caplog.text
    for strategy in both:
        reversals = [each for each in strategy.fills if each.reason == "reversal"]
        assert len(reversals) > 5
        held = 0.0
        for each in strategy.fills:
            if each.reason == "reversal":
                assert each.size == pytest.approx(-held)
            held += each.size
    total = sum(each.size for strategy in both for each in strategy.fills)
    assert first.held["SIM/USDT"] == pytest.approx(total, abs=1e-9)


# --- why nothing was traded


def test_threshold_that_nothing_reached_is_named(trade, candles, caplog):
    with caplog.at_level(logging.WARNING):
        strategy = trade(candles, min_confidence=0.99)
    reached = strategy.largest_confidence
    assert 0.5 < reached < 0.99
    assert "under the confidence of 0.990" in caplog.text
    assert f"the largest confidence was {reached:.3f}" in caplog.text
    assert "top_share=0.1" in caplog.text


def test_seen_candles_are_named(trade, predictor, candles):
    seen = candles.between(None, int(candles.time[100]))
    said = trade(seen).why_no_trade()
    assert (
        f"before {predictor.bundle.unseen_from:%Y-%m-%d %H:%M}Z, which the model has seen" in said
    )


def test_edge_long_only_and_disagreement_are_named(trade, candles):
    assert "times the cost of a round trip" in trade(candles, fees=0.05, min_edge=3).why_no_trade()
    strategy = trade(candles, fees=0.05, min_edge=3)
    strategy.counts["short_refused"], strategy.counts["disagreeing"] = 2, 3
    said = strategy.why_no_trade()
    assert "2 down, with long_only" in said
    assert "3 whose median points the other way" in said


def test_a_run_with_trades_says_nothing_of_the_kind(trade, candles, caplog):
    with caplog.at_level(logging.WARNING):
        trade(candles)
    assert "no position was opened" not in caplog.text
