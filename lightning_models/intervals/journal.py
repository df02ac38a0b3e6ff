"""An append-only file of JSON lines that survives a kill at any moment."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from lightning_models.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import FileIO

__all__ = ["Journal"]

_log = logging.getLogger(__name__)

Record = dict[str, Any]


class Journal:
    """Records in the order they came, each on disk before `append` returns.

    The file's first line says what it is a journal of, each further one is a record. A last
    line that was torn by a kill or a power cut is cut off when the file is opened again.
    One process writes at a time: the file is locked until `close`.

    Parameters
    ----------
    path
        Created with its folder where it is missing.
    header
        What the records belong to; an existing file's must be the same.

    Attributes
    ----------
    records : list of dict
        What the file held when it was opened.

    Raises
    ------
    ConfigError
        If the file belongs to something else.
    StorageError
        If it is damaged before its last line, in use by another process, or cannot be read or
        written.
    """

    def __init__(self, path: Path, header: Record) -> None:
        self.path = path
        self.records: list[Record] = []
        self._lock = FileLock(f"{path}.lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise StorageError(
                f"the journal {path} is written by another process: end that one first, or give "
                "another path"
            ) from error
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self._open(header)
        except BaseException as error:
            self._lock.release()
            if isinstance(error, OSError):
                raise self._unwritable(error) from error
            raise

    def append(self, records: Sequence[Record]) -> None:
        """Write records and wait until they are on disk.

        Raises
        ------
        StorageError
            If they cannot be written; the file is left as it was.
        """
        if not records:
            return
        content = b"".join(_line(record) for record in records)
        try:
            # Without a buffer: what a full disk refused must not be written once more on closing.
            with self.path.open("r+b", buffering=0) as file:
                end = file.seek(0, os.SEEK_END)
                try:
                    _write_all(file, content)
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(end)
                    raise
        except OSError as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Let others write the file."""
        self._lock.release()

    def _open(self, header: Record) -> None:
        content = self.path.read_bytes() if self.path.exists() else b""
        lines, whole = self._parsed(content)
        if content and not lines:
            # A journal appears with its whole first line: this was never one.
            raise StorageError(
                f"{self.path} is no journal and is left as it is: give another path, or move the "
                "file away"
            )
        if not lines:
            self._start(header)
            return
        differing = [key for key in header if lines[0].get(key) != header[key]]
        if differing:
            key = differing[0]
            raise ConfigError(
                f"the journal {self.path} belongs to another {', '.join(differing)} "
                f"({key} {lines[0].get(key)!r}, not {header[key]!r}): give another path"
            )
        if whole < len(content):
            _log.warning(
                "the last line of the journal %s was torn, as a kill leaves it, and is cut off",
                self.path,
            )
            with self.path.open("r+b") as file:
                file.truncate(whole)
                os.fsync(file.fileno())
        self.records = lines[1:]

    def _parsed(self, content: bytes) -> tuple[list[Record], int]:
        # The records, and how many bytes of the file they are.
        found: list[Record] = []
        whole = 0
        for number, line in enumerate(content.splitlines(keepends=True), start=1):
            record = _record(line)
            if record is None:
                if whole + len(line) < len(content):
                    raise StorageError(
                        f"line {number} of the journal {self.path} is damaged: restore the file "
                        "from a copy, or move it away to start from the calibration slice again"
                    )
                break
            found.append(record)
            whole += len(line)
        return found, whole

    def _start(self, header: Record) -> None:
        # Appears with its whole first line or not at all.
        handle, scratch = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_line(header))
                file.flush()
                os.fsync(file.fileno())
            Path(scratch).replace(self.path)
        except BaseException:
            Path(scratch).unlink(missing_ok=True)
            raise
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _unwritable(self, error: OSError) -> StorageError:
        return StorageError(
            f"the journal {self.path} cannot be read or written: {error.strerror or error}. "
            "Make room, check its permissions, or give another path"
        )


def _write_all(file: FileIO, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def _line(record: Record) -> bytes:
    return json.dumps(record, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _record(line: bytes) -> Record | None:
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
