"""From candles to a registered model: what is logged, stopped, resumed and refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow.tracking import MlflowClient
from torch.nn.modules.module import register_module_forward_hook

from experiments import train
from experiments.config import flatten
from experiments.tracking import tracked_run
from lightning_models import load_predictor, simulate_market
from lightning_models.bundle import bundle_sha256, read_bundle
from lightning_models.candles import fingerprint_of
from lightning_models.errors import (
    ConfigError,
    ModelNotFoundError,
    StorageError,
    TooFewCandlesError,
    TrainingError,
    TrainingInterrupted,
)
from lightning_models.evaluation import evaluate
from lightning_models.evaluation.collect import collect_outcomes
from lightning_models.home import Home
from lightning_models.networks import ForecastNetwork

ROOT = Path(__file__).parents[2]
MARKET = simulate_market(candles=900, seed=21, signal=0.3)


def changed(config, **training):
    return config.model_copy(
        update={"training": config.training.model_copy(update={"patience": 0, **training})}
    )


@pytest.fixture(scope="module")
def run(trained):
    return MlflowClient(trained.home.tracking_uri).get_run(trained.model.run_id)


def artifacts(trained):
    root = trained.home.artifacts / "tiny" / trained.model.run_id / "artifacts"
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_model_is_registered_as_champion_of_its_name(trained):
    assert (trained.model.name, trained.model.version) == ("tiny", 1)
    predictor = load_predictor(trained.champion, home=trained.home)
    assert predictor.model == trained.model.uri
    assert predictor.bundle == read_bundle(trained.model.path)


def test_the_experiment_bears_the_models_name(trained, run):
    client = MlflowClient(trained.home.tracking_uri)
    assert client.get_experiment(run.info.experiment_id).name == "tiny"
    assert run.info.status == "FINISHED"


def test_parameters_are_the_dotted_configuration(trained, run):
    expected = flatten(trained.config.model_dump(mode="json"))
    assert set(run.data.params) == set(expected)
    assert run.data.params["training.epochs"] == "2"
    assert run.data.params["network.kind"] == "multi-layer"
    assert run.data.params["data.lookback"] == "8"


def test_metrics_have_their_names_and_their_bounds(trained, run):
    scores = ["log_loss", "majority_log_loss", "auc", "brier", "ece", "directional_accuracy"]
    for score in scores:
        low, value, high = (run.data.metrics[f"test/{score}{b}"] for b in ("_low", "", "_high"))
        assert low <= value <= high, score
    for level in (80, 95):
        name = f"test/coverage_{level}"
        low, got, high = (run.data.metrics[f"{name}{bound}"] for bound in ("_low", "", "_high"))
        assert low <= got <= high
    assert {"test/ece_uncalibrated", "test/brier_uncalibrated"} <= set(run.data.metrics)
    assert {"train/loss", "val/loss", "val/log_loss"} <= set(run.data.metrics)
    history = MlflowClient(trained.home.tracking_uri).get_metric_history(
        run.info.run_id, "train/loss"
    )
    assert [point.step for point in history] == [1, 2]
    assert read_bundle(trained.model.path).metrics == trained.model.metrics
    assert run.data.metrics["test/auc"] == trained.model.metrics["test/auc"]


def test_tags_say_what_was_trained_on_what(trained, run):
    ours = {key: value for key, value in run.data.tags.items() if key.startswith("lstm.")}
    assert ours.pop("lstm.verdict").startswith("Skill found")
    assert ours == {
        "lstm.kind": "train",
        "lstm.preset": "quickstart",
        "lstm.symbols": "SIM/USDT",
        "lstm.timeframe": "1h",
        "lstm.data_fingerprint": fingerprint_of(trained.candles),
        "lstm.bundle_sha256": bundle_sha256(trained.model.path),
    }


def test_candles_are_inputs_of_the_run(trained, run):
    (one,) = run.inputs.dataset_inputs
    assert one.dataset.name == "SIM/USDT 1h"
    assert one.dataset.digest == trained.candles[0].fingerprint[:36]


def test_figures_and_evaluation_are_artifacts(trained):
    assert artifacts(trained) == [
        "evaluation.json",
        "figures/confusion.png",
        "figures/loss.png",
        "figures/reliability.png",
    ]


def test_checkpoints_lie_in_the_home(trained):
    folder = trained.home.checkpoints(trained.model.run_id)
    assert sorted(path.name for path in folder.iterdir()) == ["best.ckpt", "last.ckpt", "run.json"]


def test_nothing_is_left_in_the_temporary_folder(home, tiny_config, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    train(changed(tiny_config, epochs=1), MARKET, name="x", home=home)
    assert [path for path in scratch.iterdir() if "lstm" in path.name] == []


def test_metrics_are_those_of_candles_the_model_had_not_seen(trained):
    bundle = read_bundle(trained.model.path)
    predictor = trained.predictor()
    candles = trained.candles[0]
    lines = predictor.predict_batch(candles)
    decided = candles.time + candles.period_ms
    rows = np.flatnonzero(decided >= bundle.unseen_from_ms)[:-1]
    actual = candles.ohlcv[rows + 1, 3] / candles.ohlcv[rows + 1, 0] - 1
    rows, actual = rows[actual != 0], actual[actual != 0]
    hits = (lines["direction"].to_numpy()[rows] > 0) == (actual > 0)
    assert trained.model.metrics["test/directional_accuracy"] == pytest.approx(hits.mean())
    assert len(rows) == bundle.slices["test"].samples


@pytest.mark.soak
def test_the_same_configuration_and_candles_give_the_same_weights(home, other_home, tiny_config):
    config = changed(tiny_config, epochs=1)
    hashes = {
        read_bundle(train(config, MARKET, name="x", home=each).path).weights_sha256
        for each in (home, other_home)
    }
    assert len(hashes) == 1


@pytest.mark.soak
def test_a_later_version_challenges_the_champion_unless_it_is_promoted(home, tiny_config):
    config = changed(tiny_config, epochs=1)
    made = [
        train(config, MARKET, name="x", home=home),
        train(config, MARKET, name="x", home=home),
        train(config, MARKET, name="x", home=home, promote=True),
    ]
    assert [each.alias for each in made] == ["champion", "challenger", "champion"]


def test_the_users_active_run_is_joined_and_left_open(home, tiny_config):
    with tracked_run(home, "theirs", run_name="outer") as outer:
        model = train(changed(tiny_config, epochs=1), MARKET, name="x", home=home)
        assert model.run_id == outer == mlflow.active_run().info.run_id


@pytest.mark.soak
def test_several_symbols_and_horizons_make_one_model(home, tiny_config):
    market = simulate_market(candles=900, symbols=("AAA/USDT", "BBB/USDT"), seed=2)
    data = tiny_config.data.model_copy(update={"horizons": (1, "4h")})
    config = changed(tiny_config.model_copy(update={"data": data}), epochs=1)
    model = train(config, market, name="x", home=home)
    bundle = read_bundle(model.path)
    assert bundle.symbols == ("AAA/USDT", "BBB/USDT")
    assert [horizon.name for horizon in bundle.horizons] == ["1h", "4h"]
    predictor = load_predictor(model.path)
    assert predictor.predict_latest(market[1], horizon="4h").symbol == "BBB/USDT"
    start = bundle.unseen_from_ms
    farther = evaluate(collect_outcomes(predictor, market, start=start, horizon=1), seed=0)
    assert bundle.metrics["test/horizon/4h/n"] == farther.n
    assert bundle.metrics["test/horizon/4h/log_loss"] == pytest.approx(farther.log_loss, abs=1e-6)
    assert bundle.metrics["test/horizon/4h/log_loss"] != bundle.metrics["test/log_loss"]


@pytest.mark.soak  # the command line's own test holds the same from there
def test_ctrl_c_keeps_the_checkpoints_and_the_run_can_be_resumed(home, other_home, tiny_config):
    """The real signal, to a process of its own."""
    script = (
        "import logging\n"
        "from experiments import train\n"
        "from experiments.config import TrainConfig\n"
        "from lightning_models import simulate_market\n"
        "from lightning_models.errors import TrainingInterrupted\n"
        "import sys\n"
        "config = TrainConfig.model_validate_json(sys.argv[1])\n"
        "market = simulate_market(candles=900, seed=21, signal=0.3)\n"
        "try:\n"
        "    train(config, market, name='x', home=sys.argv[2])\n"
        "except TrainingInterrupted as error:\n"
        "    print('STOPPED', error)\n"
    )
    config = changed(tiny_config, epochs=2000)
    process = subprocess.Popen(
        [sys.executable, "-c", script, config.model_dump_json(), str(home.path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        deadline = time.monotonic() + 120
        while not list(home.path.glob("checkpoints/*/last.ckpt")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    (folder,) = home.path.glob("checkpoints/*")
    assert process.returncode == 0, errors
    assert said.startswith("STOPPED training was stopped after")
    assert f"--resume {folder.name}" in said
    assert (folder / "best.ckpt").is_file()
    assert MlflowClient(home.tracking_uri).get_run(folder.name).info.status == "KILLED"
    with pytest.raises(ModelNotFoundError):
        load_predictor("models:/x@champion", home=home)

    done = torch.load(folder / "last.ckpt", weights_only=True)["epoch"] + 1
    shorter = changed(tiny_config, epochs=done + 1)
    resumed = train(shorter, MARKET, name="x", home=home, resume="last")
    assert resumed.run_id == folder.name
    assert MlflowClient(home.tracking_uri).get_run(folder.name).info.status == "FINISHED"
    whole = train(shorter, MARKET, name="x", home=other_home)
    assert read_bundle(whole.path).weights_sha256 == read_bundle(resumed.path).weights_sha256


@pytest.fixture(scope="module")
def stopped_home(tiny_config, empty_home):
    """A home in which training was stopped by Ctrl-C in its second epoch."""
    batches = 0

    def press_ctrl_c(module, arguments, output):
        nonlocal batches
        if not (isinstance(module, ForecastNetwork) and module.training):
            return
        batches += 1
        if batches == 15:
            os.kill(os.getpid(), signal.SIGINT)

    home = empty_home()
    hook = register_module_forward_hook(press_ctrl_c)
    try:
        with pytest.raises(TrainingInterrupted, match="after 1 epoch"):
            train(changed(tiny_config, epochs=2), MARKET, name="x", home=home)
    finally:
        hook.remove()
    return home


@pytest.fixture
def stopped(stopped_home, tiny_config, tmp_path):
    """A copy of that home, with the configuration and the run's id."""
    home = Home(Path(shutil.copytree(stopped_home.path, tmp_path / "stopped")))
    (folder,) = home.path.glob("checkpoints/*")
    return home, changed(tiny_config, epochs=2), folder.name


