"""How members are weighed, joined, and fitted one after the other."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from lightning_models import simulate_market
from lightning_models.data.datamodule import CandleDataModule, DataConfig
from lightning_models.ensemble import fit_ensemble, member_weights
from lightning_models.errors import ConfigError
from lightning_models.export import export_bundle
from lightning_models.forecasters.fitting import fit_forecaster
from lightning_models.inference import runner_of
from lightning_models.networks import build_network
from lightning_models.networks.ensemble import EnsembleConfig
from lightning_models.predictor import Predictor
from lightning_models.training import TrainingConfig

SMALL = {"kind": "multi-layer", "hidden_size": 4, "layers": 1, "dropout": 0.1}
REGRESSION = {"kind": "logistic-regression", "rows": 2}
MAJORITY = {"kind": "majority-class"}
TRAINING = TrainingConfig(epochs=2, batch_size=64, learning_rate=0.01, patience=1)
SLICES = {"train": 0.5, "validation": 0.15, "calibration": 0.15, "test": 0.2}


def ensemble_config(*networks, **last):
    members = [{"name": f"m{place}", "network": one} for place, one in enumerate(networks)]
    members[-1] |= last
    return EnsembleConfig.model_validate({"members": members})


def module_of(candles, **changes):
    config = {"features": ("close", "volume"), "lookback": 6, "slices": SLICES, **changes}
    return CandleDataModule(DataConfig(**config), candles, batch_size=64)


@pytest.fixture(scope="module")
def data():
    return module_of(simulate_market(candles=1500, seed=2, signal=0.5))


def forecaster_of(data, kind):
    config = ensemble_config(kind, SMALL).members[0].network
    features = len(data.config.features)
    fitted = fit_forecaster(build_network(config, features=features, horizons=1), data)
    bundle = export_bundle(fitted.network, config, data)
    runner = runner_of(fitted.network, lookback=bundle.lookback, burn_in=None)
    return Predictor(bundle, runner, model=str(config.kind), sha256="")


def fitted(config, data, folder, **options):
    return fit_ensemble(
        lambda: build_network(config, features=len(data.config.features), horizons=1),
        data,
        TRAINING,
        checkpoints=folder,
        **options,
    )


def test_a_member_with_skill_outweighs_one_without(data):
    able, idle = forecaster_of(data, REGRESSION), forecaster_of(data, MAJORITY)
    start, end = data.slices.bounds("validation")
    found = member_weights([able, idle], data.candles, start, end)
    assert found.by_skill
    assert found.weights[0] > 0.95
    assert sum(found.weights) == pytest.approx(1.0)
    assert found.gains[0] > 0.02 > abs(found.gains[1])


def test_without_skill_all_count_the_same_and_it_says_so(data):
    start, end = data.slices.bounds("validation")
    able = forecaster_of(data, REGRESSION)
    turned = member_weights([able, able], [_turned(data.candles[0])], start, end)
    assert max(turned.gains) < 0
    assert turned.weights == (0.5, 0.5)
    assert not turned.by_skill
    assert "none has a lower log-loss" in turned.reason


def _turned(candles):
    # The same volumes with every price's reciprocal: what foretold a rise foretells a fall.
    from lightning_models.candles import Candles

    prices = 1.0 / candles.ohlcv[:, [0, 2, 1, 3]]
    return Candles(
        symbol=candles.symbol,
        timeframe=candles.timeframe,
        market=candles.market,
        time=candles.time,
        ohlcv=np.column_stack([1e4 * prices, candles.ohlcv[:, 4]]),
    )


def test_a_slice_too_short_to_tell_weighs_nobody(data):
    able, idle = forecaster_of(data, REGRESSION), forecaster_of(data, MAJORITY)
    start, _ = data.slices.bounds("validation")
    for end in (start, start + 10 * 3_600_000):
        found = member_weights([able, idle], data.candles, start, end)
        assert found.weights == (0.5, 0.5)
        assert found.gains == (None, None)
        assert "no validation slice" in found.reason


def test_members_are_fitted_weighed_and_joined(data, tmp_path, caplog):
    config = ensemble_config(SMALL, REGRESSION, features=["volume"], lookback=3)
    told = []
    with caplog.at_level(logging.INFO, "lightning_models.ensemble"):
        result = fitted(
            config, data, tmp_path, on_epoch=lambda epoch, row: told.append((epoch, set(row)))
        )
    network = result.network
    assert float(network.weights.sum()) == pytest.approx(1.0)
    (row,) = result.history
    assert row["member/2-m1/weight"] == pytest.approx(float(network.weights[1]))
    assert row["val/log_loss"] < 0.69
    assert {"train/loss", "val/loss", "val/pinball"} <= set(row)
    assert any("member/1-m0/val/loss" in names for _, names in told)
    assert "members count by their log-loss gain" in caplog.text
    assert network.members[1].columns.tolist() == [1]
    bundle = export_bundle(network, config, data)
    predictor = Predictor(bundle, runner_of(network, lookback=6, burn_in=None), model="", sha256="")
    candles = data.candles[0]
    every = predictor.forecast_arrays(candles.time, candles.ohlcv)
    last = predictor.forecast_latest(
        candles.time[-bundle.required_bars :], candles.ohlcv[-bundle.required_bars :]
    )
    np.testing.assert_allclose(every.probability[-1], last[0], atol=1e-5)
    np.testing.assert_allclose(every.quantiles[-1], last[1], atol=1e-5)


def test_the_same_seed_gives_the_same_ensemble_and_each_member_its_own_weights(data, tmp_path):
    config = ensemble_config(SMALL, SMALL)
    first, again = (fitted(config, data, tmp_path / name).network for name in "ab")
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    one, two = (member.network.state_dict() for member in first.members)
    assert not torch.equal(one["direction.projection.weight"], two["direction.projection.weight"])


def test_a_resumed_fit_ends_as_if_it_had_never_stopped(data, tmp_path):
    config = ensemble_config(SMALL, SMALL)
    whole = fitted(config, data, tmp_path / "whole").network

    class StoppedError(Exception):
        pass

    def stop(epoch, row):
        if any(name.startswith("member/2") for name in row):
            raise StoppedError

    with pytest.raises(StoppedError):
        fitted(config, data, tmp_path / "parts", on_epoch=stop)
    finished = (tmp_path / "parts" / "member-1" / "best.ckpt").stat().st_mtime_ns
    resumed = fitted(config, data, tmp_path / "parts", resume=True).network
    assert (tmp_path / "parts" / "member-1" / "best.ckpt").stat().st_mtime_ns == finished
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_without_a_validation_slice_nobody_can_be_weighed(data, tmp_path):
    shares = {"train": 0.8, "validation": 0.0, "calibration": 0.2, "test": 0.0}
    blind = module_of(data.candles, slices=shares)
    with pytest.raises(ConfigError, match="validation slice, and there is none"):
        fitted(ensemble_config(SMALL, SMALL), blind, tmp_path)


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ({"features": ["rsi"]}, r"'m1' reads rsi\(14\), which data.features does not name"),
        ({"lookback": 7}, "'m1' reads 7 candles and the ensemble's windows have 6"),
    ],
)
def test_a_member_that_wants_more_than_there_is_is_refused(data, tmp_path, last, words):
    with pytest.raises(ConfigError, match=words):
        fitted(ensemble_config(SMALL, SMALL, **last), data, tmp_path)


def test_barriers_are_learned_and_joined_with_their_time_outs(tmp_path):
    data = module_of(
        simulate_market(candles=1500, seed=2, signal=0.5), target="triple-barrier", horizons=(4,)
    )
    config = ensemble_config(SMALL, REGRESSION)
    network = fit_ensemble(
        lambda: build_network(config, features=2, horizons=1, target="triple-barrier"),
        data,
        TRAINING,
        checkpoints=tmp_path,
    )
    assert "val/timeout_log_loss" in network.history[0]
    bundle = export_bundle(network.network, config, data)
    runner = runner_of(network.network, lookback=6, burn_in=None)
    forecast = Predictor(bundle, runner, model="", sha256="").predict_latest(data.candles[0])
    assert 0 < forecast.p_timeout < 1
