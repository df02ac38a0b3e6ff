"""A scripted strategy on an exchange with leverage, and a ledger of what became of its account."""

from __future__ import annotations

from dataclasses import dataclass, field

import backtrader as bt
import pytest

from lightning_models.candles import Candles
from lstm_strategies.broker import SimulatedBroker
from lstm_strategies.commission import CryptoCommission
from lstm_strategies.feed import CandleData
from lstm_strategies.metrics import BacktestMetrics

FREE = {"maker_fee": 0.0, "taker_fee": 0.0, "liquidation_fee": 0.0}


@dataclass
class Account:
    """What a run did, bar by bar: the account at each close, and every fill by its order's name."""

    broker: object = None
    orders: dict = field(default_factory=dict)
    cash: list = field(default_factory=list)
    equity: list = field(default_factory=list)
    size: list = field(default_factory=list)
    level: list = field(default_factory=list)
    open_orders: list = field(default_factory=list)
    notified: list = field(default_factory=list)
    fills: list = field(default_factory=list)
    metrics: dict = field(default_factory=dict)

    def status(self, name):
        return self.orders[name].getstatusname()


class Acting(bt.Strategy):
    """Acts by a script {bar: action}; an action returns its orders by name."""

    params = (("script", None), ("account", None))

    def __init__(self):
        self.account = self.p.account
        self.account.broker = self.broker

    def notify_order(self, order):
        names = [name for name, mine in self.account.orders.items() if mine.ref == order.ref]
        name = names[0] if names else order.info.get("exit_reason")
        self.account.notified.append((name, order.getstatusname()))
        for bit in order.executed.iterpending():
            self.account.fills.append((name, len(self) - 1, bit.price, bit.size))

    def next(self):
        action = self.p.script.get(len(self) - 1)
        self.account.orders.update((action(self) if action else None) or {})
        self.account.cash.append(self.broker.getcash())
        self.account.equity.append(self.broker.getvalue())
        self.account.size.append(self.position.size)
        self.account.level.append(self.broker.liquidation_price(self.data))
        self.account.open_orders.append(list(self.broker.get_orders_open()))


def make_exchange(*, cash=10_000.0, broker=SimulatedBroker, params=None, **terms):
    made = broker(**(params or {}))
    made.setcash(cash)
    made.addcommissioninfo(CryptoCommission(**{**FREE, **terms}))
    return made


@pytest.fixture
def exchange():
    """A broker without fees, but for the terms given."""
    return make_exchange


@pytest.fixture
def act(candles_of):
    """Run a script over rows of candles, or over the candles of several feeds."""

    def run(rows, script, broker, *, timeframe="1h", funding=None, detail=None, **mode):
        cerebro = bt.Cerebro(stdstats=False)
        cerebro.setbroker(broker)
        feeds = rows if isinstance(rows, list) and isinstance(rows[0], Candles) else [rows]
        details = detail if isinstance(detail, list) else [detail]
        for number, each in enumerate(feeds):
            candles = each if isinstance(each, Candles) else candles_of(each, timeframe)
            data = CandleData(dataname=candles)
            cerebro.adddata(data)
            if funding is not None:
                broker.set_funding(data, funding)
            if number < len(details) and details[number] is not None:
                broker.add_detail(data, details[number])
        account = Account()
        cerebro.addstrategy(Acting, script=script, account=account)
        cerebro.addanalyzer(BacktestMetrics, _name="metrics")
        account.metrics = cerebro.run(**mode)[0].analyzers.metrics.get_analysis()
        return account

    return run
