"""What every strategy does with a decision, on candles written by hand."""

from __future__ import annotations

import logging
import math

import backtrader as bt
import numpy as np
import pytest

from lstm_strategies import BacktestMetrics, CandleData, CryptoCommission, SimulatedBroker
from lstm_strategies.errors import ParameterError
from lstm_strategies.trading import DOWN, LEAVE, STAY, UP, TradingStrategy

HOUR = 3_600_000
START = 1_609_459_200_000

# No fees, no warm-up of the true range worth speaking of, no protection unless asked for.
PLAIN = {"atr_period": 1, "atr_stop": 0.0, "atr_target": 0.0, "position_size": 0.5}


class Scripted(TradingStrategy):
    """Decides by a script: from the number of a bar to its decision."""

    params = (("script", {}),)

    def __init__(self):
        super().__init__()
        self.trade(self.data)
        self.fills = []

    def decide(self, feed):
        return self.p.script.get(feed.bar, STAY)

    def notify_order(self, order):
        super().notify_order(order)
        if order.status == order.Completed:
            self.fills.append(
                (len(self.data), order.executed.size, order.executed.price, order.getordername())
            )


def flat(count, price=100.0):
    return [[price, price + 1.0, price - 1.0, price] for _ in range(count)]


@pytest.fixture
def run(candles_of):
    """Run a script on rows of open, high, low, close, without fees."""

    def ran(rows, script, *, mode=None, kind=Scripted, leverage=1.0, **params):
        cerebro = bt.Cerebro(stdstats=False)
        broker = SimulatedBroker()
        broker.addcommissioninfo(CryptoCommission(maker_fee=0.0, taker_fee=0.0, leverage=leverage))
        cerebro.setbroker(broker)
        cerebro.adddata(CandleData(dataname=candles_of(rows)))
        cerebro.addanalyzer(BacktestMetrics, _name="metrics")
        cerebro.addstrategy(kind, script=script, **{**PLAIN, **params})
        return cerebro.run(**(mode or {}))[0]

    return ran


def test_a_decision_at_a_close_fills_at_the_next_open(run, both_ways):
    rows = [*flat(5), [103.0, 104.0, 102.0, 103.0], *flat(3)]
    strategy = run(rows, {5: UP}, mode=both_ways)
    ((bar, size, price, _),) = strategy.fills
    assert (bar, price) == (6, 103.0)
    # Half the equity at the last close, which is what is known when the size is chosen.
    assert size == pytest.approx(5_000.0 / 100.0)


def test_a_decision_the_other_way_turns_the_position(run, both_ways):
    strategy = run(flat(10), {3: UP, 6: DOWN}, mode=both_ways)
    assert [bar for bar, *_ in strategy.fills] == [4, 7, 7]
    assert strategy.broker.getposition(strategy.data).size == pytest.approx(-50.0)


def test_long_only_leaves_and_goes_no_further(run):
    strategy = run(flat(10), {3: UP, 6: DOWN}, long_only=True)
    assert [(bar, round(size, 9)) for bar, size, *_ in strategy.fills] == [(4, 50.0), (7, -50.0)]
    assert strategy.counts["short_refused"] == 1


def test_leave_closes_and_opens_nothing(run):
    strategy = run(flat(10), {3: DOWN, 6: LEAVE})
    assert [(bar, round(size, 9)) for bar, size, *_ in strategy.fills] == [(4, -50.0), (7, 50.0)]
    (trade,) = strategy.analyzers.metrics.get_analysis()["trades"]
    assert trade["exit_reason"] == "signal"


def test_the_same_decision_again_changes_nothing(run):
    strategy = run(flat(10), dict.fromkeys(range(3, 9), UP))
    assert len(strategy.fills) == 1
    assert strategy.counts["signals"] == 6
    assert strategy.counts["bars"] == 10


