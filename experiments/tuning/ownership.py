"""Who works on a trial, and whether that process is still there."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import socket
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

__all__ = [
    "OWNER",
    "Owner",
    "Worker",
    "end_worker",
    "live_workers",
    "record_owner",
    "register_worker",
    "this_process",
    "workers",
]

OWNER: Final = "owner"
WORKER: Final = "worker:"

PROC = Path("/proc")
MACHINE_ID = Path("/etc/machine-id")


class Owner(BaseModel):
    """A process that works on trials.

    What could not be found out is an empty text.

    Parameters
    ----------
    id
        Name of this process, unlike that of any other.
    host
        Name of its machine.
    machine
        What tells that machine from others of the same name.
    boot
        What tells the machine's present run from that before its last restart.
    namespace
        Of process numbers: containers of one machine each have their own.
    pid
        Its process number, which the system gives to another process once it has ended.
    started
        When it started, as the system writes it: what tells it from a later process of the
        same number.
    """

    # What a later release adds is no reason to take its workers for none.
    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    host: str
    machine: str = ""
    boot: str = ""
    namespace: str = ""
    pid: int
    started: str = ""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @classmethod
    def from_attribute(cls, value: object) -> Owner | None:
        """Return the owner that `as_attribute` wrote, None where it is none.

        Examples
        --------
        >>> Owner.from_attribute({"id": "alpha-17", "host": "alpha", "pid": 17}).pid
        17
        >>> Owner.from_attribute("alpha") is None
        True
        """
        try:
            return cls.model_validate(value)
        except ValidationError:
            return None

    @classmethod
    def of(cls, trial: FrozenTrial) -> Owner | None:
        """Return the process that works on a trial, or did; None where none has said so."""
        return cls.from_attribute(trial.user_attrs.get(OWNER))

    def as_attribute(self) -> dict[str, Any]:
        """Return plain values, for a user attribute of a trial or a study."""
        return self.model_dump()

    def is_alive(self) -> bool | None:
        """Return whether the process is still there; None where that cannot be seen from here.

        A process of another machine cannot be seen, nor one of another container. One of this
        machine's run before its last restart is gone. One that has ended and that nobody has
        asked for its exit status is gone too.
        """
        here = this_process()
        if (self.host, self.machine) != (here.host, here.machine):
            return None
        if self.boot != here.boot:
            # Two machines without an identity may share a name, and then neither has restarted.
            return False if self.machine else None
        if self.namespace != here.namespace or os.name != "posix":
            return None
        return _is_running(self.pid, self.started)


class Worker(BaseModel):
    """A process that has said in a study that it works on it.

    Parameters
    ----------
    owner
        The process.
    since
        When it said so, UTC.
    state
        Whether it has taken its leave. A worker that was killed has not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    owner: Owner
    since: AwareDatetime
    state: Literal["running", "ended"]

    @property
    def id(self) -> str:
        """Name of its process."""
        return self.owner.id


def this_process() -> Owner:
    """Return the process that asks; it is the same for as long as the process lives."""
    # By number, since a forked process inherits what its parent remembers.
    return _owner(os.getpid())


def record_owner(trial: Trial, owner: Owner) -> None:
    """Say in a trial's user attribute ``owner`` which process works on it."""
    trial.set_user_attr(OWNER, owner.as_attribute())


def register_worker(study: Study) -> Owner:
    """Say in a study's user attributes that this process works on it."""
    owner = this_process()
    _write(study, Worker(owner=owner, since=datetime.now(UTC), state="running"))
    return owner


def end_worker(study: Study, owner: Owner) -> None:
    """Say in a study's user attributes that a process works on it no more."""
    known = {worker.id: worker for worker in workers(study)}
    before = known.get(owner.id)
    since = datetime.now(UTC) if before is None else before.since
    _write(study, Worker(owner=owner, since=since, state="ended"))


def workers(study: Study) -> list[Worker]:
    """Return all processes that have ever worked on a study, the first to come first."""
    found: list[Worker] = []
    for key, value in study.user_attrs.items():
        if key.startswith(WORKER):
            with suppress(ValidationError):
                found.append(Worker.model_validate(value))
    return sorted(found, key=lambda worker: (worker.since, worker.id))


def live_workers(study: Study) -> list[Worker]:
    """Return the workers that have not taken their leave and are not known to be dead.

    Workers of other machines are among them, though they may have been killed.
    """
    return [
        worker
        for worker in workers(study)
        if worker.state == "running" and worker.owner.is_alive() is not False
    ]


def _write(study: Study, worker: Worker) -> None:
    study.set_user_attr(f"{WORKER}{worker.id}", worker.model_dump(mode="json"))


@cache
def _owner(pid: int) -> Owner:
    host = socket.gethostname()
    return Owner(
        id=f"{host}-{pid}-{secrets.token_hex(3)}",
        host=host,
        machine=_machine(),
        boot=_first_line(PROC / "sys/kernel/random/boot_id"),
        namespace=_namespace(),
        pid=pid,
        started=_started(pid) or "",
    )


def _machine() -> str:
    identity = _first_line(MACHINE_ID)
    # It is meant to stay on its machine: what others get to read is a digest of it.
    digest = hashlib.sha256(f"lstm-strategies {identity}".encode())
    return digest.hexdigest()[:16] if identity else ""


def _namespace() -> str:
    try:
        return str((PROC / "self/ns/pid").readlink())
    except OSError:
        return ""


def _is_running(pid: int, started: str) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's process
    now = _started(pid)
    # A system that hides the processes of other users does not tell when they started.
    return now != "" and (not now or not started or now == started)


def _started(pid: int) -> str | None:
    # When a process started; empty once it has ended, None where the system does not tell.
    try:
        status = (PROC / str(pid) / "stat").read_text("utf-8", errors="replace")
    except OSError:
        return _started_by_ps(pid)
    # The name of the program comes second, in brackets, and may hold anything.
    state, *fields = status.rpartition(")")[2].split()
    return "" if state in "ZX" else fields[18]


def _started_by_ps(pid: int) -> str | None:
    program = shutil.which("ps")
    if program is None or (PROC / "self").exists():
        return None
    listed = subprocess.run(  # noqa: S603 - a program found on PATH and a number
        [program, "-o", "stat=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        env={"LC_ALL": "C"},
    )
    state, _, when = listed.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else when.strip() or None


def _first_line(path: Path) -> str:
    try:
        return path.read_text("utf-8").partition("\n")[0].strip()
    except OSError:
        return ""
