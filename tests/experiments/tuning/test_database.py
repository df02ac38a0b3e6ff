from __future__ import annotations

import inspect
import logging
import math
import pickle
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pytest
import sqlalchemy as sa
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from experiments.tuning.database import Database, open_database
from lightning_models.errors import ConfigError, StorageError
from tests.experiments.tuning.processes import process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from experiments.benchmark.postgres_server import PostgresDatabase

SOON = (0.05,) * 400
NEVER = (3600.0,)

OPENS = """
import sys
from experiments.tuning.database import open_database
print("ready", flush=True)
sys.stdin.readline()
open_database(sys.argv[1], heartbeat=10, grace=30).get_all_studies()
"""


class Heard(logging.Handler):
    """Sets an event when a message comes."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words = words
        self.event = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if self.words in record.getMessage():
            self.event.set()


@pytest.fixture
def hear() -> Iterator[Callable[[str], threading.Event]]:
    log = logging.getLogger("experiments.tuning.database")
    added: list[Heard] = []

    def listen(words: str) -> threading.Event:
        added.append(Heard(words))
        log.addHandler(added[-1])
        return added[-1].event

    yield listen
    for handler in added:
        log.removeHandler(handler)


def opened(url: str, delays: Sequence[float] = SOON, *, grace: int = 2) -> Database:
    return open_database(url, heartbeat=1, grace=grace, delays=delays)


def plain(url: str) -> RDBStorage:
    return RDBStorage(url.replace("{", "{{"), engine_kwargs={"pool_pre_ping": True})


def begun(storage: RDBStorage) -> tuple[int, int]:
    """Return the ids of a new study and of a running trial in it."""
    study = storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], "study")
    return study, storage.create_new_trial(study)


class TestOutage:
    def test_operation_goes_on_when_the_server_is_back(
        self, postgres: PostgresDatabase, hear: Callable[[str], threading.Event]
    ) -> None:
        storage = opened(postgres.url)
        _, trial = begun(storage)
        waits = hear("trying again")
        with ThreadPoolExecutor(1) as pool:
            postgres.stop()
            told = pool.submit(storage.set_trial_state_values, trial, TrialState.COMPLETE, [0.25])
            assert waits.wait(60)
            assert not told.done()
            postgres.start()
            assert told.result(60) is True
        assert storage.get_trial(trial).value == 0.25

    def test_optunas_own_storage_fails_there(self, postgres: PostgresDatabase) -> None:
        storage = plain(postgres.url)
        _, trial = begun(storage)
        postgres.stop()
        with pytest.raises(StorageInternalError):
            storage.set_trial_state_values(trial, TrialState.COMPLETE, [0.25])
        storage.engine.dispose()

    def test_study_goes_on_through_a_restart(
        self, postgres: PostgresDatabase, hear: Callable[[str], threading.Event]
    ) -> None:
        study = optuna.create_study(storage=opened(postgres.url))
        waits = hear("trying again")

        def objective(trial: optuna.Trial) -> float:
            x = trial.suggest_float("x", 0, 1)
            if trial.number == 1:
                postgres.stop()
                restarted = threading.Thread(target=lambda: waits.wait(60) and postgres.start())
                restarted.start()
                trial.set_user_attr("seen", x)
                restarted.join()
            return x

        study.optimize(objective, n_trials=3)
        assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3
        assert study.trials[1].user_attrs == {"seen": study.trials[1].params["x"]}

    def test_longer_one_ends_in_an_error_that_says_what_to_do_and_no_password(
        self, postgres: PostgresDatabase, caplog: pytest.LogCaptureFixture
    ) -> None:
        storage = opened(postgres.url, delays=(0.01, 0.01))
        study, trial = begun(storage)
        storage.set_trial_state_values(trial, TrialState.COMPLETE, [0.25])
        postgres.stop()
        with pytest.raises(StorageError) as caught:
            storage.get_all_trials(study)
        message = str(caught.value)
        assert "cannot be reached (connection failed" in message
        assert "nothing that was finished is lost; run the same command again" in message
        assert "tuner:***@127.0.0.1" in message
        told = "".join(traceback.format_exception(caught.value)) + caplog.text
        assert postgres.password not in told
        assert sa.make_url(postgres.url).render_as_string(hide_password=False) not in told
        assert caplog.text.count("trying again in 0.01 s") == 2
        postgres.start()
        assert [one.value for one in storage.get_all_trials(study)] == [0.25]

    def test_refused_value_is_not_waited_for(self, postgres: PostgresDatabase) -> None:
        storage = opened(postgres.url, delays=NEVER)
        study, _ = begun(storage)
        with pytest.raises(StorageError, match="refuses to store this: value too long"):
            storage.set_study_user_attr(study, "k" * 600, 1)

    def test_default_waits_add_up_to_a_minute(self) -> None:
        assert inspect.signature(open_database).parameters["delays"].default == (
            1, 2, 4, 8, 16, 16, 16,
        )  # fmt: skip

    def test_every_operation_of_optuna_that_reaches_the_database_waits(self) -> None:
        reaching = {
            name
            for name, member in vars(RDBStorage).items()
            if inspect.isfunction(member) and "_create_scoped_session(" in inspect.getsource(member)
        }
        assert {"get_trial", "record_heartbeat", "_get_trials"} <= reaching
        assert reaching - vars(Database).keys() == set()


class TestLostAnswer:
    """The server has done what it was asked, and the connection broke before it could say so."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Database:
        return opened(f"sqlite:///{tmp_path / 'study.db'}", delays=(0.0,))

    @pytest.fixture
    def lost(self, monkeypatch: pytest.MonkeyPatch) -> None:
        original = RDBStorage.set_trial_state_values
        answers = iter([False])

        def answer_is_lost(*arguments: object, **named: object) -> bool:
            done = original(*arguments, **named)  # type: ignore[arg-type]
            if next(answers, True):
                return done
            raise sa.exc.OperationalError("COMMIT", {}, OSError("connection reset"))

        monkeypatch.setattr(RDBStorage, "set_trial_state_values", answer_is_lost)

    def test_own_result_is_known_again(self, storage: Database, lost: None) -> None:
        _, trial = begun(storage)
        assert storage.set_trial_state_values(trial, TrialState.COMPLETE, [0.25]) is True

    def test_failure_is_not_taken_for_ones_own(self, storage: Database, lost: None) -> None:
        # Whoever takes it for his own would queue the trial once more.
        _, trial = begun(storage)
        with pytest.raises(UpdateFinishedTrialError):
            storage.set_trial_state_values(trial, TrialState.FAIL)

    def test_anothers_result_is_not_taken_for_ones_own(self, storage: Database) -> None:
        _, trial = begun(storage)
        storage.set_trial_state_values(trial, TrialState.COMPLETE, [0.5])
        with pytest.raises(UpdateFinishedTrialError):
            storage.set_trial_state_values(trial, TrialState.COMPLETE, [0.5])


