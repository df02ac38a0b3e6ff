"""Folds in this process and in others: the same numbers, the user's own features, an end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import joblib
import pytest
from mlflow.tracking import MlflowClient

from experiments.user_code import load_features
from experiments.walk_forward import FoldTask, WalkForwardConfig, plan_folds, run_folds
from experiments.walk_forward.carried_features import pack_features, unpack_features
from lightning_models.errors import ConfigError
from lightning_models.features import (
    FeatureSpec,
    forget_feature,
    own_features,
    register_feature,
)
from lightning_models.home import Home

ROOT = Path(__file__).parents[3]

OWN = """
import numpy as np
from lightning_models.features import register_feature

SCALE = 2.0

def carried_body(ohlcv):
    return SCALE * np.log(ohlcv[:, 3] / ohlcv[:, 0])

register_feature("carried_body", carried_body, warmup=0)
"""


@pytest.fixture
def own_feature(tmp_path):
    """A feature of the user's own, from a file that no other process can import."""
    file = tmp_path / "carried.py"
    file.write_text(OWN)
    load_features(str(file))
    yield "carried_body"
    forget_feature("carried_body")
    del sys.modules["user_carried"]


@pytest.mark.soak
def test_folds_in_two_processes_give_the_numbers_of_one_bit_for_bit(
    tiny_config, two_symbols, own_feature, tmp_path
):
    features = (*tiny_config.data.features, FeatureSpec(name=own_feature))
    config = tiny_config.model_copy(
        update={"data": tiny_config.data.model_copy(update={"features": features})}
    )
    folds = plan_folds(WalkForwardConfig(folds=2), config.data, two_symbols)

    def run(folder, jobs):
        packed = pack_features(features)
        tasks = [
            FoldTask(fold, config, two_symbols, folder / str(fold.number), "run") for fold in folds
        ]
        done = []
        fitted = run_folds(
            tasks, features=packed, jobs=jobs, on_fold=lambda one: done.append(one.fold.number)
        )
        assert sorted(done) == [one.fold.number for one in fitted] == [1, 2]
        return fitted

    alone = run(tmp_path / "one", 1)
    with joblib.parallel_config(n_jobs=2):
        together = run(tmp_path / "two", None)
    for one, other in zip(alone, together, strict=True):
        assert one.bundle.weights_sha256 == other.bundle.weights_sha256
        untold = {"created_at"}
        assert one.bundle.model_dump(exclude=untold) == other.bundle.model_dump(exclude=untold)
        assert one.scores == other.scores
        for name in ("symbol", "time", "probability_up", "predicted", "actual", "bounds"):
            a, b = getattr(one.outcomes, name), getattr(other.outcomes, name)
            assert a.tobytes() == b.tobytes(), name
        for ours, theirs in zip(one.baselines, other.baselines, strict=True):
            assert ours.probability_up.tobytes() == theirs.probability_up.tobytes(), ours.name
    # Another fold is another model: the comparison can fail.
    assert alone[0].bundle.weights_sha256 != alone[1].bundle.weights_sha256


def test_shipped_features_are_not_carried():
    assert pack_features([FeatureSpec(name="close"), FeatureSpec(name="rsi")]) == b""


def test_a_carried_feature_is_registered_where_it_arrives(own_feature):
    packed = pack_features([FeatureSpec(name=own_feature)])
    forget_feature(own_feature)
    assert own_feature not in own_features()
    unpack_features(packed)
    assert own_feature in own_features()


def test_a_feature_that_cannot_be_carried_is_named():
    lock = threading.Lock()
    register_feature("stuck", lambda ohlcv: ohlcv[:, 0] * lock.locked(), warmup=0)
    try:
        with pytest.raises(ConfigError, match=r"the feature stuck cannot be handed.*--jobs 1"):
            pack_features([FeatureSpec(name="stuck")])
    finally:
        forget_feature("stuck")


@pytest.mark.soak
@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process group alone")
def test_ctrl_c_ends_the_workers_and_says_what_was_kept(two_symbols, home, tmp_path):
    _, sim = two_symbols
    data = tmp_path / "SIM_USDT.parquet"
    sim.to_frame().to_parquet(data)
    options = [
        "network.hidden_size=8", "data.lookback=8", "data.features=[close, volume]",
        "training.epochs=100000", "training.patience=0",
    ]  # fmt: skip
    command = [
        "walk-forward", "--preset", "quickstart", "--data", data, "--folds", "2", "--jobs", "2",
        *(part for one in options for part in ("--set", one)), "--home", home.path,
    ]  # fmt: skip
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", "from experiments.cli.app import run; run()", *map(str, command)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "TMPDIR": str(scratch)},
    ) as process:  # fmt: skip
        try:
            _wait_until(lambda: len(list(scratch.glob("*/fold-*/checkpoints/last.ckpt"))) == 2)
            workers = _descendants(process.pid)
            assert len(workers) >= 2
            # As a terminal does: to the whole group.
            os.killpg(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    told = " ".join(err.split())
    assert (process.returncode, out) == (1, ""), told
    assert "Traceback" not in told
    assert "stopped before any of its 2 folds was done; nothing kept" in told
    _wait_until(lambda: not any(_runs(worker) for worker in workers), seconds=10)
    assert list(scratch.glob("lstm-walk-forward-*")) == []
    client = MlflowClient(Home(home.path).tracking_uri)
    (experiment,) = client.search_experiments(filter_string="name = 'quickstart-walk-forward'")
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"KILLED"}
    assert client.search_registered_models() == []


def _wait_until(condition, seconds=200):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _descendants(process):
    found, parents = [], [str(process)]
    while parents:
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", ",".join(parents)],
            capture_output=True, text=True, check=False,
        ).stdout.split()  # fmt: skip
        found += children
        parents = children
    return [int(one) for one in found]


def _runs(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
