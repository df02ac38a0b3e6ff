"""Where work that is done side by side runs: on this machine, or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from joblib import parallel_config

from lightning_models.errors import ConfigError
from lightning_models.spelling import nearest_names

__all__ = ["BACKENDS", "on_backend"]

BACKENDS: Final = ("loky", "dask")
"""Processes of this machine, and workers of a dask cluster."""


@contextmanager
def on_backend(backend: str, *, jobs: int = -1, scheduler: str | None = None) -> Iterator[None]:
    """Run what `experiments.workers.side_by_side` does inside the ``with`` block there.

    Parameters
    ----------
    backend
        One of `BACKENDS`.
    jobs
        Processes; -1 is one for each core, or all workers of a cluster.
    scheduler
        Address of a dask scheduler, such as ``tcp://10.0.0.1:8786``; by default a cluster of
        this machine's own is started. Its workers need this project, the model and the home
        at the same place, as on a shared disk.

    Raises
    ------
    ConfigError
        If there is no such backend, `jobs` is 0, the package is missing, or no scheduler
        answers.
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
    with _dask(scheduler, jobs), parallel_config(backend="dask", n_jobs=jobs):
        yield


@contextmanager
def _dask(scheduler: str | None, jobs: int) -> Iterator[Any]:
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ConfigError(
            "the backend dask needs the package distributed: pip install "
            "'lstm-strategies[cluster]', or use --backend loky"
        ) from error
    if scheduler is None:
        workers = None if jobs < 0 else jobs
        with (
            LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as own,
            Client(own) as client,
        ):
            yield client
        return
    try:
        client = Client(scheduler, timeout="10s")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"no dask scheduler answers at {scheduler}: start one with `dask scheduler`, or leave "
            f"--scheduler out ({error})"
        ) from error
    with client:
        yield client
