"""Workers on a study that are killed at random moments, and what must hold afterwards."""

from __future__ import annotations

import math
import multiprocessing
from collections import Counter
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from mlflow.tracking import MlflowClient
from optuna.trial import TrialState

from experiments.child_runs import PARENT_TAG
from experiments.tuning.orphans import MAX_RETRIES, retried
from experiments.tuning.storage import open_storage
from experiments.tuning.study_record import read_record
from experiments.tuning.trial_runs import StudyRuns

if TYPE_CHECKING:
    from pathlib import Path

    from lightning_models.home import Home

# Forked from a process that has imported all of this and opened nothing: a worker begins in no
# time, and is killed as any process is.
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(
    ["experiments.tuning.search", "tests.experiments.tuning.killed_studies"]
)

NAME = "killed"


def objective(trial: optuna.Trial, candidate: Any, candles: Any) -> Any:
    """Score in no time what a real fit would, with returns to be kept."""
    from experiments.tuning.score import FoldScore, TrialScore

    del candidate
    value = (math.log10(trial.params["network.l2"]) + 2.0) ** 2
    if trial.number % 7 == 3:
        raise optuna.TrialPruned
    if trial.number % 11 == 5:
        raise ValueError("of its own")
    returns = np.full(50, 0.001 * value)
    fold = FoldScore(1, 0, (value,), candles[0].time[:50], returns, np.zeros(50))
    return TrialScore((value,), (fold,))


def work(folder: Path, storage: str | None, trials: int, begun: Any) -> None:
    """Work on the study in a process of its own."""
    import logging

    from experiments.settings import validated
    from experiments.tuning.config import StudyConfig
    from experiments.tuning.search import tune
    from lightning_models import simulate_market
    from lightning_models.home import Home

    logging.disable(logging.WARNING)
    study = validated(
        StudyConfig,
        {
            "name": NAME,
            "preset": "logistic-regression",
            "space": {"network.l2": {"low": 1e-4, "high": 1.0, "log": True}},
            "walk_forward": {"folds": 2},
            "stopping": {"trials": trials},
        },
        origin="study",
    )
    tune(
        study,
        simulate_market(candles=1200),
        home=Home(folder),
        storage=storage,
        objective=objective,
        on_change=lambda progress: begun.send(progress.finished),
    )


class Crew:
    """Workers of one study.

    Parameters
    ----------
    home
        With the tracking database.
    storage
        Address of the study's storage.
    trials
        At which the study ends.
    """

    def __init__(self, home: Home, storage: str | None, trials: int) -> None:
        self._home = home
        self._storage = storage
        self._trials = trials
        self._heard: dict[int, Any] = {}

    def start(self) -> Any:
        """Start a worker, and return its process."""
        heard, begun = context.Pipe(duplex=False)
        process = context.Process(
            target=work, args=(self._home.path, self._storage, self._trials, begun)
        )
        process.start()
        self._heard[process.pid] = heard
        return process

    def await_first_trial(self, process: Any) -> None:
        """Wait until a worker has begun its first trial."""
        heard = self._heard[process.pid]
        ready = wait([heard, process.sentinel], timeout=120)
        assert heard in ready, f"the worker ended with {process.exitcode} before its first trial"

    def finish(self) -> None:
        """Let one worker bring the study to its end."""
        process = self.start()
        process.join(600)
        assert process.exitcode == 0

    def study(self) -> optuna.Study:
        """Return the study as its storage has it."""
        storage = open_storage(self._storage, home=self._home, name=NAME)
        return optuna.load_study(study_name=NAME, storage=storage)

    def accounts(self) -> Counter[str]:
        """Check that every trial is accounted for, and return how many there are of each state."""
        study = self.study()
        trials = study.get_trials()
        again = retried(trials)
        states = Counter(one.state.name for one in trials)
        assert not states["RUNNING"], "a trial is running, and nobody runs it"
        assert not states["WAITING"], "a trial waits to be run again, and nobody will"
        counted = [one for one in trials if one.number not in again]
        assert len(counted) >= self._trials
        for one in trials:
            killed = one.state == TrialState.FAIL and "of its own" not in one.user_attrs["error"]
            history = one.system_attrs.get("retry_history", [])
            assert not killed or one.number in again or len(history) >= MAX_RETRIES
            for before in history:
                assert trials[before].params.items() <= one.params.items()
        self._check_runs(study, trials)
        return states

    def _check_runs(self, study: optuna.Study, trials: list[Any]) -> None:
        record = read_record(study)
        assert record is not None
        client = MlflowClient(self._home.tracking_uri)
        experiment = client.get_run(record.run_id).info.experiment_id
        runs = [
            one
            for one in client.search_runs([experiment], max_results=5_000)
            if one.data.tags.get(PARENT_TAG) == record.run_id
        ]
        numbers = Counter(int(one.data.tags["lstm.trial"]) for one in runs)
        assert numbers == Counter(one.number for one in trials), "runs and trials, one to one"
        told = {int(one.data.tags["lstm.trial"]): one for one in runs}
        names = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
        for one in trials:
            run = told[one.number]
            assert run.data.tags["lstm.state"] == names[one.state.name]
            assert run.info.status == ("FAILED" if one.state.name == "FAIL" else "FINISHED")
        complete = [one for one in trials if one.state == TrialState.COMPLETE]
        kept = StudyRuns(self._home, NAME, key=record.key, parent=record.run_id).returns_of(
            complete
        )
        assert [one.number for one in kept] == [one.number for one in complete]