@pytest.mark.parametrize("by", ["id", "last"])
def test_a_run_is_resumed_by_its_id_or_as_the_last_of_its_name(stopped, by):
    home, config, run_id = stopped
    resume = run_id if by == "id" else "last"
    model = train(changed(config, epochs=3), MARKET, name="x", home=home, resume=resume)
    assert model.run_id == run_id
    assert read_bundle(model.path).metrics["epochs_trained"] == 3


@pytest.mark.parametrize("change", ["network", "data", "training", "candles", "name"])
def test_a_run_is_not_resumed_as_something_else(stopped, change):
    home, config, run_id = stopped
    market, name = MARKET, "x"
    if change == "network":
        network = config.network.model_copy(update={"hidden_size": 9})
        config = config.model_copy(update={"network": network})
    elif change == "data":
        config = config.model_copy(update={"data": config.data.model_copy(update={"lookback": 9})})
    elif change == "training":
        config = changed(config, seed=3)
    elif change == "candles":
        market = [MARKET[0].between(None, int(MARKET[0].time[899]))]
    else:
        name = "y"
    with pytest.raises(TrainingError, match=rf"started with other {change}: resume it with the sa"):
        train(config, market, name=name, home=home, resume=run_id)


@pytest.mark.parametrize("setting", ["learning_rate", "gradient_clip"])
def test_a_run_that_kept_its_loss_does_not_change_its_settings(stopped, setting):
    home, config, run_id = stopped
    with pytest.raises(TrainingError, match="started with other training"):
        train(changed(config, **{setting: 0.5}), MARKET, name="x", home=home, resume=run_id)


