"""What `tune` says while one waits: what it is at, and that a wish to stop was heard."""

from __future__ import annotations

import signal
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from experiments.cli.console import errors, note

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LOADING", "STOPPING", "stop_is_noted", "under_way"]

LOADING: Final = "loading torch, Lightning and MLflow"
STOPPING: Final = "stopping after this step…"

_HEARD: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def under_way(words: str) -> Iterator[None]:
    """Say on standard error what takes a while: for as long as it takes on a terminal.

    Parameters
    ----------
    words
        Such as ``reading candles``. Where nobody watches they are a line of the log.
    """
    if errors.is_terminal and not errors.is_dumb_terminal:
        with errors.status(words):
            yield
    else:
        note(words)
        yield


@contextmanager
def stop_is_noted() -> Iterator[None]:
    """Answer Ctrl-C and SIGTERM with a line at once; what ends the work is left to others.

    A batch or a fold may take seconds to come to its end, in which nothing else would be said.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    # The handlers stay as they are: the system writes each signal's number, in whatever step of
    # the main thread it comes, and another thread reads them.
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    listener = threading.Thread(target=_note_first, args=(reader,), daemon=True)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        writer.close()
        listener.join()
        reader.close()


def _note_first(reader: socket.socket) -> None:
    noted = False
    while numbers := reader.recv(64):
        if not noted and any(number in _HEARD for number in numbers):
            noted = True
            note(STOPPING)
