"""Feeds that a forecast cannot rest on are refused or warned of, and others are not."""

from __future__ import annotations

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from experiments import train
from experiments.presets import load_train_config
from lightning_models import simulate_market
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import CandleData
from lstm_strategies.indicator import LSTMForecast
from lstm_strategies.parameters import attach

HOURS = {"timeframe": bt.TimeFrame.Minutes, "compression": 60}

STAMPS = {
    "open": lambda candles: candles.time,
    "last-millisecond": lambda candles: candles.time + candles.period_ms - 1,
    "end": lambda candles: candles.time + candles.period_ms,
}


class Forecasts(bt.Strategy):
    params = (("model", ""), ("home", ""), ("count", 1))

    def __init__(self):
        given = {"model": self.p.model, "home": self.p.home}
        self.forecasts = [attach(LSTMForecast, self.data, **given) for _ in range(self.p.count)]
        self.confidence = {}

    def next(self):
        self.confidence[len(self.data)] = self.forecasts[0].confidence[0]


@pytest.fixture
def run(trained):
    """Forecast the first feed of those that `add` puts into a cerebro."""

    def forecast(add, *, mode=None, **params):
        cerebro = bt.Cerebro(stdstats=False)
        add(cerebro)
        given = {"model": trained.champion, "home": str(trained.home.path)} | params
        cerebro.addstrategy(Forecasts, **given)
        return cerebro.run(**(mode or {}))[0]

    return forecast


@pytest.fixture
def warned(caplog):
    """What was warned of so far."""

    def messages():
        return [
            record.getMessage()
            for record in caplog.records
            if record.name.startswith("lstm_strategies") and record.levelname == "WARNING"
        ]

    return messages


@pytest.fixture(scope="module")
def candles(trained):
    return trained.candles[0].between(None, int(trained.candles[0].time[140]))


@pytest.fixture(scope="module")
def fine_candles():
    return simulate_market(candles=440, timeframe="15m", seed=5)[0]


def frame_of(candles, stamp="open"):
    index = pd.to_datetime(STAMPS[stamp](candles), unit="ms").as_unit("us")
    columns = ["open", "high", "low", "close", "volume"]
    return pd.DataFrame(candles.ohlcv, index=index, columns=columns)


def pandas_data(frame, minutes):
    return bt.feeds.PandasData(
        dataname=frame, timeframe=bt.TimeFrame.Minutes, compression=minutes, openinterest=None
    )


def resampled(data):
    return lambda cerebro: cerebro.resampledata(data, **HOURS)


def added(data):
    return lambda cerebro: cerebro.adddata(data)


# --- stamps


def test_bars_stamped_at_their_opens_are_resampled_with_a_warning(
    run, trained, fine_candles, warned
):
    strategy = run(resampled(pandas_data(frame_of(fine_candles), 15)))
    (warning,) = warned()
    assert "15m bars stamped right on the border" in warning
    assert "CandleData(dataname=…, timeframe='1h')" in warning
    # What it warns of: these are the forecasts of other candles.
    expected = trained.predictor().predict_batch(fine_candles.resample("1h")).confidence
    bar = max(strategy.confidence) - 2
    assert abs(strategy.confidence[bar] - expected.iloc[bar - 1]) > 1e-4


def test_bars_stamped_at_their_opens_are_resampled_with_a_warning_beside_their_base(
    trained, fine_candles, warned
):
    cerebro = bt.Cerebro(stdstats=False)
    base = pandas_data(frame_of(fine_candles), 15)
    cerebro.adddata(base)
    cerebro.resampledata(base, **HOURS)

    class Second(bt.Strategy):
        def __init__(self):
            given = {"model": trained.champion, "home": str(trained.home.path)}
            self.forecast = attach(LSTMForecast, self.data1, **given)

    cerebro.addstrategy(Second)
    cerebro.run()
    assert len(warned()) == 1


def test_two_forecasts_of_a_feed_warn_once(run, fine_candles, warned):
    run(resampled(pandas_data(frame_of(fine_candles), 15)), count=2)
    assert len(warned()) == 1


@pytest.mark.parametrize("stamp", ["last-millisecond", "end"])
def test_bars_stamped_at_their_ends_are_resampled_without_a_warning(
    run, fine_candles, warned, stamp
):
    run(resampled(pandas_data(frame_of(fine_candles, stamp), 15)))
    assert warned() == []


def test_candle_data_is_resampled_without_a_warning(run, fine_candles, warned):
    run(resampled(CandleData(dataname=fine_candles)))
    assert warned() == []


def test_bars_stamped_at_their_opens_need_no_warning_as_they_are(run, candles, warned):
    run(added(pandas_data(frame_of(candles), 60)))
    assert warned() == []


def csv_data(candles, folder, **params):
    path = folder / "candles.csv"
    frame = candles.to_frame()
    frame["timestamp"] = frame.timestamp.dt.strftime("%Y-%m-%d %H:%M:%S")
    frame.to_csv(path, index=False)
    return bt.feeds.GenericCSVData(
        dataname=str(path), dtformat="%Y-%m-%d %H:%M:%S", openinterest=-1, **params
    )


def test_csv_feed_that_states_no_timeframe_is_told_which_one_to_state(
    run, candles, both_ways, tmp_path
):
    data = csv_data(candles, tmp_path)
    with pytest.raises(ParameterError, match=r"timeframe=bt\.TimeFrame\.Minutes, compression=60$"):
        run(added(data), mode=both_ways)
    data.stop()  # which backtrader leaves out after an error


def test_csv_feed_runs_with_the_timeframe_it_was_told_to_state(run, candles, both_ways, tmp_path):
    strategy = run(added(csv_data(candles, tmp_path, **HOURS)), mode=both_ways)
    assert not np.isnan(list(strategy.confidence.values())).any()


# --- volume


@pytest.mark.parametrize(
    ("volume", "words"),
    [(0.0, "take that for a market without trades"), (np.nan, "it gives no forecast without")],
)
def test_feed_without_volume_is_warned_of_once(run, candles, both_ways, warned, volume, words):
    frame = frame_of(candles).assign(volume=volume)
    run(added(pandas_data(frame, 60)), mode=both_ways)
    (warning,) = warned()
    assert "has no volume in its first" in warning
    assert "reads volume" in warning
    assert words in warning


def test_single_traded_candle_is_volume_enough(run, candles, both_ways, warned):
    frame = frame_of(candles).assign(volume=0.0)
    frame.iloc[3, frame.columns.get_loc("volume")] = 1.0
    run(added(pandas_data(frame, 60)), mode=both_ways)
    assert warned() == []


@pytest.fixture(scope="module")
def priced_model(trained, empty_home):
    """The folder of a model that reads prices alone."""
    config = load_train_config(
        "quickstart",
        [
            "network.hidden_size=4",
            "data.features=[close, high]",
            "data.lookback=8",
            "training.epochs=1",
        ],
    )
    return str(train(config, trained.candles, name="prices", home=empty_home()).path)


def test_model_that_reads_no_volume_needs_none(run, priced_model, candles, both_ways, warned):
    for volume in (0.0, np.nan):
        frame = frame_of(candles).assign(volume=volume)
        strategy = run(added(pandas_data(frame, 60)), mode=both_ways, model=priced_model)
        assert not np.isnan(list(strategy.confidence.values())).any()
    assert warned() == []
