"""Where a symbol has no model: the statistical forecaster, and only where the user allows it."""

from __future__ import annotations

import logging

import backtrader as bt
import numpy as np
import pytest

from lightning_models import load_predictor, simulate_market
from lightning_models.errors import BundleError, ConfigError, ModelNotFoundError
from lightning_models.forecasters.untrained import statistical_predictor
from lstm_strategies import CandleData, LSTMForecast, LSTMStrategy
from lstm_strategies.models import predictor_of

MISSING = "models:/nobody@champion"
UNTRAINED = "statistical:1h"


@pytest.fixture(scope="module")
def market():
    return simulate_market(candles=400, seed=4)[0]


class Recorder(bt.Strategy):
    params = (("model", ""), ("fallback", ""))

    def __init__(self):
        self.forecast = LSTMForecast(self.data, model=self.p.model, fallback=self.p.fallback)


def run(strategy, *feeds, **parameters):
    cerebro = bt.Cerebro(stdstats=False)
    for feed in feeds:
        cerebro.adddata(feed)
    cerebro.addstrategy(strategy, **parameters)
    (finished,) = cerebro.run()
    return finished


def test_a_missing_model_is_an_error_unless_something_else_is_allowed(home, caplog):
    with pytest.raises(ModelNotFoundError):
        load_predictor(MISSING, home=home)
    with caplog.at_level(logging.WARNING):
        predictor = load_predictor(MISSING, home=home, fallback=UNTRAINED)
    assert predictor.model == UNTRAINED
    assert f"no model {MISSING!r}: forecasting with statistical:1h instead" in caplog.text


def test_a_model_that_is_there_is_not_replaced(home, fitted):
    _, folder, _ = fitted("majority-class")
    assert load_predictor(folder, home=home, fallback=UNTRAINED).model == str(folder)


def test_a_damaged_model_stays_an_error(home, tmp_path):
    (tmp_path / "bundle.json").write_text("{}")
    with pytest.raises(BundleError):
        load_predictor(tmp_path, home=home, fallback=UNTRAINED)


@pytest.mark.parametrize("fallback", ["foo:6h", "statistical", "statistical:7h"])
def test_a_fallback_that_cannot_be_meant_is_told_before_it_is_needed(home, fitted, fallback):
    _, folder, _ = fitted("majority-class")
    with pytest.raises(ConfigError, match=r"give statistical:TIMEFRAME|unknown timeframe '7h'"):
        load_predictor(folder, home=home, fallback=fallback)


def test_a_fallback_that_is_missing_too_is_an_error(home):
    with pytest.raises(ModelNotFoundError, match="models:/noone"):
        load_predictor(MISSING, home=home, fallback="models:/noone@champion")


@pytest.mark.parametrize(
    "named",
    [{"model": "statistical"}, {"model": MISSING, "fallback": "statistical"}],
    ids=["model", "fallback"],
)
def test_the_indicator_takes_the_timeframe_from_its_feed(named, market, home):
    forecast = run(Recorder, CandleData(dataname=market, timeframe="2h"), **named).forecast
    assert forecast.predictor.model == "statistical:2h"
    expected = statistical_predictor("2h").predict_batch(market.resample("2h"))
    for name in expected.columns:
        line = np.array(getattr(forecast.lines, name).array)
        np.testing.assert_allclose(line, expected[name], rtol=1e-6, err_msg=name)


def test_a_plot_names_what_was_forecast_with(market, home):
    feed = CandleData(dataname=market)
    forecast = run(Recorder, feed, model=MISSING, fallback="statistical").forecast
    assert forecast._plotlabel() == [UNTRAINED, "1h"]


def test_a_feed_with_sessions_is_forecast_as_such(market, home):
    feed = CandleData(dataname=market.to_frame(), timeframe="1h", market="sessions")
    forecast = run(Recorder, feed, model="statistical").forecast
    assert forecast.predictor.bundle.market == "sessions"


def test_without_a_feed_the_short_name_says_too_little(home):
    with pytest.raises(ConfigError, match="does not say which candles"):
        predictor_of("statistical", str(home.path))


def test_the_strategy_trades_on_it_where_there_is_no_model(market, home):
    with pytest.raises(ModelNotFoundError):
        run(LSTMStrategy, CandleData(dataname=market), model=MISSING)
    finished = run(
        LSTMStrategy,
        CandleData(dataname=market),
        model=MISSING,
        fallback="statistical",
        min_confidence=0.5,
    )
    assert finished.predictor.model == UNTRAINED
    assert finished.counts["before_unseen"] == 0
    assert finished.counts["orders_completed"] > 0
