from __future__ import annotations

import json
import logging

import backtrader as bt
import numpy as np
import pytest

from lstm_strategies.broker import SimulatedBroker
from lstm_strategies.commission import CryptoCommission
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import CandleData
from lstm_strategies.metrics import BacktestMetrics

# The response of the backtesting service, name for name.
RESPONSE = {
    "strategy_name",
    "symbol",
    "start_date",
    "end_date",
    "total_trades",
    "winning_trades",
    "losing_trades",
    "win_rate",
    "total_return",
    "total_return_pct",
    "annualized_return",
    "max_drawdown",
    "max_drawdown_pct",
    "sharpe_ratio",
    "sortino_ratio",
    "profit_factor",
    "avg_win",
    "avg_loss",
    "performance_rating",
    "trades",
    "equity_curve",
    "drawdown_curve",
}
MORE = {
    "exposure",
    "fees_paid",
    "funding_paid",
    "liquidations",
    "turnover",
    "open_pnl",
    "probabilistic_sharpe_ratio",
}

FLAT = (100.0, 100.0, 100.0, 100.0)


class Turning(bt.Strategy):
    """Long above its average, short below, always in the market once it has started."""

    params = (("fast", 4), ("size", 10.0))

    def __init__(self):
        self.average = bt.indicators.SMA(self.data, period=self.p.fast)

    def next(self):
        side = 1 if self.data.close[0] > self.average[0] else -1
        if self.position.size * side <= 0:
            self.close()
            enter, leave = (self.buy, self.sell) if side > 0 else (self.sell, self.buy)
            close = self.data.close[0]
            entry = enter(size=self.p.size, transmit=False)
            leave(
                size=self.p.size,
                price=close * (1 - side * 0.02),
                exectype=bt.Order.Stop,
                parent=entry,
                transmit=False,
            )
            leave(
                size=self.p.size,
                price=close * (1 + side * 0.03),
                exectype=bt.Order.Limit,
                parent=entry,
            )


class Idle(bt.Strategy):
    pass


def analyse(data, strategy=Turning, *, fee=0.001, metrics=None, strategy_params=None, **mode):
    cerebro = bt.Cerebro(stdstats=False)
    broker = SimulatedBroker()
    broker.addcommissioninfo(CryptoCommission(maker_fee=fee / 2, taker_fee=fee))
    cerebro.setbroker(broker)
    for each in data if isinstance(data, list) else [data]:
        cerebro.adddata(each)
    cerebro.addstrategy(strategy, **(strategy_params or {}))
    cerebro.addanalyzer(BacktestMetrics, _name="metrics", **(metrics or {}))
    return cerebro.run(**mode)[0].analyzers.metrics.get_analysis()


def test_names_are_those_of_the_response(random_walk):
    assert set(analyse(CandleData(dataname=random_walk(60)))) == RESPONSE | MORE


def test_result_is_the_same_in_every_run_mode(random_walk, run_mode):
    candles = random_walk(80)
    expected = analyse(CandleData(dataname=candles))
    assert expected["total_trades"] > 5
    assert analyse(CandleData(dataname=candles), **run_mode) == expected


def test_result_is_json_without_infinity(random_walk):
    for strategy in (Turning, Idle):
        json.dumps(analyse(CandleData(dataname=random_walk(60)), strategy), allow_nan=False)


def test_profits_of_all_trades_add_up_to_the_total_return(random_walk):
    for seed in range(5):
        result = analyse(CandleData(dataname=random_walk(150, seed=seed)))
        closed = [trade for trade in result["trades"] if trade["exit_time"] is not None]
        still_open = [trade for trade in result["trades"] if trade["exit_time"] is None]
        assert len(closed) == result["total_trades"]
        assert sum(trade["pnl"] for trade in result["trades"]) == pytest.approx(
            result["total_return"], abs=1e-6
        )
        assert sum(trade["pnl"] for trade in still_open) == pytest.approx(
            result["open_pnl"], abs=1e-9
        )
        assert sum(trade["fees"] for trade in result["trades"]) == pytest.approx(
            result["fees_paid"], abs=1e-9
        )


