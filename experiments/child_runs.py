"""MLflow runs below another one, made and ended beside whatever run is active."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from lightning_models.errors import TrainingInterrupted
from lightning_models.registry import storage_error, use_tracking_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lightning_models.home import Home

__all__ = ["PARENT_TAG", "child_run"]

_log = logging.getLogger(__name__)

PARENT_TAG: Final = "mlflow.parentRunId"
"""What MLflow's pages draw a tree of runs by."""


@contextmanager
def child_run(home: Home, parent: str, *, run_name: str) -> Iterator[str]:
    """Make a run below another one, in its experiment, and end it.

    It neither needs an active run nor becomes one, so that it can be made in a process of its
    own, and several at a time. One of the same name that is still running was left by a process
    that was killed at this work, which is done again: it is marked as KILLED.

    Parameters
    ----------
    home
        Whose tracking server keeps both.
    parent
        Run that it is a child of.
    run_name
        What MLflow's pages call it; another one for each piece of the parent's work.

    Yields
    ------
    str
        The run's id. It ends FINISHED, KILLED where the user stopped it, FAILED on any other
        error.

    Raises
    ------
    StorageError
        If the tracking server cannot be reached or written, or does not keep the parent.
    """
    use_tracking_server(home)
    client = MlflowClient()
    try:
        experiment = client.get_run(parent).info.experiment_id
        _end_earlier(client, experiment, parent, run_name)
        made = client.create_run(experiment, run_name=run_name, tags={PARENT_TAG: parent})
        run = str(made.info.run_id)
        status = "FAILED"
        try:
            yield run
            status = "FINISHED"
        except (KeyboardInterrupt, TrainingInterrupted):
            status = "KILLED"
            raise
        finally:
            _end(client, run, status)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise storage_error(home, error) from error


def _end_earlier(client: MlflowClient, experiment: str, parent: str, run_name: str) -> None:
    # A name may hold whatever a symbol does: it is compared here, not in MLflow's query.
    under_way = f"tags.`{PARENT_TAG}` = '{parent}' and attributes.status = 'RUNNING'"
    for one in client.search_runs([experiment], under_way, max_results=1_000):
        if one.info.run_name == run_name:
            client.set_terminated(one.info.run_id, "KILLED")


def _end(client: MlflowClient, run: str, status: str) -> None:
    try:
        client.set_terminated(run, status)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        if status == "FINISHED":
            raise
        # What ended the run matters more than that its end could not be written down.
        _log.warning("the MLflow run could not be marked as %s: %s", status, error)
