"""Forecasters through the same training job, registry and presets as networks."""

from __future__ import annotations

import pytest

from experiments import train
from experiments.presets import load_train_config
from lightning_models import load_predictor, simulate_market
from lightning_models.forecasters import FORECASTERS
from lightning_models.home import Home

SMALL = ["network.trees=5"]


@pytest.mark.parametrize("kind", sorted(FORECASTERS))
def test_every_forecaster_has_a_preset_of_its_name(kind):
    config = load_train_config(kind)
    assert config.network == FORECASTERS[kind].Config()
    assert config.data.lookback >= 60


@pytest.mark.parametrize(
    "kind", [pytest.param("gradient-boosting", marks=pytest.mark.soak), "zero-return"]
)
def test_a_forecaster_is_trained_registered_and_refitted(kind, home: Home):
    import mlflow

    candles = simulate_market(candles=1200, seed=3, signal=0.3)
    config = load_train_config(kind, SMALL if kind == "gradient-boosting" else [])
    model = train(config, candles, name="baseline", home=home)
    assert model.alias == "champion"
    assert model.metrics["best_epoch"] == model.metrics["epochs_trained"] == 1
    assert model.metrics["val/log_loss"] > 0
    mlflow.set_tracking_uri(home.tracking_uri)
    client = mlflow.MlflowClient()
    history = client.get_metric_history(model.run_id, "train/loss")
    assert [metric.step for metric in history] == [1]
    figures = {one.path for one in client.list_artifacts(model.run_id, "figures")}
    assert "figures/loss.png" in figures
    assert not list(home.path.glob("checkpoints/*"))
    again = train(config, candles, name="baseline", home=home, refit=True)
    refitted = load_predictor(f"models:/baseline/{again.version}", home=home)
    assert refitted.bundle.evaluated_by == model.run_id
    assert refitted.predict_latest(candles[0]).confidence >= 0.5
