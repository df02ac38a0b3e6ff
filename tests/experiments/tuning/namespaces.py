"""Two machines in one: network namespaces with a cable between them, and host names of their own.

Processes of the two share a kernel and its process numbers, and nothing else: no address, no
host name, and no folder but what a test hands both.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.experiments.tuning.processes import Process

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
PREFIX = "lstm-test"
SECONDS = 30


class NotAllowedError(Exception):
    """Namespaces that cannot be made here; the message says why."""


@dataclass(frozen=True)
class Machine:
    """One of the two.

    Parameters
    ----------
    host
        Its name.
    address
        At its end of the cable.
    folder
        The home of its user.
    """

    host: str
    address: str
    folder: Path

    @property
    def namespace(self) -> str:
        return _namespace(os.getpid(), self.host)

    def command(self, *words: object) -> list[str]:
        """Return a command line as one that runs on this machine, as the process it starts."""
        return [
            "ip", "netns", "exec", self.namespace,
            "unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', self.host,
            *map(str, words),
        ]  # fmt: skip

    def environment(self, **given: str) -> dict[str, str]:
        """Return the environment of this machine's user."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        own = {"HOME": str(self.folder), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return {**kept, **own, **given}

    @contextmanager
    def serving(self, log: Path, *words: object, **given: str) -> Iterator[None]:
        """Run a server meanwhile, which writes what it says to a file."""
        with (
            log.open("ab") as told,
            subprocess.Popen(
                self.command(*words), stdin=subprocess.DEVNULL, stdout=told, stderr=told,
                cwd=self.folder, env=self.environment(**given),
            ) as server,
        ):  # fmt: skip
            try:
                yield
            finally:
                server.terminate()

    def run(self, code: str, *arguments: object, **given: str) -> str:
        """Run Python code to its end, and return what it printed."""
        done = subprocess.run(
            self.command(sys.executable, "-c", code, *arguments),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            cwd=self.folder, env=self.environment(**given),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


class RemoteProcess(Process):
    """A Python process on a machine that is written to and read from line by line.

    Parameters
    ----------
    machine
        Which.
    log
        For what it writes to standard error.
    code, arguments
        What it runs.
    given
        Of its environment.
    """

    def __init__(
        self, machine: Machine, log: Path, code: str, *arguments: object, **given: str
    ) -> None:
        with log.open("ab") as told:
            self._process = subprocess.Popen(
                machine.command(sys.executable, "-c", code, *arguments),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=told, text=True,
                cwd=machine.folder, env=machine.environment(**given),
            )  # fmt: skip


@contextmanager
def two_machines(folder: Path) -> Iterator[tuple[Machine, Machine]]:
    """Make two machines, and end whatever runs on them with them.

    Parameters
    ----------
    folder
        For their users' homes.

    Raises
    ------
    NotAllowedError
        If it cannot be done here.
    """
    _refuse_where_impossible()
    _remove_left_behind()
    machines = (
        Machine("alpha", "10.0.0.1", folder / "alpha"),
        Machine("beta", "10.0.0.2", folder / "beta"),
    )
    try:
        for one in machines:
            one.folder.mkdir()
            _ip("netns", "add", one.namespace)
        alpha, beta = machines
        _ip(
            "link", "add", "cable", "netns", alpha.namespace, "type", "veth",
            "peer", "name", "cable", "netns", beta.namespace,
        )  # fmt: skip
        for one in machines:
            inside = ("-n", one.namespace)
            _ip(*inside, "address", "add", f"{one.address}/24", "dev", "cable")
            _ip(*inside, "link", "set", "lo", "up")
            _ip(*inside, "link", "set", "cable", "up")
        _try_out(alpha)
        yield machines
    finally:
        for one in machines:
            _remove(one.namespace)


def _refuse_where_impossible() -> None:
    if not sys.platform.startswith("linux"):
        raise NotAllowedError("network namespaces are Linux's")
    for program in ("ip", "unshare"):
        if shutil.which(program) is None:
            raise NotAllowedError(f"{program} is not installed: apt-get install iproute2")
    if os.geteuid() != 0:
        raise NotAllowedError("network namespaces need root")


def _try_out(machine: Machine) -> None:
    tried = subprocess.run(machine.command("true"), capture_output=True, text=True, check=False)
    if tried.returncode:
        raise NotAllowedError(f"a process in a namespace is refused: {tried.stderr.strip()}")


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotAllowedError(f"`ip {' '.join(words)}` is refused: {done.stderr.strip()}")


def _namespace(pid: int, host: str) -> str:
    return f"{PREFIX}-{pid}-{host}"


def _names() -> list[str]:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False)
    return [line.split()[0] for line in listed.stdout.splitlines() if line.strip()]


def _remove_left_behind() -> None:
    # Of tests that were killed themselves.
    for name in _names():
        made = re.fullmatch(rf"{PREFIX}-(\d+)-\w+", name)
        if made and not Path("/proc", made.group(1)).exists():
            _remove(name)


def _remove(namespace: str) -> None:
    if namespace not in _names():
        return
    deadline = time.monotonic() + SECONDS
    while pids := _processes(namespace):
        assert time.monotonic() < deadline, f"{namespace} cannot be emptied of {pids}"
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    subprocess.run(["ip", "netns", "delete", namespace], check=True)


def _processes(namespace: str) -> list[int]:
    listed = subprocess.run(
        ["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in listed.stdout.split()]
