"""A study in MLflow: one run for it, and below it one for each trial, whatever is killed when."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from mlflow.entities import Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient
from optuna.trial import FrozenTrial
from pyarrow import parquet
from sqlalchemy.exc import SQLAlchemyError

from experiments.child_runs import PARENT_TAG
from experiments.environment import Environment
from experiments.tracking import experiment_id_of, milliseconds_now, parameter_text
from experiments.tuning.trial_record import (
    LONGEST_TAG,
    TrialRecord,
    state_of,
)
from lightning_models.errors import StorageError
from lightning_models.redaction import redacted
from lightning_models.registry import storage_error, use_tracking_server

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiments.tuning.score import TrialScore
    from lightning_models.home import Home

__all__ = ["RETURNS_FILE", "StudyRuns", "TrialReturns"]

_log = logging.getLogger(__name__)

RETURNS_FILE: Final = "returns.parquet"
"""Of a trial's run: columns ``time`` (bar stamps, milliseconds), ``returns``, ``market``."""

# MLflow takes no more metrics, parameters and tags at a time.
_METRICS_AT_ONCE: Final = 1_000
_PARAMETERS_AT_ONCE: Final = 100

# By itself MLflow draws a bar for each file, and prints where to look at a run that a server
# keeps, which is asked about it once more.
_QUIET: Final = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}

# A trial may have taken hours, and a server that is restarted is back within a minute: MLflow
# asks again after 0, 4, 8, 16 and 32 seconds, however soon a command gives up otherwise.
_PATIENT: Final = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "2",
}

_quietly, _patiently = Environment(_QUIET), Environment(_PATIENT)

# A run that took longer to write may have been asked for twice.
_RETRIED_SECONDS: Final = 2.0

# What a trial's end is called in MLflow. A pruned trial did what it was meant to do.
_STATUS: Final = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED"}


@dataclass(frozen=True, eq=False)
class TrialReturns:
    """The out-of-sample returns of a complete trial.

    Parameters
    ----------
    number
        Of the trial.
    time
        ``int64 [T]``, stamps, milliseconds.
    returns, market
        ``float64 [T]``, of the trial and of buy-and-hold, a bar (fraction).
    """

    number: int
    time: npt.NDArray[np.int64]
    returns: npt.NDArray[np.float64]
    market: npt.NDArray[np.float64]