@pytest.mark.parametrize("held", [1, 3])
def test_time_stop_closes_after_so_many_bars(run, both_ways, held):
    strategy = run(flat(12), {3: UP}, mode=both_ways, time_stop=held)
    assert [bar for bar, *_ in strategy.fills] == [4, 4 + held]
    (trade,) = strategy.analyzers.metrics.get_analysis()["trades"]
    assert (trade["exit_reason"], trade["bars"]) == ("time", held)


def test_without_a_time_stop_the_position_stays(run):
    assert len(run(flat(12), {3: UP}).fills) == 1


def test_cooldown_keeps_out_for_so_many_bars(run, both_ways):
    script = {3: UP, 5: LEAVE, **dict.fromkeys(range(6, 12), UP)}
    # The exit fills on bar 6; with three bars of cooldown the close of bar 9 decides first.
    strategy = run(flat(14), script, mode=both_ways, cooldown=3)
    assert [bar for bar, *_ in strategy.fills] == [4, 6, 10]
    assert strategy.counts["cooling"] == 3
    assert [bar for bar, *_ in run(flat(14), script).fills] == [4, 6, 7]


def test_cooldown_makes_a_reversal_an_exit(run):
    strategy = run(flat(12), {3: UP, 6: DOWN}, cooldown=2)
    assert [(bar, round(size, 9)) for bar, size, *_ in strategy.fills] == [(4, 50.0), (7, -50.0)]


def test_nothing_is_decided_before_the_start(run, both_ways):
    script = dict.fromkeys(range(1, 10), UP)
    strategy = run(flat(12), script, mode=both_ways, trade_from=START + 5 * HOUR)
    # The fifth bar closes at that moment.
    assert strategy.fills[0][0] == 6
    assert strategy.counts["bars"] == 8


def rising_then_falling():
    up = [[100.0 + i, 101.5 + i, 99.5 + i, 101.0 + i] for i in range(8)]
    down = [[108.0 - i, 108.5 - i, 106.5 - i, 107.0 - i] for i in range(8)]
    return [*flat(4), *up, *down]


def test_trailing_stop_follows_the_closes_and_never_backs_off(run, both_ways):
    strategy = run(rising_then_falling(), {3: UP}, mode=both_ways, trailing_stop=2.0)
    (_, _, entry, _), (bar, size, price, kind) = strategy.fills
    assert (entry, kind) == (100.0, "StopTrail")
    assert size < 0
    # A true range of 2 at the decision: 4 below the highest close, which was 108.
    assert price == pytest.approx(104.0)
    assert bar > 12


def test_without_the_trailing_stop_the_fall_is_held_through(run):
    assert len(run(rising_then_falling(), {3: UP}).fills) == 1


def test_of_two_stops_the_nearer_one_counts(run):
    both = run(rising_then_falling(), {3: UP}, trailing_stop=2.0, atr_stop=1.0)
    assert both.fills[1][2] == pytest.approx(104.0)  # the trailing one has passed the fixed one
    assert both.stop_distance is not None
    dropping = [*flat(4), [100.0, 100.5, 99.0, 99.5], [99.5, 99.6, 95.0, 95.5], *flat(3, 95.0)]
    fixed = run(dropping, {3: UP}, trailing_stop=2.0, atr_stop=1.0)
    assert fixed.fills[1][2] == pytest.approx(98.0)  # 2 below the fill, before the trailing one


def test_stop_and_target_live_on_the_entry_bar(run):
    rows = [*flat(4), [100.0, 100.5, 90.0, 99.0], *flat(3)]
    strategy = run(rows, {4: UP}, atr_stop=2.0, atr_target=3.0)
    assert [(bar, price) for bar, _, price, _ in strategy.fills] == [(5, 100.0), (5, 96.0)]


