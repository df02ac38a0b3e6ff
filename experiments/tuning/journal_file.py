"""A study's journal: one file that the workers of a machine share, and that a kill cannot spoil."""

from __future__ import annotations

import json
import logging
import os
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from filelock import FileLock, Timeout
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import get_lock_file

from lightning_models.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from io import FileIO

__all__ = ["JournalFile", "open_journal"]

_log = logging.getLogger(__name__)

FIRST_KEY: Final = b'{"op_code":'
POLL: Final = 0.005
SQLITE: Final = b"SQLite format 3\x00"


class JournalFile(JournalFileBackend):
    """Optuna's journal in a file, with a lock and an ending that outlive a ``kill -9``.

    Parameters
    ----------
    path
        Created where it is missing; its folder must exist.
    patience
        Seconds to wait for another process to finish a line.

    Raises
    ------
    ConfigError
        If the file is no journal.
    StorageError
        If a line is damaged, another process does not finish its line, or the disk refuses.
    """

    # Optuna's own locks are files that a killed process leaves behind. Others then wait until
    # the lock is 30 s old and take it away, and they do the same to a process that was merely
    # suspended, which goes on to write when it wakes. The kernel frees a flock at the moment
    # its holder dies and never before; appending 300 lines took as long with either. It holds
    # between the machines of an NFSv4 mount too, but not on every network file system: many
    # machines want PostgreSQL.

    def __init__(self, path: Path, *, patience: float = 60.0) -> None:
        self.path = path
        self._patience = patience
        _check_is_journal(path)
        super().__init__(str(path))
        # One for each thread behind this name.
        self._flock = FileLock(f"{path}.flock", timeout=patience, poll_interval=POLL)

    def __reduce__(self) -> tuple[Any, ...]:
        """Open it anew in another process: a lock is held by a process."""
        return partial(JournalFile, patience=self._patience), (self.path,)

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Yield the records from a number on, without a last one that is not whole."""
        try:
            yield from super().read_logs(log_number_from)
        except ValueError as error:
            raise StorageError(
                f"line {_damaged_line(self.path)} of the journal {self.path} is damaged: restore "
                "the file from a copy, or move it away to start the study again"
            ) from error
        except OSError as error:
            raise _unusable(self.path, error) from error

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write records and wait until they are on disk; the file is left as it was if not."""
        content = b"".join(
            json.dumps(record, separators=(",", ":")).encode() + b"\n" for record in logs
        )
        try:
            with self._locked(), self._opened() as file:
                end = self._end(file)
                try:
                    _write_all(file, content)
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(end)
                    raise
        except OSError as error:
            raise _unusable(self.path, error) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._flock.acquire()
        except Timeout as error:
            raise StorageError(
                f"another process has been writing the journal {self.path} for "
                f"{self._patience:g} s: it is suspended, or its disk hangs. Nothing that was "
                "finished is lost; run the same command again"
            ) from error
        try:
            yield
        finally:
            self._flock.release()

    @contextmanager
    def _opened(self) -> Iterator[FileIO]:
        # Never created here: in a new file, half of a study would go on without its other half.
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND)
        with os.fdopen(handle, "r+b", buffering=0) as file:
            yield file

    def _end(self, file: FileIO) -> int:
        # Where the next line begins: what a killed process left of its last one is cut off, or
        # the next would be glued to it and both be lost.
        if self._is_whole(file):
            return file.seek(0, os.SEEK_END)
        # A dashboard that is in the midst of a line holds Optuna's own lock.
        with get_lock_file(self._lock):
            if not self._is_whole(file):
                end = self.path.read_bytes().rfind(b"\n") + 1
                file.truncate(end)
                os.fsync(file.fileno())
                _log.warning(
                    "the last line of the journal %s was torn, as a kill leaves it, and is cut off",
                    self.path,
                )
        return file.seek(0, os.SEEK_END)

    @staticmethod
    def _is_whole(file: FileIO) -> bool:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def open_journal(path: Path, *, patience: float = 60.0) -> JournalStorage:
    """Return the storage in a journal file, which is created where it is missing.

    Parameters
    ----------
    path
        Of the file.
    patience
        Seconds to wait for another process to finish a line.

    Raises
    ------
    ConfigError
        If there is a folder in its place, or a file that is no journal.
    StorageError
        If it is damaged, or cannot be read or written.
    """
    # Optuna's lock is a link to the journal, which leads nowhere where the path is relative.
    path = path.expanduser().absolute()
    if path.is_dir():
        raise ConfigError(f"{path} is a folder, not a journal: name a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFile(path, patience=patience))
    except OSError as error:
        raise _unusable(path, error) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise StorageError(
            f"the journal {path} holds records that Optuna does not understand ({error!r}): "
            "update Optuna, or give another path"
        ) from error


def _check_is_journal(path: Path) -> None:
    try:
        with path.open("rb") as file:
            line = file.readline(1 << 20)
    except FileNotFoundError:
        return
    if line.startswith(SQLITE):
        raise ConfigError(f"{path} is a SQLite database: write sqlite:///{path}")
    if not line.endswith(b"\n"):
        # The first line, of a study's name, may be torn as well.
        whole = line.startswith(FIRST_KEY) or FIRST_KEY.startswith(line)
    else:
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        whole = isinstance(record, dict) and {"op_code", "worker_id"} <= record.keys()
    if not whole:
        raise ConfigError(
            f"{path} is no journal of a study and is left as it is: give another path, or move "
            "the file away"
        )


def _damaged_line(path: Path) -> int:
    number = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):  # noqa: B007 - the last one counts
            try:
                json.loads(line)
            except ValueError:
                break
    return number


def _write_all(file: FileIO, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def _unusable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"the journal {path} cannot be read or written: {error.strerror or error}. Make room, "
        "check its permissions, or give another path"
    )
