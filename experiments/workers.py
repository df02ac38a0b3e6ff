"""Do the same work on many tasks, several at a time, in processes of their own."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import uuid4

from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError
from joblib.parallel import TASK_DONE

from lightning_models.errors import LSTMStrategiesError, TrainingError, TrainingInterrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

__all__ = ["WorkerLost", "side_by_side"]

_log = logging.getLogger(__name__)

# Another in every process, while processes of two machines or containers may share a number.
_BORN: Final = uuid4().hex

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class WorkerLost:
    """What a backend gives instead of a task's result where it knows whose worker was lost.

    Parameters
    ----------
    reason
        In the backend's words.
    """

    reason: str


def side_by_side(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    name: Callable[[Task], str],
    prepare: Callable[[], None] | None = None,
    jobs: int | None = None,
    losses: int = 2,
) -> Generator[tuple[Task, Result], None, None]:
    """Yield each task with its result as it is done, in whatever order that is.

    A worker that is killed, by hand or for lack of memory, costs no result: what was not
    finished is given to fresh workers. Whatever `work` had written by then, it writes again.

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
        around this call, as `experiments.clusters.on_backend` does, and one without it. The
        backend is the one that it names, or joblib's own default, loky.
    losses
        How many losses of a worker in a row, without a task that was finished in between, end
        the work: a task that takes more memory than there is would go on for ever. 1 redoes
        nothing.

    Raises
    ------
    LSTMStrategiesError
        If a task fails, of its own kind and with the task's name; the others are ended.
    TrainingError
        After so many `losses`; the message names the task where it is the only one left.
    KeyboardInterrupt, TrainingInterrupted
        On Ctrl-C; the workers are ended.

    Examples
    --------
    >>> sorted(side_by_side(abs, [-1, 2], name=str))
    [(-1, 1), (2, 2)]
    """
    left = dict(enumerate(tasks))
    in_a_row, alone = 0, False
    while left:
        # One task at a time for each worker: what waits behind another one would be lost with it.
        workers = Parallel(
            n_jobs=jobs,
            return_as="generator_unordered",
            batch_size=1,
            # A task that only waited on the worker that another one ended must not end with it.
            pre_dispatch=1 if alone else "n_jobs",
            max_nbytes=None,
        )
        ready = getattr(workers, "_jobs", ())
        calls = _calls(left, work, name, prepare)
        running, ended = None, None
        try:
            running = workers(calls)
            for one in running:
                if isinstance(one, WorkerLost):
                    alone = True
                    continue
                number, result = one
                in_a_row = 0
                yield left.pop(number), result
        except TerminatedWorkerError as error:
            ended = error
        finally:
            # Ends the workers where not all is done.
            if running is not None:
                running.close()
        for number, result in _finished(ready):
            in_a_row = 0
            yield left.pop(number), result
        if left:
            in_a_row += 1
            named = _named([name(task) for task in left.values()])
            if in_a_row >= losses:
                raise TrainingError(_told(named, in_a_row)) from ended
            _log.warning(
                "a worker process was ended from outside, most often for lack of memory; done "
                "again: %s",
                named,
            )


def _calls(
    left: dict[int, Task],
    work: Callable[[Task], Result],
    name: Callable[[Task], str],
    prepare: Callable[[], None] | None,
) -> Iterator[Any]:
    owner = _process()
    # A list, since what is done is taken out while the rest is handed out.
    for number, task in list(left.items()):
        yield delayed(_done)(number, work, task, name, prepare, owner)


def _finished(ready: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    # joblib drops what was finished and not yet asked for when a worker is lost. Where another
    # version of it keeps that elsewhere, it is done again.
    for batch in list(ready):
        if batch.status == TASK_DONE:
            yield from batch.get_result(None)


def _named(names: Sequence[str]) -> str:
    first = ", ".join(names[:3])
    return first if len(names) <= 3 else f"{first} and {len(names) - 3} more"


def _told(named: str, times: int) -> str:
    again = "" if times == 1 else ", and again when its work was done anew"
    return (
        f"a worker process was ended from outside{again}, most often for lack of memory: use "
        f"fewer --jobs, fewer symbols or a smaller network. Not done: {named}. What was finished "
        "is kept"
    )


def _process() -> str:
    return f"{_BORN}-{os.getpid()}"


def _done(
    number: int,
    work: Callable[[Task], Result],
    task: Task,
    name: Callable[[Task], str],
    prepare: Callable[[], None] | None,
    owner: str,
) -> tuple[int, Result]:
    if _process() != owner:
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