class TestHeartbeat:
    def test_thread_outlives_an_outage(
        self,
        postgres: PostgresDatabase,
        hear: Callable[[str], threading.Event],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        storage = opened(postgres.url)
        study = optuna.create_study(storage=storage)
        missed = hear("its heartbeat is missed")
        passing = threading.Event()

        def objective(trial: optuna.Trial) -> float:
            while not storage.heartbeats(trial._trial_id):  # its first one
                passing.wait(0.02)
            postgres.stop()
            assert missed.wait(60)
            postgres.start()
            before = storage.heartbeats(trial._trial_id)
            while storage.heartbeats(trial._trial_id) == before:
                passing.wait(0.02)
            return 0.0

        storage.heartbeats = lambda trial: _heartbeats(storage, trial)  # type: ignore[attr-defined]
        study.optimize(objective, n_trials=1)
        assert study.trials[0].state == TrialState.COMPLETE
        assert caplog.text.count("its heartbeat is missed") == 1

    def test_optunas_own_would_end_the_thread(self, postgres: PostgresDatabase) -> None:
        storage = plain(postgres.url)
        _, trial = begun(storage)
        postgres.stop()
        with pytest.raises(StorageInternalError):
            storage.record_heartbeat(trial)
        storage.engine.dispose()

    def test_old_heartbeats_are_no_death_until_each_worker_had_time_for_its_next(
        self, postgres: PostgresDatabase
    ) -> None:
        storage = opened(postgres.url, grace=600)
        study, trial = begun(storage)
        storage.record_heartbeat(trial)
        with storage.engine.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE trial_heartbeats SET heartbeat = now() - interval '1 hour'"
            )
        # Optuna's own method fails the trials of all workers as soon as an outage is over.
        assert RDBStorage._get_stale_trial_ids(storage, study) == [trial]
        assert storage._get_stale_trial_ids(study) == []
        storage._reached_since = -math.inf
        assert storage._get_stale_trial_ids(study) == [trial]
        reason = "its worker has not been heard of for 600 s"
        assert storage.get_trial(trial).user_attrs == {"error": reason}


def _heartbeats(storage: Database, trial: int) -> list[object]:
    statement = sa.text("SELECT heartbeat FROM trial_heartbeats WHERE trial_id = :trial")
    with storage.engine.connect() as connection:
        return list(connection.execute(statement, {"trial": trial}).scalars())


