"""Where work that is done side by side runs: on this machine, or on a cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from joblib import parallel_config

from lightning_models.errors import ConfigError
from lightning_models.spelling import nearest_names

__all__ = ["BACKENDS", "on_backend"]

_log = logging.getLogger(__name__)

BACKENDS: Final = ("loky", "dask")
"""Processes of this machine, and workers of a dask cluster."""

PACKAGE: Final = "lstm-strategies"
SECONDS: Final = 10


@contextmanager
def on_backend(backend: str, *, jobs: int = -1, scheduler: str | None = None) -> Iterator[None]:
    """Run what `experiments.workers.side_by_side` does inside the ``with`` block there.

    The numbers are the same on each. What a worker was at when it was lost is done again by
    another one.

    Parameters
    ----------
    backend
        One of `BACKENDS`.
    jobs
        Tasks at a time; -1 is one for each core, or all workers of a cluster, those that join
        later too. A given cluster is always handed two at least.
    scheduler
        Address of a dask scheduler, such as ``tcp://10.0.0.1:8786``; by default a cluster of
        this machine's own is started, whose processes import the calling script, as those of
        `multiprocessing` do. The workers of a given one need this project installed, and one
        thread each. A walk-forward needs no disk in common with them; backtests of many symbols
        need the model and the home at the same place. Whoever reaches a dask scheduler can run
        code on its workers, and what they answer is unpickled here: a network of your own only.

    Raises
    ------
    ConfigError
        If there is no such backend, `jobs` is 0, the package is missing here or on a worker, no
        scheduler or worker answers within ten seconds, or a worker has several threads.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"no backend {backend!r}: {nearest_names(backend, BACKENDS)}")
    if jobs == 0:
        raise ConfigError("--jobs 0 runs nothing: give a number of processes, or -1 for all cores")
    if backend == "loky":
        if scheduler is not None:
            raise ConfigError(
                f"--scheduler {scheduler} is dask's, and the backend is loky: add --backend dask"
            )
        with parallel_config(backend="loky", n_jobs=jobs):
            yield
        return
    with _dask(scheduler, jobs) as (client, own):
        from experiments.dask_workers import DaskWorkers

        if own is None:
            client.subscribe_topic("all", _tell)
        try:
            with parallel_config(backend=DaskWorkers(client, own), n_jobs=jobs):
                yield
        finally:
            if own is None:
                client.unsubscribe_topic("all")


@contextmanager
def _dask(scheduler: str | None, jobs: int) -> Iterator[tuple[Any, Any]]:
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ConfigError(
            "the backend dask needs the package distributed: pip install "
            "'lstm-strategies[cluster]', or use --backend loky"
        ) from error
    settings = {
        # Of our own scheduler. A task that ends its worker at once, again and again, can leave
        # none: `side_by_side` sees to it after the first time.
        "distributed.scheduler.allowed-failures": 0,
        "distributed.scheduler.no-workers-timeout": "60 s",
        # A task carries its candles: scattered ones are lost with the worker that holds them.
        "distributed.admin.large-graph-warning-threshold": "1 TB",
        "distributed.nanny.pre-spawn-environ.DASK_LOGGING__DISTRIBUTED": "critical",
    }
    with dask.config.set(settings), _quiet("distributed", "distributed.client"):
        if scheduler is None:
            with (
                LocalCluster(
                    n_workers=None if jobs < 0 else jobs,
                    threads_per_worker=1,
                    dashboard_address=None,
                    # Another cluster of this machine may have the port of its own pages.
                    scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                    # The machine's memory is the limit, not an equal share of it.
                    memory_limit=None,
                ) as own,
                Client(own, set_as_default=False) as client,
            ):
                yield client, own
            return
        try:
            client = Client(scheduler, timeout=SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"no dask scheduler answers at {scheduler}: start one with `dask scheduler`, or "
                f"leave --scheduler out ({error})"
            ) from error
        with client:
            _check(client, scheduler)
            yield client, None


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    # What matters of it is told by `_tell`, or is an error of this project.
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _check(client: Any, scheduler: str) -> None:
    start = f"`dask worker {scheduler} --nthreads 1`"
    try:
        client.wait_for_workers(1, timeout=SECONDS)
    except TimeoutError as error:
        raise ConfigError(
            f"the dask scheduler at {scheduler} has no worker: start one with {start}"
        ) from error
    for worker, threads in sorted(client.nthreads().items()):
        if threads > 1:
            raise ConfigError(
                f"the dask worker {worker} has {threads} threads, and a fit seeds generators that "
                f"they would share: start it with {start}, and --nworkers {threads} for as many "
                "processes"
            )
    try:
        ours = version(PACKAGE)
    except PackageNotFoundError:
        return
    found = client.run(version, PACKAGE, on_error="return")
    for worker, theirs in sorted(found.items()):
        if isinstance(theirs, PackageNotFoundError):
            raise ConfigError(
                f"the dask worker {worker} does not have the package {PACKAGE}: install version "
                f"{ours} of it where that worker runs"
            )
        if isinstance(theirs, str) and theirs != ours:
            raise ConfigError(
                f"the dask worker {worker} has {PACKAGE} {theirs}, and here it is {ours}: "
                "install the same where that worker runs"
            )


def _tell(event: tuple[float, Any]) -> None:
    from experiments.dask_workers import KEY

    said = event[1]
    if said.get("action") != "remove-worker" or said.get("expected", False):
        return
    begun = sum(str(one).startswith(KEY) for one in said["processing-tasks"])
    if begun:
        _log.warning(
            "the dask worker %s was lost; done again as soon as another is free: %d task%s",
            said["worker"],
            begun,
            "" if begun == 1 else "s",
        )
