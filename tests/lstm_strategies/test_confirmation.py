"""Entries of plain strategies, put to the vote of a real model's forecasts."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import backtrader as bt
import numpy as np
import pytest

from lightning_models.candles.timestamps import iso_utc
from lightning_models.errors import BundleError, ConfigError, ModelNotFoundError
from lstm_strategies import SimulatedBroker
from lstm_strategies.bar_times import closes_of
from lstm_strategies.confirmation import ConfirmationReport, LSTMConfirm, confirmed
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import CandleData
from lstm_strategies.indicator import LSTMForecast
from lstm_strategies.parameters import CheckedParameters
from lstm_strategies.strategy import LSTMStrategy
from lstm_strategies.vote import Vote

ROOT = Path(__file__).parents[2]
EAGER = 0.53
SEEN = 120


class Recorded(bt.Strategy):
    """Knows nothing of a model; what it sent and what was filled is kept on the class."""

    params = (("told", None),)

    def __init__(self):
        super().__init__()
        self.fills = []

    def notify_order(self, order):
        if order.status == order.Completed:
            size, price = order.executed.size, order.executed.price
            self.fills.append((len(self) - 1, size, price, order.getordername()))


class Scheduled(Recorded):
    """Enters by the calendar, up and down in turn, and leaves two bars later."""

    params = (("every", 3),)

    def next(self):
        bar = len(self) - 1
        if bar % self.p.every == 0:
            order = self.buy() if direction_of(bar, self.p.every) > 0 else self.sell()
            self.p.told.append((bar, order is not None))
        elif bar % self.p.every == 2:
            self.close()


def direction_of(bar, every=3):
    return 1 if bar // every % 2 else -1


class Played(Recorded):
    """Acts by a script {bar: action(strategy)} and keeps what each action returned."""

    params = (("script", None),)

    def next(self):
        action = self.p.script.get(len(self) - 1)
        if action is not None:
            self.p.told.append(action(self))


@pytest.fixture(scope="module")
def predictor(trained):
    return trained.predictor()


@pytest.fixture(scope="module")
def candles(trained, predictor):
    """The candles around the end of what the model has seen: 120 before it, 200 after."""
    one = trained.candles[0]
    unseen = int(np.searchsorted(one.time, predictor.bundle.unseen_from_ms))
    return one.between(int(one.time[unseen - SEEN]), int(one.time[unseen + 200]))


@pytest.fixture(scope="module")
def batch(predictor, candles):
    return predictor.predict_batch(candles, min_confidence=EAGER)


@pytest.fixture(scope="module")
def up(batch):
    """A bar on unseen candles whose forecast is confident of a rise."""
    return first_bar(batch, 1.0)


@pytest.fixture(scope="module")
def down(batch):
    return first_bar(batch, -1.0)


def first_bar(batch, signal, after=SEEN + 10):
    found = np.flatnonzero(batch.signal == signal)
    return int(found[found > after][0])


@pytest.fixture
def run(trained, candles):
    """Run a strategy, with a model's parameters where it takes them."""

    def start(kind, *feeds, mode=None, prepare=None, coo=False, **params):
        cerebro = bt.Cerebro(stdstats=False, cheat_on_open=coo)
        for each in feeds or [candles]:
            cerebro.adddata(
                each if isinstance(each, bt.feed.DataBase) else CandleData(dataname=each)
            )
        cerebro.setbroker(SimulatedBroker())
        cerebro.broker.setcash(100_000.0)
        if prepare is not None:
            prepare(cerebro)
        if issubclass(kind, LSTMConfirm):
            params = {
                "model": trained.champion,
                "home": str(trained.home.path),
                "min_confidence": EAGER,
            } | params
        if "told" in kind.params._getkeys():
            params.setdefault("told", [])
        cerebro.addstrategy(kind, **params)
        return cerebro.run(**(mode or {}))[0]

    return start


@pytest.fixture
def play(run):
    """Run a script and return what its actions returned, and the strategy."""

    def start(script, kind=None, **given):
        told = []
        strategy = run(kind or confirmed(Played), script=script, told=told, **given)
        return told, strategy

    return start


