from __future__ import annotations

import logging
import math
import warnings
from typing import TYPE_CHECKING

import optuna
import pytest
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState

from experiments.tuning import orphans
from experiments.tuning.orphans import reap, retried, run_again
from experiments.tuning.ownership import (
    Owner,
    end_worker,
    live_workers,
    record_owner,
    register_worker,
    this_process,
)
from experiments.tuning.storage import open_storage
from lightning_models.home import Home
from tests.experiments.tuning.processes import NAMELESS, REAPER, WORKER, process

if TYPE_CHECKING:
    from pathlib import Path

RUNNING, WAITING, FAIL = TrialState.RUNNING, TrialState.WAITING, TrialState.FAIL


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture(params=["journal", "postgres"])
def address(request: pytest.FixtureRequest) -> str | None:
    if request.param == "journal":
        return None
    url: str = request.getfixturevalue("postgres").url
    return url


@pytest.fixture(autouse=True)
def _no_warning_was_given_yet() -> None:
    orphans._warn_of_unseen.cache_clear()


def opened(address: str | None, home: Home) -> BaseStorage:
    return open_storage(address, home=home, name="study", heartbeat=1, grace=2)


def study_in(storage: BaseStorage) -> optuna.Study:
    return optuna.create_study(storage=storage, study_name="study", load_if_exists=True)


@pytest.fixture
def study(address: str | None, home: Home) -> optuna.Study:
    return study_in(opened(address, home))


@pytest.fixture
def journal(home: Home) -> optuna.Study:
    return study_in(opened(None, home))


def dead() -> Owner:
    """A process of this machine that was there before this one, under the same number."""
    here = this_process()
    return here.model_copy(update={"id": "dead", "started": str(int(here.started) - 1)})


def far() -> Owner:
    return this_process().model_copy(update={"id": "far", "host": "elsewhere"})


def running(study: optuna.Study, owner: Owner | None, x: float | None = 0.5) -> int:
    """Return the number of a running trial of an owner."""
    distribution = optuna.distributions.FloatDistribution(0, 1)
    study.add_trial(
        optuna.create_trial(
            state=RUNNING,
            params={} if x is None else {"x": x},
            distributions={} if x is None else {"x": distribution},
            user_attrs={} if owner is None else {"owner": owner.as_attribute()},
        )
    )
    return len(study.trials) - 1


def asked(study: optuna.Study) -> optuna.Trial:
    with warnings.catch_warnings():
        # Optuna's, that only `optimize` keeps up a heartbeat.
        warnings.simplefilter("ignore", UserWarning)
        return study.ask()


def states(study: optuna.Study) -> list[TrialState]:
    return [trial.state for trial in study.trials]


class TestKilledWorker:
    def test_its_trial_is_failed_and_run_again_with_the_same_parameters(
        self, address: str | None, home: Home, study: optuna.Study
    ) -> None:
        with process(WORKER, home.path, address or "") as worker:
            assert worker.says() == ["running", "0"]
            assert reap(study) == []
            worker.kill()
            pid = worker.pid
        assert reap(study) == [0]
        killed, again = study.trials
        assert killed.state == FAIL
        assert killed.user_attrs["error"].startswith(f"its worker (process {pid} on ")
        assert killed.user_attrs["error"].endswith(" was killed")
        assert (again.state, again.params) == (WAITING, killed.params)
        assert retried(study.trials) == {0}
        assert reap(study) == []

        seen = []
        study.optimize(lambda trial: seen.append(trial.suggest_float("x", 0, 1)) or 0.0, 1)
        assert seen == [killed.params["x"]]
        assert states(study) == [FAIL, TrialState.COMPLETE]

    def test_that_had_not_said_who_it_is(
        self, address: str | None, home: Home, study: optuna.Study
    ) -> None:
        with process(NAMELESS, home.path, address or "") as worker:
            assert worker.says() == ["running", "0"]
            # A live worker may be just about to say so.
            assert reap(study) == []
            worker.kill()
        assert reap(study) == [0]
        assert "before it had said who it is" in study.trials[0].user_attrs["error"]
        assert states(study) == [FAIL, WAITING]

    def test_its_journal_has_no_heartbeat_from_which_optuna_would_know(
        self, journal: optuna.Study
    ) -> None:
        running(journal, dead())
        with pytest.warns(ExperimentalWarning):
            optuna.storages.fail_stale_trials(journal)
        assert states(journal) == [RUNNING]
        assert reap(journal) == [0]

    def test_is_tried_three_times_more(self, study: optuna.Study) -> None:
        running(study, dead())
        for _ in range(3):
            assert len(reap(study)) == 1
            record_owner(asked(study), dead())
        assert reap(study) == [3]
        assert states(study) == [FAIL] * 4
        assert retried(study.trials) == {0, 1, 2}


