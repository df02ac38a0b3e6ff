"""A dask cluster of real processes on loopback, which tests may kill."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]


@dataclass
class DaskProcesses:
    """A scheduler and its workers."""

    folder: Path
    address: str = ""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_scheduler(self) -> None:
        """Start the scheduler, on a free port."""
        told = self.folder / "scheduler.json"
        self._start(
            ("-m", "dask"), ROOT, "scheduler", "--host", "127.0.0.1", "--port", "0",
            "--no-dashboard", "--scheduler-file", str(told),
        )  # fmt: skip
        self.address = json.loads(_content(told))["address"]

    def start_worker(
        self, *, threads: int = 1, python: tuple[str, ...] = ("-m", "dask"), path: Path = ROOT
    ) -> subprocess.Popen[bytes]:
        """Start a worker that nobody starts again: killed, it is a machine that was lost."""
        return self._start(
            python, path, "worker", self.address,
            "--nthreads", str(threads), "--no-nanny", "--no-dashboard",
            "--local-directory", str(self.folder),
        )  # fmt: skip

    def _start(
        self, python: tuple[str, ...], path: Path, *arguments: str
    ) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *python, *arguments], stdout=log, stderr=log, cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(path), "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        self.processes.append(process)
        return process

    def end(self, *processes: subprocess.Popen[bytes]) -> None:
        """Kill these, or all that are left."""
        for process in reversed(processes or self.processes):
            process.kill()
            process.wait()


@pytest.fixture
def dask_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    """A scheduler without workers."""
    pytest.importorskip("distributed", reason="needs the extra cluster")
    cluster = DaskProcesses(tmp_path_factory.mktemp("dask"))
    try:
        cluster.start_scheduler()
        yield cluster
    finally:
        cluster.end()


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait until a condition holds, which another process brings about."""
    return _until


def _until(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _content(file: Path) -> str:
    _until(lambda: file.exists() and file.read_text().endswith("}"))
    return file.read_text()


@pytest.fixture
def closed_port():
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
