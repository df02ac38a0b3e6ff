"""A fused score's own calibration, on the start of a backtest's period."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.backtesting import run_backtest
from experiments.comparing import compare
from experiments.config import BacktestConfig
from lightning_models.candles import simulate_market
from lightning_models.errors import ConfigError, TooFewCandlesError
from lightning_models.home import Home

PLAIN = {
    "strategy": "lstm_fast",
    "model": "statistical:6h",
    "replications": 100,
    "doubled_costs": False,
    "min_confidence": 0.5,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return Home(tmp_path_factory.mktemp("calibrating"))


@pytest.fixture(scope="module")
def candles():
    return simulate_market(candles=900, timeframe="6h", seed=2)[0]


def test_the_slice_of_the_calibration_is_not_traded(candles, home):
    whole = run_backtest(BacktestConfig(**PLAIN), candles, home=home).result
    later = run_backtest(BacktestConfig(**PLAIN, calibrate_score=0.4), candles, home=home).result
    used = len(whole.equity_curve) - len(later.equity_curve)
    # Its outcomes reach one candle further.
    assert used == int(0.4 * len(whole.equity_curve)) + 1
    assert whole.trades[0].entry_time < later.start_date < later.trades[0].entry_time


def test_the_fitted_parameters_are_told(candles, home):
    result = run_backtest(BacktestConfig(**PLAIN, calibrate_score=0.4), candles, home=home).result
    told = result.configuration["parameters"]
    assert told["score_temperature"] > 0.0
    assert any("calibrated on" in note and "min_confidence" in note for note in result.notes)


def test_the_slice_that_comes_later_changes_no_calibration(candles, home):
    config = BacktestConfig(**PLAIN, calibrate_score=0.3)
    whole = run_backtest(config, candles, home=home).result
    ohlcv = candles.ohlcv.copy()
    ohlcv[700:, :4] *= np.linspace(1.0, 3.0, len(candles) - 700)[:, None]
    from lightning_models.candles import Candles

    other = Candles(
        symbol=candles.symbol,
        timeframe=candles.timeframe,
        market=candles.market,
        time=candles.time,
        ohlcv=ohlcv,
    )
    changed = run_backtest(config, other, home=home).result
    assert changed.configuration["parameters"] == whole.configuration["parameters"]


def test_a_score_that_says_nothing_lets_nothing_trade(candles, home):
    sure = BacktestConfig(**{**PLAIN, "min_confidence": 0.7}, calibrate_score=0.4)
    result = run_backtest(sure, candles, home=home).result
    assert result.total_trades == 0
    assert result.forecasts.under_threshold > 0


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"calibrate_score": 0.05}, ConfigError, "takes 100 outcomes"),
        ({"calibrate_score": 0.999}, TooFewCandlesError, "leaves no candle"),
        ({"calibrate_score": 0.3, "strategy": "forecast"}, ConfigError, "has none"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(candles, home, settings, error, message):
    with pytest.raises(error, match=message):
        run_backtest(BacktestConfig(**{**PLAIN, **settings}), candles, home=home)


def test_in_a_comparison_it_is_refused(candles, home):
    with pytest.raises(ConfigError, match="takes candles away from one strategy"):
        compare([BacktestConfig(**PLAIN, calibrate_score=0.3)], candles, home=home)