def verdict_at(bar, direction, batch, candles, predictor):
    """What the forecast of a bar should say, from the batch of all of them."""
    if np.isnan(batch.signal.iloc[bar]):
        return "without_forecast"
    stamp = candles.time[bar] + candles.period_ms - 1
    if closes_of(np.array([stamp]), "1h")[0] < predictor.bundle.unseen_from_ms:
        return "before_unseen"
    if batch.confidence.iloc[bar] < EAGER:
        return "under_threshold"
    if batch.signal.iloc[bar] == 0.0:
        return "disagreeing"
    return "confirmed" if batch.signal.iloc[bar] == direction else "contradicted"


# --- which entries are made


def test_entries_are_made_unless_the_forecast_contradicts(
    run, batch, candles, predictor, telling_mode
):
    told = []
    strategy = run(confirmed(Scheduled), mode=telling_mode, told=told)
    expected = [
        (bar, verdict_at(bar, direction_of(bar), batch, candles, predictor))
        for bar in range(0, len(candles), 3)
    ]
    assert told == [(bar, verdict != "contradicted") for bar, verdict in expected]
    assert strategy.fills == run(confirmed(Scheduled)).fills
    counts = strategy.confirmations
    for verdict in {verdict for _, verdict in expected}:
        assert counts[verdict] == [each for _, each in expected].count(verdict)
    assert counts["confirmed"] > 5
    assert counts["contradicted"] > 5
    assert counts["before_unseen"] > 5
    assert counts["without_forecast"] > 5


def test_without_the_vote_contradicted_entries_are_made(run, candles):
    bare, voted = [], []
    alone = run(Scheduled, told=bare)
    strategy = run(confirmed(Scheduled), told=voted)
    assert all(made for _, made in bare)
    refused = [bar for bar, made in voted if not made]
    assert len(refused) == strategy.confirmations["contradicted"]
    filled = {bar for bar, *_ in alone.fills}
    assert {bar + 1 for bar in refused} <= filled
    assert not {bar + 1 for bar in refused} & {bar for bar, *_ in strategy.fills}


def test_what_is_not_refused_is_filled_as_without_a_model(run):
    alone, strategy = run(Scheduled), run(confirmed(Scheduled), min_confidence=1.0)
    assert strategy.confirmations["abstained"] == strategy.confirmations["entries"]
    assert strategy.fills == alone.fills
    assert strategy.broker.getvalue() == alone.broker.getvalue()


def test_counts_add_up_and_the_report_is_json(run, predictor):
    report = run(confirmed(Scheduled)).confirmation_report()
    assert json.loads(json.dumps(report)) == report
    assert report["model"] == "models:/tiny/1"
    outcomes = ("confirmed", "contradicted", "abstained")
    assert report["entries"] == sum(report[name] for name in outcomes)
    assert report["entries"] == report["passed"] + report["refused"]
    assert report["abstained"] == sum(report["abstained_because"].values())
    assert report["refused"] == sum(report["refused_when"].values())
    assert report["refused_when"] == {
        "confirmed": 0,
        "contradicted": report["contradicted"],
        "abstained": 0,
    }
    assert set(report["abstained_because"]) >= {"before_unseen", "without_forecast"}


def test_forecasts_on_seen_candles_vote_only_in_sample(run):
    unseen = run(confirmed(Scheduled)).confirmations
    everything = run(confirmed(Scheduled), in_sample=True).confirmations
    assert everything["before_unseen"] == 0
    assert everything["contradicted"] > unseen["contradicted"]
    assert everything["without_forecast"] == unseen["without_forecast"]


def test_history_of_the_forecast_does_not_hold_up_the_strategy(run, predictor, both_ways):
    class HeldUp(Scheduled):
        def __init__(self):
            super().__init__()
            self.forecast = LSTMForecast(self.data, model=self.p.model, home=self.p.home)

        params = (("model", ""), ("home", ""))

    strategy = run(confirmed(Scheduled), mode=both_ways)
    assert strategy.fills[0][0] == 1
    # The control: an indicator of the usual kind does.
    late = run(HeldUp, mode=both_ways, model="statistical")
    assert late.fills[0][0] > 60


@pytest.mark.parametrize("count", [1, 5, 60])
def test_short_data_is_traded_without_a_say(run, candles, count, both_ways):
    short = candles.between(None, int(candles.time[count]))
    alone = run(Scheduled, short, mode=both_ways)
    strategy = run(confirmed(Scheduled), short, mode=both_ways)
    assert strategy.fills == alone.fills
    counts = strategy.confirmations
    assert counts["without_forecast"] == counts["entries"] == (count + 2) // 3