def diverging(config, **training):
    # Each step multiplies the weights by 1 - 0.5 * 6.
    settings = {"learning_rate": 0.5, "weight_decay": 6.0, "epochs": 20}
    return changed(config, **settings | training)


@pytest.fixture(scope="module")
def lost_home(tiny_config, empty_home):
    """A home with a run whose weights grew past the largest float, and what was said of it."""
    home = empty_home()
    with pytest.raises(TrainingError) as caught:
        train(diverging(tiny_config), MARKET, name="x", home=home)
    return home, str(caught.value)


@pytest.fixture
def lost(lost_home, tmp_path):
    """A copy of that home, with the run's id and the message."""
    home = Home(Path(shutil.copytree(lost_home[0].path, tmp_path / "lost")))
    (folder,) = home.path.glob("checkpoints/*")
    return home, folder.name, lost_home[1]


def test_a_run_that_lost_its_loss_says_how_to_go_on_and_registers_nothing(lost):
    home, run_id, message = lost
    assert "the best so far" in message
    assert message.endswith(f"repeat the same command with --resume {run_id}")
    assert MlflowClient(home.tracking_uri).get_run(run_id).info.status == "FAILED"
    with pytest.raises(ModelNotFoundError):
        load_predictor("models:/x@champion", home=home)


