"""Opinions by (model, question), one small file each, in a folder that processes share."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from lstm_strategies.analyst.opinion import Opinion

__all__ = ["OpinionCache"]

_log = logging.getLogger(__name__)

ENTRY_BYTES: Final = 64 * 1024


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    model: str
    prompt: str
    opinion: Opinion
    sha256: str


class OpinionCache:
    """Keeps opinions, so that a backtest can be repeated, and one that stopped goes on.

    Nothing in it ever has to be invalidated, and all of it may be deleted at any time. A file
    that is damaged counts as none. Where the folder cannot be written, a warning says so once
    and nothing is kept.

    Parameters
    ----------
    folder
        Of the shared files; made when first needed.
    model
        Whose opinions.
    """

    def __init__(self, folder: Path, model: str) -> None:
        self._folder = folder
        self._model = model
        self._warned: set[str] = set()

    def find(self, prompt: str) -> Opinion | None:
        """Return the opinion on a question, None where it has not been kept.

        Parameters
        ----------
        prompt
            Hash of the question.
        """
        path = self._path(prompt)
        try:
            with path.open("rb") as file:
                content = file.read(ENTRY_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._warn("unreadable", f"{path} cannot be read ({error.strerror}), it is asked anew")
            return None
        try:
            entry = _Entry.model_validate_json(content)
        except ValidationError:
            entry = None
        # A disk that lost a digit must not change a backtest.
        if entry is None or entry != self._entry(prompt, entry.opinion):
            self._warn("damaged", f"{path} is damaged, its question is asked anew")
            return None
        return entry.opinion

    def keep(self, prompt: str, opinion: Opinion) -> None:
        """Keep the opinion on a question: its file appears whole or not at all.

        Parameters
        ----------
        prompt
            Hash of the question.
        opinion
            The answer to it.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            _write(self._path(prompt), self._entry(prompt, opinion).model_dump_json().encode())
        except OSError as error:
            self._warn_unwritable(error)

    @contextmanager
    def one_asker(self, prompt: str, patience: float) -> Iterator[None]:
        """Let one process at a time ask a question, so that the others find its answer.

        Parameters
        ----------
        prompt
            Hash of the question.
        patience
            Seconds to wait for another process; after that both ask.
        """
        lock = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # A few hundred locks for all questions: one each would litter the folder.
            lock = FileLock(self._folder / f"{prompt[:2]}.lock")
            lock.acquire(timeout=patience)
        except Timeout:
            _log.debug("another process still asks the same, this one does not wait longer")
        except OSError as error:
            self._warn_unwritable(error)
        try:
            yield
        finally:
            if lock is not None:
                lock.release()

    def _path(self, prompt: str) -> Path:
        return self._folder / f"{prompt}.json"

    def _entry(self, prompt: str, opinion: Opinion) -> _Entry:
        told = "\n".join((self._model, prompt, opinion.model_dump_json()))
        digest = hashlib.sha256(told.encode()).hexdigest()
        return _Entry(model=self._model, prompt=prompt, opinion=opinion, sha256=digest)

    def _warn_unwritable(self, error: OSError) -> None:
        self._warn(
            "unwritable",
            f"opinions are not kept, each run asks anew: {self._folder} cannot be written "
            f"({error.strerror or error})",
        )

    def _warn(self, kind: str, text: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            _log.warning("%s", text)


def _write(path: Path, content: bytes) -> None:
    handle, scratch = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(scratch).replace(path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise
