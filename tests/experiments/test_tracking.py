"""MLflow runs: joined or started, and ended as what they were."""

from __future__ import annotations

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from experiments.tracking import log_metrics, log_parameters, set_tags, tracked_run
from lightning_models import simulate_market
from lightning_models.errors import StorageError, TrainingError, TrainingInterrupted
from lightning_models.home import Home


def status_of(home, run_id):
    return MlflowClient(home.tracking_uri).get_run(run_id).info.status


def ended_with(home, error):
    with pytest.raises(type(error)), tracked_run(home, "x", run_name="y") as run:
        raise error
    return status_of(home, run)


def test_a_run_that_ends_well_is_finished(home):
    with tracked_run(home, "btc", run_name="quickstart") as run:
        assert status_of(home, run) == "RUNNING"
    assert status_of(home, run) == "FINISHED"
    assert mlflow.active_run() is None


@pytest.mark.parametrize("error", [KeyboardInterrupt(), TrainingInterrupted("stopped")])
def test_a_run_that_the_user_stopped_is_killed(home, error):
    assert ended_with(home, error) == "KILLED"


@pytest.mark.parametrize("error", [TrainingError("broken"), ZeroDivisionError()])
def test_a_run_that_failed_is_failed(home, error):
    assert ended_with(home, error) == "FAILED"


def test_a_run_goes_on_where_its_id_is_given(home):
    with pytest.raises(TrainingInterrupted), tracked_run(home, "btc", run_name="y") as first:
        raise TrainingInterrupted("stopped")
    with tracked_run(home, "btc", run_name="y", run_id=first) as second:
        assert status_of(home, second) == "RUNNING"
    assert first == second
    assert status_of(home, first) == "FINISHED"


def test_the_users_active_run_is_joined_and_left_open(home):
    with tracked_run(home, "theirs", run_name="outer") as outer:
        with tracked_run(home, "btc", run_name="inner") as inner:
            assert inner == outer
        assert mlflow.active_run().info.run_id == outer
        assert status_of(home, outer) == "RUNNING"


def test_a_joined_run_stays_open_although_the_work_failed(home):
    with tracked_run(home, "theirs", run_name="outer") as outer:
        assert ended_with(home, TrainingError("broken")) == "RUNNING"
        assert mlflow.active_run().info.run_id == outer


def test_another_run_is_not_continued_inside_an_active_one(home):
    with tracked_run(home, "btc", run_name="y") as earlier:
        pass
    with (
        tracked_run(home, "btc", run_name="y"),
        pytest.raises(TrainingError, match=r"is active, and .* is to be continued: end"),
        tracked_run(home, "btc", run_name="y", run_id=earlier),
    ):
        pass


def test_an_active_run_of_another_tracking_server_is_not_joined(home, other_home):
    with (
        tracked_run(other_home, "btc", run_name="y"),
        pytest.raises(TrainingError, match="is not kept at"),
        tracked_run(home, "btc", run_name="y"),
    ):
        pass


def test_files_of_a_run_lie_in_the_home_wherever_the_command_was_run(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with tracked_run(home, "btc", run_name="y"):
        mlflow.log_text("hello", "note.txt")
        assert mlflow.get_artifact_uri().startswith((home.artifacts / "btc").as_uri())
    assert list(home.artifacts.rglob("note.txt"))
    assert not (tmp_path / "mlruns").exists()


def test_a_database_that_cannot_be_used_is_told_with_what_to_do(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 200)
    with (
        pytest.raises(StorageError, match=r"cannot be used: .*choose another --home"),
        tracked_run(Home(tmp_path), "btc", run_name="y"),
    ):
        pass


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MlflowException("no")])
def test_a_disk_that_fills_up_during_a_run_is_told(home, error):
    with (
        pytest.raises(StorageError, match=r"cannot be used: .*or choose another --home"),
        tracked_run(home, "btc", run_name="y") as run,
    ):
        raise error
    assert status_of(home, run) == "FAILED"


def test_parameters_are_logged_once_and_cut_at_mlflows_limit(home):
    with tracked_run(home, "btc", run_name="y") as run:
        log_parameters(run, {"a.b": 3, "long": list(range(500)), "text": "x", "none": None})
        log_parameters(run, {"a.b": 4, "later": True})
    found = MlflowClient(home.tracking_uri).get_run(run).data.params
    assert found.pop("long").startswith("[0, 1, 2")
    assert found == {"a.b": "3", "text": "x", "none": "null", "later": "true"}


def test_metrics_that_could_not_be_computed_are_left_out(home):
    with tracked_run(home, "btc", run_name="y") as run:
        log_metrics(run, {"val/loss": 0.5, "test/auc": None}, step=2)
        log_metrics(run, {})
        set_tags(run, {"kind": "train"})
    data = MlflowClient(home.tracking_uri).get_run(run).data
    assert data.metrics == {"val/loss": 0.5}
    assert data.tags["lstm.kind"] == "train"


def test_each_symbols_candles_are_a_dataset_with_their_own_hash(home):
    from experiments.tracking import log_candles

    candles = simulate_market(candles=50, symbols=("A/USDT", "B/USDT"), seed=0)
    with tracked_run(home, "btc", run_name="y") as run:
        log_candles(run, candles, context="training")
    inputs = MlflowClient(home.tracking_uri).get_run(run).inputs.dataset_inputs
    found = {each.dataset.name: each.dataset.digest for each in inputs}
    assert found == {f"{one.symbol} 1h": one.fingerprint[:36] for one in candles}
    assert {tag.value for each in inputs for tag in each.tags} == {"training"}