def scripted(script):
    class Acts(bt.Strategy):
        def next(self):
            if len(self) - 1 in script:
                script[len(self) - 1](self)

    return Acts


def test_trade_ledger_by_hand(candles_of):
    def enter(strategy):
        entry = strategy.buy(size=2.0, transmit=False)
        strategy.sell(size=2.0, price=110.0, exectype=bt.Order.Limit, parent=entry, transmit=False)
        strategy.sell(size=2.0, price=95.0, exectype=bt.Order.Stop, parent=entry)

    rows = [FLAT, (100, 101, 99, 100), (100, 112, 99, 111), (111, 111, 111, 111)]
    result = analyse(CandleData(dataname=candles_of(rows)), scripted({0: enter}))
    fees = 200 * 0.001 + 220 * 0.0005
    assert result["trades"] == [
        {
            "symbol": "BTC/USDT",
            "direction": "LONG",
            "entry_time": "2021-01-01T01:59:59.999Z",
            "entry_price": 100.0,
            "exit_time": "2021-01-01T02:59:59.999Z",
            "exit_price": 110.0,
            "size": 2.0,
            "pnl": pytest.approx(20 - fees, abs=1e-9),
            "pnl_pct": pytest.approx((20 - fees) / 2, abs=1e-9),
            "fees": pytest.approx(fees, abs=1e-12),
            "funding": 0.0,
            "bars": 1,
            "exit_reason": "target",
        }
    ]
    assert result["total_return"] == pytest.approx(20 - fees, abs=1e-9)
    assert result["total_return_pct"] == pytest.approx((20 - fees) / 100, abs=1e-9)
    assert result["win_rate"] == 100.0
    assert result["profit_factor"] is None
    assert result["exposure"] == 0.25
    assert result["fees_paid"] == pytest.approx(fees)
    assert result["start_date"] == "2021-01-01T00:59:59.999Z"
    assert result["end_date"] == "2021-01-01T03:59:59.999Z"
    assert result["annualized_return"] is None
    curve = [point["equity"] for point in result["equity_curve"]]
    assert curve == pytest.approx([1e4, 1e4 - 0.2, 1e4 + 20 - fees, 1e4 + 20 - fees], abs=1e-9)
    assert result["turnover"] == pytest.approx(420.0 / np.mean(curve))
    assert result["drawdown_curve"][1] == {
        "time": "2021-01-01T01:59:59.999Z",
        "drawdown_pct": pytest.approx(0.002),
    }


def test_exit_reasons(candles_of):
    def enter(side):
        def act(strategy):
            opened, closing = (
                (strategy.buy, strategy.sell) if side > 0 else (strategy.sell, strategy.buy)
            )
            entry = opened(size=1.0, transmit=False)
            closing(size=1.0, price=100 - 5 * side, exectype=bt.Order.Stop, parent=entry)

        return act

    def turn(strategy):
        strategy.close()
        strategy.sell(size=1.0)

    def tired(strategy):
        strategy.close(exit_reason="horizon")

    def leave(strategy):
        strategy.close()

    script = {0: enter(1), 3: enter(1), 5: turn, 7: tired, 9: enter(1), 11: leave, 13: enter(1)}
    rows = [FLAT] * 16
    rows[2] = (100, 100, 94, 100)
    result = analyse(CandleData(dataname=candles_of(rows)), scripted(script))
    reasons = [(trade["direction"], trade["exit_reason"]) for trade in result["trades"]]
    assert reasons == [
        ("LONG", "stop"),
        ("LONG", "reversal"),
        ("SHORT", "horizon"),
        ("LONG", None),
        ("LONG", "end"),
    ]


