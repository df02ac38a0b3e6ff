from __future__ import annotations

import json
import pickle
import resource
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from experiments.tuning.journal_file import JournalFile, open_journal
from lightning_models.errors import ConfigError, StorageError
from tests.experiments.tuning.processes import process

OPEN = """
import sys
from pathlib import Path
from experiments.tuning.journal_file import JournalFile, open_journal
import optuna
path = Path(sys.argv[1])
"""

TEARS_A_LINE = (
    OPEN
    + """
journal = JournalFile(path)
with journal._locked(), journal._opened() as file:
    file.write(b'{"op_code":4,"worker_id":"w","study')
    print("half", flush=True)
    sys.stdin.read()
"""
)

TAKES_OPTUNAS_LOCK = """
import sys
from optuna.storages.journal import JournalFileSymlinkLock
JournalFileSymlinkLock(sys.argv[1]).acquire()
print("locked", flush=True)
sys.stdin.read()
"""

ADDS_TRIALS = (
    OPEN
    + """
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.load_study(storage=open_journal(path), study_name="study")
print("ready", flush=True)
sys.stdin.readline()
study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=12)
print(*[trial.number for trial in study.trials if trial.user_attrs], flush=True)
"""
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "study.journal"


def study_in(path: Path) -> optuna.Study:
    return optuna.create_study(storage=open_journal(path), study_name="study", load_if_exists=True)


def tell(study: optuna.Study, value: float) -> None:
    study.tell(study.ask(), value)


def values(path: Path) -> list[float | None]:
    study = optuna.load_study(storage=open_journal(path), study_name="study")
    return [trial.value for trial in study.trials]


class TestTornLastLine:
    def test_is_cut_off_by_the_next_append_wherever_it_was_torn(self, path: Path) -> None:
        study = study_in(path)
        tell(study, 1.0)
        whole = path.read_bytes()
        tell(study, 2.0)
        record = path.read_bytes()[len(whole) :].splitlines(keepends=True)[0]
        for length in range(1, len(record)):
            path.write_bytes(whole + record[:length])
            tell(study_in(path), 3.0)
            assert values(path) == [1.0, 3.0]

    def test_is_cut_off_by_a_worker_that_had_the_journal_open_before(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        study = study_in(path)
        tell(study, 1.0)
        with path.open("ab") as file:
            file.write(b'{"op_code":4,"worker')
        tell(study, 2.0)
        assert values(path) == [1.0, 2.0]
        assert "torn" in caplog.text

    def test_would_be_glued_to_the_next_line_by_optunas_own_file(self, path: Path) -> None:
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(path))), study_name="study"
        )
        tell(study, 1.0)
        with path.open("ab") as file:
            file.write(b'{"op_code":4,"worker')
        for value in (2.0, 3.0):
            with pytest.raises((AssertionError, ValueError, KeyError)):
                tell(study, value)
        with pytest.raises(StorageError, match="line 4 of the journal"):
            open_journal(path)

    def test_of_a_study_that_had_only_begun_is_cut_off(self, path: Path) -> None:
        for torn in (b"{", b'{"op_code":0,"worker_id":"a'):
            path.write_bytes(torn)
            tell(study_in(path), 1.0)
            assert values(path) == [1.0]
            path.unlink()

    def test_waits_for_a_dashboard_that_is_in_the_midst_of_its_line(self, path: Path) -> None:
        study = study_in(path)
        with path.open("ab") as file:
            file.write(b'{"op_code":2,')
        lock = JournalFileSymlinkLock(str(path))
        lock.acquire()
        lines: list[bytes] = []

        class Released(JournalFileSymlinkLock):
            # The dashboard finishes its line just as this process asks for its lock.
            def acquire(self) -> bool:
                with path.open("ab") as file:
                    file.write(b'"worker_id":"d","study_id":0,"user_attr":{"note":"seen"}}\n')
                lines.extend(path.read_bytes().splitlines())
                lock.release()
                return super().acquire()

        study._storage._backend._lock = Released(str(path))  # type: ignore[attr-defined]
        tell(study, 1.0)
        assert path.read_bytes().splitlines()[: len(lines)] == lines
        assert study.user_attrs == {"note": "seen"}


