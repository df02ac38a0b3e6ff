"""Every direct forecaster of the table: fitted, saved, loaded, compared, asked."""

from __future__ import annotations

from dataclasses import replace

import backtrader as bt
import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit

from lightning_models.bundle import WEIGHTS_FILE, load_network, read_bundle
from lightning_models.calibration import DirectionCalibration, fit_direction_calibration
from lightning_models.errors import BundleError, ConfigError, TrainingError
from lightning_models.export import export_bundle
from lightning_models.forecasters import FORECASTERS, DirectForecaster
from lightning_models.forecasters.fitting import fit_forecaster
from lightning_models.inference import NetworkRunner
from lightning_models.networks import NETWORKS
from lightning_models.predictor import Predictor
from lightning_models.single_window import single_window_of
from lstm_strategies import CandleData, LSTMForecast

KINDS = sorted(FORECASTERS)
LEARNING = ["gradient-boosting", "logistic-regression", "majority-class"]
LOOKBACK = 60


def test_this_specification_knows_every_forecaster():
    assert set(KINDS) == {
        "gradient-boosting",
        "logistic-regression",
        "majority-class",
        "statistical",
        "zero-return",
    }
    assert not set(KINDS) & set(NETWORKS)
    for kind, forecaster in FORECASTERS.items():
        assert forecaster.Config.model_fields["kind"].default == kind


@pytest.mark.parametrize("kind", KINDS)
def test_a_forecaster_is_fitted_saved_loaded_and_forecasts_the_same(kind, fitted):
    result, folder, predictor = fitted(kind)
    loaded = load_network(folder, read_bundle(folder))
    assert isinstance(loaded, DirectForecaster)
    assert set(loaded.state_dict()) == set(result.network.state_dict())
    for name, tensor in result.network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
        assert loaded.state_dict()[name].dtype == tensor.dtype
    windows = torch.randn(20, LOOKBACK, 3, generator=torch.Generator().manual_seed(1))
    before, after = result.network(windows), loaded(windows)
    assert torch.equal(before.logits, after.logits)
    assert torch.equal(before.quantiles, after.quantiles)
    assert predictor.bundle.network == result.network.config


@pytest.mark.parametrize("kind", KINDS)
def test_bulk_and_single_forecasts_agree_on_every_bar(kind, fitted, data):
    _, _, predictor = fitted(kind)
    candles = data.candles[0]
    bulk = predictor.forecast_arrays(candles.time, candles.ohlcv)
    assert np.isnan(bulk.probability[: predictor.required_bars - 1]).all()
    assert np.isfinite(bulk.probability[predictor.required_bars - 1 :]).all()
    for last in range(predictor.required_bars, len(candles), 29):
        rows = slice(last - predictor.required_bars + 1, last + 1)
        probability, quantiles = predictor.forecast_latest(candles.time[rows], candles.ohlcv[rows])
        np.testing.assert_allclose(probability, bulk.probability[last], atol=1e-5)
        np.testing.assert_allclose(quantiles, bulk.quantiles[last], atol=1e-5)


class Recorder(bt.Strategy):
    params = (("model", ""), ("horizon", ""))

    def __init__(self):
        self.forecast = LSTMForecast(self.data, model=self.p.model, horizon=self.p.horizon)