def test_open_trade_is_listed_at_its_mark_and_not_counted(candles_of):
    def enter(strategy):
        strategy.sell(size=2.0)

    rows = [FLAT, FLAT, (90, 90, 90, 90)]
    result = analyse(CandleData(dataname=candles_of(rows)), scripted({0: enter}))
    (trade,) = result["trades"]
    assert (trade["exit_time"], trade["exit_price"]) == (None, None)
    assert (trade["direction"], trade["size"], trade["bars"]) == ("SHORT", 2.0, 1)
    assert trade["pnl"] == result["open_pnl"] == pytest.approx(20 - 0.2)
    assert result["total_return"] == pytest.approx(20 - 0.2)
    assert result["total_trades"] == 0
    assert result["performance_rating"] == "POOR"


def test_scaled_trade_has_mean_prices(candles_of):
    script = {
        0: lambda strategy: strategy.buy(size=1.0),
        1: lambda strategy: strategy.buy(size=3.0),
        2: lambda strategy: strategy.sell(size=2.0),
        3: lambda strategy: strategy.close(),
    }
    rows = [(price,) * 4 for price in (100.0, 100.0, 104.0, 110.0, 120.0, 120.0)]
    result = analyse(CandleData(dataname=candles_of(rows)), scripted(script), fee=0.0)
    (trade,) = result["trades"]
    assert (trade["size"], trade["entry_price"], trade["exit_price"]) == (4.0, 103.0, 115.0)
    assert trade["pnl"] == pytest.approx(48.0)
    assert trade["pnl_pct"] == pytest.approx(100 * 48 / 412)


def test_no_trade_is_a_sharpe_ratio_of_zero(random_walk):
    result = analyse(CandleData(dataname=random_walk(50)), Idle)
    assert result["sharpe_ratio"] == result["sortino_ratio"] == 0.0
    assert result["profit_factor"] == result["win_rate"] == result["exposure"] == 0.0
    assert result["performance_rating"] == "POOR"
    assert len(result["equity_curve"]) == 50


def test_sharpe_ratio_is_that_of_the_curve(random_walk):
    for timeframe, periods in (("1h", 8760), ("6h", 1460), ("1d", 365)):
        result = analyse(CandleData(dataname=random_walk(100, timeframe)))
        equity = np.array([10_000.0] + [point["equity"] for point in result["equity_curve"]])
        returns = np.diff(equity) / equity[:-1]
        expected = returns.mean() / returns.std(ddof=1) * np.sqrt(periods)
        assert result["sharpe_ratio"] == pytest.approx(expected, rel=1e-12)


def test_market_of_the_feed_sets_the_days_of_a_year(random_walk):
    around_the_clock = analyse(CandleData(dataname=random_walk(100, "1d")))
    sessions = analyse(CandleData(dataname=random_walk(100, "1d", market="sessions")))
    ratio = sessions["sharpe_ratio"] / around_the_clock["sharpe_ratio"]
    assert ratio == pytest.approx((252 / 365) ** 0.5)
    given = analyse(CandleData(dataname=random_walk(100, "1d")), metrics={"market": "sessions"})
    assert given["sharpe_ratio"] == sessions["sharpe_ratio"]


def test_annualized_return_is_a_fraction(candles_of):
    def enter(strategy):
        strategy.buy(size=100.0)

    rows = [FLAT, FLAT] + [(100 + day / 10,) * 4 for day in range(363)]
    result = analyse(CandleData(dataname=candles_of(rows, "1d")), scripted({0: enter}), fee=0.0)
    assert result["annualized_return"] == pytest.approx(0.362)
    assert result["total_return_pct"] == pytest.approx(36.2)


# --- from_time


