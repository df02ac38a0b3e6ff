"""The statistical forecaster: its formula, its bounds, and its use without training."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from scipy.stats import norm

from experiments import backtest
from experiments.config import BacktestConfig
from lightning_models import load_predictor, simulate_market
from lightning_models.errors import ConfigError, ModelNotFoundError
from lightning_models.forecasters.fitting import fit_forecaster
from lightning_models.forecasters.untrained import (
    UNTRAINED_NOTE,
    predictor_of_name,
    statistical_predictor,
)
from lstm_strategies.models import predictor_of

PRIOR, DECAY, SETTLED = 0.02**2, 0.94, 20


def by_hand(close, horizon):
    """P(up), median, lower and upper as plain returns, one candle and one window at a time."""
    returns = np.diff(np.log(close))

    def estimate(seen):
        count = len(seen)
        drift = seen.mean() * count * PRIOR / (1 + count * PRIOR)
        weights = DECAY ** np.arange(count)[::-1]
        deviation = np.sqrt((weights * seen**2).sum() / weights.sum())
        return drift, max(deviation, 1e-4), PRIOR / (1 + count * PRIOR)

    errors = []
    for row in range(SETTLED, len(returns)):
        drift, deviation, doubt = estimate(returns[:row])
        errors.append((returns[row] - drift) / (deviation * np.sqrt(1 + doubt)))
    drift, deviation, doubt = estimate(returns)
    over = deviation * np.sqrt(horizon + horizon**2 * doubt)
    low, high = np.quantile(errors, [0.1, 0.9])
    median = horizon * drift
    moves = np.expm1([median, median + min(low, -0.1) * over, median + max(high, 0.1) * over])
    return norm.cdf(median / over), *moves


@pytest.fixture(scope="module")
def market():
    return simulate_market(candles=3000, seed=4)[0]


@pytest.mark.parametrize("horizon", [1, 4, 24])
def test_it_is_the_stated_formula(market, horizon):
    predictor = statistical_predictor("1h", horizons=(horizon,))
    arrays = predictor.forecast_arrays(market.time, market.ohlcv)
    for last in (400, 1700, 2999):
        close = market.ohlcv[last - predictor.lookback : last + 1, 3]
        probability, median, lower, upper = by_hand(close, horizon)
        assert arrays.probability[last, 0] == pytest.approx(probability, abs=1e-6)
        np.testing.assert_allclose(
            arrays.quantiles[last, 0], [lower, median, upper], rtol=1e-4, atol=1e-8
        )


def test_its_bounds_hold_about_what_they_promise_without_any_fit(market):
    predictor = statistical_predictor("1h", horizons=(1, 12))
    arrays = predictor.forecast_arrays(market.time, market.ohlcv)
    rows = np.arange(predictor.required_bars, len(market) - 12)
    for column, horizon in enumerate((1, 12)):
        moved = market.ohlcv[rows + horizon, 3] / market.ohlcv[rows, 3] - 1
        inside = (moved >= arrays.quantiles[rows, column, 0]) & (
            moved <= arrays.quantiles[rows, column, 2]
        )
        assert inside.mean() == pytest.approx(0.8, abs=0.05)


def test_uncertainty_grows_with_the_root_of_the_horizon(market):
    predictor = statistical_predictor("1h", horizons=(1, 16))
    quantiles = predictor.forecast_arrays(market.time, market.ohlcv).quantiles[500:]
    width = quantiles[:, :, 2] - quantiles[:, :, 0]
    np.testing.assert_allclose(width[:, 1] / width[:, 0], 4.0, rtol=0.05)


def test_a_fit_stretches_the_bounds_to_the_train_labels(slices_of, forecaster_of):
    data = slices_of(1500, signal=0.0)
    network = fit_forecaster(forecaster_of("statistical", data), data).network
    ends = data.samples["train"].ends
    windows = torch.stack([data.features[end - 59 : end + 1] for end in ends])
    low, _, high = network(windows).quantiles.unbind(-1)
    for outside in (data.targets[ends] < low, data.targets[ends] > high):
        np.testing.assert_allclose(outside.float().mean(dim=0), 0.1, atol=2 / len(ends))
    plain = forecaster_of("statistical", data)
    plain.set_up(60, [1, 3], column=1, mean=data.scaler.mean[1], deviation=data.scaler.deviation[1])
    unstretched = data.targets[ends] < plain(windows).quantiles[..., 0]
    assert (unstretched.float().mean(dim=0) - 0.1).abs().max() > 0.005


def test_the_scaler_of_a_fit_makes_no_difference(slices_of, forecaster_of, fitted, data):
    candles = data.candles[0]
    untrained = statistical_predictor("1h", horizons=(1, 3), lookback=60)
    predictor = fitted("statistical")[2]
    ours = predictor.forecast_arrays(candles.time, candles.ohlcv).quantiles[..., 1]
    theirs = untrained.forecast_arrays(candles.time, candles.ohlcv).quantiles[..., 1]
    np.testing.assert_allclose(ours[200:], theirs[200:], rtol=1e-3, atol=1e-7)


def test_it_needs_the_close_and_enough_of_it(slices_of, forecaster_of):
    without = slices_of(900, features=("volume",))
    with pytest.raises(ConfigError, match=r"data.features holds volume: add close"):
        fit_forecaster(forecaster_of("statistical", without), without)
    short = slices_of(900, lookback=59)
    with pytest.raises(ConfigError, match="at least 60 candles, not of 59"):
        fit_forecaster(forecaster_of("statistical", short), short)


def test_a_flat_market_is_forecast_with_bounds_of_the_smallest_volatility(prices_of):
    predictor = statistical_predictor("1h")
    latest = predictor.predict_latest(prices_of(np.zeros(200)))
    assert latest.confidence == 0.5
    assert latest.lower < latest.predicted_price == 100.0 < latest.upper


def test_a_name_stands_for_it_and_needs_no_home(market, tmp_path):
    named = load_predictor("statistical:1h", home=tmp_path / "nowhere")
    latest = named.predict_latest(market)
    assert latest.model == "statistical:1h"
    assert 0.5 <= latest.confidence < 0.6
    assert latest.lower < latest.predicted_price < latest.upper
    assert not (tmp_path / "nowhere").exists()


def test_markets_with_sessions_have_a_name_too():
    predictor = load_predictor("statistical:1d:sessions")
    assert (predictor.timeframe, predictor.bundle.market) == ("1d", "sessions")
    assert predictor.model == "statistical:1d:sessions"


def test_it_states_that_nothing_was_fitted(caplog):
    predictor_of_name.cache_clear()
    with caplog.at_level(logging.WARNING):
        bundle = load_predictor("statistical:4h").bundle
        load_predictor("statistical:4h")
    assert [record.getMessage() for record in caplog.records] == [
        f"statistical:4h: {UNTRAINED_NOTE}"
    ]
    assert bundle.unseen_from_ms == 0
    assert (bundle.symbols, bundle.metrics, bundle.slices) == ((), {}, {})


def test_asked_for_the_surest_bars_it_offers_none():
    thresholds = statistical_predictor("1h").bundle.thresholds
    assert thresholds.confidence_of_top(0.5) == 1.0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("statistical", "does not say which candles"),
        ("statistical:", "does not say which candles"),
        ("statistical:7h", "unknown timeframe '7h'"),
        ("statistical:1d:session", "did you mean 'sessions'"),
        ("statistical:1d:sessions:x", "does not say which candles"),
    ],
)
def test_a_name_that_says_too_little_is_refused(name, words):
    with pytest.raises(ConfigError, match=words):
        load_predictor(name)


def test_a_folder_of_that_name_is_still_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFoundError):
        load_predictor("statistics")
    (tmp_path / "statistical").mkdir()
    with pytest.raises(Exception, match=r"bundle\.json is missing"):
        load_predictor("statistical")


def test_its_hash_names_what_it_is_and_not_when_it_was_made():
    first, again = statistical_predictor("1h"), statistical_predictor("1h")
    assert first is not again
    assert first.sha256 == again.sha256
    others = [statistical_predictor("4h"), statistical_predictor("1h", lookback=100)]
    assert len({first.sha256, *(one.sha256 for one in others)}) == 3
    assert predictor_of("statistical:1h") is predictor_of("statistical:1h")


def test_a_backtest_runs_on_it_from_the_first_forecast_and_says_so(market, home):
    config = BacktestConfig(model="statistical:1h", min_confidence=0.5, replications=100)
    result = backtest(config, market.between(None, int(market.time[600])), home=home)
    assert result.model == "statistical:1h"
    assert result.total_trades > 0
    assert UNTRAINED_NOTE in result.notes