class TestKilledWriter:
    def test_leaves_neither_a_lock_nor_half_a_line(self, path: Path) -> None:
        study = study_in(path)
        tell(study, 1.0)
        with process(TEARS_A_LINE, path) as writer:
            assert writer.says() == ["half"]
            with pytest.raises(StorageError, match=r"another process has been writing .* 0\.05 s"):
                JournalFile(path, patience=0.05).append_logs([])
            writer.kill()
            tell(study, 2.0)
        assert values(path) == [1.0, 2.0]

    def test_would_leave_optunas_own_lock_behind(self, path: Path) -> None:
        path.touch()
        with process(TAKES_OPTUNAS_LOCK, path) as writer:
            assert writer.says() == ["locked"]
            writer.kill()
        with pytest.raises(FileExistsError):
            Path(f"{path}.lock").symlink_to(path)


def test_processes_that_write_at_once_lose_no_trial(path: Path) -> None:
    study = study_in(path)
    with (
        process(ADDS_TRIALS, path) as one,
        process(ADDS_TRIALS, path) as two,
        process(ADDS_TRIALS, path) as three,
    ):
        for each in (one, two, three):
            assert each.says() == ["ready"]
        for each in (one, two, three):
            each.tell()
        assert [each.end() for each in (one, two, three)] == [0, 0, 0]
    assert [trial.number for trial in study.trials] == list(range(36))
    assert all(trial.value is not None for trial in study.trials)


def test_threads_that_write_at_once_lose_no_trial(path: Path) -> None:
    study = optuna.create_study(storage=open_journal(path), study_name="study")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=24, n_jobs=4)
    assert [one.number for one in study.trials] == list(range(24))
    again = optuna.load_study(storage=open_journal(path), study_name="study")
    assert [one.values for one in again.trials] == [one.values for one in study.trials]


def test_study_that_is_sent_to_another_process_writes_the_same_journal(path: Path) -> None:
    study = optuna.create_study(storage=open_journal(path), study_name="study")
    sent = pickle.loads(pickle.dumps(study))
    sent.tell(sent.ask(), 0.5)
    assert [one.value for one in study.trials] == [0.5]


def test_line_that_does_not_fit_on_the_disk_leaves_the_journal_as_it_was(path: Path) -> None:
    study = study_in(path)
    tell(study, 1.0)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, hard))
    try:
        with pytest.raises(StorageError, match="cannot be read or written: File too large"):
            study.ask()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    tell(study, 2.0)
    assert values(path) == [1.0, 2.0]


def test_journal_that_was_deleted_is_not_begun_anew_in_the_middle(path: Path) -> None:
    study = study_in(path)
    path.unlink()
    with pytest.raises(StorageError, match="No such file"):
        study.ask()
    assert not path.exists()


def test_damaged_line_is_named(path: Path) -> None:
    tell(study_in(path), 1.0)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\x00\x00\n" + b"".join(lines[1:]))
    with pytest.raises(StorageError, match=r"line 2 of the journal .* is damaged: restore"):
        open_journal(path)


def test_records_of_another_optuna_are_refused(path: Path) -> None:
    path.write_text('{"op_code":0,"worker_id":"w"}\n', "utf-8")
    with pytest.raises(StorageError, match="that Optuna does not understand"):
        open_journal(path)


@pytest.mark.parametrize(
    "content",
    ["a note without an end of line", "a note\n", '{"type": "another journal"}\n{}\n', "[1]\n"],
)
def test_file_that_is_no_journal_is_left_as_it_is(path: Path, content: str) -> None:
    path.write_text(content, "utf-8")
    with pytest.raises(ConfigError, match="is no journal of a study and is left as it is"):
        open_journal(path)
    assert path.read_text("utf-8") == content


def test_database_file_is_told_how_to_be_named(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\x00" + bytes(84))
    with pytest.raises(ConfigError, match=f"write sqlite:///{path}"):
        open_journal(path)


def test_folder_is_no_journal(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder, not a journal: name a file in it"):
        open_journal(tmp_path)


def test_path_through_a_file_cannot_be_made(path: Path) -> None:
    path.touch()
    with pytest.raises(StorageError, match="cannot be read or written"):
        open_journal(path / "study.journal")


def test_relative_path_and_missing_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tell(study_in(Path("studies/one.journal")), 1.0)
    first = (tmp_path / "studies/one.journal").read_text("utf-8").splitlines()[0]
    assert json.loads(first)["study_name"] == "study"


def test_optunas_own_file_reads_what_was_written(path: Path) -> None:
    tell(study_in(path), 1.5)
    theirs = JournalStorage(JournalFileBackend(str(path)))
    study = optuna.load_study(storage=theirs, study_name="study")
    assert study.best_value == 1.5
