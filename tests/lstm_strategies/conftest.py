"""Run modes of backtrader, candles by hand, and a strategy that acts by a script."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import backtrader as bt
import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

from lightning_models.candles import Candles
from lightning_models.timeframes import period_ms
from lstm_strategies.feed import CandleData
from lstm_strategies.parameters import CheckedParameters

# A busy machine is slow now and then; that says nothing about the code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

START = 1_609_459_200_000  # 2021-01-01

# exactbars switches runonce off, and from 1 on preloading too: the rest would be the same runs.
RUN_MODES = [
    {"runonce": True, "preload": True, "exactbars": 0},
    {"runonce": True, "preload": False, "exactbars": 0},
    {"runonce": False, "preload": True, "exactbars": 0},
    {"runonce": False, "preload": False, "exactbars": 0},
    {"runonce": False, "preload": False, "exactbars": 1},
    {"runonce": True, "preload": True, "exactbars": True},
    {"runonce": False, "preload": True, "exactbars": -1},
    {"runonce": False, "preload": False, "exactbars": -1},
    {"runonce": False, "preload": True, "exactbars": -2},
    {"runonce": False, "preload": False, "exactbars": -2},
]


def _name(mode):
    return "-".join(f"{key}={value}" for key, value in mode.items())


@pytest.fixture(params=RUN_MODES, ids=_name)
def run_mode(request):
    """One combination of runonce, preload and exactbars, to be handed to cerebro.run()."""
    return dict(request.param)


# Bar by bar a forecast takes its time: those that differ most, and the rest in `make soak`.
TELLING_MODES = [
    pytest.param(mode, marks=() if number in (0, 3, 4, 8) else pytest.mark.soak, id=_name(mode))
    for number, mode in enumerate(RUN_MODES)
]


@pytest.fixture(params=TELLING_MODES)
def telling_mode(request):
    """One combination of `run_mode`, the less telling ones in `make soak`."""
    return dict(request.param)


@pytest.fixture(params=[RUN_MODES[0], RUN_MODES[4]], ids=["runonce", "next"])
def both_ways(request):
    """The two extremes of `run_mode`: everything at once, and bar by bar in little memory."""
    return dict(request.param)


def make_candles(rows, timeframe="1h", *, start=START, symbol="BTC/USDT", market="continuous"):
    """Candles from rows of open, high, low, close."""
    prices = np.asarray(rows, dtype=float)
    time = start + np.arange(len(prices), dtype=np.int64) * period_ms(timeframe)
    ohlcv = np.column_stack([prices, np.full(len(prices), 1000.0)])
    return Candles(symbol=symbol, timeframe=timeframe, market=market, time=time, ohlcv=ohlcv)


def make_walk(count, timeframe="1h", *, seed=0, **kwargs):
    """Candles of a random walk."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, count)))
    opened = np.concatenate(([100.0], close[:-1]))
    high = np.maximum(opened, close) * (1.0 + rng.uniform(0.0, 0.005, count))
    low = np.minimum(opened, close) * (1.0 - rng.uniform(0.0, 0.005, count))
    return make_candles(np.column_stack([opened, high, low, close]), timeframe, **kwargs)


@pytest.fixture
def candles_of():
    return make_candles


@pytest.fixture
def random_walk():
    return make_walk


@pytest.fixture
def frame_on_stamps():
    """The same bars as a CandleData, as a frame for backtrader's PandasData."""

    def build(candles):
        stamps = candles.time + candles.period_ms - 1
        index = pd.to_datetime(stamps, unit="ms").as_unit("us")
        columns = ["open", "high", "low", "close", "volume"]
        return pd.DataFrame(candles.ohlcv, index=index, columns=columns)

    return build


@pytest.fixture
def real_candles_folder():
    folder = Path(__file__).parents[2] / "../shared/data/candles/binance/1h"
    if not folder.is_dir():
        pytest.skip("no real candles: the folder shared/data is not beside the repository")
    return folder


@dataclass
class Ledger:
    """What a scripted run did: orders by name, and the account at each bar's close."""

    strategy: object
    orders: dict = field(default_factory=dict)
    cash: list = field(default_factory=list)
    equity: list = field(default_factory=list)
    size: list = field(default_factory=list)
    statuses: dict = field(default_factory=dict)
    fills: list = field(default_factory=list)

    def status(self, name):
        return self.orders[name].getstatusname()

    def fill(self, name):
        """Bar number (from 0), price and size of an order's only fill."""
        (found,) = [each[1:] for each in self.fills if each[0] == name]
        return found


class Scripted(bt.Strategy, CheckedParameters):
    params = (("script", None), ("ledger", None))

    def __init__(self):
        super().__init__()
        self.ledger = self.p.ledger
        self.ledger.strategy = self

    def name_of(self, order):
        for name, mine in self.ledger.orders.items():
            if mine is not None and mine.ref == order.ref:
                return name
        return None

    def notify_order(self, order):
        name = self.name_of(order)
        self.ledger.statuses.setdefault(name, []).append(order.getstatusname())
        for bit in order.executed.iterpending():
            self.ledger.fills.append((name, len(self) - 1, bit.price, bit.size))

    def next(self):
        action = self.p.script.get(len(self) - 1)
        if action is not None:
            made = action(self)
            self.ledger.orders.update(made or {})
        self.ledger.cash.append(self.broker.getcash())
        self.ledger.equity.append(self.broker.getvalue())
        self.ledger.size.append(self.position.size)


@pytest.fixture
def play():
    """Run a script {bar: action(strategy) -> {name: order}} over rows of candles."""

    def run(rows, script, *, broker=None, cash=10_000.0, analyzers=(), cheat=False, **mode):
        cerebro = bt.Cerebro(stdstats=False, cheat_on_open=cheat)
        if broker is not None:
            cerebro.setbroker(broker)
        cerebro.broker.setcash(cash)
        candles = rows if isinstance(rows, Candles) else make_candles(rows)
        cerebro.adddata(CandleData(dataname=candles))
        ledger = Ledger(strategy=None)
        cerebro.addstrategy(Scripted, script=script, ledger=ledger)
        for kind, params in analyzers:
            cerebro.addanalyzer(kind, **params)
        cerebro.run(**mode)
        return ledger

    return run