@pytest.mark.parametrize("at_once", [True, False], ids=["once", "next"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_indicators_lines_are_the_predictors(kind, at_once, fitted, data):
    _, folder, predictor = fitted(kind)
    count = predictor.required_bars + 60
    candles = data.candles[0].between(int(data.candles[0].time[-count]), None)
    cerebro = bt.Cerebro(stdstats=False, runonce=at_once)
    cerebro.adddata(CandleData(dataname=candles))
    cerebro.addstrategy(Recorder, model=str(folder), horizon="3h")
    (strategy,) = cerebro.run()
    expected = predictor.predict_batch(candles, horizon="3h")
    for name in expected.columns:
        line = np.array(getattr(strategy.forecast.lines, name).array)[: len(candles)]
        np.testing.assert_allclose(line, expected[name], rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_one_window_compiled_gives_what_torch_gives(kind, fitted):
    pytest.importorskip("onnxruntime", reason="the extra `fast` is not installed")
    network = fitted(kind)[0].network
    single = single_window_of(network, lookback=LOOKBACK, features=3)
    assert single is not None
    windows = torch.randn(20, LOOKBACK, 3, generator=torch.Generator().manual_seed(2))
    raw = network(windows)
    for row, window in enumerate(windows.numpy()):
        logits, quantiles = single.run(window[None])
        np.testing.assert_allclose(logits[0], raw.logits[row], atol=1e-6)
        np.testing.assert_allclose(quantiles[0], raw.quantiles[row], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32 - 1), size=st.floats(0, 10))
@settings(max_examples=15)
def test_forecasts_are_finite_and_quantiles_never_cross(kind, fitted, seed, size):
    windows = torch.randn(7, LOOKBACK, 3, generator=torch.Generator().manual_seed(seed))
    raw = fitted(kind)[0].network((size * windows).clamp(-10, 10))
    assert torch.isfinite(raw.logits).all()
    assert torch.isfinite(raw.quantiles).all()
    assert (raw.quantiles.diff(dim=-1) >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_forecast_does_not_depend_on_what_else_is_in_the_batch(kind, fitted):
    network = fitted(kind)[0].network
    windows = torch.randn(20, LOOKBACK, 3, generator=torch.Generator().manual_seed(3))
    together, alone = network(windows), network(windows[7:8])
    torch.testing.assert_close(alone.logits, together.logits[7:8], atol=1e-6, rtol=0)
    torch.testing.assert_close(alone.quantiles, together.quantiles[7:8], atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_is_told_like_one_epoch(kind, fitted, data):
    result, _, _ = fitted(kind)
    (row,) = result.history
    assert result.best_epoch == 1
    assert set(row) == {
        f"{stage}/{name}" for stage in ("train", "val") for name in ("loss", "log_loss", "pinball")
    }
    samples = data.samples["validation"].ends
    windows = torch.stack([data.features[end - LOOKBACK + 1 : end + 1] for end in samples])
    raw, target = result.network(windows), data.targets[samples]
    sign = torch.where(target > 0, 1.0, -1.0)
    log_loss = torch.nn.functional.softplus(-sign * raw.logits)[target != 0].mean()
    assert row["val/log_loss"] == pytest.approx(float(log_loss), rel=1e-5)
    error = target[..., None] - raw.quantiles
    level = torch.tensor([0.1, 0.5, 0.9])
    pinball = torch.where(error > 0, level * error, (level - 1) * error).mean()
    assert row["val/pinball"] == pytest.approx(float(pinball), rel=1e-5)
    assert row["val/loss"] == pytest.approx(row["val/log_loss"] + row["val/pinball"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_numbers(kind, fitted, data, forecaster_of):
    again = fit_forecaster(forecaster_of(kind, data), data).network.state_dict()
    for name, tensor in fitted(kind)[0].network.state_dict().items():
        assert torch.equal(tensor, again[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_after_the_train_slice_changes_a_fit(kind, fitted, data, forecaster_of, slices_of):
    edge = int(np.searchsorted(data.candles[0].time, data.slices.edges[1]))
    changed = data.candles[0].ohlcv.copy()
    changed[edge:, :4] *= np.linspace(1.0, 3.0, len(changed) - edge)[:, None]
    other = slices_of([replace(data.candles[0], ohlcv=changed)])
    again = fit_forecaster(forecaster_of(kind, other), other).network.state_dict()
    for name, tensor in fitted(kind)[0].network.state_dict().items():
        assert torch.equal(tensor, again[name]), name


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"zero-return"}))
def test_changes_within_the_train_slice_do(kind, fitted, data, forecaster_of, slices_of):
    changed = data.candles[0].ohlcv.copy()
    changed[300:, :4] *= np.linspace(1.0, 3.0, len(changed) - 300)[:, None]
    other = slices_of([replace(data.candles[0], ohlcv=changed)])
    again = fit_forecaster(forecaster_of(kind, other), other).network.state_dict()
    before = fitted(kind)[0].network.state_dict()
    assert any(
        before[name].shape != again[name].shape or not torch.equal(before[name], again[name])
        for name in before
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_refit_without_validation_has_no_validation_loss(kind, slices_of, forecaster_of):
    shares = {"train": 0.8, "validation": 0.0, "calibration": 0.2, "test": 0.0}
    data = slices_of(400, slices=shares)
    result = fit_forecaster(forecaster_of(kind, data), data)
    assert set(result.history[0]) == {"train/loss", "train/log_loss", "train/pinball"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_forecaster_refuses_to_run_as_a_stream(kind, slices_of, forecaster_of):
    data = slices_of(900, mode="sequence")
    with pytest.raises(ConfigError, match=rf"{kind} forecaster reads windows .* data.mode=window"):
        fit_forecaster(forecaster_of(kind, data), data)


@pytest.mark.parametrize("kind", LEARNING)
def test_a_class_that_never_occurs_in_training_is_named(kind, slices_of, forecaster_of, prices_of):
    rising = np.full(900, 0.001)
    data = slices_of([prices_of(rising)], features=("close",))
    with pytest.raises(TrainingError, match=r"none of the \d+ labels .* falls over 1h"):
        fit_forecaster(forecaster_of(kind, data), data)
    falling = slices_of([prices_of(-rising)], features=("close",))
    with pytest.raises(TrainingError, match="rises over 1h"):
        fit_forecaster(forecaster_of(kind, falling), falling)


@pytest.mark.parametrize("kind", LEARNING)
def test_a_class_that_occurs_now_and_then_is_learned_from(
    kind, slices_of, forecaster_of, prices_of
):
    returns = np.where(np.arange(900) % 9 == 0, -0.002, 0.001)
    data = slices_of([prices_of(returns)], features=("close",), horizons=(1,))
    raw = fit_forecaster(forecaster_of(kind, data), data).network(torch.zeros(1, LOOKBACK, 1))
    assert torch.isfinite(raw.logits).all()


def test_a_market_that_never_moves_leaves_no_bounds(slices_of, forecaster_of, prices_of):
    data = slices_of([prices_of(np.zeros(900))], features=("close",))
    with pytest.raises(TrainingError, match="exactly zero"):
        fit_forecaster(forecaster_of("zero-return", data), data)


@pytest.mark.parametrize("kind", ["gradient-boosting", "logistic-regression"])
def test_more_rows_than_the_window_has_are_refused(kind, slices_of, forecaster_of):
    data = slices_of(900, lookback=4)
    with pytest.raises(ConfigError, match=r"last 5 rows of windows that have 4"):
        fit_forecaster(forecaster_of(kind, data), data)
    fit_forecaster(forecaster_of(kind, data, rows=4), data)


@pytest.mark.parametrize("kind", ["gradient-boosting", "logistic-regression"])
def test_only_the_last_rows_are_read(kind, fitted):
    network = fitted(kind)[0].network
    windows = torch.randn(30, LOOKBACK, 3, generator=torch.Generator().manual_seed(4))
    earlier, later = windows.clone(), windows.clone()
    earlier[:, : LOOKBACK - 5] = 0.0
    later[:, LOOKBACK - 5 :] = 0.0
    assert torch.equal(network(earlier).logits, network(windows).logits)
    assert not torch.equal(network(later).logits, network(windows).logits)


@pytest.mark.parametrize("kind", ["gradient-boosting", "logistic-regression"])
def test_no_more_samples_are_taken_than_allowed(kind, data, forecaster_of, fitted):
    thinned = fit_forecaster(forecaster_of(kind, data, samples=100), data).network
    all_of_them = fitted(kind)[0].network
    windows = torch.randn(30, LOOKBACK, 3, generator=torch.Generator().manual_seed(5))
    assert not torch.equal(thinned(windows).logits, all_of_them(windows).logits)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_another_shape_are_refused(kind, fitted, tmp_path):
    _, folder, _ = fitted(kind)
    bundle = read_bundle(folder)
    state = safetensors.torch.load_file(folder / WEIGHTS_FILE)
    name = sorted(state)[0]
    broken = {**state, name: state[name][None].contiguous()}
    safetensors.torch.save_file(broken, tmp_path / WEIGHTS_FILE)
    with pytest.raises(BundleError, match=f"do not fit its network {kind!r}"):
        load_network(tmp_path, bundle)
    safetensors.torch.save_file({**state}, tmp_path / WEIGHTS_FILE)
    load_network(tmp_path, bundle)


def test_zero_return_says_one_half_and_nothing_moves(fitted, data):
    _, _, predictor = fitted("zero-return")
    lines = predictor.predict_batch(data.candles[0]).dropna()
    assert (lines["confidence"] == 0.5).all()
    assert (lines["change_pct"] == 0.0).all()
    assert (lines["direction"] == 1.0).all()
    assert (lines["signal"] == 0.0).all()
    close = data.candles[0].ohlcv[-len(lines) :, 3]
    np.testing.assert_allclose(lines["upper"] - close, close - lines["lower"], rtol=1e-6)
    sizes = np.abs(data.targets.numpy()[data.samples["train"].ends])
    reach = fitted("zero-return")[0].network.reach.numpy()
    np.testing.assert_allclose((sizes <= reach).mean(axis=0), 0.8, atol=2 / len(sizes))


def test_calibrated_on_a_later_slice_it_would_say_something_else(fitted, data):
    _, _, predictor = fitted("zero-return")
    returns = data.returns[data.samples["calibration"].ends, 0].astype(float)
    moved = fit_direction_calibration(np.zeros(len(returns)), returns)
    assert moved.bias != 0.0
    assert predictor.bundle.calibration == (DirectionCalibration(), DirectionCalibration())


def test_the_majority_class_states_the_base_rate_of_the_bundle(fitted, data):
    _, _, predictor = fitted("majority-class")
    candles = data.candles[0]
    arrays = predictor.forecast_arrays(candles.time, candles.ohlcv)
    np.testing.assert_allclose(arrays.probability[-1], predictor.bundle.base_rate, atol=1e-7)
    targets = data.targets.numpy()[data.samples["train"].ends]
    levels = fitted("majority-class")[0].network.levels.numpy()
    shares = (targets[:, :, None] <= levels).mean(axis=0)
    np.testing.assert_allclose(shares, [[0.1, 0.5, 0.9]] * 2, atol=2 / len(targets))


@pytest.mark.parametrize("kind", KINDS)
def test_under_barriers_it_states_how_often_time_runs_out(
    kind, slices_of, forecaster_of, config_of
):
    data = slices_of(1500, features=("close",), horizons=(6,), target={"name": "triple-barrier"})
    network = fit_forecaster(forecaster_of(kind, data), data).network
    bundle = export_bundle(network, config_of(kind), data)
    predictor = Predictor(bundle, NetworkRunner(network, LOOKBACK), model="", sha256="")
    (calibration,) = bundle.timeouts
    share = float(data.timed_out[data.samples["train"].ends].mean())
    assert calibration.rate == pytest.approx(share, abs=1e-6)
    stated = predictor.predict_batch(data.candles[0])["p_timeout"].dropna()
    np.testing.assert_allclose(stated, calibration.probability(logit(share)), atol=1e-6)