# --- nothing looks ahead


@pytest.mark.parametrize("cut", [150, 290])
def test_cutting_the_data_changes_no_earlier_order(run, candles, cut, both_ways):
    whole, part = [], []
    every = run(confirmed(Scheduled), mode=both_ways, told=whole)
    some = run(
        confirmed(Scheduled),
        candles.between(None, int(candles.time[cut])),
        mode=both_ways,
        told=part,
    )
    assert part == [each for each in whole if each[0] < cut]
    assert some.fills == [each for each in every.fills if each[0] < cut]
    # The control: later candles do decide over later orders.
    assert {made for bar, made in whole if bar >= cut - 60} == {True, False}


def test_other_candles_after_a_bar_change_no_earlier_order(run, candles):
    ohlcv = candles.ohlcv.copy()
    ohlcv[200:, 4] = ohlcv[200:, 4][::-1]
    other = type(candles)(
        symbol=candles.symbol,
        timeframe=candles.timeframe,
        market=candles.market,
        time=candles.time,
        ohlcv=ohlcv,
    )
    told, changed = [], []
    run(confirmed(Scheduled), told=told)
    run(confirmed(Scheduled), other, told=changed)
    assert [each for each in changed if each[0] < 200] == [each for each in told if each[0] < 200]
    assert changed != told


# --- closing is never refused


def test_closing_passes_against_the_forecast(play, up):
    told, strategy = play(
        {
            5: lambda each: each.buy(size=2),
            up: lambda each: each.close(size=1),
            up + 1: lambda each: each.close(),
            up + 3: lambda each: each.sell(size=2),
        }
    )
    assert [order.size for order in told[:3]] == [2, -1, -1]
    assert strategy.confirmations["entries"] == 2  # the buy, and the last sell


@pytest.mark.parametrize(
    "order",
    [
        lambda each: each.order_target_size(target=0),
        lambda each: each.order_target_value(target=0),
        lambda each: each.order_target_percent(target=0),
        lambda each: each.sell(size=1),
        lambda each: each.sell(each.data, 1),
        lambda each: each.sell(data="SIM/USDT", size=1, exectype=bt.Order.Close),
    ],
)
def test_every_way_to_close_passes(play, up, order):
    told, strategy = play({5: lambda each: each.buy(size=1), up: order})
    assert told[1].size == -1
    assert strategy.position.size == 0
    assert strategy.confirmations["entries"] == 1


def test_refused_reversal_closes_what_there_is(play, up, down):
    told, strategy = play({5: lambda each: each.buy(size=1), up: lambda each: each.sell(size=3)})
    assert told[1].size == -1
    assert strategy.position.size == 0
    assert strategy.confirmations["closed_only"] == 1
    # The control: with the forecast, and without it, the whole order is sent.
    told, strategy = play({5: lambda each: each.buy(size=1), down: lambda each: each.sell(size=3)})
    assert told[1].size == -3
    assert strategy.position.size == -2
    told, strategy = play(
        {5: lambda each: each.buy(size=1), up: lambda each: each.sell(size=3)}, kind=Played
    )
    assert strategy.position.size == -2


@pytest.mark.parametrize(
    "order",
    [
        lambda each: each.order_target_size(target=-2),
        lambda each: each.order_target_value(target=-3 * each.data.close[0]),
        lambda each: each.order_target_percent(target=-3e-5 * each.data.close[0]),
    ],
)
def test_refused_target_beyond_zero_ends_at_zero(play, up, order):
    told, strategy = play({5: lambda each: each.buy(size=1), up: order})
    assert told[1].size == -1
    assert strategy.position.size == 0
    _, alone = play({5: lambda each: each.buy(size=1), up: order}, kind=Played)
    assert alone.position.size < 0


def test_entry_behind_a_close_of_the_same_bar_is_an_entry(play, up):
    def reverse(strategy):
        return strategy.close(), strategy.sell(size=1)

    script = {5: lambda each: each.buy(size=1), up: reverse}
    (_, (closing, entry)), strategy = play(script)
    assert closing.size == -1
    assert entry is None
    assert strategy.position.size == 0
    # The control: alone, it is short. The position alone would call the second a close, too.
    (_, (closing, entry)), alone = play(script, kind=Played)
    assert entry.size == -1
    assert alone.position.size == -1


