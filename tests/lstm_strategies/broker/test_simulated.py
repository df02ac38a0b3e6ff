"""What must hold for every market and every order, whatever happens."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import backtrader as bt
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstm_strategies.broker import FundingRates, SimulatedBroker
from lstm_strategies.commission import CryptoCommission
from lstm_strategies.feed import CandleData
from lstm_strategies.sizing import round_down

LOT = 0.01
CASH = 10_000.0
START = 1_609_459_200_000  # 2021-01-01
HOUR = 3_600_000

KINDS = ["market", "limit", "stop", "trail", "bracket", "close"]


def market_of(rng, count, spread, gap):
    """Rows of a random walk with gaps, on a tick of 0.01."""
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, spread, count)))
    opened = np.concatenate(([100.0], close[:-1])) * np.exp(rng.normal(0.0, gap, count))
    high = np.maximum(opened, close) * np.exp(rng.exponential(spread, count))
    low = np.minimum(opened, close) * np.exp(-rng.exponential(spread, count))
    return np.round(np.column_stack([opened, high, low, close]), 2)


def script_of(rng, count):
    """For each bar nothing, or an order: kind, side, share of what the cash allows, distance."""
    return [
        (str(rng.choice(KINDS)), int(rng.choice([-1, 1])), share, float(rng.uniform(0.002, 0.2)))
        if rng.random() < 0.6
        else None
        for share in rng.choice([0.05, 0.3, 0.9, 0.99], count).tolist()
    ]


@dataclass
class Books:
    """Cash and position put together from the notified fills alone."""

    held: float = 0.0
    entry: float = 0.0
    money: float = CASH
    faults: list = field(default_factory=list)
    liquidations: int = 0

    def add(self, bit):
        size = bit.size
        if self.held * size < 0.0:
            closed = min(abs(self.held), abs(size)) * math.copysign(1.0, size)
            self.money -= closed * (bit.price - self.entry)
            self.held += closed
            size -= closed
            if abs(self.held) < 1e-9:
                self.held = 0.0
        if abs(size) > 1e-9:
            self.entry = (self.held * self.entry + size * bit.price) / (self.held + size)
            self.held += size
        self.money -= bit.comm


class AtRandom(bt.Strategy):
    params = (("script", ()), ("books", None))

    def notify_order(self, order):
        books = self.p.books
        forced = order.info.get("exit_reason") == "liquidation"
        for bit in order.executed.iterpending():
            books.add(bit)
            books.liquidations += forced
            if not forced and bit.dt <= order.created.dt:
                books.faults.append(f"filled on the bar it was made on: {order.ref}")
            lots = bit.size / LOT
            if abs(lots - round(lots)) > 1e-6:
                books.faults.append(f"a fill of {bit.size!r}")

    def next(self):
        books, broker, data = self.p.books, self.broker, self.data
        position = self.position
        paid = sum(payment.amount for payment in broker.funding_payments)
        unrealised = position.size * (data.close[0] - position.price)
        worth = broker.getcash() + broker.position_margin(data) + unrealised
        known = books.money - paid + books.held * (data.close[0] - books.entry)
        scale = 1e-9 * (CASH + abs(position.size) * 100.0)
        if abs(broker.getvalue() - worth) > scale:
            books.faults.append(f"equity {broker.getvalue()} of {worth}")
        if abs(broker.getvalue() - known) > scale:
            books.faults.append(f"equity {broker.getvalue()}, by the fills {known}")
        if abs(position.size - books.held) > 1e-9 * max(1.0, abs(books.held)):
            books.faults.append(f"position {position.size}, by the fills {books.held}")
        if broker.p.margin_mode == "isolated" and broker.getcash() < -1e-7:
            books.faults.append(f"cash {broker.getcash()}")
        if len(self) <= len(self.p.script) and self.p.script[len(self) - 1] is not None:
            self.act(*self.p.script[len(self) - 1])

    def act(self, kind, side, share, distance):
        close = self.data.close[0]
        leverage = self.broker.getcommissioninfo(self.data).get_leverage()
        worth = max(self.broker.getcash(), 0.0) + abs(self.position.size) * close / leverage
        size = max(LOT, round_down(share * worth * leverage / close, LOT))
        enter = self.buy if side > 0 else self.sell
        near, far = close * (1 - side * distance), close * (1 + side * distance)
        if kind == "market":
            enter(size=size)
        elif kind == "limit":
            enter(size=size, price=near, exectype=bt.Order.Limit)
        elif kind == "stop":
            enter(size=size, price=far, exectype=bt.Order.Stop)
        elif kind == "trail":
            enter(size=size, exectype=bt.Order.StopTrail, trailpercent=distance)
        elif kind == "bracket":
            bracket = self.buy_bracket if side > 0 else self.sell_bracket
            bracket(size=size, exectype=bt.Order.Market, stopprice=near, limitprice=far)
        else:
            self.close()


def played(fine, script, *, detail, params, terms, slippage, rate):
    bars = fine.resample("1h")
    broker = SimulatedBroker(**params)
    broker.setcash(CASH)
    broker.addcommissioninfo(CryptoCommission(lot_step=LOT, **terms))
    if slippage:
        broker.set_slippage_perc(slippage, slip_out=True)
    feed = CandleData(dataname=bars)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(broker)
    cerebro.adddata(feed)
    if detail:
        broker.add_detail(feed, fine)
    if rate:
        stamps = [START + n * HOUR // 2 for n in range(2 * len(bars) + 2)]
        rates = pd.DataFrame({"timestamp": stamps, "rate": [rate] * len(stamps)})
        broker.set_funding(feed, FundingRates.read(rates))
    books = Books()
    cerebro.addstrategy(AtRandom, script=script, books=books)
    cerebro.run(runonce=False)
    return books


runs = {
    "seed": st.integers(0, 2**32),
    "spread": st.sampled_from([0.002, 0.01, 0.05]),
    "gap": st.sampled_from([0.0, 0.01, 0.1]),
    "detail": st.booleans(),
    "leverage": st.sampled_from([1.0, 2.0, 5.0, 20.0, 100.0]),
    "mode": st.sampled_from(["isolated", "cross"]),
    "fees": st.sampled_from([0.0, 0.0005, 0.05]),
    "slippage": st.sampled_from([0.0, 0.02]),
    "impact": st.sampled_from([0.0, 0.1]),
    "rate": st.sampled_from([0.0, 0.002, -0.002]),
}


def check(candles_of, *, seed, spread, gap, detail, leverage, mode, fees, slippage, impact, rate):
    rng = np.random.default_rng(seed)
    books = played(
        candles_of(market_of(rng, 80, spread, gap), "15m"),
        script_of(rng, 20),
        detail=detail,
        params={"margin_mode": mode, "slip_impact": impact},
        terms={"leverage": leverage, "maker_fee": fees / 2, "taker_fee": fees},
        slippage=slippage,
        rate=rate,
    )
    assert books.faults == []


quick = settings(max_examples=50, suppress_health_check=list(HealthCheck))


@quick
@given(**runs)
def test_account_adds_up_whatever_happens(candles_of, **run):
    check(candles_of, **run)


@pytest.mark.soak
@settings(quick, max_examples=3_000)
@given(**runs)
def test_account_adds_up_in_very_many_markets(candles_of, **run):
    check(candles_of, **run)


def test_account_without_liquidation_would_not(candles_of, monkeypatch):
    """Control: the same checks find the fault where the exchange's own stops are missing."""
    fine = candles_of([(100.0,) * 4] * 8 + [(70.0,) * 4] * 12, "15m")
    script = [("market", 1, 0.9, 0.1), None, ("close", 1, 1.0, 0.1)]
    run = {
        "detail": False,
        "params": {},
        "terms": {"leverage": 5.0, "taker_fee": 0.0},
        "slippage": 0.0,
        "rate": 0.0,
    }
    books = played(fine, script, **run)
    assert (books.liquidations, books.faults) == (1, [])
    monkeypatch.setattr(SimulatedBroker, "_keep_liquidation", lambda self, data: None)
    monkeypatch.setattr(SimulatedBroker, "_within_margin", lambda self, order, data, price: price)
    books = played(fine, script, **run)
    # 450 x 30 lost of 10,000.
    assert [fault[:12] for fault in books.faults] == ["cash -3500.0"] * 2
