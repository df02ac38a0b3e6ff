"""MLflow runs: one joined or started, and what is logged to it."""

from __future__ import annotations

import json
import logging
import os
import time
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.entities import DatasetInput, InputTag, Metric
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from lightning_models.candles import Candles, fingerprint_of
from lightning_models.errors import TrainingError, TrainingInterrupted
from lightning_models.redaction import redacted
from lightning_models.registry import storage_error, use_tracking_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lightning_models.home import Home

__all__ = [
    "experiment_id_of",
    "log_candles",
    "log_metrics",
    "log_parameters",
    "parameter_text",
    "set_tags",
    "tracked_run",
]

_log = logging.getLogger(__name__)

PARAMETER_LENGTH = 250


@contextmanager
def tracked_run(
    home: Home, experiment: str, *, run_name: str, run_id: str | None = None
) -> Iterator[str]:
    """Join the active MLflow run, continue a given one, or start a new one.

    Parameters
    ----------
    home
        Whose tracking server to use.
    experiment
        Name of the experiment of a new run.
    run_name
        Of a new run.
    run_id
        Of a run to continue.

    Yields
    ------
    str
        The run's id. A run that was started or continued here ends here: FINISHED, KILLED
        where the user stopped it, FAILED on any other error. A joined one stays open.

    Raises
    ------
    StorageError
        If the tracking server cannot be reached or written, now or while the run lasts.
    TrainingError
        If an MLflow run is active that is not the one to continue, or is kept by another
        tracking server.
    """
    use_tracking_server(home)
    with _storage_errors(home):
        active = mlflow.active_run()
        if active is not None:
            _check_joinable(home, active.info.run_id, run_id)
            yield str(active.info.run_id)
            return
        if run_id is None:
            run = mlflow.start_run(
                experiment_id=experiment_id_of(home, experiment), run_name=run_name
            )
        else:
            run = mlflow.start_run(run_id=run_id)
        status = "FAILED"
        try:
            yield str(run.info.run_id)
            status = "FINISHED"
        except (KeyboardInterrupt, TrainingInterrupted):
            status = "KILLED"
            raise
        finally:
            use_tracking_server(home)  # another home may have spoken in between
            _end_run(status)


def log_parameters(run_id: str, parameters: Mapping[str, Any]) -> None:
    """Log dotted parameters; a long list is cut at MLflow's limit, its whole is in the bundle."""
    client = MlflowClient()
    known = client.get_run(run_id).data.params
    fresh = {key: parameter_text(value) for key, value in parameters.items() if key not in known}
    if fresh:
        mlflow.log_params(fresh, run_id=run_id)


def parameter_text(value: Any) -> str:
    """Return a value as MLflow's parameters hold it, cut at their limit."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text[:PARAMETER_LENGTH]


def log_metrics(run_id: str, metrics: Mapping[str, float | None], *, step: int = 0) -> None:
    """Log metrics in one batch; a metric that could not be computed is left out."""
    now = milliseconds_now()
    batch = [
        Metric(key=key, value=float(value), timestamp=now, step=step)
        for key, value in metrics.items()
        if value is not None
    ]
    MlflowClient().log_batch(run_id, metrics=batch)


def set_tags(run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags under the project's prefix: ``kind`` becomes ``lstm.kind``."""
    client = MlflowClient()
    for key, value in tags.items():
        client.set_tag(run_id, f"lstm.{key}", value)


def log_candles(run_id: str, candles: Sequence[Candles], *, context: str) -> None:
    """Log each symbol's candles as a dataset of the run, with their fingerprint as digest."""
    client = MlflowClient()
    inputs = []
    for one in candles:
        with warnings.catch_warnings():
            # MLflow hints that integer columns cannot hold missing values; ours never do.
            warnings.filterwarnings("ignore", module=r"mlflow\..*")
            dataset = mlflow.data.from_pandas(  # type: ignore[attr-defined]
                one.to_frame(),
                name=f"{one.symbol} {one.timeframe}",
                digest=fingerprint_of([one])[:36],
            )
        inputs.append(
            DatasetInput(dataset._to_mlflow_entity(), [InputTag("mlflow.data.context", context)])
        )
    client.log_inputs(run_id, inputs)


@contextmanager
def _storage_errors(home: Home) -> Iterator[None]:
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise storage_error(home, error) from error


def _check_joinable(home: Home, active: str, wanted: str | None) -> None:
    if wanted not in (None, active):
        raise TrainingError(
            f"the MLflow run {active} is active, and {wanted} is to be continued: end the active "
            "one with mlflow.end_run() first"
        )
    try:
        MlflowClient().get_run(active)
    except MlflowException as error:
        raise TrainingError(
            f"the active MLflow run {active} is not kept at {redacted(home.tracking_uri)}: end it "
            "with mlflow.end_run(), or set MLFLOW_TRACKING_URI to its tracking server"
        ) from error


def _end_run(status: str) -> None:
    try:
        mlflow.end_run(status)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        if status == "FINISHED":
            raise
        # What ended the run matters more than that its end could not be written down.
        _log.warning("the MLflow run could not be marked as %s: %s", status, error)


def experiment_id_of(home: Home, name: str) -> str:
    """Return the id of an experiment of the home's tracking server, which is made if need be."""
    found = mlflow.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    # A relative artifact location would depend on where the command was run.
    local = not os.environ.get("MLFLOW_TRACKING_URI")
    location = (home.artifacts / name).as_uri() if local else None
    try:
        return str(mlflow.create_experiment(name, artifact_location=location))
    except MlflowException:
        # Another process may have made it since.
        found = mlflow.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)


def milliseconds_now() -> int:
    """Return the present moment as MLflow counts it, milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