def test_enlarging_is_an_entry(play, down):
    script = {5: lambda each: each.buy(size=1), down: lambda each: each.buy(size=1)}
    told, strategy = play(script)
    assert told[1] is None
    assert strategy.position.size == 1
    _, alone = play(script, kind=Played)
    assert alone.position.size == 2


def test_stop_and_target_beside_each_other_both_pass(play, up):
    def protect(strategy):
        price = strategy.data.close[0]
        return (
            strategy.sell(size=1, exectype=bt.Order.Stop, price=price * 0.5),
            strategy.sell(size=1, exectype=bt.Order.Limit, price=price * 2.0),
        )

    (_, (stop, target)), strategy = play({5: lambda each: each.buy(size=1), up: protect})
    assert stop is not None
    assert target is not None
    assert strategy.confirmations["entries"] == 1


# --- brackets


def bracket(way):
    def act(strategy):
        price = strategy.data.close[0]
        buys = way == "buy"
        return (strategy.buy_bracket if buys else strategy.sell_bracket)(
            size=2,
            exectype=bt.Order.Market,
            stopprice=price * (0.5 if buys else 2.0),
            limitprice=price * (2.0 if buys else 0.5),
        )

    return act


@pytest.mark.parametrize(("way", "sign"), [("buy", 1), ("sell", -1)])
def test_refused_bracket_is_three_times_none(play, up, down, way, sign):
    against, along = (down, up) if sign > 0 else (up, down)
    (orders,), strategy = play({against: bracket(way)})
    assert orders == [None, None, None]
    assert strategy.position.size == 0
    (orders,), strategy = play({along: bracket(way)})
    assert [order.size for order in orders] == [2 * sign, -2 * sign, -2 * sign]
    assert strategy.position.size == 2 * sign
    assert strategy.confirmations["entries"] == 1
    (orders,), alone = play({against: bracket(way)}, kind=Played)
    assert alone.position.size == 2 * sign


def test_refused_reversing_bracket_closes_without_children(play, up):
    (_, orders), strategy = play({5: lambda each: each.buy(size=1), up: bracket("sell")})
    assert orders[0].size == -1
    assert orders[1:] == [None, None]
    assert orders[0].status == orders[0].Completed
    assert strategy.position.size == 0


def test_bracket_without_a_size_is_three_times_none(play, up):
    class Nothing(bt.Sizer):
        def _getsizing(self, comminfo, cash, data, isbuy):
            return 0

    (orders,), strategy = play(
        {up: lambda each: each.buy_bracket(price=1.0, stopprice=0.5, limitprice=2.0)},
        prepare=lambda cerebro: cerebro.addsizer(Nothing),
    )
    assert orders == [None, None, None]
    assert strategy.confirmations["entries"] == 0


def test_children_pass_with_their_parent(play, up):
    def by_hand(strategy):
        price = strategy.data.close[0]
        entry = strategy.buy(size=1, exectype=bt.Order.Limit, price=price * 1.1, transmit=False)
        stop = strategy.sell(
            size=1, exectype=bt.Order.Stop, price=price * 0.5, parent=entry, transmit=True
        )
        return entry, stop

    ((entry, stop),), strategy = play({up: by_hand})
    assert stop.parent is entry
    assert strategy.position.size == 1
    assert strategy.confirmations["entries"] == 1


@pytest.mark.parametrize("entry_type", [bt.Order.Market, bt.Order.Limit])
def test_children_of_a_refused_parent_are_withheld(play, down, entry_type):
    def by_hand(strategy):
        price = strategy.data.close[0]
        entry = strategy.buy(size=1, exectype=entry_type, price=price * 1.1, transmit=False)
        return entry, strategy.sell(size=1, exectype=bt.Order.Stop, price=price, parent=entry)

    ((entry, stop),), strategy = play({down: by_hand})
    assert entry is None
    assert stop is None
    assert strategy.fills == []
    assert strategy.confirmations["withheld"] == 1


def test_stop_behind_a_refused_entry_is_withheld(play, down):
    def stop_out(strategy):
        return strategy.sell(size=1, exectype=bt.Order.Stop, price=strategy.data.close[0] * 0.999)

    def enter(strategy):
        return strategy.buy(size=1), stop_out(strategy)

    ((entry, stop),), strategy = play({down: enter})
    assert entry is None
    assert stop is None
    assert strategy.position.size == 0
    # The control: alone, the forecast confirms it, and it opens a short.
    (stop,), strategy = play({down: stop_out})
    assert stop is not None
    assert strategy.position.size == -1
    # What was refused is forgotten on the next bar.
    (entry, stop), strategy = play(
        {down: lambda each: each.buy(size=1), down + 1: stop_out}, min_confidence=0.5
    )
    assert entry is None
    assert strategy.confirmations["withheld"] == 0


