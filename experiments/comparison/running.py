"""Run many trials side by side, once each: finished ones are read back from MLflow."""

from __future__ import annotations

import io
import json
import tempfile
from contextlib import closing, contextmanager
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
from mlflow.tracking import MlflowClient

from experiments.child_runs import PARENT_TAG
from experiments.comparison.trial import Trial, TrialResult, run_trial
from experiments.config import flatten
from experiments.tracking import log_candles, log_metrics, log_parameters, set_tags, tracked_run
from experiments.workers import side_by_side
from lightning_models.candles import fingerprint_of
from lightning_models.evaluation.outcomes import COLUMNS, Outcomes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lightning_models.candles import Candles
    from lightning_models.home import Home

__all__ = ["comparison_run", "run_trials"]

RESULT_FILE, OUTCOMES_FILE = "trial.json", "outcomes.npz"
MOST_RUNS = 10_000


@contextmanager
def comparison_run(
    home: Home,
    name: str,
    kind: str,
    run_name: str,
    candles: Sequence[Candles],
    given: Mapping[str, object],
) -> Iterator[str]:
    """Open the run above those of a comparison's trials, and say what is compared on what.

    Parameters
    ----------
    home
        Of the tracking database.
    name
        Of the MLflow experiment.
    kind
        Of comparison, a tag.
    run_name
        What MLflow's pages call it.
    candles
        One entry for each symbol.
    given
        What it was asked for, logged as parameters.

    Yields
    ------
    str
        The run.
    """
    with tracked_run(home, name, run_name=run_name) as run:
        log_parameters(run, given)
        set_tags(
            run,
            {
                "kind": kind,
                "symbols": ",".join(one.symbol for one in candles),
                "timeframe": candles[0].timeframe,
                "data_fingerprint": fingerprint_of(candles),
            },
        )
        log_candles(run, candles, context="comparison")
        yield run


def run_trials(
    trials: Sequence[Trial],
    *,
    parent: str,
    jobs: int = -1,
    on_trial: Callable[[TrialResult], None] | None = None,
) -> list[TrialResult]:
    """Run trials that this MLflow experiment does not hold yet, each a run below `parent`.

    A comparison that was stopped goes on where it stood when it is started again: a trial is
    known by its configuration and its candles.

    Parameters
    ----------
    trials
        In the order of the result.
    parent
        The comparison's run, which is active.
    jobs
        Processes; -1 is one for each core.
    on_trial
        Called as each trial is done, in whatever order that is.

    Returns
    -------
    list of TrialResult

    Raises
    ------
    LSTMStrategiesError
        If a trial fails, of its own kind and with its name; the others are ended.
    """
    client = MlflowClient()
    experiment = client.get_run(parent).info.experiment_id
    found = {key: _read(client, run) for key, run in _finished(client, experiment).items()}
    results = {
        trial.key: _renamed(found[trial.key], trial) for trial in trials if trial.key in found
    }
    for known in results.values():
        if on_trial is not None:
            on_trial(known)
    missing = {trial.key: trial for trial in trials if trial.key not in results}
    running = side_by_side(run_trial, list(missing.values()), name=attrgetter("name"), jobs=jobs)
    with closing(running):
        for trial, result in running:
            _log(client, experiment, parent, trial, result)
            results[trial.key] = result
            if on_trial is not None:
                on_trial(result)
    return [_renamed(results[trial.key], trial) for trial in trials]


def _renamed(result: TrialResult, trial: Trial) -> TrialResult:
    # Two comparisons may call one configuration by two names.
    return TrialResult(**{**vars(result), "label": trial.label})


def _finished(client: MlflowClient, experiment: str) -> dict[str, str]:
    runs = client.search_runs(
        [experiment],
        "tags.`lstm.kind` = 'trial' and attributes.status = 'FINISHED'",
        max_results=MOST_RUNS,
    )
    return {run.data.tags["lstm.trial"]: run.info.run_id for run in runs}


def _read(client: MlflowClient, run: str) -> TrialResult:
    with tempfile.TemporaryDirectory(prefix="lstm-trial-") as scratch:
        record: dict[str, Any] = json.loads(
            Path(client.download_artifacts(run, RESULT_FILE, scratch)).read_text()
        )
        with np.load(
            client.download_artifacts(run, OUTCOMES_FILE, scratch), allow_pickle=False
        ) as stored:
            arrays: dict[str, Any] = dict(stored)
    scalars = record.pop("outcomes")
    record["epoch_seconds"] = tuple(record["epoch_seconds"])
    return TrialResult(**record, outcomes=Outcomes(**arrays, **scalars))


def _log(
    client: MlflowClient, experiment: str, parent: str, trial: Trial, result: TrialResult
) -> None:
    run = client.create_run(experiment, run_name=trial.name, tags={PARENT_TAG: parent})
    run_id = str(run.info.run_id)
    log_parameters(run_id, flatten(trial.config.model_dump(mode="json")))
    log_metrics(
        run_id,
        {
            **result.metrics,
            "train_seconds": result.seconds,
            "best_epoch": float(result.best_epoch),
            "epochs_trained": float(len(result.epoch_seconds)),
        },
    )
    outcomes = result.outcomes
    arrays = {name: value for name in COLUMNS if (value := getattr(outcomes, name)) is not None}
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **arrays)
    record = {
        **{name: value for name, value in vars(result).items() if name != "outcomes"},
        "outcomes": {"base_rate": outcomes.base_rate, "overlap": outcomes.overlap},
    }
    with tempfile.TemporaryDirectory(prefix="lstm-trial-") as scratch:
        (Path(scratch) / RESULT_FILE).write_text(json.dumps(record))
        (Path(scratch) / OUTCOMES_FILE).write_bytes(packed.getvalue())
        mlflow.log_artifacts(scratch, run_id=run_id)
    set_tags(
        run_id,
        {
            "kind": "trial",
            "trial": trial.key,
            "label": trial.label,
            "preset": trial.config.preset,
            "symbols": result.symbol,
            "timeframe": trial.candles.timeframe,
        },
    )
    # Last, so that a trial which counts as finished is whole.
    client.set_terminated(run_id, "FINISHED")
