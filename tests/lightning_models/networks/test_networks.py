"""Every network of the table: trained, saved, loaded, compared, asked."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from lightning_models import simulate_market
from lightning_models.bundle import load_network, read_bundle, write_bundle
from lightning_models.data.datamodule import CandleDataModule, DataConfig
from lightning_models.export import export_bundle
from lightning_models.inference import NetworkRunner
from lightning_models.loading import load_predictor_from
from lightning_models.networks import NETWORKS, NetworkConfig, build_network
from lightning_models.networks.table import NETWORK_CONFIGS
from lightning_models.single_window import single_window_of
from lightning_models.training import TrainingConfig, fit

SMALL = {
    "price-predictor": {"units": (8, 6, 4), "dense": (6, 5)},
    "multi-layer": {"hidden_size": 6, "layers": 2},
    "bidirectional": {"hidden_size": 5, "layers": 2},
    "univariate": {"hidden_size": 6},
    "layer-norm": {"units": (8, 6, 4), "dense": (6, 5)},
    "attention": {"hidden_size": 5, "layers": 2, "attention_size": 4},
    "transformer": {"width": 8, "attention_heads": 2, "layers": 2, "feedforward": 12},
}
FEATURES, HORIZONS, LOOKBACK = 3, 2, 7


def config_of(kind, **changes):
    return TypeAdapter(NetworkConfig).validate_python({"kind": kind, **SMALL[kind], **changes})


def network_of(kind, **changes):
    torch.manual_seed(0)
    return build_network(config_of(kind, **changes), features=FEATURES, horizons=HORIZONS).eval()


def windows(count=40, lookback=LOOKBACK):
    return torch.randn(count, lookback, FEATURES, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def data():
    candles = simulate_market(candles=900, seed=6, signal=0.4)
    config = DataConfig(features=("close", "volume", "high"), lookback=LOOKBACK, horizons=(1, 3))
    return CandleDataModule(config, candles, batch_size=32)


def test_this_specification_knows_every_network():
    assert set(SMALL) == set(NETWORKS)
    kinds = {config.model_fields["kind"].default for config in NETWORK_CONFIGS}
    assert kinds == set(NETWORKS)


@pytest.mark.parametrize("kind", sorted(NETWORKS))
def test_a_network_trains_saves_loads_and_forecasts_the_same(kind, data, tmp_path):
    config = config_of(kind)
    result = fit(
        lambda: build_network(config, features=FEATURES, horizons=HORIZONS),
        data,
        TrainingConfig(epochs=2, batch_size=32),
        checkpoints=tmp_path / "checkpoints",
    )
    assert len(result.history) == 2
    assert not result.network.training
    bundle = export_bundle(result.network, config, data)
    folder = write_bundle(tmp_path / "bundle", bundle, result.network)
    loaded = load_network(folder, read_bundle(folder))
    for name, tensor in result.network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    predictor = load_predictor_from(folder, kind)
    lines = predictor.predict_batch(data.candles[0])
    assert np.isfinite(lines.to_numpy()[predictor.required_bars - 1 :]).all()
    assert np.isnan(lines.to_numpy()[: predictor.required_bars - 1]).all()
    for horizon in ("1h", "3h"):
        latest = predictor.predict_latest(data.candles[0], horizon=horizon)
        assert 0.5 <= latest.confidence <= 1
        assert latest.lower < latest.predicted_price < latest.upper
        in_bulk = predictor.predict_batch(data.candles[0], horizon=horizon).iloc[-1]
        assert latest.confidence == pytest.approx(in_bulk["confidence"], rel=0, abs=1e-5)
        assert latest.change_pct == pytest.approx(in_bulk["change_pct"], rel=0, abs=1e-3)
        for price in ("predicted_price", "lower", "upper"):
            assert getattr(latest, price) == pytest.approx(in_bulk[price], rel=1e-5)


@pytest.mark.parametrize("lookback", [1, 2, 30])
@pytest.mark.parametrize("kind", sorted(NETWORKS))
def test_one_horizon_axis_serves_both_heads(kind, lookback):
    raw = network_of(kind)(windows(5, lookback))
    assert raw.logits.shape == (5, HORIZONS)
    assert raw.quantiles.shape == (5, HORIZONS, 3)


@pytest.mark.parametrize("kind", sorted(NETWORKS))
def test_a_forecast_does_not_depend_on_what_else_is_in_the_batch(kind):
    network, batch = network_of(kind), windows()
    together = network(batch)
    for rows in (slice(0, 1), slice(7, 20)):
        alone = network(batch[rows])
        torch.testing.assert_close(alone.logits, together.logits[rows], atol=1e-6, rtol=0)
        torch.testing.assert_close(alone.quantiles, together.quantiles[rows], atol=1e-6, rtol=0)


def test_left_in_train_mode_it_would_depend_on_the_batch():
    network, batch = network_of("price-predictor").train(), windows()
    torch.manual_seed(0)
    whole = network(batch).logits[:5]
    torch.manual_seed(0)
    assert (network(batch[:5]).logits - whole).abs().max() > 1e-3


@pytest.mark.parametrize("kind", sorted(NETWORKS))
def test_a_runner_puts_the_network_into_evaluation_mode(kind):
    network = network_of(kind).train()
    rows = windows(1, 600)[0].numpy()
    ends = np.arange(LOOKBACK - 1, 600)
    logits, quantiles = NetworkRunner(network, LOOKBACK).run(rows, ends)
    again, _ = NetworkRunner(network, LOOKBACK).run(rows, ends[:3])
    assert not network.training
    assert logits.shape == (len(ends), HORIZONS)
    assert quantiles.shape == (len(ends), HORIZONS, 3)
    np.testing.assert_allclose(again, logits[:3], atol=1e-6)


@pytest.mark.parametrize("kind", sorted(NETWORKS))
def test_one_window_compiled_gives_what_torch_gives(kind):
    pytest.importorskip("onnxruntime", reason="the extra `fast` is not installed")
    network = network_of(kind)
    single = single_window_of(network, lookback=LOOKBACK, features=FEATURES)
    assert single is not None
    travelled = pickle.loads(pickle.dumps(single))
    batch = windows(20) * 3.0
    raw = network(batch)
    for row, window in enumerate(batch.numpy()):
        for compiled in (single, travelled):
            logits, quantiles = compiled.run(window[None])
            np.testing.assert_allclose(logits[0], raw.logits[row].detach(), atol=1e-6)
            np.testing.assert_allclose(quantiles[0], raw.quantiles[row].detach(), atol=1e-6)


def test_without_the_runtime_one_window_goes_through_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    network, window = network_of("price-predictor"), windows(1)[0].numpy()
    assert single_window_of(network, lookback=LOOKBACK, features=FEATURES) is None
    runner = NetworkRunner(network, LOOKBACK)
    alone, _ = runner.run_one(window)
    together, _ = runner.run(window, np.array([LOOKBACK - 1]))
    np.testing.assert_array_equal(alone, together)


def test_a_network_that_cannot_be_compiled_says_so_and_runs(monkeypatch, caplog):
    pytest.importorskip("onnxruntime", reason="the extra `fast` is not installed")
    network, window = network_of("multi-layer"), windows(1)[0].numpy()
    before, _ = NetworkRunner(network, LOOKBACK).run(window, np.array([LOOKBACK - 1]))
    hard = network.trunk.register_forward_hook(
        lambda *call: torch.linalg.eigvals(call[1][0][0, :3, :3]).real.sum() * 0 + call[2]
    )
    after, _ = NetworkRunner(network, LOOKBACK).run_one(window)
    hard.remove()
    assert "torch does" in caplog.text
    np.testing.assert_allclose(after, before)


@pytest.mark.parametrize("kind", sorted(NETWORKS))
def test_a_network_sees_its_window_and_nothing_outside(kind):
    rows = windows(1, 80)[0].numpy().copy()
    runner = NetworkRunner(network_of(kind), LOOKBACK)
    before, _ = runner.run(rows, np.array([40]))
    outside = rows.copy()
    outside[:34] += 100.0
    outside[41:] -= 100.0
    after, _ = runner.run(outside, np.array([40]))
    np.testing.assert_array_equal(before, after)
    for row in (34, 40):
        inside = rows.copy()
        inside[row] += 3.0
        changed, _ = runner.run(inside, np.array([40]))
        assert np.abs(changed - before).max() > 0


def test_run_over_a_whole_series_a_bidirectional_network_would_see_the_future():
    network, series = network_of("bidirectional"), windows(1, 80)
    later = series.clone()
    later[:, 41:] -= 100.0
    over_all, over_changed = network.trunk.lstm(series)[0], network.trunk.lstm(later)[0]
    assert (over_all - over_changed)[:, 40].abs().max() > 1e-3


@pytest.mark.parametrize("kind", sorted(NETWORKS))
def test_every_weight_learns(kind):
    network = network_of(kind, dropout=0.0).train()
    target = torch.randn(40, HORIZONS, generator=torch.Generator().manual_seed(2))
    network.loss(network(windows()), target).total.backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name


def test_the_price_predictor_is_built_as_described():
    network = build_network(
        TypeAdapter(NetworkConfig).validate_python({"kind": "price-predictor"}),
        features=7,
        horizons=1,
    )
    kinds = (nn.LSTM, nn.Dropout, nn.BatchNorm1d, nn.Linear, nn.ReLU)
    found = [
        (
            type(layer).__name__,
            getattr(layer, "hidden_size", None)
            or getattr(layer, "num_features", None)
            or getattr(layer, "out_features", None)
            or getattr(layer, "p", None),
        )
        for layer in network.trunk.modules()
        if isinstance(layer, kinds)
    ]
    recurrent = [
        part
        for units in (128, 64, 32)
        for part in (("LSTM", units), ("Dropout", 0.2), ("BatchNorm1d", units))
    ]
    dense = [("Linear", 32), ("ReLU", None), ("Dropout", 0.2), ("Linear", 16), ("ReLU", None)]
    assert found == recurrent + dense
    assert [layer.lstm.input_size for layer in network.trunk.layers] == [7, 128, 64]
    assert network.direction.projection.in_features == 16
    assert network.change.projection.in_features == 16


def test_the_multi_layer_network_has_three_layers_of_128():
    network = build_network(
        TypeAdapter(NetworkConfig).validate_python({"kind": "multi-layer"}),
        features=20,
        horizons=1,
    )
    lstm = network.trunk.lstm
    assert (lstm.input_size, lstm.hidden_size, lstm.num_layers) == (20, 128, 3)
    assert not lstm.bidirectional


def test_an_unknown_network_or_width_is_refused():
    adapter = TypeAdapter(NetworkConfig)
    with pytest.raises(ValidationError, match="multi-layer"):
        adapter.validate_python({"kind": "convolution"})
    with pytest.raises(ValidationError, match="Extra inputs"):
        adapter.validate_python({"kind": "multi-layer", "hiden_size": 3})
    with pytest.raises(ValidationError, match="greater than 0"):
        adapter.validate_python({"kind": "multi-layer", "hidden_size": 0})