class StudyRuns:
    """The MLflow runs of one study.

    Each trial's run is written whole, by the process that ran it, before Optuna is told of the
    trial's end: so every finished trial has one, and whoever was killed in between leaves a run
    that `reconcile` puts right.

    Parameters
    ----------
    home
        Whose tracking server keeps them.
    experiment
        The study's name.
    key
        What tells this study from an earlier one of its name.
    parent
        The study's own run, as `make_parent` returned it to whoever made the study.

    Raises
    ------
    StorageError
        If the tracking server cannot be reached or written, or does not keep the study's run.
    """

    def __init__(self, home: Home, experiment: str, *, key: str, parent: str) -> None:
        self._home = home
        self._key = key
        self.experiment = experiment
        self.parent = parent
        use_tracking_server(home)
        with self._errors():
            self._client = MlflowClient()
            try:
                self._experiment = self._client.get_run(parent).info.experiment_id
            except MlflowException as error:
                raise StorageError(
                    f"{redacted(home.tracking_uri)} does not keep the run {parent} of the study "
                    f"{experiment}: set MLFLOW_TRACKING_URI to the server, or give the --home, "
                    "that its first worker had"
                ) from error

    @staticmethod
    def make_parent(home: Home, experiment: str, *, key: str) -> str:
        """Make a study's run, and return its id.

        Parameters
        ----------
        home, experiment, key
            As for the class.

        Raises
        ------
        StorageError
            If the tracking server cannot be reached or written.
        """
        use_tracking_server(home)
        try:
            tags = {"mlflow.runName": experiment, "lstm.kind": "study", "lstm.study": key}
            made = MlflowClient().create_run(experiment_id_of(home, experiment), tags=tags)
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise storage_error(home, error) from error
        return str(made.info.run_id)

    def start(self, parameters: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Mark the study's run as running, and say what the study is.

        Parameters
        ----------
        parameters
            Dotted; those the run has already are left as they are.
        tags
            Without the project's prefix.
        """
        with self._errors():
            run = self._client.get_run(self.parent)
            fresh = [
                Param(key, parameter_text(value))
                for key, value in parameters.items()
                if key not in run.data.params
            ]
            for first in range(0, len(fresh), _PARAMETERS_AT_ONCE):
                self._client.log_batch(
                    self.parent, params=fresh[first : first + _PARAMETERS_AT_ONCE]
                )
            self.tag(tags)
            if run.info.status != "RUNNING":
                self._client.update_run(self.parent, status="RUNNING")

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags of the study's run."""
        with self._errors():
            self._client.log_batch(self.parent, tags=_tags(tags))

    def log_metrics(self, metrics: Mapping[str, float | None], *, step: int = 0) -> None:
        """Log metrics of the study's run; one that is None is left out."""
        now = milliseconds_now()
        batch = [
            Metric(name, float(value), now, step)
            for name, value in metrics.items()
            if value is not None
        ]
        with self._errors():
            self._client.log_batch(self.parent, metrics=batch)

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Log a file to the study's run."""
        with self._errors():
            self._client.log_artifact(self.parent, str(path), folder)

    def end(self, status: str) -> None:
        """End the study's run: FINISHED, KILLED where the user stopped it, FAILED."""
        with self._errors():
            self._client.set_terminated(self.parent, status)

    def log_trial(self, record: TrialRecord, score: TrialScore | None = None) -> str:
        """Write a trial's run whole, and return its id.

        Parameters
        ----------
        record
            Of the trial.
        score
            Of a complete trial, whose returns are kept.
        """
        begun = time.monotonic()
        with self._errors(patient=True):
            made = self._client.create_run(
                self._experiment,
                start_time=record.started,
                tags={
                    PARENT_TAG: self.parent,
                    "mlflow.runName": f"trial {record.number}",
                    **{f"lstm.{key}": value for key, value in record.tags(self._key).items()},
                },
            )
            run = str(made.info.run_id)
            try:
                self._write(run, str(made.info.artifact_uri), record, score)
            except MlflowException:
                # Whoever finds two runs of a trial keeps one: this may be the other.
                if self._client.get_run(run).info.lifecycle_stage != "deleted":
                    raise
            if time.monotonic() - begun > _RETRIED_SECONDS:
                self._delete_doubles(run, record.number)
            return run

    def returns_of(self, trials: Sequence[FrozenTrial]) -> list[TrialReturns]:
        """Return the kept returns of complete trials; one that has none is left out."""
        runs = {number: found[0] for number, found in self._runs_by_trial().items()}
        kept = []
        with self._errors(), tempfile.TemporaryDirectory(prefix="lstm-returns-") as scratch:
            for trial in trials:
                run = runs.get(trial.number)
                if run is None:
                    continue
                files = get_artifact_repository(str(run.info.artifact_uri))
                if not any(one.path == RETURNS_FILE for one in files.list_artifacts()):
                    continue
                folder = Path(scratch) / str(trial.number)
                folder.mkdir()
                fetch: Any = files.download_artifacts
                table = pd.read_parquet(fetch(RETURNS_FILE, str(folder)))
                columns = (table[name].to_numpy() for name in ("time", "returns", "market"))
                kept.append(TrialReturns(trial.number, *columns))
        return kept

    def run_of(self, number: int) -> str | None:
        """Return the id of a trial's run, None where it has none."""
        found = self._runs_by_trial().get(number)
        return None if found is None else str(found[0].info.run_id)

    def reconcile(self, trials: Sequence[FrozenTrial]) -> None:
        """Leave exactly one run for each finished trial, that says what Optuna says.

        Parameters
        ----------
        trials
            All of the study. Those that are running or waiting have no run yet; if a killed
            process left one it stays until the trial is marked.
        """
        with self._errors():
            known = self._runs_by_trial()
            for trial in trials:
                state = state_of(trial)
                if state is None:
                    continue
                found = known.get(trial.number, [])
                if not found:
                    self.log_trial(TrialRecord.of(trial, state))
                    # Another process may have had the same thought at the same moment.
                    found = self._runs_by_trial().get(trial.number, [])
                for extra in found[1:]:
                    self._delete(str(extra.info.run_id))
                if found:
                    self._put_right(found[0], trial, state)

    def _write(
        self, run: str, artifacts: str, record: TrialRecord, score: TrialScore | None
    ) -> None:
        if score is not None:
            self._log_returns(artifacts, score)
        metrics, parameters = record.metrics(), record.parameters()
        # As many as fit go with the first call: each one is a transaction.
        self._client.log_batch(
            run, metrics=metrics[:_METRICS_AT_ONCE], params=parameters[:_PARAMETERS_AT_ONCE]
        )
        for first in range(_METRICS_AT_ONCE, len(metrics), _METRICS_AT_ONCE):
            self._client.log_batch(run, metrics=metrics[first : first + _METRICS_AT_ONCE])
        for first in range(_PARAMETERS_AT_ONCE, len(parameters), _PARAMETERS_AT_ONCE):
            part = parameters[first : first + _PARAMETERS_AT_ONCE]
            self._client.log_batch(run, params=part)
        self._client.set_terminated(run, _STATUS[record.state])

    def _put_right(self, run: Run, trial: FrozenTrial, state: str) -> None:
        run_id = str(run.info.run_id)
        if run.data.tags.get("lstm.state") != state:
            record = TrialRecord.of(trial, state)
            self._client.log_batch(run_id, tags=_tags(record.tags(self._key)))
        if run.info.status != _STATUS[state]:
            self._client.set_terminated(run_id, _STATUS[state])

    def _runs_by_trial(self) -> dict[int, list[Run]]:
        # The oldest first, and of equal age in one order for every process. By nothing that may
        # change: of several that look at different moments each would keep another one.
        found: dict[int, list[Run]] = {}
        for run in self._search(
            f"tags.`lstm.study` = '{self._key}' and tags.`lstm.kind` = 'trial'"
        ):
            found.setdefault(int(run.data.tags["lstm.trial"]), []).append(run)
        for runs in found.values():
            runs.sort(key=lambda run: (run.info.start_time, run.info.run_id))
        return found

    def _search(self, wanted: str) -> Iterator[Run]:
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment],
                wanted,
                run_view_type=ViewType.ACTIVE_ONLY,
                max_results=1_000,
                page_token=token,
            )
            yield from page
            token = page.token
            if not token:
                return

    def _delete_doubles(self, run: str, number: int) -> None:
        # A request whose answer was lost was made again, and the first run stayed empty.
        for other in self._runs_by_trial().get(number, []):
            if other.info.run_id != run and not other.data.metrics:
                self._delete(str(other.info.run_id))

    def _delete(self, run: str) -> None:
        try:
            self._client.delete_run(run)
        except MlflowException as error:
            # Another process was quicker.
            _log.debug("the run %s was not deleted: %s", run, error)

    def _log_returns(self, artifacts: str, score: TrialScore) -> None:
        stamps, returns, market = score.series()
        table = pa.table({"time": stamps, "returns": returns, "market": market})
        with tempfile.TemporaryDirectory(prefix="lstm-returns-") as scratch:
            path = Path(scratch) / RETURNS_FILE
            # No two returns are alike: a dictionary of them would cost more than the file.
            parquet.write_table(table, path, use_dictionary=False)
            # Beside the run's own address: asking for it again would cost a transaction.
            log: Any = get_artifact_repository(artifacts).log_artifact
            log(os.fspath(path))

    @contextmanager
    def _errors(self, *, patient: bool = False) -> Iterator[None]:
        try:
            with _quietly, _patiently if patient else nullcontext():
                yield
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise storage_error(self._home, error) from error


def _tags(tags: Mapping[str, str]) -> list[RunTag]:
    return [RunTag(f"lstm.{key}", value[:LONGEST_TAG]) for key, value in tags.items()]