def test_bars_before_from_time_dilute_nothing(random_walk, run_mode):
    candles = random_walk(120)
    first = int(candles.time[40]) + candles.period_ms - 1
    result = analyse(CandleData(dataname=candles), metrics={"from_time": first}, **run_mode)
    whole = analyse(CandleData(dataname=candles))
    assert len(result["equity_curve"]) == 80
    assert result["equity_curve"] == whole["equity_curve"][40:]
    assert result["start_date"] == whole["equity_curve"][40]["time"]
    before = whole["equity_curve"][39]["equity"]
    assert result["total_return"] == pytest.approx(whole["equity_curve"][-1]["equity"] - before)
    assert sum(trade["pnl"] for trade in result["trades"]) == pytest.approx(
        result["total_return"], abs=1e-6
    )
    assert sum(trade["fees"] for trade in result["trades"]) == pytest.approx(result["fees_paid"])
    equity = np.array([before] + [point["equity"] for point in result["equity_curve"]])
    returns = np.diff(equity) / equity[:-1]
    assert result["sharpe_ratio"] == pytest.approx(
        returns.mean() / returns.std(ddof=1) * np.sqrt(8760)
    )


def test_from_time_between_two_stamps_starts_at_the_later_one(random_walk):
    candles = random_walk(20)
    # An open time: the bar that opens then is the first one stamped after it.
    result = analyse(CandleData(dataname=candles), metrics={"from_time": int(candles.time[7])})
    assert len(result["equity_curve"]) == 13


def test_from_time_after_the_end_gives_an_empty_result(random_walk):
    candles = random_walk(50)
    result = analyse(CandleData(dataname=candles), metrics={"from_time": 10**13})
    assert result["equity_curve"] == result["trades"] == []
    assert result["total_return"] == result["fees_paid"] == result["open_pnl"] == 0.0
    assert result["start_date"] is None


# --- feeds


def pandas_data(frame, **kwargs):
    return bt.feeds.PandasData(dataname=frame, **kwargs)


def test_foreign_feed_states_its_timeframe(random_walk, frame_on_stamps):
    candles = random_walk(60)
    frame = frame_on_stamps(candles)
    hours = {"timeframe": bt.TimeFrame.Minutes, "compression": 60}
    ours = analyse(CandleData(dataname=candles))
    foreign = analyse(pandas_data(frame, name="BTC/USDT", **hours))
    assert foreign == ours


def test_feed_that_states_a_wrong_timeframe_is_warned_of(random_walk, frame_on_stamps, caplog):
    frame = frame_on_stamps(random_walk(60))
    caplog.set_level(logging.WARNING, logger="lstm_strategies.metrics")
    # backtrader takes every frame for daily bars unless told otherwise.
    analyse(pandas_data(frame))
    assert "annualised figures are wrong" in caplog.text
    caplog.clear()
    analyse(pandas_data(frame), metrics={"timeframe": "1h"})
    assert caplog.text == ""


def test_timeframe_without_a_name_is_refused(random_walk, frame_on_stamps):
    data = pandas_data(frame_on_stamps(random_walk(60)), timeframe=bt.TimeFrame.Months)
    with pytest.raises(ParameterError, match="give BacktestMetrics a timeframe"):
        analyse(data)


def test_unknown_market_is_refused(random_walk):
    with pytest.raises(ParameterError, match="sessions"):
        analyse(CandleData(dataname=random_walk(10)), metrics={"market": "closed"})


def test_trades_on_two_symbols_are_kept_apart(random_walk):
    class Both(bt.Strategy):
        def next(self):
            if len(self) == 2:
                self.buy(self.data0, size=1.0)
                self.sell(self.data1, size=1.0)
            elif len(self) == 6:
                self.close(self.data0)

    feeds = [
        CandleData(dataname=random_walk(10)),
        CandleData(dataname=random_walk(10, seed=1, symbol="ETH/USDT")),
    ]
    result = analyse(feeds, Both)
    assert result["symbol"] == "BTC/USDT,ETH/USDT"
    found = [(trade["symbol"], trade["direction"]) for trade in result["trades"]]
    assert found == [("BTC/USDT", "LONG"), ("ETH/USDT", "SHORT")]
    assert sum(trade["pnl"] for trade in result["trades"]) == pytest.approx(
        result["total_return"], abs=1e-6
    )


