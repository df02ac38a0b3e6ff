"""Processes that work on a study and can be killed at a known moment."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

OPEN = """
import logging, sys, warnings
from pathlib import Path
import optuna
from experiments.tuning.orphans import reap
from experiments.tuning.ownership import record_owner, register_worker
from experiments.tuning.storage import open_storage
from lightning_models.home import Home

def say(*words):
    print(*words, flush=True)

def wait():
    return sys.stdin.readline()

home, address, *rest = sys.argv[1:]
storage = open_storage(address or None, home=Home(Path(home)), name="study", heartbeat=1, grace=2)
study = optuna.create_study(storage=storage, study_name="study", load_if_exists=True)
"""

# Takes one trial, says who it is, and works on it until it is killed.
WORKER = (
    OPEN
    + """
owner = register_worker(study)

def objective(trial):
    trial.suggest_float("x", 0, 1)
    record_owner(trial, owner)
    say("running", trial.number)
    wait()
    return 0.0

study.optimize(objective, n_trials=1)
say("done")
"""
)

# Is given a trial and has not said yet who it is.
NAMELESS = (
    OPEN
    + """
register_worker(study)

def objective(trial):
    say("running", trial.number)
    wait()

study.optimize(objective, n_trials=1)
"""
)

# Fails and queues what dead workers have left, when it is told to.
REAPER = (
    OPEN
    + """
say("ready")
wait()
say(*reap(study))
"""
)


class Process:
    """A Python process that is written to and read from line by line."""

    def __init__(self, code: str, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def says(self) -> list[str]:
        """Return the words of its next line, waiting for it."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().split()

    def tell(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """End it with SIGKILL, and wait until it is gone."""
        self._process.kill()
        self._process.wait()

    def kill_and_leave(self) -> None:
        """End it with SIGKILL, and leave its exit status to be asked for."""
        self._process.kill()
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def end(self) -> int:
        self._process.communicate()
        return self._process.returncode

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


@contextmanager
def process(code: str, *arguments: object) -> Iterator[Process]:
    started = Process(code, *arguments)
    try:
        yield started
    finally:
        started.close()
