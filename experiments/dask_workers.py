"""joblib's work on the workers of a dask cluster, which does what a lost one did again."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import cloudpickle
from joblib.parallel import ParallelBackendBase

from experiments.workers import WorkerLost
from lightning_models.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KEY", "DaskWorkers"]

KEY: Final = "lstm-strategies"
"""What the names of all tasks on the cluster begin with."""

LEAST_AHEAD: Final = 16

_one_at_a_time = Lock()


class DaskWorkers(ParallelBackendBase):  # type: ignore[misc]
    """A backend for `joblib.parallel_config`.

    joblib's own for dask waits for ever where a task cannot be read by its worker or has lost
    too many of them, scatters arguments that nothing brings back when their worker is lost, and
    runs in the calling process where the cluster has one worker.

    Parameters
    ----------
    client
        A `distributed.Client`.
    own
        The `distributed.LocalCluster` that it leads to, where nobody else works on it: its
        workers are ended with the work. A worker of any other cluster ends what it is at in vain.
    """

    supports_retrieve_callback = True
    default_n_jobs = -1

    def __init__(self, client: Any, own: Any = None) -> None:
        super().__init__()
        self._client = client
        self._own = own
        self._running: set[Any] = set()

    def effective_n_jobs(self, n_jobs: int) -> int:
        """Return how many tasks may be on the cluster at a time, waiting ones included.

        Where all workers are asked for these are more than there are, so that a worker that
        joins later finds one. Never 1, which joblib would do in this process.
        """
        if n_jobs > 0:
            return max(2, n_jobs)
        threads: dict[str, int] = self._client.nthreads()
        return max(LEAST_AHEAD, 2 * sum(threads.values()))

    def submit(self, func: Any, callback: Callable[[Any], None] | None = None) -> Any:
        """Give a batch to the cluster; `callback` gets dask's future when it is done."""
        # Packed here and not by dask, whose arrays arrive as unaligned views: their sums differ
        # in the last bits from those of any other process.
        future = self._client.submit(
            _run_packed, cloudpickle.dumps(func), key=f"{KEY}-{uuid4().hex}", pure=False
        )
        self._running.add(future)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    # What joblib before 1.5 calls it.
    apply_async = submit

    def retrieve_result_callback(self, out: Any) -> list[Any]:
        """Return a batch's results, or raise what it raised.

        Raises
        ------
        TrainingError
            If the scheduler or every worker was lost, or one could not read the batch.
        """
        from distributed import KilledWorker

        self._running.discard(out)
        try:
            succeeded, found = cloudpickle.loads(out.result())
        except KilledWorker as error:
            return [WorkerLost(str(error))]
        except Exception as error:
            if out.cancelled():
                raise TrainingError(
                    "the dask scheduler was lost, and with it what its workers were at. What "
                    "was finished is kept; start it again and repeat the command"
                ) from error
            if type(error).__name__ == "NoWorkerError":
                raise TrainingError(
                    "no worker of the dask cluster is left, most often for lack of memory. What "
                    "was finished is kept; use fewer --jobs, or start workers with more of it"
                ) from error
            raise TrainingError(
                "a worker of the dask cluster could not run this. Every one of them needs "
                f"lstm-strategies as it is here: {type(error).__name__}: {error}"
            ) from error
        if not succeeded:
            raise found
        results: list[Any] = found
        return results

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: ARG002
        """Take back what the cluster has not done, after an error or Ctrl-C."""
        running = list(self._running)
        self._running.clear()
        if not running:
            return
        self._client.cancel(running, force=True)
        if self._own is not None:
            for nanny in list(self._own.workers.values()):
                with suppress(ProcessLookupError):
                    if nanny.pid is not None:
                        # Its nanny starts another one, for what may come next.
                        os.kill(nanny.pid, getattr(signal, "SIGKILL", signal.SIGTERM))


def _run_packed(packed: bytes) -> bytes:
    # The error as a value: dask would log each as its own failure.
    with _one_at_a_time:  # a fit seeds generators that a second thread would share
        work = cloudpickle.loads(packed)
        try:
            outcome = True, work()
        except Exception as error:
            outcome = False, error
        answer: bytes = cloudpickle.dumps(outcome)
        return answer