# --- the vote


def test_further_votes_may_turn_it(play, up, down):
    asked = []

    class Trending(LSTMConfirm):
        def votes(self, data, direction):
            asked.append((data._name, direction))
            return {"trend": Vote(1, 1.0)}

    class Turned(Trending, Played):
        pass

    told, strategy = play(
        {down: lambda each: each.buy(size=1), down + 1: lambda each: each.close()}, kind=Turned
    )
    assert told[0] is not None
    assert asked == [("SIM/USDT", 1)]
    counts = strategy.confirmations
    assert (counts["contradicted"], counts["refused"]) == (1, 0)
    told, strategy = play({5: lambda each: each.sell(size=1)}, kind=Turned, weight=0)
    assert told == [None]  # a tie
    assert strategy.confirmations["refused_abstained"] == 1
    assert strategy.confirmation_report()["refused_when"]["abstained"] == 1


@pytest.mark.parametrize("name", ["strategy", "lstm"])
def test_votes_under_a_taken_name_are_refused(play, up, name):
    class Twice(LSTMConfirm, Played):
        def votes(self, data, direction):
            return {name: Vote(1)}

    with pytest.raises(ParameterError, match=rf"votes\(\) of Twice returned one of '{name}'"):
        play({up: lambda each: each.buy(size=1)}, kind=Twice)


@pytest.mark.parametrize(("weight", "made"), [(0.0, True), (0.9, True), (1.0, False), (9, False)])
def test_weight_under_one_refuses_nothing_alone(play, down, weight, made):
    told, strategy = play({down: lambda each: each.buy(size=1)}, weight=weight)
    assert (told[0] is not None) is made
    assert strategy.confirmations["contradicted"] == 1


def test_each_entry_has_a_line_in_the_log_where_wanted(play, batch, candles, up, down, caplog):
    script = {
        bar: action
        for entry in (5, up, down)
        for bar, action in (
            (entry, lambda each: each.buy(size=1)),
            (entry + 1, lambda each: each.close()),
        )
    }
    stamps = {bar: iso_utc(int(candles.time[bar]) + candles.period_ms - 1) for bar in script}
    confidence = batch.confidence
    with caplog.at_level(logging.INFO, logger="lstm_strategies.confirmation"):
        play(script, log_predictions=True)
    words = {
        5: "no forecast, abstained (without_forecast), passed",
        up: f"forecast up with {confidence[up]:.3f}, confirmed, passed",
        down: f"forecast down with {confidence[down]:.3f}, contradicted, refused",
    }
    expected = {f"SIM/USDT {stamps[bar]} buy: {said}" for bar, said in words.items()}
    assert {each.getMessage() for each in caplog.records} == expected
    assert len(caplog.records) == 3
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="lstm_strategies.confirmation"):
        play(script)
    assert caplog.records == []


# --- making the class


class OwnKeywords(bt.Strategy):
    lines = ("mean",)
    params = (("period", 5),)

    def __init__(self, seed=0):
        # Without super().__init__(), as many are written.
        self.seed = seed
        self.lines.mean = bt.indicators.SMA(period=self.p.period)

    def next(self):
        if len(self) % 7 == 0:
            self.buy()


@pytest.mark.parametrize("how", ["function", "class"])
def test_strategy_with_its_own_init_lines_and_keywords(run, candles, how, both_ways):
    class Named(LSTMConfirm, OwnKeywords):
        pass

    kind = confirmed(OwnKeywords) if how == "function" else Named
    strategy = run(kind, mode=both_ways, seed=3, period=8)
    assert strategy.seed == 3
    assert strategy.p.period == 8
    assert strategy.lines.getlinealiases() == ("datetime", "mean")
    # backtrader fills a strategy's own lines bar by bar only.
    alone = run(OwnKeywords, mode=both_ways, period=8)
    assert strategy.mean[0] == pytest.approx(alone.mean[0], nan_ok=True)
    if not both_ways["runonce"]:
        assert strategy.mean[0] == pytest.approx(candles.ohlcv[-8:, 3].mean())
    assert strategy.confirmations["entries"] > 20


