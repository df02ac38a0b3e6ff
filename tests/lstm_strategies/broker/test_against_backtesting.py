"""Trade for trade against the independent engine `backtesting` 0.6.6 (package backtesting.py).

Both fill market entries at the next bar's open, check stop and target on the entry bar too, stop
before target, fill a gap through the stop at the open, and charge a percentage of the notional at
both ends. Their rules part in these points, which the runs here keep clear of:

- A gap at the open through the *target* while the stop lies within that bar: `backtesting` looks
  at the stop first and fills it, though the price has passed the target before; here the target
  fills at the open. `test_rules_part_where_a_gap_passes_the_target` shows it. The candles compared
  open where the last one closed.
- `backtesting` takes whole units only, and sums several trades of one side where backtrader keeps
  one position of mean price: one trade at a time is open.
- An order to close and a stop of the same bar: `backtesting` works through them in the order they
  were made, both at the open or level; here the open comes first. Positions are left by stop or
  target alone.
- `backtesting` knows neither maker fees (a target pays the same fee here), liquidation nor
  funding: positions are small against the account.
"""

from __future__ import annotations

import warnings

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from lstm_strategies.broker import SimulatedBroker
from lstm_strategies.commission import CryptoCommission
from lstm_strategies.feed import CandleData
from lstm_strategies.metrics import BacktestMetrics

with warnings.catch_warnings():
    # Its plotting side is imported with it.
    warnings.simplefilter("ignore")
    backtesting = pytest.importorskip("backtesting")

FEE = 0.001
CASH = 1_000_000.0


def side_of(closes):
    """Enter with a third rise in a row, or short with a third fall; else 0."""
    if len(closes) < 4:
        return 0
    steps = np.diff(closes[-4:])
    return int((steps > 0).all()) - int((steps < 0).all())


def order_of(closes):
    """Size, stop and target of the entry that the last closes ask for, if any."""
    side = side_of(closes)
    close = closes[-1]
    size = 5 + round(close) % 7
    return side, size, close * (1 - 0.015 * side), close * (1 + 0.025 * side)


class Ours(bt.Strategy):
    def __init__(self):
        super().__init__()
        self.closes = []

    def next(self):
        self.closes.append(self.data.close[0])
        side, size, stop, target = order_of(np.array(self.closes))
        if side and not self.position:
            bracket = self.buy_bracket if side > 0 else self.sell_bracket
            bracket(size=size, exectype=bt.Order.Market, stopprice=stop, limitprice=target)


class Theirs(backtesting.Strategy):
    def init(self):
        """Nothing to prepare."""

    def next(self):
        side, size, stop, target = order_of(np.asarray(self.data.Close))
        if side and not self.position:
            (self.buy if side > 0 else self.sell)(size=size, sl=stop, tp=target)


def ours(candles, leverage):
    broker = SimulatedBroker()
    broker.setcash(CASH)
    broker.addcommissioninfo(CryptoCommission(maker_fee=FEE, taker_fee=FEE, leverage=leverage))
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(broker)
    cerebro.adddata(CandleData(dataname=candles))
    cerebro.addstrategy(Ours)
    cerebro.addanalyzer(BacktestMetrics, _name="metrics")
    found = cerebro.run()[0].analyzers.metrics.get_analysis()
    return found, [
        (
            pd.Timestamp(trade["entry_time"]).tz_localize(None).floor("h"),
            trade["entry_price"],
            pd.Timestamp(trade["exit_time"]).tz_localize(None).floor("h"),
            trade["exit_price"],
            trade["size"] * (1 if trade["direction"] == "LONG" else -1),
            trade["pnl"],
            trade["fees"],
        )
        for trade in found["trades"]
        if trade["exit_time"] is not None
    ]


def theirs(candles, leverage):
    index = pd.to_datetime(candles.time, unit="ms")
    columns = ["Open", "High", "Low", "Close", "Volume"]
    frame = pd.DataFrame(candles.ohlcv, index=index, columns=columns)
    with warnings.catch_warnings():
        # It advises to close the last trade at the end, which ours doesn't.
        warnings.simplefilter("ignore")
        stats = backtesting.Backtest(
            frame, Theirs, cash=CASH, commission=FEE, margin=1.0 / leverage
        ).run()
    trades = stats["_trades"].sort_values("EntryTime")
    return stats, [
        (
            trade.EntryTime,
            trade.EntryPrice,
            trade.ExitTime,
            trade.ExitPrice,
            float(trade.Size),
            trade.PnL,
            trade.Commission,
        )
        for trade in trades.itertuples()
    ]


@pytest.mark.parametrize("leverage", [1.0, 5.0])
@pytest.mark.parametrize("seed", range(3))
def test_every_trade_is_the_same(random_walk, seed, leverage):
    candles = random_walk(400, seed=seed)
    found, mine = ours(candles, leverage)
    stats, other = theirs(candles, leverage)
    assert len(mine) > 20
    assert {np.sign(trade[4]) for trade in mine} == {1.0, -1.0}
    assert {trade["exit_reason"] for trade in found["trades"]} >= {"stop", "target"}
    assert [(trade[0], trade[2]) for trade in mine] == [(trade[0], trade[2]) for trade in other]
    numbers = [(trade[1], trade[3], *trade[4:]) for trade in mine]
    assert np.array(numbers) == pytest.approx(
        np.array([(trade[1], trade[3], *trade[4:]) for trade in other]), rel=1e-9
    )
    assert found["total_trades"] == stats["# Trades"]


def test_gap_through_the_stop_is_filled_at_the_open_by_both(candles_of):
    rows = [(100 + n, 101 + n, 99.5 + n, 101 + n) for n in range(5)]
    rows += [(90.0, 91.0, 89.0, 90.0), (90.0,) * 4]
    candles = candles_of(rows)
    (mine,), (other,) = ours(candles, 1.0)[1], theirs(candles, 1.0)[1]
    assert mine[3] == other[3] == 90.0


def test_rules_part_where_a_gap_passes_the_target(candles_of):
    rows = [(100 + n, 101 + n, 99.5 + n, 101 + n) for n in range(4)]
    rows += [(104.0, 104.5, 103.5, 104.0), (110.0, 111.0, 100.0, 104.0), (104.0,) * 4]
    candles = candles_of(rows)
    (mine,), (other,) = ours(candles, 1.0)[1], theirs(candles, 1.0)[1]
    assert mine[3] == 110.0
    assert other[3] == pytest.approx(104 * 0.985)
