"""Several processes that meet a home for the first time at the same moment."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lightning_models.home import Home

PROGRAM = """
import sys
from pathlib import Path
from lightning_models.home import Home
from lightning_models.registry import use_tracking_server
import mlflow
home = Home(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
{prepare}
client = mlflow.MlflowClient(home.tracking_uri, home.tracking_uri)
client.search_experiments()
"""


def at_once(home, prepare, processes=3):
    crew = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM.replace("{prepare}", prepare), str(home.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    for one in crew:
        assert one.stdout.readline() == "ready\n"
    for one in crew:
        one.stdin.write("\n")
        one.stdin.flush()
    ended = [one.communicate(timeout=120) for one in crew]
    return [one.returncode for one in crew], ended


def test_the_database_of_a_new_home_is_made_by_one_of_them(tmp_path):
    home = Home(tmp_path / "new").create()
    codes, said = at_once(home, "use_tracking_server(home)", processes=2)
    assert codes == [0, 0], said


@pytest.mark.soak
def test_without_taking_turns_mlflow_fails(tmp_path):
    # MLflow makes its tables and then brings them up to date, step by step, in each process.
    failed = 0
    for attempt in range(5):
        codes, _ = at_once(Home(tmp_path / str(attempt)).create(), "pass")
        failed += any(codes)
        if failed:
            break
    assert failed
