"""How a study goes on: a live table on a terminal, a line for each finished trial elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from experiments.cli.console import errors, note, show_progress
from experiments.cli.tune_tables import standing_table, value_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from optuna import Study
    from optuna.trial import FrozenTrial
    from rich.console import RenderableType
    from rich.live import Live

    from experiments.tuning.progress import StudyProgress

__all__ = ["ShownProgress", "seconds_left"]

# Lines that the best trial's parameters may take in the live table, and the width of its labels.
_LINES: Final = 2
_LABELS: Final = 9


class ShownProgress:
    """Shows what `experiments.tuning.search` tells of a study.

    Parameters
    ----------
    objectives
        What a trial's values are called; a single one needs no name.
    clock
        Seconds of a clock that only goes on.
    """

    def __init__(
        self, objectives: Sequence[str] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._objectives = tuple(objectives)
        self._clock = clock
        self._began = clock()
        self._first: StudyProgress | None = None
        self._progress: StudyProgress | None = None
        self._ended: FrozenTrial | None = None
        self._live: Live | None = None

    @property
    def study(self) -> str:
        """Name of the study; empty while no trial has begun."""
        return "" if self._progress is None else self._progress.study

    def __enter__(self) -> ShownProgress:
        self._began = self._clock()
        if show_progress() and errors.is_terminal and not errors.is_dumb_terminal:
            from rich.live import Live

            # Transient: what is under way is over when the results are printed.
            self._live = Live(
                get_renderable=self.render, console=errors, refresh_per_second=2, transient=True
            )
            self._live.start()
        return self

    def __exit__(self, *stopped: object) -> None:
        if self._live is not None:
            self._live.stop()

    def on_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Take note of a trial that has ended, as a callback of Optuna's."""
        del study
        self._ended = trial

    def on_change(self, progress: StudyProgress) -> None:
        """Take note of how the study stands, as a trial begins or ends."""
        if self._first is None:
            self._first = progress
        self._progress = progress
        ended, self._ended = self._ended, None
        if self._live is not None:
            self._live.refresh()
        elif ended is not None:
            note(_line(ended, progress, self._objectives))

    def render(self) -> RenderableType:
        """Return the table as it is at this moment."""
        if self._progress is None or self._first is None:
            from rich.text import Text

            return Text("preparing the first trial")
        elapsed = self._clock() - self._began
        table = standing_table(
            self._progress,
            elapsed=elapsed,
            left=seconds_left(self._first, self._progress, elapsed),
            room=max(1, _LINES * (errors.width - _LABELS)),
        )
        if len(self._objectives) > 1:
            table.add_row("values", " and ".join(self._objectives))
        return table


def seconds_left(first: StudyProgress, now: StudyProgress, elapsed: float) -> float | None:
    """Return how long a study goes on at the pace of all its workers; None before one is known.

    Parameters
    ----------
    first
        As it stood when the clock began.
    now
        As it stands.
    elapsed
        Seconds in between.
    """
    done = now.finished - first.finished
    if done <= 0:
        return None
    return max(0, now.wanted - now.finished) * elapsed / done


def _line(trial: FrozenTrial, progress: StudyProgress, objectives: Sequence[str]) -> str:
    parts = [f"trial {trial.number}: {_outcome(trial, objectives)}"]
    if len(progress.best) == 1:
        number = progress.best[0]
        best = f"{value_text(progress.best_values[0])} of trial {number}"
        parts.append("the best so far" if number == trial.number else f"best {best}")
    elif progress.best:
        parts.append(f"{len(progress.best)} trials that none is better than")
    running = len(progress.running)
    parts.append(
        f"{progress.finished} of {progress.wanted} done" + (f", {running} running" * bool(running))
    )
    return "; ".join(parts)


def _outcome(trial: Any, objectives: Sequence[str]) -> str:
    if trial.state.name == "COMPLETE":
        values = [value_text([value]) for value in trial.values]
        if len(values) < 2 or len(values) != len(objectives):
            return " and ".join(values)
        return ", ".join(f"{name} {value}" for name, value in zip(objectives, values, strict=True))
    if trial.state.name == "PRUNED":
        return "pruned"
    from experiments.tuning.progress import error_of  # optuna, which this trial comes from

    return f"failed: {' '.join(error_of(trial).split())}"