def test_without_the_override_every_line_would_come_twice():
    class Plain(bt.Strategy):
        pass

    class Twice(Plain, OwnKeywords):
        pass

    assert Twice.lines.getlinealiases().count("datetime") == 2
    assert confirmed(OwnKeywords).lines.getlinealiases().count("datetime") == 1


def test_strategy_with_nothing_of_its_own(run):
    class Bare(bt.Strategy):
        pass

    assert run(confirmed(Bare)).confirmation_report()["entries"] == 0


def test_strategy_of_signals(trained, candles):
    class Signalled(bt.SignalStrategy):
        def __init__(self):
            super().__init__()
            self.signal_add(bt.SIGNAL_LONGSHORT, self.data.close - bt.indicators.SMA(period=5))

    def entries(kind, **params):
        cerebro = bt.Cerebro(stdstats=False)
        cerebro.adddata(CandleData(dataname=candles))
        cerebro.addstrategy(kind, **params)
        cerebro.addanalyzer(bt.analyzers.Transactions, _name="transactions")
        strategy = cerebro.run()[0]
        return strategy, len(strategy.analyzers.transactions.get_analysis())

    given = {"model": trained.champion, "home": str(trained.home.path), "min_confidence": EAGER}
    strategy, voted = entries(confirmed(Signalled), **given)
    _, alone = entries(Signalled)
    assert strategy.confirmations["refused"] > 3
    assert 0 < voted < alone


def test_misspelt_parameters_of_either_are_refused(run):
    with pytest.raises(ParameterError, match="did you mean 'min_confidence'"):
        run(confirmed(Scheduled), min_confidense=0.6)
    with pytest.raises(ParameterError, match=r"ConfirmedScheduled has no parameter.*'every'"):
        run(confirmed(Scheduled), evry=3)


def test_checked_strategies_can_be_confirmed(run):
    class Checked(Scheduled, CheckedParameters):
        pass

    assert run(confirmed(Checked), every=5).confirmations["entries"] > 20


def test_parameter_that_both_have_is_refused():
    class Own(bt.Strategy):
        params = (("weight", 3.0), ("min_confidence", 0.9))

    message = "Own has parameters that LSTMConfirm has too, min_confidence, weight"
    with pytest.raises(ParameterError, match=message):
        confirmed(Own)
    with pytest.raises(ParameterError, match=message):

        class Both(LSTMConfirm, Own):
            pass

    with pytest.raises(ParameterError, match="LSTMStrategy has parameters"):
        confirmed(LSTMStrategy)

    # The class made of both may still set another default.
    class Sure(LSTMConfirm, Scheduled):
        params = (("min_confidence", 0.9),)

    assert Sure.params.min_confidence == 0.9
    assert LSTMConfirm.params.min_confidence == 0.6


@pytest.mark.parametrize("name", ["votes", "confirmations", "confirmation_report"])
def test_attribute_that_both_have_is_refused(name):
    kind = type(bt.Strategy)("Own", (bt.Strategy,), {"__module__": __name__, name: None})
    with pytest.raises(ParameterError, match=f"Own has attributes that LSTMConfirm adds, {name}"):
        confirmed(kind)


def test_class_in_the_wrong_order_is_refused():
    with pytest.raises(ParameterError, match=r"class Wrong\(LSTMConfirm, Scheduled\)"):

        class Wrong(Scheduled, LSTMConfirm):
            pass


def test_what_is_no_strategy_or_confirmed_already_is_refused():
    with pytest.raises(ParameterError, match=r"is no backtrader\.Strategy class"):
        confirmed(bt.Indicator)
    with pytest.raises(ParameterError, match="ConfirmedScheduled is an LSTMConfirm already"):
        confirmed(confirmed(Scheduled))


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"model": ""}, ParameterError, "ConfirmedScheduled needs model"),
        ({"model": "models:/nobody@champion"}, ModelNotFoundError, "nobody"),
        ({"min_confidence": 60}, ParameterError, "from 0 to 1"),
        ({"weight": -1}, ParameterError, "weight=-1: give a number from 0 up"),
        ({"horizon": "9d"}, ConfigError, "9d"),
    ],
)
def test_parameters_that_cannot_be_meant_are_refused(run, params, error, message):
    with pytest.raises(error, match=message):
        run(confirmed(Scheduled), **params)


