"""`audit`: every preset passes, and each thing that looks ahead does not."""

from __future__ import annotations

from functools import cache

import backtrader as bt
import numpy as np
import pytest

import experiments
from experiments.auditing import audit
from experiments.config import TrainConfig
from experiments.presets import load_train_config, preset_names
from experiments.strategy_audit import audit_strategy
from lightning_models import simulate_market
from lightning_models.data.targets import TripleBarrier
from lightning_models.errors import ConfigError
from lightning_models.features import forget_feature, register_feature
from lstm_strategies import LSTMStrategy

MARKET = simulate_market(candles=1500, seed=6)
(ONE,) = MARKET


@cache
def audited_data(content):
    # Several presets ask the same of the same features, and differ in what is not audited.
    return audit(TrainConfig.model_validate_json(content), MARKET)


@pytest.mark.parametrize("name", preset_names())
def test_preset_looks_nowhere_ahead(name):
    config = load_train_config(name)
    data = config.data.model_copy(update={"mode": "window"})
    if isinstance(data.target, TripleBarrier):
        # Barriers are not always reached on so few candles.
        near = data.target.model_copy(update={"upper": 0.6, "lower": 0.6})
        data = data.model_copy(update={"target": near})
    same = load_train_config("zero-return").model_copy(update={"data": data})
    report = audited_data(same.model_dump_json())
    assert report.clean, report.findings
    assert {check.status for check in report.checks} == {"passed"}


def test_it_is_a_function_of_the_package():
    assert experiments.audit is audit


def test_finer_candles_are_resampled_and_the_resampling_is_audited():
    config = load_train_config("quickstart", ["data.features=[close]", "data.lookback=8"])
    report = audit(config, simulate_market(candles=2600, seed=6), timeframe="2h")
    assert report.checks[0].name == "coarser candles: future cut off"
    assert report.timeframe == "2h"
    assert report.clean


def test_feature_of_the_users_own_is_caught_by_name():
    register_feature(
        "tomorrow", lambda ohlcv: np.append(np.diff(np.log(ohlcv[:, 3])), 0.0), warmup=0
    )
    try:
        config = load_train_config("quickstart", ["data.features=[close, tomorrow]"])
        report = audit(config, ONE)
    finally:
        forget_feature("tomorrow")
    assert not report.clean
    assert {one.subject for one in report.findings} == {"tomorrow"}
    assert "1 candle later" in report.findings[0].detail


@pytest.mark.parametrize(
    ("subject", "candles", "words"),
    [(None, MARKET, "nothing to audit"), (load_train_config("quickstart"), [], "no candles")],
)
def test_nothing_to_do_is_wrong_use(subject, candles, words):
    with pytest.raises(ConfigError, match=words):
        audit(subject, candles)


class Crosses(bt.Strategy):
    """Long above its mean: reads the present and the past."""

    def __init__(self):
        super().__init__()
        self.mean = bt.indicators.SMA(self.data.close, period=10)

    def tells(self):
        return self.data.close[0] > self.mean[0]

    def next(self):
        if self.tells() and not self.position:
            self.buy(size=1)
        elif not self.tells() and self.position:
            self.close()


class ReadsTheNextBar(Crosses):
    def tells(self):
        return self.data.close[1] > self.data.close[0]


class ReadsTheNextBarIfItIsThere(Crosses):
    def tells(self):
        try:
            return self.data.close[1] > self.data.close[0]
        except IndexError:
            return False


class ReadsTheFeedsCandles(Crosses):
    def tells(self):
        close = self.data.p.dataname.ohlcv[:, 3]
        return close[min(len(self), len(close) - 1)] > self.data.close[0]


class LooksBackBeforeTheFirstBar(bt.Strategy):
    """In bulk, the bar before the first is the last of all."""

    def next(self):
        if self.data.close[0] > self.data.close[-1] and not self.position:
            self.buy(size=1)
        elif self.position:
            self.close()


class ComparesWithTheWholeSeries(Crosses):
    def tells(self):
        return self.data.close[0] > np.mean(self.data.p.dataname.ohlcv[:, 3])


def test_strategy_that_reads_the_past_alone_passes():
    checks = audit_strategy(Crosses, ONE)
    assert {check.status for check in checks} == {"passed"}, checks
    assert all(check.compared > 100 for check in checks)


@pytest.mark.parametrize(
    "strategy",
    [
        ReadsTheNextBar,
        pytest.param(ReadsTheNextBarIfItIsThere, marks=pytest.mark.soak),
        ReadsTheFeedsCandles,
        pytest.param(LooksBackBeforeTheFirstBar, marks=pytest.mark.soak),
        ComparesWithTheWholeSeries,
    ],
    ids=lambda one: one.__name__,
)
def test_strategy_that_reads_bars_to_come_is_caught(strategy):
    report = audit(None, ONE, strategy=strategy)
    assert not report.clean
    assert {one.subject.split()[0] for one in report.findings} == {strategy.__name__}
    assert all("have not come" in one.cause for one in report.findings)
    assert any(one.time is not None for one in report.findings)


def test_strategy_that_never_trades_has_not_passed():
    class Waits(bt.Strategy):
        pass

    checks = audit_strategy(Waits, ONE)
    assert {check.status for check in checks} == {"not run"}
    assert "no order" in checks[0].reason


def test_strategy_that_fails_by_itself_is_wrong_use():
    class Breaks(bt.Strategy):
        def next(self):
            raise RuntimeError("not mine")

    with pytest.raises(ConfigError, match=r"Breaks cannot be audited.*RuntimeError: not mine"):
        audit_strategy(Breaks, ONE)


@pytest.mark.soak
def test_strategy_with_a_model_passes(trained):
    report = audit(trained.model.path, trained.candles, strategy=LSTMStrategy)
    assert report.clean, report.findings
    traded = {check.name: check.compared for check in report.checks}
    assert traded["strategy: future cut off"] > 10


def test_model_of_another_timeframe_is_wrong_use(trained):
    with pytest.raises(ConfigError, match="reads 1h candles: leave out --timeframe 4h"):
        audit(trained.model.path, trained.candles, timeframe="4h")