def test_daily_loss_closes_everything_until_the_next_day(run, caplog):
    # Bars 1 to 24 are the first day; half the equity is lost 10 % of on bar 6.
    rows = [*flat(5), [100.0, 100.0, 89.0, 90.0], *flat(25, 90.0)]
    script = {4: UP, **dict.fromkeys(range(8, 30), UP)}
    with caplog.at_level(logging.WARNING, logger="lstm_strategies"):
        strategy = run(rows, script, max_daily_loss=0.04)
    # Bar 24 closes the day, and is the first whose moment belongs to it no more.
    assert [bar for bar, *_ in strategy.fills][:2] == [5, 7]
    assert strategy.fills[2][0] >= 25
    assert strategy.counts["breaker_daily_loss"] == 1
    assert strategy.counts["blocked"] > 0
    assert "before the next UTC day" in caplog.text
    unprotected = run(rows, script)
    assert [bar for bar, *_ in unprotected.fills] == [5]


def test_drawdown_ends_trading_for_good(run):
    rows = [*flat(5), [100.0, 100.0, 89.0, 90.0], *flat(60, 90.0)]
    script = {4: UP, **dict.fromkeys(range(8, 66), UP)}
    strategy = run(rows, script, max_drawdown=0.04)
    assert [bar for bar, *_ in strategy.fills] == [5, 7]
    assert strategy.broker.getposition(strategy.data).size == 0.0


def test_a_liquidated_position_is_known_to_be_gone(run):
    # At leverage 10 about 9.5 % below the entry, without a stop of the strategy's own.
    rows = [*flat(5), [100.0, 100.0, 80.0, 85.0], *flat(5, 85.0)]
    strategy = run(rows, {4: UP, 8: UP}, leverage=10.0)
    assert len(strategy.fills) == 3
    (first, *_) = strategy.analyzers.metrics.get_analysis()["trades"]
    assert first["exit_reason"] == "liquidation"


def test_without_a_stop_the_size_is_what_the_margin_pays_for(run):
    strategy = run(flat(6), {3: UP}, leverage=3.0, position_size=0.1)
    # A tenth of the equity as margin, at leverage 3.
    assert strategy.fills[0][1] == pytest.approx(0.1 * 10_000.0 * 3.0 / 100.0)


def test_risk_per_trade_is_what_the_nearer_stop_costs(run):
    strategy = run(flat(6), {3: UP}, position_size=0.0, atr_stop=2.0, risk_per_trade=0.01)
    assert strategy.fills[0][1] == pytest.approx(0.01 * 10_000.0 / 4.0)
    nearer = run(
        flat(6), {3: UP}, position_size=0.0, atr_stop=2.0, trailing_stop=1.5, risk_per_trade=0.01
    )
    assert nearer.fills[0][1] == pytest.approx(0.01 * 10_000.0 / 3.0)


def test_a_strategy_that_decides_nothing_says_so(run):
    class Undecided(TradingStrategy):
        params = (("script", {}),)

        def __init__(self):
            super().__init__()
            self.trade(self.data)

    with pytest.raises(NotImplementedError, match="give it decide"):
        run(flat(5), {}, kind=Undecided)


def test_no_trade_says_why(run, caplog):
    with caplog.at_level(logging.WARNING, logger="lstm_strategies"):
        strategy = run(flat(6), {3: DOWN}, long_only=True)
    assert strategy.why_no_trade() == (
        "no position was opened: of 6 bars 1 had a signal, 1 down, with long_only"
    )
    assert strategy.why_no_trade() in caplog.text


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"position_size": 10}, "position_size=0.1"),
        ({"max_drawdown": 20}, "max_drawdown=0.2"),
        ({"time_stop": 2.5}, "time_stop"),
        ({"cooldown": -1}, "cooldown=-1"),
        ({"trailing_stop": -1.0}, "from 0 up"),
        ({"max_exposure": math.nan}, "max_exposure"),
        ({"time_stopp": 3}, "did you mean 'time_stop'"),
    ],
)
def test_parameters_that_cannot_be_meant_are_refused(run, params, message):
    with pytest.raises(ParameterError, match=message):
        run(flat(5), {}, **params)


