"""Do the same work on many tasks, several at a time, in processes of their own."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from lightning_models.errors import LSTMStrategiesError, TrainingError, TrainingInterrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

__all__ = ["side_by_side"]

Task = TypeVar("Task")
Result = TypeVar("Result")


def side_by_side(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    name: Callable[[Task], str],
    prepare: Callable[[], None] | None = None,
    jobs: int | None = None,
) -> Generator[tuple[Task, Result], None, None]:
    """Yield each task with its result as it is done, in whatever order that is.

    Parameters
    ----------
    work
        Picklable, as are `name`, `prepare` and each task.
    tasks
        What to do.
    name
        What a message calls a task.
    prepare
        Called before each task that runs in a process other than this one.
    jobs
        Processes; -1 is one for each core. By default what `joblib.parallel_config` says
        around this call, and one without it. The backend is the one that it names, or joblib's
        own default, loky.

    Raises
    ------
    LSTMStrategiesError
        If a task fails, of its own kind and with the task's name; the others are ended.
    KeyboardInterrupt, TrainingInterrupted
        On Ctrl-C; the workers are ended.

    Examples
    --------
    >>> sorted(side_by_side(abs, [-1, 2], name=str))
    [(-1, 1), (2, 2)]
    """
    workers = Parallel(n_jobs=jobs, return_as="generator_unordered", max_nbytes=None)
    owner = os.getpid()
    running = workers(
        delayed(_done)(number, work, task, name, prepare, owner)
        for number, task in enumerate(tasks)
    )
    try:
        for number, result in running:
            yield tasks[number], result
    except TerminatedWorkerError as error:
        raise TrainingError(
            "a worker process was ended from outside, most often for lack of memory: use fewer "
            "--jobs, fewer symbols or a smaller network. What was finished is kept"
        ) from error
    finally:
        # Ends the workers where not all is done.
        running.close()


def _done(
    number: int,
    work: Callable[[Task], Result],
    task: Task,
    name: Callable[[Task], str],
    prepare: Callable[[], None] | None,
    owner: int,
) -> tuple[int, Result]:
    if os.getpid() != owner:
        with suppress(ValueError):  # not the main thread: somebody else's backend
            # Ctrl-C reaches the whole group; the process that started it ends the others.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        if prepare is not None:
            prepare()
    try:
        return number, work(task)
    except TrainingInterrupted:
        raise
    except LSTMStrategiesError as error:
        raise type(error)(f"{name(task)}: {error}") from error
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise TrainingError(
            f"{name(task)} failed with an unexpected {type(error).__name__}: {error}"
        ) from error
