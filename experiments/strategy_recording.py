"""Run a strategy on some candles and record every order that it makes, cancels and has filled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import backtrader as bt

from lightning_models.candles import Candles
from lightning_models.errors import LSTMStrategiesError
from lstm_strategies import CandleData, CryptoCommission, SimulatedBroker
from lstm_strategies.feed import milliseconds_of_date

__all__ = ["NEXT", "RUNONCE", "Event", "RecordedRun", "record_run"]

RUNONCE: Final = {"runonce": True, "preload": True}
"""Everything at once, as a backtest runs."""

NEXT: Final = {"runonce": False, "preload": False}
"""Bar by bar without later bars, as live trading runs."""

CASH: Final = 10_000.0

Event = tuple[int, str, int, float, float]
"""When it was, in milliseconds; what; the order's number in its run; size; price."""


class _RecordingBroker(SimulatedBroker):
    """Keeps each order from the moment it is made, notified or not."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[Any] = []
        self.events: list[Event] = []
        self.cancelled: list[tuple[int, int]] = []
        self.recording = True

    def submit(self, order: Any, check: bool = True) -> Any:
        if self.recording:
            # As it is now: stop and target move with the entry's fill, which a later bar brings.
            created = order.created
            kind = f"{order.ordtypename()} {order.getordername()}".lower()
            time = milliseconds_of_date(created.dt)
            self.events.append((time, kind, len(self.made), created.size, created.price or 0.0))
            self.made.append(order)
        return super().submit(order, check=check)

    def cancel(self, order: Any, bracket: bool = False) -> Any:
        if self.recording:
            time = milliseconds_of_date(order.data.datetime[0])
            self.cancelled.append((time, order.ref))
        return super().cancel(order, bracket)


class _Watch(bt.Analyzer):
    """Stops recording where the strategy is told that there is no more."""

    params = (("broker", None),)

    def start(self) -> None:
        stop = self.strategy.stop

        def stop_unrecorded() -> None:
            # What is ordered there can never be filled, and is no decision of a bar.
            self.p.broker.recording = False
            stop()

        self.strategy.stop = stop_unrecorded


@dataclass(frozen=True)
class RecordedRun:
    """What a strategy did in one run.

    Parameters
    ----------
    events
        Orders made, cancelled and filled, in order of time.
    failure
        What ended the run early, if anything did.
    bars
        How many it had seen by then.
    """

    events: list[Event]
    failure: Exception | None
    bars: int


def record_run(
    strategy: Any, candles: Candles, settings: Mapping[str, Any] | None, mode: Mapping[str, Any]
) -> RecordedRun:
    """Run a strategy and record its orders.

    Parameters
    ----------
    strategy
        A ``backtrader.Strategy`` class.
    candles
        Its only feed.
    settings
        Its parameters.
    mode
        Of the run: `RUNONCE` or `NEXT`.

    Raises
    ------
    LSTMStrategiesError
        As the strategy does; any other error is part of the record.
    """
    broker = _RecordingBroker()
    broker.setcash(CASH)
    broker.addcommissioninfo(CryptoCommission())
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(broker)
    feed = CandleData(dataname=candles)
    cerebro.adddata(feed)
    cerebro.addstrategy(strategy, **(settings or {}))
    cerebro.addanalyzer(_Watch, broker=broker)
    failure = None
    try:
        cerebro.run(**mode)
    except LSTMStrategiesError:
        raise
    except Exception as error:
        failure = error
    return RecordedRun(_events(broker), failure, len(feed))


def _events(broker: _RecordingBroker) -> list[Event]:
    # Order numbers count on over all runs of a process.
    number_of = {order.ref: number for number, order in enumerate(broker.made)}
    events = list(broker.events)
    for number, order in enumerate(broker.made):
        events += [
            (milliseconds_of_date(bit.dt), "fill", number, bit.size, bit.price)
            for bit in order.executed.exbits
            if bit is not None
        ]
    events += [
        (time, "cancel", number_of[ref], 0.0, 0.0)
        for time, ref in broker.cancelled
        if ref in number_of
    ]
    return sorted(events, key=lambda event: event[:3])
