"""Which bar's forecast an entry is held against, on feeds of several kinds."""

from __future__ import annotations

import logging

import backtrader as bt
import numpy as np
import pytest

from lightning_models.candles import Candles
from lstm_strategies import SimulatedBroker
from lstm_strategies.confirmation import confirmed
from lstm_strategies.feed import CandleData
from lstm_strategies.forecast_verdicts import ForecastVerdict
from lstm_strategies.vote import Verdict

HOUR = 3_600_000


class Asks(bt.Strategy):
    """Orders nothing; asks about a buy at every bar, and at every open where it is called."""

    params = (("asked", None), ("feed", 0))

    def start(self):
        self.ask("start")

    def next(self):
        self.ask("next")

    def next_open(self):
        self.ask("open")

    def ask(self, when):
        told = self._confirmation.verdicts.on_entry(self.datas[self.p.feed], 1)
        self.p.asked.append((when, told))


@pytest.fixture(scope="module")
def predictor(trained):
    return trained.predictor()


@pytest.fixture(scope="module")
def candles(trained, predictor):
    one = trained.candles[0]
    unseen = int(np.searchsorted(one.time, predictor.bundle.unseen_from_ms))
    return one.between(int(one.time[unseen - 40]), int(one.time[unseen + 80]))


@pytest.fixture(scope="module")
def fine_candles(candles):
    """Quarters of an hour that make up the hourly candles; only the last moves the close."""
    opened, high, low, close, volume = np.repeat(candles.ohlcv, 4, axis=0).T
    quarter = np.arange(len(opened)) % 4
    ends = np.where(quarter == 3, close, opened)
    ohlcv = np.column_stack(
        [
            opened,
            np.where(quarter == 1, high, np.maximum(opened, ends)),
            np.where(quarter == 2, low, np.minimum(opened, ends)),
            ends,
            volume / 4,
        ]
    )
    time = np.repeat(candles.time, 4) + quarter * HOUR // 4
    return Candles(
        symbol=candles.symbol, timeframe="15m", market="continuous", time=time, ohlcv=ohlcv
    )


@pytest.fixture
def ask(trained):
    def run(prepare, *, mode=None, coo=False, **params):
        cerebro = bt.Cerebro(stdstats=False, cheat_on_open=coo)
        cerebro.setbroker(SimulatedBroker())
        prepare(cerebro)
        asked = []
        given = {"model": trained.champion, "home": str(trained.home.path), "min_confidence": 0.5}
        cerebro.addstrategy(confirmed(Asks), asked=asked, **(given | params))
        cerebro.run(**(mode or {}))
        return asked

    return run


def add(candles, name=""):
    return lambda cerebro: cerebro.adddata(CandleData(dataname=candles, name=name))


def test_at_a_close_it_is_the_forecast_of_that_bar(ask, predictor, candles, run_mode):
    asked = ask(add(candles), mode=run_mode)
    confidence = predictor.predict_batch(candles).confidence.to_numpy()
    told = [each for when, each in asked if when == "next"]
    assert len(told) == len(candles)
    first = predictor.required_bars - 1
    assert [each.confidence for each in told[first:]] == pytest.approx(confidence[first:], abs=1e-5)
    assert [each.time for each in told] == list(candles.time + HOUR - 1)
    assert {each.verdict.reason for each in told[:first]} == {"without_forecast"}


def test_at_an_open_it_is_the_forecast_of_the_bar_before(ask, predictor, candles, both_ways):
    asked = ask(add(candles), mode=both_ways, coo=True)
    confidence = predictor.predict_batch(candles).confidence.to_numpy()
    told = [each for when, each in asked if when == "open"]
    later = told[-40:]
    assert [each.confidence for each in later] == pytest.approx(confidence[-41:-1], abs=1e-5)
    assert [each.time for each in later] == list(candles.time[-41:-1] + HOUR - 1)
    # The control: the bar's own forecast would be another.
    assert [each.confidence for each in later] != pytest.approx(confidence[-40:], abs=1e-5)


def test_before_the_first_bar_there_is_none(ask, candles):
    (when, told), *_ = ask(add(candles))
    assert when == "start"
    assert told.verdict == Verdict("abstained", "without_forecast")
    assert told.time is None


def test_bar_that_grows_is_held_against_the_one_before(ask, predictor, candles, fine_candles):
    def replayed(cerebro):
        cerebro.replaydata(
            CandleData(dataname=fine_candles), timeframe=bt.TimeFrame.Minutes, compression=60
        )

    asked = [each for each in ask(replayed) if each[0] == "next"]
    batch = predictor.predict_batch(candles).confidence.to_numpy()
    assert len(asked) == 4 * len(candles)
    for place in range(4 * 70, len(asked)):
        hour, quarter = divmod(place, 4)
        told = asked[place][1]
        # The last quarter finishes the hour.
        expected = hour if quarter == 3 else hour - 1
        assert told.confidence == pytest.approx(batch[expected], abs=1e-5)


# With exactbars=1 backtrader itself fails while a slower feed has no bar yet.
@pytest.mark.parametrize("mode", [{}, {"runonce": False, "preload": False}], ids=str)
def test_feed_of_another_timeframe_has_no_say_and_is_warned_of_once(ask, candles, mode, caplog):
    def both(cerebro):
        add(candles, "fast")(cerebro)
        add(candles.resample("4h"), "slow")(cerebro)

    with caplog.at_level(logging.WARNING):
        asked = ask(both, mode=mode, feed=1)
    reasons = {each.verdict.reason for _, each in asked}
    assert reasons == {"no_model_for_feed"}
    told = [each.getMessage() for each in caplog.records if "without a forecast" in each.message]
    assert len(told) == 1
    assert "entries in the feed 'slow' (4h) are made without a forecast" in told[0]
    assert "models:/tiny/1 reads 1h candles" in told[0]
    # The control: the feed beside it has one.
    fast = ask(both, mode=mode, feed=0)
    assert {each.verdict.outcome for _, each in fast} >= {"confirmed", "contradicted"}


def test_two_feeds_of_the_model_are_each_held_against_their_own(ask, predictor, candles):
    ohlcv = candles.ohlcv.copy()
    ohlcv[:, 4] = ohlcv[::-1, 4]
    other = Candles(
        symbol="OTHER/USDT", timeframe="1h", market="continuous", time=candles.time, ohlcv=ohlcv
    )

    def both(cerebro):
        add(candles)(cerebro)
        add(other)(cerebro)

    for feed, one in enumerate((candles, other)):
        told = [each for when, each in ask(both, feed=feed) if when == "next"]
        confidence = predictor.predict_batch(one).confidence.to_numpy()
        assert told[-1].confidence == pytest.approx(confidence[-1], abs=1e-5)
        assert told[-9].confidence == pytest.approx(confidence[-9], abs=1e-5)


def test_words_for_the_log():
    class Feed:
        _name = "BTC/USDT"

    told = ForecastVerdict(Verdict("contradicted"), -1.0, 0.6421, 1_609_459_199_999)
    assert told.in_words(Feed, 1, False) == (
        "BTC/USDT 2020-12-31T23:59:59.999Z buy: forecast down with 0.642, contradicted, refused"
    )
    silent = ForecastVerdict(Verdict("abstained", "no_model_for_feed"))
    assert silent.in_words(Feed, -1, True) == (
        "BTC/USDT - sell: no forecast, abstained (no_model_for_feed), passed"
    )