class TestLiveWorker:
    def test_its_trial_is_left_to_it(self, study: optuna.Study) -> None:
        running(study, this_process())
        assert reap(study, grace=0.0, other_hosts=True) == []
        assert states(study) == [RUNNING]

    def test_would_lose_its_trial_if_a_retry_kept_the_former_owner(
        self, journal: optuna.Study
    ) -> None:
        number = running(journal, dead())
        with pytest.warns(ExperimentalWarning):
            optunas = RetryHeartbeatStaleTrialCallback(max_retry=3)
        journal.tell(number, state=FAIL)
        optunas(journal, journal.trials[number])
        journal.ask()  # by a live worker that has not said yet who it is
        register_elsewhere(journal)
        assert reap(journal) == [1]

    def test_keeps_the_retry_it_has_just_been_given(self, journal: optuna.Study) -> None:
        running(journal, dead())
        register_elsewhere(journal)
        assert reap(journal) == [0]
        assert journal.ask().number == 1
        assert reap(journal) == []

    def test_is_not_waited_for_once_the_trial_is_old(self, study: optuna.Study) -> None:
        register_elsewhere(study)
        asked(study)
        assert reap(study, grace=3600.0) == []
        assert reap(study, grace=0.0) == [0]

    def test_that_has_taken_its_leave_is_not_waited_for(self, study: optuna.Study) -> None:
        register_elsewhere(study)
        running(study, None)
        assert reap(study, grace=3600.0) == []
        end_worker(study, far())
        assert reap(study, grace=3600.0) == [0]

    def test_that_asks_is_no_reason_to_wait(self, study: optuna.Study) -> None:
        register_worker(study)
        running(study, None)
        assert reap(study, grace=3600.0) == [0]


def register_elsewhere(study: optuna.Study) -> None:
    written = {
        "owner": far().as_attribute(),
        "since": "2024-01-01T00:00:00Z",
        "state": "running",
    }
    study.set_user_attr("worker:far", written)


class TestOtherHosts:
    def test_their_trials_are_left_to_them_and_a_journal_cannot_tell(
        self, journal: optuna.Study, caplog: pytest.LogCaptureFixture
    ) -> None:
        running(journal, far())
        running(journal, far())
        for _ in range(2):
            assert reap(journal) == []
        (told,) = [one for one in caplog.records if one.levelno == logging.WARNING]
        assert told.getMessage().startswith("trials 0, 1 of study on elsewhere may be running")

    def test_their_trials_are_failed_where_they_are_said_to_be_dead(
        self, study: optuna.Study, caplog: pytest.LogCaptureFixture
    ) -> None:
        running(study, far())
        assert reap(study, other_hosts=True) == [0]
        assert states(study) == [FAIL, WAITING]
        assert "said to have been killed" in study.trials[0].user_attrs["error"]
        assert not [one for one in caplog.records if one.levelno == logging.WARNING]

    def test_their_workers_are_waited_for_until_they_are_said_to_be_dead(
        self, study: optuna.Study
    ) -> None:
        register_elsewhere(study)
        reap(study)
        assert [one.id for one in live_workers(study)] == ["far"]
        reap(study, other_hosts=True)
        assert live_workers(study) == []


class TestHeartbeat:
    @pytest.fixture
    def silent(self, postgres: object, home: Home) -> optuna.Study:
        storage = opened(postgres.url, home)  # type: ignore[attr-defined]
        study = study_in(storage)
        storage._reached_since = -math.inf  # type: ignore[attr-defined]
        for owner in (far(), this_process(), far()):
            running(study, owner)
        for number in (0, 1):
            storage.record_heartbeat(study.trials[number]._trial_id)  # type: ignore[attr-defined]
        with storage.engine.begin() as connection:  # type: ignore[attr-defined]
            connection.exec_driver_sql(
                "UPDATE trial_heartbeats SET heartbeat = now() - interval '1 hour'"
            )
        return study

    def test_trial_of_another_host_that_is_not_heard_of_is_run_again(
        self, silent: optuna.Study, caplog: pytest.LogCaptureFixture
    ) -> None:
        # Not that of this live process, though its heartbeat is as old, nor one without any.
        assert reap(silent) == [0]
        assert states(silent) == [FAIL, RUNNING, RUNNING, WAITING]
        assert "has not been heard of" in silent.trials[0].user_attrs["error"]
        assert not [one for one in caplog.records if one.levelno == logging.WARNING]

    def test_worker_that_is_not_heard_of_is_waited_for_no_longer(
        self, silent: optuna.Study
    ) -> None:
        register_elsewhere(silent)
        here = register_worker(silent)
        assert {one.id for one in live_workers(silent)} == {"far", here.id}
        reap(silent)
        # The live process whose heartbeat is as old has not left.
        assert [one.id for one in live_workers(silent)] == [here.id]

    def test_worker_whose_trial_optuna_itself_fails_is_waited_for_no_longer(
        self, silent: optuna.Study
    ) -> None:
        register_elsewhere(silent)
        silent.tell(1, 0.0)
        silent.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
        assert live_workers(silent) == []

    def test_what_optuna_itself_fails_is_run_again_by_whoever_takes_it(
        self, silent: optuna.Study
    ) -> None:
        silent.tell(1, 0.0)
        silent.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
        failed, _, _, again = silent.trials
        assert failed.state == FAIL
        assert failed.user_attrs["error"] == "its worker has not been heard of for 2 s"
        assert (again.state, again.params, again.user_attrs) == (
            TrialState.COMPLETE,
            {"x": 0.5},
            {},
        )


