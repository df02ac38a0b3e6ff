from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.storages import JournalStorage

from experiments.tuning.database import Database
from experiments.tuning.storage import free_name, journal_path, open_storage, quiet_optuna
from lightning_models.errors import ConfigError, StorageError
from lightning_models.home import Home

if TYPE_CHECKING:
    from experiments.benchmark.postgres_server import PostgresDatabase

RUNS_A_STUDY = """
import sys, optuna
from pathlib import Path
from experiments.tuning.storage import open_storage
from lightning_models.home import Home
storage = open_storage(sys.argv[2] or None, home=Home(Path(sys.argv[1])), name="study")
study = optuna.create_study(storage=storage, study_name="study")
study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
"""

LETS_OPTUNA_SPEAK = """
import optuna
optuna.create_study(study_name="study")
"""

ASKS_FOR_A_JOURNAL = """
import sys
from pathlib import Path
from experiments.tuning.storage import open_storage
from lightning_models.home import Home
open_storage(None, home=Home(Path(sys.argv[1])), name="study")
print(*sorted({"sqlalchemy", "mlflow", "torch"} & set(sys.modules)))
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "always", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )


def sqlite_in(folder: Path) -> str:
    return f"sqlite:///{folder / 'study.db'}"


class TestKind:
    def test_is_a_journal_in_the_home_by_default(self, home: Home) -> None:
        assert isinstance(open_storage(None, home=home, name="btc-6h"), JournalStorage)
        assert (home.path / "studies/btc-6h.journal").is_file()

    def test_is_a_journal_where_a_path_is_given(self, home: Home, tmp_path: Path) -> None:
        path = tmp_path / "elsewhere" / "study.log"
        assert isinstance(open_storage(str(path), home=home, name="a"), JournalStorage)
        assert path.is_file()

    def test_is_a_database_where_an_address_is_given(self, home: Home, tmp_path: Path) -> None:
        storage = open_storage(
            sqlite_in(tmp_path), home=home, name="a", heartbeat=5, grace=20, delays=(1.0,)
        )
        assert isinstance(storage, Database)
        assert (storage.heartbeat_interval, storage.grace_period) == (5, 20)
        assert storage._delays == (1.0,)
        assert not (home.path / "studies").exists()

    def test_home_that_is_not_there_yet_is_made(self, tmp_path: Path) -> None:
        open_storage(None, home=Home(tmp_path / "new"), name="a")
        assert (tmp_path / "new/studies/a.journal").is_file()

    def test_studies_go_on_where_they_were(self, home: Home, tmp_path: Path) -> None:
        for address in (None, sqlite_in(tmp_path)):
            for _ in range(2):
                study = optuna.create_study(
                    storage=open_storage(address, home=home, name="a"),
                    study_name="a",
                    load_if_exists=True,
                )
                study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
            assert len(study.trials) == 4

    @pytest.mark.parametrize("storage", ["", " ", "postgresql:studies", "sqlite:/study.db"])
    def test_that_is_neither_is_refused(self, home: Home, storage: str) -> None:
        with pytest.raises(ConfigError, match="neither the address of a database"):
            open_storage(storage, home=home, name="a")

    @pytest.mark.parametrize("name", ["", "a/b", "a\0b"])
    def test_name_that_no_file_can_have_is_refused(self, home: Home, name: str) -> None:
        with pytest.raises(ConfigError, match="cannot name a study's file"):
            open_storage(None, home=home, name=name)

    @pytest.mark.parametrize(("heartbeat", "grace"), [(0, 30), (10, 10), (10, 5)])
    def test_heartbeat_without_time_for_a_second_one_is_refused(
        self, home: Home, heartbeat: int, grace: int
    ) -> None:
        with pytest.raises(ConfigError, match=f"a grace of {grace} s after a heartbeat every"):
            open_storage(None, home=home, name="a", heartbeat=heartbeat, grace=grace)

    def test_home_in_place_of_a_file_is_told_of(self, tmp_path: Path) -> None:
        (tmp_path / "studies").write_text("a file", "utf-8")
        with pytest.raises(StorageError, match="cannot be read or written"):
            open_storage(None, home=Home(tmp_path), name="a")


class TestFreeName:
    @pytest.mark.parametrize("kind", ["journal", "sqlite"])
    def test_is_the_name_itself_until_a_study_has_it(
        self, kind: str, home: Home, tmp_path: Path
    ) -> None:
        address = None if kind == "journal" else sqlite_in(tmp_path)
        for expected in ("btc", "btc-2", "btc-3"):
            name = free_name(address, home=home, name="btc")
            assert name == expected
            storage = open_storage(address, home=home, name=name)
            optuna.create_study(storage=storage, study_name=name)

    def test_of_another_study_is_no_hindrance(self, home: Home) -> None:
        open_storage(None, home=home, name="btc-6h")
        assert free_name(None, home=home, name="btc") == "btc"


class TestQuiet:
    @pytest.mark.soak
    def test_nothing_is_written_to_the_terminal(self, home: Home, tmp_path: Path) -> None:
        for address in ("", sqlite_in(tmp_path)):
            done = run(RUNS_A_STUDY, home.path, address)
            assert (done.stdout, done.stderr) == ("", "")

    def test_optuna_by_itself_writes_to_it(self) -> None:
        assert "A new study created" in run(LETS_OPTUNA_SPEAK).stderr

    def test_optunas_log_goes_where_the_programs_does(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        quiet_optuna()
        optuna.create_study(study_name="unheard")
        with caplog.at_level(logging.INFO):
            optuna.create_study(study_name="heard")
        assert "name: heard" in caplog.text
        assert "name: unheard" not in caplog.text

    def test_journal_needs_none_of_the_slow_packages(self, tmp_path: Path) -> None:
        assert run(ASKS_FOR_A_JOURNAL, tmp_path).stdout.strip() == ""


class TestDashboard:
    def study_of(self, storage: Any) -> dict[str, Any]:
        dashboard = pytest.importorskip("optuna_dashboard")
        begun: list[str] = []
        environment = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/api/studies",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "wsgi.input": None,
            "wsgi.url_scheme": "http",
        }
        answer = dashboard.wsgi(storage)(environment, lambda status, *_: begun.append(status))
        body = b"".join(answer)
        assert begun == ["200 OK"]
        (study,) = json.loads(body)["study_summaries"]
        return dict(study)

    def begin(self, address: str | None, home: Home) -> Any:
        storage = open_storage(address, home=home, name="btc")
        study = optuna.create_study(storage=storage, study_name="btc")
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
        return storage

    def test_shows_a_study_in_a_journal(self, home: Home) -> None:
        self.begin(None, home)
        # As `optuna-dashboard PATH` opens it, without any of this project.
        theirs = optuna.storages.journal.JournalFileBackend(str(journal_path(home, "btc")))
        assert self.study_of(JournalStorage(theirs))["study_name"] == "btc"

    def test_shows_a_study_in_postgresql(self, home: Home, postgres: PostgresDatabase) -> None:
        assert self.study_of(self.begin(postgres.url, home))["study_name"] == "btc"