class TestSqlite:
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'study.db'}"

    def test_two_that_decide_at_once_are_not_both_let_through(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        storage, other = opened(url), opened(url)
        _, trial = begun(storage)
        with ThreadPoolExecutor(1) as pool:
            seconds = []

            def in_between(self: object, trial_id: int, state: TrialState) -> None:
                original(self, trial_id, state)
                if self is storage:
                    seconds.append(
                        pool.submit(other.set_trial_state_values, trial, TrialState.FAIL)
                    )

            original = RDBStorage.check_trial_is_updatable
            monkeypatch.setattr(RDBStorage, "check_trial_is_updatable", in_between)
            assert storage.set_trial_state_values(trial, TrialState.FAIL) is True
            (second,) = seconds
            with pytest.raises(UpdateFinishedTrialError):
                second.result(60)

    def test_optunas_own_storage_lets_both_through(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        storage, other = plain(url), plain(url)
        _, trial = begun(storage)
        through = []

        def in_between(self: object, trial_id: int, state: TrialState) -> None:
            original(self, trial_id, state)
            if self is storage:
                through.append(other.set_trial_state_values(trial, TrialState.FAIL))

        original = RDBStorage.check_trial_is_updatable
        monkeypatch.setattr(RDBStorage, "check_trial_is_updatable", in_between)
        assert storage.set_trial_state_values(trial, TrialState.FAIL) is True
        assert through == [True]
        storage.engine.dispose()
        other.engine.dispose()

    def test_storage_is_sent_to_another_process(self, url: str) -> None:
        storage = opened(url)
        study, _ = begun(storage)
        sent = pickle.loads(pickle.dumps(storage))
        assert [trial.state for trial in sent.get_all_trials(study)] == [TrialState.RUNNING]
        with sent.engine.connect() as connection:
            assert connection.connection.dbapi_connection.isolation_level is None


@pytest.mark.parametrize("kind", ["postgres", "sqlite"])
def test_workers_that_start_together_make_the_tables_once(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    sqlite = f"sqlite:///{tmp_path / 'study.db'}"
    url = sqlite if kind == "sqlite" else request.getfixturevalue("postgres").url
    with process(OPENS, url) as one, process(OPENS, url) as two:
        for each in (one, two):
            assert each.says() == ["ready"]
        for each in (one, two):
            each.tell()
        assert [each.end() for each in (one, two)] == [0, 0]


def test_worker_keeps_one_connection(postgres: PostgresDatabase) -> None:
    storage = opened(postgres.url)
    study, _ = begun(storage)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(storage.get_all_trials, [study] * 20))
    counted = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    with storage.engine.connect() as connection:
        for _ in range(50):
            # A server takes a moment to see that a client has hung up.
            if connection.exec_driver_sql(counted).scalar() == 1:
                break
            connection.exec_driver_sql("SELECT pg_sleep(0.1)")
        assert connection.exec_driver_sql(counted).scalar() == 1


class TestAddress:
    def test_without_a_server_is_an_error_at_once(self) -> None:
        # Port 1 is that of a service nobody runs.
        address = "postgresql+psycopg://me:s3cret@127.0.0.1:1/x"
        with pytest.raises(StorageError, match="cannot be used: connection failed") as caught:
            opened(address, delays=NEVER)
        assert "postgresql+psycopg://me:***@127.0.0.1:1/x" in str(caught.value)
        assert "s3cret" not in "".join(traceback.format_exception(caught.value))

    def test_of_a_database_that_is_not_there(self, postgres: PostgresDatabase) -> None:
        with pytest.raises(StorageError, match='database "nowhere" does not exist') as caught:
            opened(postgres.server.address("nowhere"), delays=NEVER)
        assert postgres.password not in str(caught.value)

    def test_with_a_wrong_password(self, postgres: PostgresDatabase) -> None:
        address = postgres.server.address(postgres.name, password="s3cret")
        with pytest.raises(StorageError, match="password authentication failed") as caught:
            opened(address, delays=NEVER)
        assert "s3cret" not in "".join(traceback.format_exception(caught.value))

    def test_of_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        (tmp_path / "note").write_text("a note that is no database, and is kept\n" * 50, "utf-8")
        with pytest.raises(StorageError, match="cannot be used: file is not a database"):
            opened(f"sqlite:///{tmp_path / 'note'}")

    def test_of_a_file_in_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match="Check that its folder exists"):
            opened(f"sqlite:///{tmp_path / 'none' / 'study.db'}")

    def test_of_mlflows_database_is_refused_and_nothing_is_written_there(
        self, migrated_database: Path, tmp_path: Path
    ) -> None:
        database = tmp_path / "mlflow.db"
        database.write_bytes(migrated_database.read_bytes())
        with pytest.raises(ConfigError, match="give the studies a database of their own"):
            opened(f"sqlite:///{database}")
        assert database.read_bytes() == migrated_database.read_bytes()

    def test_of_tables_of_another_optuna(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path / 'study.db'}"
        with opened(url).engine.begin() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'v99'")
        with pytest.raises(StorageError, match="no longer compatible with the table schema"):
            opened(url)
