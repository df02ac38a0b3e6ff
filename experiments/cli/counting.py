"""Progress of a known number of things that are done one after the other or side by side."""

from __future__ import annotations

from typing import Any

from experiments.cli.console import errors, note, show_progress

__all__ = ["Counting"]


class Counting:
    """A bar on a terminal, a line for each thing elsewhere.

    Parameters
    ----------
    doing
        What stands before the bar: ``fitting folds``.
    count
        Of things.
    """

    def __init__(self, doing: str, count: int) -> None:
        self._doing = doing
        self._count = count
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Counting:
        if show_progress():
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

            columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
            self._bar = Progress(self._doing, *columns, console=errors)
            self._bar.start()
            self._task = self._bar.add_task("", total=self._count)
        return self

    def __exit__(self, *stopped: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def done(self, what: str) -> None:
        """Count one thing as done."""
        if self._bar is None:
            note(what)
        else:
            self._bar.advance(self._task)