@pytest.mark.parametrize("runonce", [True, False])
def test_slower_second_feed_adds_no_bars(random_walk, runonce):
    candles = random_walk(60)
    feeds = [CandleData(dataname=candles), CandleData(dataname=candles, timeframe="6h")]
    one = analyse(CandleData(dataname=candles))
    two = analyse(feeds, runonce=runonce)
    assert len(two["equity_curve"]) < len(one["equity_curve"]) + 1
    assert [point["time"] for point in two["equity_curve"]] == sorted(
        {point["time"] for point in two["equity_curve"]}
    )


def test_replayed_bar_is_counted_once(random_walk):
    candles = random_walk(48)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.replaydata(
        CandleData(dataname=candles), timeframe=bt.TimeFrame.Minutes, compression=360
    )
    cerebro.addstrategy(Idle)
    cerebro.addanalyzer(BacktestMetrics, _name="metrics")
    result = cerebro.run()[0].analyzers.metrics.get_analysis()
    assert len(result["equity_curve"]) == 8


def test_two_workers_bring_back_the_same_results(random_walk):
    candles = random_walk(60)

    def results(cpus):
        cerebro = bt.Cerebro(stdstats=False, maxcpus=cpus)
        broker = SimulatedBroker()
        broker.addcommissioninfo(CryptoCommission())
        cerebro.setbroker(broker)
        cerebro.adddata(CandleData(dataname=candles))
        cerebro.addanalyzer(BacktestMetrics, _name="metrics")
        cerebro.optstrategy(Turning, fast=[3, 5, 8])
        return [each[0].analyzers.metrics.get_analysis() for each in cerebro.run()]

    one, two = results(1), results(2)
    assert two == one
    assert len({json.dumps(each["trades"]) for each in two}) == 3


def test_stock_broker_is_measured_too(random_walk):
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(CandleData(dataname=random_walk(80)))
    cerebro.addstrategy(Turning)
    cerebro.addanalyzer(BacktestMetrics, _name="metrics")
    result = cerebro.run()[0].analyzers.metrics.get_analysis()
    assert sum(trade["pnl"] for trade in result["trades"]) == pytest.approx(
        result["total_return"], abs=1e-6
    )


def holding_over_a_bar_without_a_price(random_walk, frame_on_stamps, bars=20):
    class Holds(bt.Strategy):
        def __init__(self):
            self.seen = []

        def next(self):
            if len(self) == 3:
                self.buy(size=2.0)
            if len(self) == 15:
                self.close()
            self.seen.append(self.broker.getvalue())

    frame = frame_on_stamps(random_walk(20)).iloc[:bars]
    frame.iloc[9, :4] = np.nan
    data = bt.feeds.PandasData(
        dataname=frame, timeframe=bt.TimeFrame.Minutes, compression=60, openinterest=None
    )
    return data, Holds


def test_equity_is_carried_over_a_bar_without_a_price(random_walk, frame_on_stamps, both_ways):
    data, holds = holding_over_a_bar_without_a_price(random_walk, frame_on_stamps)
    result = analyse(data, holds, **both_ways)
    equity = [point["equity"] for point in result["equity_curve"]]
    assert len(equity) == 20
    assert equity[9] == equity[8]
    assert equity[10] != equity[9]
    json.dumps(result, allow_nan=False)
    (trade,) = result["trades"]
    assert trade["pnl"] == pytest.approx(result["total_return"])


def test_open_trade_on_a_last_bar_without_a_price_counts_at_the_price_before(
    random_walk, frame_on_stamps
):
    data, holds = holding_over_a_bar_without_a_price(random_walk, frame_on_stamps, bars=10)
    result = analyse(data, holds)
    assert result["open_pnl"] == pytest.approx(result["total_return"])
    json.dumps(result, allow_nan=False)


def test_without_a_price_the_broker_itself_does_not_know_the_equity(random_walk, frame_on_stamps):
    data, holds = holding_over_a_bar_without_a_price(random_walk, frame_on_stamps)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(data)
    cerebro.addstrategy(holds)
    assert np.isnan(cerebro.run()[0].seen[9])
