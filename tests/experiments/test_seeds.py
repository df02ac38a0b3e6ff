"""Several seeds of one configuration: what is trained, chosen, logged and told."""

from __future__ import annotations

import os
import signal
import statistics
from dataclasses import replace

import numpy as np
import pytest
from mlflow.tracking import MlflowClient
from torch.nn.modules.module import register_module_forward_hook

from experiments import train
from experiments.seeds import SPREAD_METRICS, train_seeds
from lightning_models import simulate_market
from lightning_models.bundle import read_bundle
from lightning_models.data.slices import SliceConfig
from lightning_models.errors import ConfigError, TrainingInterrupted
from lightning_models.networks import ForecastNetwork

MARKET = simulate_market(candles=900, seed=21, signal=0.3)


def configured(config, **changes):
    training = config.training.model_copy(update={"epochs": 1, "patience": 0, **changes})
    return config.model_copy(update={"training": training})


@pytest.fixture(scope="module")
def home(empty_home):
    return empty_home()


@pytest.fixture(scope="module")
def study(tiny_config, home):
    return train_seeds(configured(tiny_config, seed=3), MARKET, name="coin", seeds=3, home=home)


@pytest.fixture(scope="module")
def client(study, home):
    return MlflowClient(home.tracking_uri)


def test_seeds_count_up_from_the_configurations_own(study):
    assert [row.seed for row in study.rows] == [3, 4, 5]
    losses = [row.metrics["val/loss"] for row in study.rows]
    assert len(set(losses)) == 3


def test_the_seed_with_the_lowest_validation_loss_is_registered_and_no_other(study, client):
    best = min(study.rows, key=lambda row: row.metrics["val/loss"])
    assert (study.seed, study.model.run_id) == (best.seed, best.run_id)
    assert [one.run_id for one in client.search_model_versions("name='coin'")] == [best.run_id]
    assert study.model.metrics["test/log_loss"] == best.metrics["test/log_loss"]


def test_the_registered_model_is_what_its_seed_alone_would_have_given(
    study, tiny_config, other_home
):
    config = configured(tiny_config, seed=study.seed)
    alone = train(config, MARKET, name="coin", home=other_home)
    assert read_bundle(alone.path).weights_sha256 == read_bundle(study.model.path).weights_sha256


@pytest.mark.soak
def test_what_happens_in_the_test_slice_takes_no_part_in_the_choice(study, tiny_config, other_home):
    (one,) = MARKET
    ohlcv = one.ohlcv.copy()
    ohlcv[-130:, :4] *= np.random.default_rng(0).uniform(0.5, 2.0, (130, 1))
    config = configured(tiny_config, seed=3)
    other = train_seeds(config, [replace(one, ohlcv=ohlcv)], name="coin", seeds=3, home=other_home)
    assert other.seed == study.seed
    for row, before in zip(other.rows, study.rows, strict=True):
        assert row.metrics["val/loss"] == before.metrics["val/loss"]
        # The control: the test slice did change.
        assert row.metrics["test/log_loss"] != before.metrics["test/log_loss"]


def test_every_seed_is_a_finished_run_below_the_studys(study, client):
    for row in study.rows:
        run = client.get_run(row.run_id)
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == study.run_id
        assert run.data.tags["lstm.seed"] == str(row.seed)
        assert run.data.params["training.seed"] == str(row.seed)
        assert run.data.metrics["test/auc"] == row.metrics["test/auc"]
        assert [one.path for one in client.list_artifacts(row.run_id)] == [
            "evaluation.json",
            "figures",
        ]


def test_mean_and_deviation_are_metrics_of_the_study(study, client):
    run = client.get_run(study.run_id)
    for name in SPREAD_METRICS:
        values = [row.metrics[name] for row in study.rows]
        assert run.data.metrics[f"{name}_mean"] == pytest.approx(statistics.mean(values))
        assert run.data.metrics[f"{name}_deviation"] == pytest.approx(statistics.stdev(values))
    assert run.info.status == "FINISHED"
    assert run.data.params == {"preset": "quickstart", "seeds": "3"}
    assert run.data.tags["lstm.kind"] == "seeds"
    assert run.data.tags["lstm.chosen_run"] == study.model.run_id
    assert run.data.tags["lstm.verdict"] == study.verdict


def test_the_verdict_tells_the_deviation_and_why_the_seed_was_chosen(study):
    gains = [row.metrics["test/log_loss_gain"] for row in study.rows]
    assert study.verdict == (
        "Over 3 seeds the log-loss gain over the majority class is "
        f"{statistics.mean(gains):+.5f} ± {statistics.stdev(gains):.5f} nats, "
        f"from {min(gains):+.5f} to {max(gains):+.5f}. "
        f"Seed {study.seed} was registered, for its validation loss."
    )


@pytest.mark.soak
def test_ctrl_c_keeps_the_seeds_that_finished_and_registers_nothing(tiny_config, other_home):
    trained = []

    def press_ctrl_c(module, arguments, output):
        if not isinstance(module, ForecastNetwork) or module in trained:
            return
        trained.append(module)
        if len(trained) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    hook = register_module_forward_hook(press_ctrl_c)
    try:
        with pytest.raises(TrainingInterrupted, match="stopped at seed 1, 1 of 3 finished"):
            train_seeds(configured(tiny_config), MARKET, name="coin", seeds=3, home=other_home)
    finally:
        hook.remove()
    client = MlflowClient(other_home.tracking_uri)
    experiment = client.get_experiment_by_name("coin").experiment_id
    runs = {run.info.run_name: run.info.status for run in client.search_runs([experiment])}
    assert runs == {"quickstart, 3 seeds": "KILLED", "seed 0": "FINISHED", "seed 1": "KILLED"}
    assert client.search_model_versions("name='coin'") == []


def test_one_seed_is_refused(tiny_config, other_home):
    with pytest.raises(ConfigError, match="1 seed has no deviation: give at least 2"):
        train_seeds(tiny_config, MARKET, name="coin", seeds=1, home=other_home)


def test_without_a_validation_slice_there_is_nothing_to_choose_by(tiny_config, other_home):
    slices = SliceConfig(train=0.7, validation=0.0, calibration=0.1, test=0.2)
    config = tiny_config.model_copy(
        update={"data": tiny_config.data.model_copy(update={"slices": slices})}
    )
    with pytest.raises(ConfigError, match=r"data\.slices\.validation is 0"):
        train_seeds(config, MARKET, name="coin", seeds=2, home=other_home)
    assert not other_home.artifacts.exists() or not any(other_home.artifacts.iterdir())
