"""What a model has to beat: fitted on the past, and the same as the registered forecasters."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from lightning_models import simulate_market
from lightning_models.calibration import fit_direction_calibration
from lightning_models.data.datamodule import CandleDataModule, DataConfig
from lightning_models.data.windows import gather_windows
from lightning_models.evaluation import BASELINES, baseline_forecasts, evaluate
from lightning_models.evaluation.baselines import rows_of
from lightning_models.forecasters import FORECASTERS
from lightning_models.forecasters.untrained import statistical_predictor

LEARNED = ("logistic-regression", "gradient-boosting")


def module_of(candles, **settings):
    defaults = {"features": ("close", "volume", "high", "low"), "lookback": 8}
    return CandleDataModule(DataConfig(**{**defaults, **settings}), candles)


@pytest.fixture(scope="module")
def candles():
    return simulate_market(candles=3000, seed=3, signal=0.4)


@pytest.fixture(scope="module")
def data(candles):
    return module_of(candles)


@pytest.fixture(scope="module")
def test_slice(outcomes_of):
    def of(data, horizon=0):
        samples = data.samples["test"]
        returns = data.returns[samples.ends, horizon].astype(np.float64)
        train = data.returns[data.samples["train"].ends, horizon]
        return outcomes_of(
            np.full(len(samples), 0.5),
            returns,
            time=samples.decided - 1,
            symbol=samples.symbol,
            base_rate=float((train > 0).sum() / (train != 0).sum()),
            overlap=data.horizons[horizon].candles,
        )

    return of


@pytest.fixture(scope="module")
def forecasts(data, test_slice):
    outcomes = test_slice(data)
    found = baseline_forecasts(data, outcomes, rows_of(data, outcomes))
    return {one.name: one for one in found}


def scored(outcomes, forecast):
    return evaluate(replace(outcomes, probability_up=forecast.probability_up), replications=100)


def test_there_is_one_for_every_name_of_the_registered_forecasters(forecasts):
    assert list(forecasts) == list(BASELINES) == list(FORECASTERS)


def test_the_zero_return_and_the_majority_class_never_change_their_mind(
    data, forecasts, test_slice
):
    outcomes = test_slice(data)
    assert (forecasts["zero-return"].probability_up == 0.5).all()
    assert (forecasts["zero-return"].predicted == 0.0).all()
    assert (forecasts["majority-class"].probability_up == outcomes.base_rate).all()
    assert scored(outcomes, forecasts["majority-class"]).log_loss_gain == 0.0


@pytest.mark.parametrize("name", ["majority-class", *LEARNED])
def test_its_probability_is_that_of_the_registered_forecaster(data, forecasts, name):
    forecaster = FORECASTERS[name](FORECASTERS[name].Config(), len(data.config.features), 1)
    forecaster.fit_to(data)

    def logits(slice_name):
        ends = torch.from_numpy(data.samples[slice_name].ends)
        with torch.inference_mode():
            raw = forecaster(gather_windows(data.features, ends, data.config.lookback)).logits
        return raw[:, 0].numpy().astype(np.float64)

    test = logits("test")
    expected = 1 / (1 + np.exp(-test))
    if forecaster.calibrates:
        ends = data.samples["calibration"].ends
        fitted = fit_direction_calibration(logits("calibration"), data.returns[ends, 0])
        expected = fitted.probability(test)
    np.testing.assert_allclose(forecasts[name].probability_up, expected, atol=1e-4)


def test_the_statistical_forecast_is_that_of_the_forecaster_without_training(
    candles, data, forecasts
):
    (one,) = candles
    arrays = statistical_predictor("1h").forecast_arrays(one.time, one.ohlcv)
    closed = data.samples["test"].decided - one.period_ms
    rows = np.searchsorted(one.time, closed)
    found = forecasts["statistical"]
    np.testing.assert_allclose(found.probability_up, arrays.probability[rows, 0], atol=1e-6)
    np.testing.assert_allclose(found.predicted, arrays.quantiles[rows, 0, 1], atol=1e-7)


def test_learned_baselines_find_a_planted_signal_and_the_others_cannot(data, forecasts, test_slice):
    outcomes = test_slice(data)
    for name, forecast in forecasts.items():
        assert scored(outcomes, forecast).skill == (name in LEARNED), name
        if name in LEARNED:
            assert np.corrcoef(forecast.predicted, outcomes.actual)[0, 1] > 0.2


def test_learned_baselines_find_nothing_where_there_is_nothing(test_slice):
    found = []
    for seed in range(3):
        data = module_of(simulate_market(candles=1800, seed=seed, signal=0.0))
        outcomes = test_slice(data)
        forecasts = baseline_forecasts(data, outcomes, rows_of(data, outcomes))
        found += [scored(outcomes, one).skill for one in forecasts if one.name in LEARNED]
    # Six true nulls, each passed by chance in 2.5 % of markets.
    assert sum(found) <= 1


def test_candles_after_a_forecast_change_none_of_it(candles, data, forecasts, test_slice):
    (one,) = candles
    # Chaos in the last hundred candles; the slices and their fits lie before them.
    ohlcv = one.ohlcv.copy()
    chaos = np.random.default_rng(0).uniform(0.5, 2.0, (100, 1))
    ohlcv[-100:, :4] *= chaos
    other = module_of([replace(one, ohlcv=ohlcv)])
    outcomes = test_slice(other)
    found = baseline_forecasts(other, outcomes, rows_of(other, outcomes))
    before = data.samples["test"].decided <= one.time[-100]
    for forecast in found:
        expected = forecasts[forecast.name]
        np.testing.assert_array_equal(
            forecast.probability_up[before], expected.probability_up[before]
        )
        np.testing.assert_array_equal(forecast.predicted[before], expected.predicted[before])
    # The control: forecasts made within the chaos do change.
    logistic = next(forecast for forecast in found if forecast.name == "logistic-regression")
    after = ~before
    assert (
        logistic.probability_up[after] != forecasts["logistic-regression"].probability_up[after]
    ).any()


def test_rows_are_found_by_symbol_and_time_and_strangers_are_not(data, test_slice):
    outcomes = test_slice(data)
    order = np.random.default_rng(0).permutation(len(outcomes))
    np.testing.assert_array_equal(
        rows_of(data, outcomes.take(order)), data.samples["test"].ends[order]
    )
    early = replace(outcomes, time=outcomes.time - 10**9)
    assert (rows_of(data, early)[:10] == -1).all()


def test_a_longer_horizon_several_symbols_and_a_short_window_are_served(test_slice):
    candles = simulate_market(candles=1500, symbols=("A/B", "C/D"), seed=5, signal=0.3)
    data = module_of(candles, lookback=3, horizons=(1, 4))
    outcomes = test_slice(data, horizon=1)
    found = baseline_forecasts(data, outcomes, rows_of(data, outcomes), horizon=1)
    assert [one.name for one in found] == list(BASELINES)
    for one in found:
        assert np.isfinite(one.probability_up).all()
        assert np.isfinite(one.predicted).all()
        assert len(one.predicted) == len(outcomes)


def test_labels_of_one_direction_leave_the_learned_ones_with_the_majority_class(test_slice):
    candles = simulate_market(candles=900, seed=1)
    data = module_of(candles)
    data.targets.abs_().clamp_(min=1e-3)
    outcomes = test_slice(data)
    found = {one.name: one for one in baseline_forecasts(data, outcomes, rows_of(data, outcomes))}
    for name in LEARNED:
        assert (found[name].probability_up == found["majority-class"].probability_up).all()


def test_all_of_them_take_seconds_for_ten_thousand_train_rows(test_slice):
    data = module_of(simulate_market(candles=14_500, seed=1), lookback=24)
    outcomes = test_slice(data)
    rows = rows_of(data, outcomes)
    started = time.process_time()
    baseline_forecasts(data, outcomes, rows)
    # About two seconds of one core; the bound is the promise.
    assert time.process_time() - started < 10.0