def test_fallback_is_used_where_there_is_no_model(run, caplog):
    given = {"model": "models:/nobody@champion", "fallback": "statistical"}
    strategy = run(confirmed(Scheduled), min_confidence=0.5, **given)
    assert strategy.confirmation_report()["model"] == "statistical:1h"
    assert strategy.confirmations["refused"] > 5


# --- feeds


def test_only_feeds_of_another_timeframe_are_refused(run, candles):
    slow = [CandleData(dataname=candles.resample(each)) for each in ("4h", "1d")]
    with pytest.raises(ParameterError, match="reads 1h candles, and the feeds have 4h, 1d"):
        run(confirmed(Scheduled), *slow)
    with pytest.raises(BundleError, match="has 4h"):
        run(confirmed(Scheduled), CandleData(dataname=candles.resample("4h")))


# --- optimisation

STRATEGY = """
    import backtrader as bt

    class Outer:
        class Cross(bt.Strategy):
            params = (("fast", 3), ("slow", 9))

            def __init__(self):
                fast, slow = (bt.indicators.SMA(period=each) for each in (self.p.fast, self.p.slow))
                self.cross = bt.indicators.CrossOver(fast, slow)

            def next(self):
                if self.cross[0]:
                    self.order_target_size(target=int(self.cross[0]))
"""

OPTIMISE = """
    import json, multiprocessing, sys
    import backtrader as bt

    from crossing import Outer
    from lightning_models import read_candles
    from lstm_strategies import CandleData
    from lstm_strategies.confirmation import ConfirmationReport, confirmed

    def optimise(cpus):
        cerebro = bt.Cerebro(stdstats=False, maxcpus=cpus)
        cerebro.adddata(CandleData(dataname=read_candles(data, symbol="SIM/USDT")))
        cerebro.optstrategy(
            confirmed(Outer.Cross), model=model, home=home, fast=[2, 3], min_confidence=[0.51, 0.53]
        )
        cerebro.addanalyzer(ConfirmationReport, _name="report")
        return [
            [run.p.fast, run.p.min_confidence, run.analyzers.report.get_analysis()]
            for (run,) in cerebro.run()
        ]

    if __name__ == "__main__":
        model, home, data, method = sys.argv[1:]
        multiprocessing.set_start_method(method)
        print(json.dumps({str(cpus): optimise(cpus) for cpus in (2, 1)}))
"""


@pytest.mark.soak
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_two_workers_find_the_same_as_one(trained, candles, tmp_path, method):
    (tmp_path / "crossing.py").write_text(textwrap.dedent(STRATEGY))
    script = tmp_path / "optimise.py"
    script.write_text(textwrap.dedent(OPTIMISE))
    data = tmp_path / "SIM_USDT.csv"
    candles.to_frame().to_csv(data, index=False)
    done = subprocess.run(
        [sys.executable, script, trained.model.path, tmp_path / "home", data, method],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["2"] == told["1"]
    assert [row[:2] for row in told["1"]] == [[2, 0.51], [2, 0.53], [3, 0.51], [3, 0.53]]
    reports = [report for *_, report in told["1"]]
    assert all(report["contradicted"] > 0 for report in reports)
    assert len({report["entries"] for report in reports}) > 1


def test_made_class_is_found_again_where_it_was_not_made_yet():
    kind = confirmed(Scheduled)
    assert pickle.loads(pickle.dumps(kind)) is kind
    kept = pickle.dumps(kind)
    confirmed.cache_clear()
    try:
        made = pickle.loads(kept)
        assert made is not kind
        assert made is confirmed(Scheduled)
        assert made.__bases__ == (LSTMConfirm, Scheduled)
    finally:
        confirmed.cache_clear()


def test_class_inside_a_function_is_confirmed_but_no_worker_could_find_it():
    class Local(bt.Strategy):
        pass

    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(confirmed(Local))


def test_module_has_no_other_attributes():
    import lstm_strategies.confirmation as module

    for name in ("Confirmed", "confirmed:", "other:module:Class"):
        with pytest.raises(AttributeError, match="has no attribute"):
            getattr(module, name)


def test_report_of_a_strategy_without_a_vote_is_refused(run):
    with pytest.raises(ParameterError, match=r"add confirmed\(Scheduled\) in its place"):
        run(Scheduled, prepare=lambda cerebro: cerebro.addanalyzer(ConfirmationReport))
