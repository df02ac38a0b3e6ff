"""Every strategy of the table on one random walk."""

from __future__ import annotations

from dataclasses import dataclass

import backtrader as bt
import pytest

from lstm_strategies import CandleData, CryptoCommission, SimulatedBroker
from lstm_strategies.strategies import STRATEGIES


@dataclass(frozen=True)
class Filled:
    """A fill: bar it happened on, signed size, price, kind of order, why it left."""

    bar: int
    size: float
    price: float
    kind: str
    reason: str | None


def parameters_of(name):
    """What a strategy needs to be told on candles that a model never saw."""
    kind = STRATEGIES[name]
    if not kind.needs_model:
        return {}
    told = {"model": "statistical", "in_sample": True, "min_confidence": 0.52}
    if name == "forecast":
        return {**told, "min_confidence": 0.5}
    return {**told, "use_llm": False}


@pytest.fixture
def fills_of(tmp_path, monkeypatch):
    """Run a strategy and return its fills."""
    monkeypatch.setenv("LSTM_HOME", str(tmp_path))

    def run(name, candles, *, mode=None, feed=None, **params):
        kind = STRATEGIES[name]

        class Recorded(kind):
            def __init__(self):
                self.fills = []
                super().__init__()

            def notify_order(self, order):
                super().notify_order(order)
                if order.status == order.Completed:
                    self.fills.append(
                        Filled(
                            len(order.data),
                            order.executed.size,
                            order.executed.price,
                            order.getordername(),
                            order.info.get("exit_reason"),
                        )
                    )

        # The class check in prenext() looks at the strategy's own next().
        Recorded.__name__ = kind.__name__
        cerebro = bt.Cerebro(stdstats=False)
        broker = SimulatedBroker()
        broker.addcommissioninfo(CryptoCommission(leverage=2.0))
        cerebro.setbroker(broker)
        if feed is None:
            cerebro.adddata(CandleData(dataname=candles))
        else:
            feed(cerebro)
        cerebro.addstrategy(Recorded, **{**parameters_of(name), **params})
        strategy = cerebro.run(**(mode or {}))[0]
        return strategy.fills

    return run
