"""A study's MLflow runs: one for each finished trial, whatever was killed when."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier, Thread
from urllib.request import urlopen

import numpy as np
import optuna
import pytest
from mlflow.tracking import MlflowClient
from optuna.trial import TrialState

from experiments.child_runs import PARENT_TAG
from experiments.tuning import trial_runs
from experiments.tuning.score import FoldScore, TrialScore
from experiments.tuning.trial_record import TrialRecord
from experiments.tuning.trial_runs import StudyRuns
from lightning_models.errors import StorageError
from lightning_models.home import Home

KEY = "0123"


def record(number, state="complete", **further):
    content = {"started": 1_700_000_000_000, "drawn": {"x": 0.5}} | further
    return TrialRecord(number=number, state=state, **content)


def score(returns=(0.01, -0.02, 0.03), fold=1):
    count = len(returns)
    return TrialScore(
        (0.5,),
        (
            FoldScore(
                fold=fold,
                seed=0,
                values=(0.5,),
                time=np.arange(count, dtype=np.int64) * 3_600_000,
                returns=np.array(returns),
                market=np.full(count, 0.001),
                metrics={"auc": 0.55, "odd": float("nan")},
                epochs=(0.7, 0.6),
                trades=3,
            ),
        ),
    )


def runs_of(client, runs):
    found = client.search_runs(
        [client.get_experiment_by_name(runs.experiment).experiment_id], max_results=1000
    )
    return [one for one in found if one.data.tags.get(PARENT_TAG) == runs.parent]


@pytest.fixture
def runs(home):
    return StudyRuns(home, "tried", key=KEY, parent=StudyRuns.make_parent(home, "tried", key=KEY))


@pytest.fixture
def client(home):
    return MlflowClient(home.tracking_uri)


def finished_study(*states):
    study = optuna.create_study()
    for place, state in enumerate(states):
        study.add_trial(
            optuna.create_trial(
                state=state,
                value=float(place) if state == TrialState.COMPLETE else None,
                params={"x": 0.1 * place},
                distributions={"x": optuna.distributions.FloatDistribution(0.0, 1.0)},
                user_attrs={"error": "no luck"} if state == TrialState.FAIL else {},
            )
        )
    return study.get_trials()


def test_a_trials_run_says_all_of_it(runs, client):
    whole = score()
    run = runs.log_trial(
        record(
            7,
            drawn={"network.units": "[8, 8]", "data.lookback": 30},
            configuration={"network.units": [8, 8], "data.lookback": 30, "data.mode": "window"},
            values=(0.5,),
            objectives=("log_loss",),
            folds=whole.folds,
            epochs=(0.7, 0.6),
        ),
        whole,
    )
    found = client.get_run(run)
    assert found.info.status == "FINISHED"
    assert found.info.start_time == 1_700_000_000_000
    assert found.data.tags[PARENT_TAG] == runs.parent
    assert {key: found.data.tags[f"lstm.{key}"] for key in ("kind", "trial", "state")} == {
        "kind": "trial",
        "trial": "7",
        "state": "complete",
    }
    assert found.data.params == {"network.units": "[8, 8]", "data.lookback": "30"}
    assert json.loads(found.data.tags["lstm.configuration"])["data.mode"] == "window"
    assert found.data.metrics == {
        "value": 0.5,
        "objective/log_loss": 0.5,
        "fold/objective/log_loss": 0.5,
        "fold/auc": 0.55,
        "val/log_loss": 0.6,
        "epochs_trained": 2.0,
        "trades": 3.0,
    }
    history = client.get_metric_history(run, "val/log_loss")
    assert [(one.step, one.value) for one in history] == [(0, 0.7), (1, 0.6)]
    assert runs.run_of(7) == run
    assert runs.run_of(8) is None


def test_a_complete_trials_returns_come_back_bit_for_bit(runs):
    runs.log_trial(record(0, values=(0.5,)), score())
    runs.log_trial(record(1, "pruned"))
    (kept,) = runs.returns_of(finished_study(TrialState.COMPLETE, TrialState.PRUNED))
    assert kept.number == 0
    assert kept.time.tolist() == [0, 3_600_000, 7_200_000]
    assert kept.returns.tolist() == [0.01, -0.02, 0.03]
    assert kept.market.tolist() == [0.001] * 3


def test_more_metrics_and_parameters_than_mlflow_takes_at_once_are_all_kept(runs, client):
    losses = tuple(float(one) for one in range(2_300))
    drawn = {f"part.{one}": one for one in range(250)}
    run = runs.log_trial(record(0, epochs=losses, drawn=drawn))
    assert len(client.get_run(run).data.params) == 250
    assert len(client.get_metric_history(run, "val/log_loss")) == 2_300


@pytest.mark.parametrize(
    ("state", "status"), [("complete", "FINISHED"), ("pruned", "FINISHED"), ("failed", "FAILED")]
)
def test_a_trials_end_is_the_runs(runs, client, state, status):
    found = client.get_run(runs.log_trial(record(0, state, error="why")))
    assert (found.info.status, found.data.tags["lstm.state"]) == (status, state)
    assert found.data.tags["lstm.error"] == "why"


def test_a_finished_trial_without_a_run_gets_one(runs, client):
    trials = finished_study(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    runs.log_trial(record(0, values=(0.0,)))
    runs.reconcile(trials)
    found = {one.data.tags["lstm.trial"]: one for one in runs_of(client, runs)}
    assert {key: one.data.tags["lstm.state"] for key, one in found.items()} == {
        "0": "complete",
        "1": "pruned",
        "2": "failed",
    }
    assert found["2"].data.tags["lstm.error"] == "no luck"
    assert found["2"].data.params == {"x": "0.2"}


def test_a_run_that_says_other_than_optuna_is_put_right(runs, client):
    # Its process was killed between writing the run and telling Optuna.
    run = runs.log_trial(record(0, values=(0.5,)), score())
    runs.reconcile(finished_study(TrialState.FAIL))
    found = client.get_run(run)
    assert found.info.status == "FAILED"
    assert found.data.tags["lstm.state"] == "failed"
    assert found.data.tags["lstm.error"] == "no luck"


def test_a_run_that_was_half_written_is_ended(runs, client, home):
    half = client.create_run(
        client.get_experiment_by_name("tried").experiment_id,
        tags={
            PARENT_TAG: runs.parent,
            "lstm.kind": "trial",
            "lstm.study": KEY,
            "lstm.trial": "0",
            "lstm.state": "complete",
        },
    )
    runs.reconcile(finished_study(TrialState.FAIL))
    found = client.get_run(half.info.run_id)
    assert (found.info.status, found.data.tags["lstm.state"]) == ("FAILED", "failed")
    assert len(runs_of(client, runs)) == 1


def test_of_two_runs_of_a_trial_the_older_one_stays(runs, client):
    first = runs.log_trial(record(0, values=(0.5,)))
    runs.log_trial(record(0, values=(0.5,), started=1_700_000_000_001))
    runs.reconcile(finished_study(TrialState.COMPLETE))
    (left,) = runs_of(client, runs)
    assert left.info.run_id == first


@pytest.mark.parametrize(("seconds", "left"), [(0.0, 1), (3600.0, 2)])
def test_a_run_that_was_asked_for_twice_leaves_one(runs, client, monkeypatch, seconds, left):
    # The first answer was lost, and the request made again: that shows in the time it took.
    monkeypatch.setattr(trial_runs, "_RETRIED_SECONDS", seconds)
    begun = record(0, values=(0.5,)).tags(KEY)
    tags = {PARENT_TAG: runs.parent} | {f"lstm.{key}": value for key, value in begun.items()}
    experiment = client.get_experiment_by_name(runs.experiment).experiment_id
    client.create_run(experiment, start_time=1_600_000_000_000, tags=tags)
    whole = runs.log_trial(record(0, values=(0.5,)))
    found = [one.info.run_id for one in runs_of(client, runs)]
    assert whole in found
    assert len(found) == left


def test_running_and_waiting_trials_have_no_run(runs, client):
    runs.reconcile(finished_study(TrialState.RUNNING, TrialState.WAITING))
    assert runs_of(client, runs) == []


def test_processes_that_put_right_at_once_leave_one_run_a_trial(home, runs, client):
    trials = finished_study(*[TrialState.COMPLETE] * 3)
    gate = Barrier(3)

    def put_right():
        own = StudyRuns(home, "tried", key=KEY, parent=runs.parent)
        gate.wait()
        own.reconcile(trials)

    threads = [Thread(target=put_right) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    numbers = sorted(one.data.tags["lstm.trial"] for one in runs_of(client, runs))
    assert numbers == ["0", "1", "2"]


def test_a_study_of_the_same_name_made_anew_has_runs_of_its_own(home, runs):
    runs.log_trial(record(0, values=(0.5,)))
    parent = StudyRuns.make_parent(home, "tried", key="other")
    anew = StudyRuns(home, "tried", key="other", parent=parent)
    assert anew.parent != runs.parent
    assert anew.run_of(0) is None


def test_another_tracking_server_than_the_first_workers_is_told(other_home, runs):
    with pytest.raises(StorageError, match=r"does not keep the run \w+ of the study tried"):
        StudyRuns(other_home, "tried", key=KEY, parent=runs.parent)


def test_the_studys_run_is_started_tagged_and_ended(runs, client):
    runs.start({"study.preset": "univariate"}, {"symbols": "BTC/USDT"})
    runs.log_metrics({"best": 0.5, "none": None})
    runs.end("KILLED")
    runs.start({"study.preset": "univariate", "study.holdout": 0.15}, {})
    found = client.get_run(runs.parent)
    assert found.info.status == "RUNNING"
    assert found.data.params == {"study.preset": "univariate", "study.holdout": "0.15"}
    assert found.data.tags["lstm.symbols"] == "BTC/USDT"
    assert found.data.metrics == {"best": 0.5}


def test_a_tracking_server_that_cannot_be_reached_is_told(home, monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    with pytest.raises(StorageError):
        StudyRuns.make_parent(Home(blocked), "tried", key=KEY)


@contextmanager
def tracking_server(folder, port):
    """Serve MLflow on loopback, and return once it answers."""
    server = subprocess.Popen(
        [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
            "--workers", "1", "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}",
            "--artifacts-destination", str(folder / "artifacts"),
        ],
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while not answers(port):
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(port):
    try:
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as told:
            return told.status == 200
    except OSError:
        return False


@pytest.mark.soak
def test_a_trial_that_ends_while_the_server_is_restarted_is_written_once_it_is_back(
    monkeypatch, tmp_path, closed_port
):
    address = f"http://127.0.0.1:{closed_port}"
    for name, value in {
        "MLFLOW_TRACKING_URI": address,
        # As commands set it that are to name a server that is down within seconds.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    }.items():
        monkeypatch.setenv(name, value)
    home = Home(tmp_path / "home")
    with tracking_server(tmp_path, closed_port):
        parent = StudyRuns.make_parent(home, "tried", key=KEY)
        runs = StudyRuns(home, "tried", key=KEY, parent=parent)
    with pytest.raises(StorageError):
        runs.log_metrics({"best": 0.5})
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(runs.log_trial, record(0, values=(0.5,)), score())
        with tracking_server(tmp_path, closed_port):
            run = written.result(120)
            (found,) = runs_of(MlflowClient(address), runs)
            assert found.info.run_id == run
            assert found.info.status == "FINISHED"
            (kept,) = runs.returns_of(finished_study(TrialState.COMPLETE))
    np.testing.assert_array_equal(kept.returns, score().series()[1])