def test_positions_are_never_more_than_the_fills_made(run):
    rng = np.random.default_rng(5)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.02, 120)))
    opened = np.concatenate(([100.0], close[:-1]))
    spread = rng.uniform(0.0, 0.01, 120)
    rows = np.column_stack(
        [
            opened,
            np.maximum(opened, close) * (1 + spread),
            np.minimum(opened, close) * (1 - spread),
            close,
        ]
    )
    script = {bar: int(rng.integers(-1, 3)) for bar in range(1, 120)}
    strategy = run(
        rows, script, leverage=5.0, atr_stop=1.0, atr_target=2.0, trailing_stop=1.5, time_stop=7,
        cooldown=1, atr_period=5,
    )  # fmt: skip
    filled = sum(size for _, size, *_ in strategy.fills)
    assert filled == pytest.approx(strategy.broker.getposition(strategy.data).size, abs=1e-9)
    assert len(strategy.fills) > 20


# --- what must not be left behind


def test_an_entry_filled_in_parts_is_protected_from_the_first_one(candles_of):
    rows = [
        *flat(4),
        *([[100.0, 100.5, 99.5, 100.0]] * 2),
        [100.0, 100.0, 90.0, 91.0],
        *flat(6, 91.0),
    ]
    cerebro = bt.Cerebro(stdstats=False)
    broker = SimulatedBroker()
    broker.addcommissioninfo(CryptoCommission(maker_fee=0.0, taker_fee=0.0))
    # A hundredth of a bar's volume of 1,000: ten of the fifty units a bar.
    broker.set_filler(bt.broker.fillers.FixedBarPerc(perc=1.0))
    cerebro.setbroker(broker)
    cerebro.adddata(CandleData(dataname=candles_of(rows)))
    cerebro.addstrategy(Scripted, script={4: UP}, **{**PLAIN, "atr_stop": 2.0})
    strategy = cerebro.run()[0]
    # Thirty were bought by then; the rest of the entry ends with the stop's first part.
    assert strategy.broker.getposition(strategy.data).size == 0.0
    assert strategy.broker.getvalue() == pytest.approx(10_000.0 - 10.0 * 4.0 - 20.0 * 9.0)
    assert not [one for one in strategy.broker.pending if one.alive()]


def test_a_breaker_leaves_no_entry_waiting(candles_of):
    from lstm_strategies.standing import Standing

    calls = []

    class Waiting:
        def __init__(self, alive):
            self._alive = alive

        def alive(self):
            return self._alive

    class Leaves(Scripted):
        def stop(self):
            # An exit on its way, and a reversal's entry behind it.
            feed = self._feeds[self.data]
            assert isinstance(feed, Standing)
            feed.exit, feed.held = Waiting(True), 5.0
            feed.bracket = [Waiting(True), Waiting(False)]
            self.cancel = calls.append
            first = feed.bracket[0]
            self._leave(feed, "drawdown")
            assert calls == [first]
            assert feed.bracket == []

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(SimulatedBroker())
    cerebro.broker.addcommissioninfo(CryptoCommission())
    cerebro.adddata(CandleData(dataname=candles_of(flat(5))))
    cerebro.addstrategy(Leaves, script={}, **PLAIN)
    cerebro.run()


def test_a_replayed_bar_is_decided_on_when_it_is_finished(candles_of):
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(SimulatedBroker())
    cerebro.broker.addcommissioninfo(CryptoCommission())
    cerebro.replaydata(
        CandleData(dataname=candles_of(flat(16))), timeframe=bt.TimeFrame.Minutes, compression=240
    )
    seen = []

    class Watching(Scripted):
        def decide(self, feed):
            seen.append(self.data.datetime.datetime(0).hour)
            return STAY

    cerebro.addstrategy(Watching, script={}, **PLAIN)
    cerebro.run()
    assert seen
    # Bars of four hours end at 4, 8, 12 and midnight, give or take the last millisecond.
    assert {hour % 4 for hour in seen} <= {3, 0}
    assert len(seen) <= 4
