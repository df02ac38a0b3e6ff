"""Runs below a run: how they end, and what becomes of one whose process was killed."""

from __future__ import annotations

import subprocess
import sys

import pytest
from mlflow.tracking import MlflowClient

from experiments.child_runs import PARENT_TAG, child_run
from lightning_models.errors import StorageError
from lightning_models.registry import use_tracking_server

KILLED_AT_ITS_WORK = """
import os, signal, sys
from contextlib import ExitStack
from pathlib import Path
from experiments.child_runs import child_run
from lightning_models.home import Home
home, *work = sys.argv[1:]
with ExitStack() as stack:
    for parent, name in zip(work[::2], work[1::2]):
        stack.enter_context(child_run(Home(Path(home)), parent, run_name=name))
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def client(home):
    use_tracking_server(home)
    return MlflowClient()


@pytest.fixture
def parent(client):
    return client.create_run(client.create_experiment("work")).info.run_id


def children(client, parent):
    experiment = client.get_run(parent).info.experiment_id
    found = client.search_runs([experiment], f"tags.`{PARENT_TAG}` = '{parent}'")
    return sorted((one.info.run_name, one.info.status) for one in found)


def killed(home, *work):
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AT_ITS_WORK, str(home.path), *work], check=False
    )
    assert done.returncode == -9


def test_its_end_says_what_became_of_the_work(home, client, parent):
    with child_run(home, parent, run_name="whole"):
        pass
    with pytest.raises(ZeroDivisionError), child_run(home, parent, run_name="broken"):
        raise ZeroDivisionError
    with pytest.raises(KeyboardInterrupt), child_run(home, parent, run_name="stopped"):
        raise KeyboardInterrupt
    assert children(client, parent) == [
        ("broken", "FAILED"),
        ("stopped", "KILLED"),
        ("whole", "FINISHED"),
    ]


def test_work_that_is_done_again_ends_the_run_of_the_killed_attempt(home, client, parent):
    other = client.create_run(client.get_run(parent).info.experiment_id).info.run_id
    killed(home, parent, "BTC's/USDT", parent, "ETH/USDT", other, "BTC's/USDT")
    assert children(client, parent) == [("BTC's/USDT", "RUNNING"), ("ETH/USDT", "RUNNING")]
    with child_run(home, parent, run_name="BTC's/USDT"):
        pass
    assert children(client, parent) == [
        ("BTC's/USDT", "FINISHED"),
        ("BTC's/USDT", "KILLED"),
        ("ETH/USDT", "RUNNING"),
    ]
    assert children(client, other) == [("BTC's/USDT", "RUNNING")]


def test_an_unknown_parent_is_told(home, client):
    with pytest.raises(StorageError), child_run(home, "0" * 32, run_name="one"):
        pass