class TestTwoThatReap:
    def test_processes_queue_each_trial_once(
        self, address: str | None, home: Home, study: optuna.Study
    ) -> None:
        for x in range(8):
            running(study, dead(), x / 8)
        with (
            process(REAPER, home.path, address or "") as one,
            process(REAPER, home.path, address or "") as two,
        ):
            for each in (one, two):
                assert each.says() == ["ready"]
            for each in (one, two):
                each.tell()
            reaped = [int(word) for each in (one, two) for word in each.says()]
            assert [each.end() for each in (one, two)] == [0, 0]
        assert sorted(reaped) == list(range(8))
        assert states(study) == [FAIL] * 8 + [WAITING] * 8
        assert sorted(trial.params["x"] for trial in study.trials[8:]) == [x / 8 for x in range(8)]

    def test_second_one_that_comes_in_between_leaves_nothing_to_the_first(
        self, address: str | None, home: Home, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        running(study, dead())
        other = study_in(opened(address, home))
        listed = study.get_trials
        # The first has seen the trial running when the second fails it.
        monkeypatch.setattr(study, "get_trials", lambda **named: (listed(**named), reap(other))[0])
        assert reap(study) == []
        monkeypatch.undo()
        assert states(study) == [FAIL, WAITING]

    def test_who_did_not_ask_the_storage_would_queue_it_twice(
        self, address: str | None, home: Home, study: optuna.Study
    ) -> None:
        running(study, dead())
        other = study_in(opened(address, home))
        (seen,), (seen_too) = study.get_trials(), other.get_trials()[0]
        other._storage.set_trial_state_values(seen_too._trial_id, FAIL)
        run_again(other, seen_too)
        with pytest.raises(UpdateFinishedTrialError):
            study._storage.set_trial_state_values(seen._trial_id, FAIL)
        run_again(study, seen)
        assert states(study) == [FAIL, WAITING, WAITING]


class TestRunAgain:
    def test_keeps_what_the_trial_was_queued_with_and_not_how_it_ended(
        self, journal: optuna.Study
    ) -> None:
        number = running(journal, dead())
        failed = journal.trials[number]
        for key, value in {"error": "a reason", "again": True, "preset": True}.items():
            failed.set_user_attr(key, value)
        before = dict(failed.user_attrs)
        run_again(journal, failed)
        assert journal.trials[1].user_attrs == {"preset": True}
        assert failed.user_attrs == before
        assert failed.system_attrs == {}

    def test_leaves_the_history_of_the_trial_it_is_given(self, journal: optuna.Study) -> None:
        again = optuna.create_trial(
            state=FAIL, system_attrs={"failed_trial": 0, "retry_history": [0]}
        )
        again.number = 1
        run_again(journal, again)
        assert again.system_attrs["retry_history"] == [0]
        assert journal.trials[0].system_attrs["retry_history"] == [0, 1]

    def test_trial_without_parameters_is_drawn_anew(self, journal: optuna.Study) -> None:
        running(journal, dead(), None)
        reap(journal)
        assert 0 <= journal.ask().suggest_float("x", 0, 1) <= 1


def test_retried_are_all_but_the_last_of_a_chain_and_no_others() -> None:
    study = optuna.create_study()
    for number in range(3):
        running(study, None)
        study.tell(study.trials[-1].number, state=FAIL)
        if number:
            run_again(study, study.trials[-1])
            study.tell(study.ask(), 1.0)
    assert [trial.number for trial in study.trials] == [0, 1, 2, 3, 4]
    assert retried(study.trials) == {1, 3}


def test_nothing_is_running(study: optuna.Study) -> None:
    assert reap(study) == []
