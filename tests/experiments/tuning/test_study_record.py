"""What a study's storage keeps of it, and how one that differs is told."""

from __future__ import annotations

import subprocess
import sys
from threading import Event, Thread

import pytest

from experiments.settings import validated
from experiments.tuning.config import StudyConfig
from experiments.tuning.development import cut_holdout
from experiments.tuning.loading import starting_point
from experiments.tuning.storage import open_storage
from experiments.tuning.study_record import StudyData, changes, open_study, read_record
from lightning_models import simulate_market
from lightning_models.errors import ConfigError


def test_changes_name_each_field_that_differs():
    before = {"space.a.low": 1, "space.b": 2, "same": 0}
    now = {"space.a.low": 3, "same": 0, "new": [1]}
    assert changes(before, now) == [
        "new: now [1]",
        "space.a.low: 1, now 3",
        "space.b: 2, now left out",
    ]


def test_reading_what_a_study_is_needs_no_torch_and_no_mlflow():
    program = (
        "import sys, experiments.tuning.study_record as one; "
        "print(sorted({'torch', 'mlflow', 'backtrader'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def opened(home, make_run):
    config = validated(
        StudyConfig,
        {
            "name": "made",
            "preset": "logistic-regression",
            "space": {"network.l2": [0.1, 0.01]},
        },
        origin="study",
    )
    data = StudyData.of(cut_holdout(simulate_market(candles=500), 0.15))
    return open_study(
        config,
        starting_point(config),
        data,
        storage=open_storage(None, home=home, name="made"),
        make_run=make_run,
    )


def test_whoever_joins_waits_for_a_maker_that_takes_its_time(home):
    making, go_on, runs = Event(), Event(), []

    def slowly(key):
        making.set()
        assert go_on.wait(60)
        runs.append(key)
        return "the one run"

    found = {}
    maker = Thread(target=lambda: found.update(maker=opened(home, slowly)[1]))
    maker.start()
    assert making.wait(60)
    joiner = Thread(target=lambda: found.update(joiner=opened(home, slowly)[1]))
    joiner.start()
    # The joiner has found the study and waits; before, it would have made one of its own.
    joiner.join(1.0)
    assert joiner.is_alive()
    go_on.set()
    maker.join(60)
    joiner.join(60)
    assert found["maker"] == found["joiner"]
    assert runs == [found["maker"].key]
    assert found["maker"].run_id == "the one run"


def test_a_study_whose_maker_was_killed_is_made_by_whoever_comes_next(home):
    program = """
import os, signal, sys
from pathlib import Path
from lightning_models.home import Home
from tests.experiments.tuning.test_study_record import opened
opened(Home(Path(sys.argv[1])), lambda key: os.kill(os.getpid(), signal.SIGKILL))
"""
    done = subprocess.run([sys.executable, "-c", program, str(home.path)], check=False)
    assert done.returncode == -9
    study, record = opened(home, lambda key: f"run of {key}")
    assert record.run_id == f"run of {record.key}"
    assert read_record(study) == record


def test_a_feature_that_is_unknown_on_this_machine_is_named(home):
    _, record = opened(home, lambda key: "the run")
    features = [*record.start["train"]["data"]["features"], {"name": "of_another_machine"}]
    train = record.start["train"]
    changed = train | {"data": train["data"] | {"features": features}}
    elsewhere = record.model_copy(update={"start": record.start | {"train": changed}})
    with pytest.raises(ConfigError, match=r"study made, as it was begun: .*of_another_machine"):
        _ = elsewhere.starting_point