def test_it_goes_on_from_its_best_epoch_with_a_lower_rate(lost, tiny_config):
    home, run_id, _ = lost
    held = torch.load(home.checkpoints(run_id) / "last.ckpt", weights_only=True)
    epochs = held["epoch"] + 2
    config = diverging(tiny_config, learning_rate=0.001, epochs=epochs)
    model = train(config, MARKET, name="x", home=home, resume="last")
    assert model.run_id == run_id
    assert model.metrics["epochs_trained"] == epochs
    tags = MlflowClient(home.tracking_uri).get_run(run_id).data.tags
    assert json.loads(tags["lstm.resumed_with"]) == {"gradient_clip": 1.0, "learning_rate": 0.001}


def test_it_does_not_go_on_with_what_it_was_lost_with(lost, tiny_config):
    home, run_id, _ = lost
    with pytest.raises(TrainingError, match=r"lost its loss in epoch .*learning rate of 0\.5 and"):
        train(diverging(tiny_config), MARKET, name="x", home=home, resume=run_id)


def test_it_does_not_go_on_with_other_settings_than_those_two(lost, tiny_config):
    home, run_id, _ = lost
    config = diverging(tiny_config, learning_rate=0.001, weight_decay=0.0)
    with pytest.raises(TrainingError, match="started with other training"):
        train(config, MARKET, name="x", home=home, resume=run_id)


def test_a_run_that_is_not_there_is_not_resumed(stopped):
    home, config, run_id = stopped
    for wanted, name in (("nothing", "x"), ("last", "other")):
        with pytest.raises(TrainingError, match=rf"no run '{wanted}' to resume.*{run_id}"):
            train(config, MARKET, name=name, home=home, resume=wanted)


def test_a_run_that_has_finished_is_not_resumed(trained):
    with pytest.raises(TrainingError, match="has finished and was registered"):
        train(trained.config, trained.candles, name="tiny", home=trained.home, resume="last")


def test_a_run_that_its_tracking_server_no_longer_knows_is_told(stopped, migrated_database):
    home, config, _ = stopped
    shutil.copy(migrated_database, home.path / "mlflow.db")
    with pytest.raises(TrainingError, match="does not know run"):
        train(config, MARKET, name="x", home=home, resume="last")


def test_a_damaged_record_of_a_run_is_told(stopped):
    home, config, run_id = stopped
    (home.checkpoints(run_id) / "run.json").write_text("{")
    with pytest.raises(TrainingError, match=r"run\.json cannot be read"):
        train(config, MARKET, name="x", home=home, resume=run_id)


def test_what_cannot_be_trained_on_leaves_no_run_behind(home, tiny_config):
    few = [MARKET[0].between(None, int(MARKET[0].time[100]))]
    with pytest.raises(TooFewCandlesError):
        train(tiny_config, few, name="x", home=home)
    with pytest.raises(ConfigError, match="no candles"):
        train(tiny_config, [], name="x", home=home)
    with pytest.raises(ConfigError, match="cannot name a model"):
        train(tiny_config, MARKET, name="a/b", home=home)
    assert [each.name for each in MlflowClient(home.tracking_uri).search_experiments()] == [
        "Default"
    ]


def test_a_checkpoint_folder_that_cannot_be_made_is_told(home, tiny_config):
    (home.path / "checkpoints").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        train(changed(tiny_config, epochs=1), MARKET, name="x", home=home)


def test_the_record_of_a_run_names_what_must_stay_the_same(trained):
    record = json.loads((trained.home.checkpoints(trained.model.run_id) / "run.json").read_text())
    assert set(record) == {"name", "network", "data", "training", "candles"}
    assert not {"epochs", "patience", "checkpoint_seconds"} & set(json.loads(record["training"]))
