"""Folds on a cluster: the numbers of this process, without a disk in common, workers lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import cloudpickle
import joblib
import pytest

from experiments.clusters import on_backend
from experiments.dask_workers import _run_packed
from experiments.walk_forward import FoldTask, WalkForwardConfig, plan_folds, run_folds
from experiments.walk_forward.running import _fit_and_send, _received
from lightning_models.bundle import read_bundle

pytest.importorskip("distributed", reason="needs the extra cluster")

ROOT = Path(__file__).parents[3]


def tasks_of(config, candles, folder, folds=2):
    return [
        FoldTask(fold, config, candles, folder / fold.name.split()[1], "run")
        for fold in plan_folds(WalkForwardConfig(folds=folds), config.data, candles)
    ]


def numbers_of(fitted):
    """Return all that must be the same to the last bit."""
    return (
        fitted.bundle.model_dump(exclude={"created_at"}),
        fitted.scores,
        [
            getattr(fitted.outcomes, name).tobytes()
            for name in ("symbol", "time", "probability_up", "predicted", "actual", "bounds")
        ],
        [one.probability_up.tobytes() for one in fitted.baselines],
    )


def test_a_fold_needs_no_disk_in_common_and_its_numbers_outlive_the_way(
    tiny_config, two_symbols, tmp_path
):
    here, *_ = tasks_of(tiny_config, two_symbols, tmp_path)
    # No such folder where the worker runs.
    there, *_ = tasks_of(tiny_config, two_symbols, tmp_path / "nowhere")
    sent = cloudpickle.loads(_run_packed(cloudpickle.dumps(partial(_fit_and_send, there))))
    assert not (tmp_path / "nowhere").exists()
    succeeded, found = sent
    assert succeeded
    arrived = _received(there, found)
    assert arrived.folder == there.folder / "bundle"
    assert read_bundle(arrived.folder) == arrived.bundle
    alone = _received(here, _fit_and_send(here))
    assert numbers_of(arrived) == numbers_of(alone)
    # Only what was kept is left of an attempt.
    assert sorted(one.name for one in tmp_path.iterdir()) == [here.folder.name, "nowhere"]


@pytest.mark.soak
def test_folds_whose_worker_was_lost_have_the_numbers_of_this_process_bit_for_bit(
    tiny_config, two_symbols, dask_processes, until, tmp_path
):
    alone, loky, there = (tmp_path / name for name in ("alone", "loky", "there"))
    expected = run_folds(tasks_of(tiny_config, two_symbols, alone), jobs=1)
    with joblib.parallel_config(n_jobs=2):
        beside = run_folds(tasks_of(tiny_config, two_symbols, loky))
    there.mkdir()
    lost, _ = (dask_processes.start_worker() for _ in range(2))

    def lose_it():
        until(lambda: len(list(there.glob("*-*/checkpoints"))) == 2)
        lost.kill()

    killer = threading.Thread(target=lose_it)
    killer.start()
    with on_backend("dask", scheduler=dask_processes.address):
        found = run_folds(tasks_of(tiny_config, two_symbols, there))
    killer.join()
    # Its attempt at a fold is what remains of it.
    assert len(list(there.glob("*-*/checkpoints"))) == 1
    assert [one.fold.number for one in found] == [1, 2]
    assert [numbers_of(one) for one in found] == [numbers_of(one) for one in expected]
    assert [numbers_of(one) for one in beside] == [numbers_of(one) for one in expected]
    assert numbers_of(expected[0]) != numbers_of(expected[1])


@pytest.mark.soak
def test_the_command_fits_its_folds_on_a_cluster(two_symbols, dask_processes, home, tmp_path):
    _, sim = two_symbols
    sim.to_frame().to_parquet(tmp_path / "SIM_USDT.parquet")
    dask_processes.start_worker()
    options = [
        "network.hidden_size=8", "data.lookback=8", "data.features=[close, volume]",
        "training.epochs=2",
    ]  # fmt: skip

    def run(*where):
        command = [
            "walk-forward", "--preset", "quickstart", "--data", tmp_path / "SIM_USDT.parquet",
            "--folds", "2", "--json", "--home", home.path, *where,
            *(part for one in options for part in ("--set", one)),
        ]  # fmt: skip
        ended = subprocess.run(
            [sys.executable, "-c", "from experiments.cli.app import run; run()",
             *map(str, command)],
            cwd=ROOT, capture_output=True, text=True, check=False, env=dict(os.environ),
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        assert all(line.endswith("is done") for line in ended.stderr.splitlines()), ended.stderr
        return json.loads(ended.stdout)

    there = run("--backend", "dask", "--scheduler", dask_processes.address)
    here = run("--jobs", "1")
    assert [fold["scores"] for fold in there["folds"]] == [one["scores"] for one in here["folds"]]
    assert there["joined"] == here["joined"]
