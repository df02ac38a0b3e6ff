from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import optuna
import pytest

from experiments.tuning import ownership
from experiments.tuning.ownership import (
    Owner,
    end_worker,
    live_workers,
    record_owner,
    register_worker,
    this_process,
    workers,
)
from tests.experiments.tuning.processes import process

WAITS = """
import sys
from experiments.tuning.ownership import this_process
print(this_process().model_dump_json(), flush=True)
sys.stdin.read()
"""


def owner_told(words: list[str]) -> Owner:
    return Owner.model_validate_json(" ".join(words))


def running(owner: Owner) -> dict[str, object]:
    since = "2024-01-01T00:00:00Z"
    return {"owner": owner.as_attribute(), "since": since, "state": "running"}


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(study_name="study")


class TestIsAlive:
    def test_this_process_is(self) -> None:
        assert this_process().pid == os.getpid()
        assert this_process().is_alive() is True

    def test_another_process_is_until_it_is_killed(self) -> None:
        with process(WAITS) as other:
            owner = owner_told(other.says())
            assert owner.pid == other.pid
            assert owner.is_alive() is True
            other.kill()
            assert owner.is_alive() is False

    def test_killed_process_whose_parent_has_not_asked_is_dead(self) -> None:
        with process(WAITS) as other:
            owner = owner_told(other.says())
            other.kill_and_leave()
            # Its number is still taken.
            os.kill(other.pid, 0)
            assert owner.is_alive() is False

    def test_reused_process_number_does_not_pass_for_the_former_process(self) -> None:
        here = this_process()
        former = here.model_copy(update={"started": str(int(here.started) - 100)})
        assert former.is_alive() is False
        # Without the time of its start, it would.
        assert here.model_copy(update={"started": ""}).is_alive() is True

    def test_process_of_another_host_cannot_be_seen(self) -> None:
        assert this_process().model_copy(update={"host": "elsewhere"}).is_alive() is None

    def test_machine_of_the_same_name_is_another_one(self) -> None:
        other = this_process().model_copy(update={"machine": "0123456789abcdef"})
        assert other.is_alive() is None

    def test_process_of_another_container_cannot_be_seen(self) -> None:
        other = this_process().model_copy(update={"namespace": "pid:[1]", "pid": 1})
        assert other.is_alive() is None

    def test_process_from_before_the_machines_restart_is_dead(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for identity, alive in (("0c0ffee0\n", False), ("", None)):
            machine_id = tmp_path / "machine-id"
            machine_id.write_text(identity, "utf-8")
            monkeypatch.setattr(ownership, "MACHINE_ID", machine_id)
            ownership._owner.cache_clear()
            before = this_process().model_copy(update={"boot": "before", "namespace": "pid:[1]"})
            assert before.is_alive() is alive
        ownership._owner.cache_clear()

    def test_identity_of_the_machine_is_not_given_away(self) -> None:
        identity = ownership._first_line(ownership.MACHINE_ID)
        assert not identity or identity not in this_process().model_dump_json()


class TestWithoutProc:
    @pytest.fixture(autouse=True)
    def _no_proc(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> object:
        monkeypatch.setattr(ownership, "PROC", tmp_path / "none")
        ownership._owner.cache_clear()
        yield
        ownership._owner.cache_clear()

    @pytest.mark.skipif(shutil.which("ps") is None, reason="no ps on this machine")
    def test_start_is_asked_of_ps(self) -> None:
        here = this_process()
        assert here.started
        assert here.is_alive() is True
        former = here.model_copy(update={"started": "Thu Jan  1 00:00:00 1970"})
        assert former.is_alive() is False

    def test_start_stays_unknown_without_ps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        here = this_process()
        assert here.started == ""
        assert here.is_alive() is True


def test_name_of_a_program_with_brackets_does_not_shift_the_fields(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "17").mkdir()
    fields = " ".join(str(number) for number in range(4, 53))
    (tmp_path / "17/stat").write_text(f"17 (a) R (b) S {fields}\n", "utf-8")
    monkeypatch.setattr(ownership, "PROC", tmp_path)
    # The 22nd field, counted as proc(5) does.
    assert ownership._started(17) == "22"


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_forked_process_is_another_one(tmp_path: Path) -> None:
    here = this_process()
    told = tmp_path / "told"
    child = os.fork()
    if child == 0:
        told.write_text(this_process().id, "utf-8")
        os._exit(0)
    os.waitpid(child, 0)
    assert told.read_text("utf-8") != here.id
    assert f"-{child}-" in told.read_text("utf-8")


class TestOwnerOfATrial:
    def test_is_read_back(self, study: optuna.Study) -> None:
        trial = study.ask()
        assert Owner.of(study.trials[0]) is None
        record_owner(trial, this_process())
        assert Owner.of(study.trials[0]) == this_process()

    def test_is_read_back_from_a_later_release(self, study: optuna.Study) -> None:
        study.ask().set_user_attr("owner", {**this_process().as_attribute(), "gpu": 1})
        assert Owner.of(study.trials[0]) == this_process()

    @pytest.mark.parametrize("value", [None, "alpha", 3, {"host": "alpha"}])
    def test_is_none_where_something_else_is_written(
        self, study: optuna.Study, value: object
    ) -> None:
        study.ask().set_user_attr("owner", value)
        assert Owner.of(study.trials[0]) is None


class TestWorkers:
    def test_worker_is_live_until_it_takes_its_leave(self, study: optuna.Study) -> None:
        owner = register_worker(study)
        (worker,) = live_workers(study)
        assert (worker.owner, worker.state) == (owner, "running")
        end_worker(study, owner)
        assert live_workers(study) == []
        (ended,) = workers(study)
        assert (ended.id, ended.since, ended.state) == (owner.id, worker.since, "ended")

    def test_worker_that_registers_again_is_one(self, study: optuna.Study) -> None:
        register_worker(study)
        register_worker(study)
        assert len(workers(study)) == 1

    def test_killed_worker_is_not_live(self, study: optuna.Study) -> None:
        here = register_worker(study)
        with process(WAITS) as other:
            told = owner_told(other.says())
            written = {
                "owner": told.as_attribute(),
                "since": "2024-01-01T00:00:00Z",
                "state": "running",
            }
            study.set_user_attr(f"worker:{told.id}", written)
            assert {worker.id for worker in live_workers(study)} == {here.id, told.id}
            other.kill()
        assert {worker.id for worker in live_workers(study)} == {here.id}
        assert [worker.id for worker in workers(study)] == [told.id, here.id]

    def test_worker_of_another_host_counts_as_live(self, study: optuna.Study) -> None:
        far = this_process().model_copy(update={"host": "elsewhere", "id": "elsewhere-1-a"})
        study.set_user_attr("worker:elsewhere-1-a", running(far))
        assert [worker.owner for worker in live_workers(study)] == [far]

    def test_other_attributes_of_the_study_are_no_workers(self, study: optuna.Study) -> None:
        study.set_user_attr("worker:odd", "something else")
        study.set_user_attr("config", {"name": "study"})
        assert workers(study) == []
