"""A study on two machines that share a database and a tracking server, and nothing else.

They are network namespaces with host names of their own: a worker that is killed on one of them is
a process that the other one cannot see, as docs/two-machines.md has it.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from experiments.benchmark.postgres_server import find_programs
from lightning_models import simulate_market
from tests.experiments.tuning.namespaces import NotAllowedError, RemoteProcess, two_machines
from tests.experiments.tuning.processes import OPEN, WORKER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.experiments.tuning.namespaces import Machine

TRIALS = 8
PORT = 5000

POSTGRES = """
import sys
from experiments.benchmark.postgres_server import PostgresDatabase, PostgresServer, find_programs

server = PostgresServer(find_programs(), sys.argv[1])
try:
    server.start()
    print(PostgresDatabase(server).url, flush=True)
    sys.stdin.readline()
finally:
    server.remove()
"""

AWAIT = """
import sys, time
from urllib.error import URLError
from urllib.request import urlopen

deadline = time.monotonic() + 180
while True:
    try:
        urlopen(sys.argv[1] + "/health", timeout=5).close()
        break
    except (URLError, OSError):
        assert time.monotonic() < deadline
        time.sleep(0.2)
"""

# Fails the one trial there is as soon as it may.
REAPER = (
    OPEN
    + """
import time
from experiments.tuning.ownership import Owner

say(Owner.of(study.trials[0]).is_alive())
say(*reap(study))
while not (found := reap(study)):
    time.sleep(0.1)
say(*found)
failed, again = study.trials
say(failed.state.name, again.state.name, failed.params == again.params)
"""
)

# Tells of each trial that it begins, and goes on with it when it is told to.
TUNER = """
import sys

from experiments.settings import validated
from experiments.tuning.config import StudyConfig
from experiments.tuning.score import FoldScore, TrialScore
from experiments.tuning.search import tune
from lightning_models import read_candles

candles, trials = sys.argv[1], int(sys.argv[2])

def objective(trial, candidate, seen):
    print("trial", trial.number, flush=True)
    sys.stdin.readline()
    value = candidate.train.network.l2
    returns = [value * bar for bar in range(50)]
    fold = FoldScore(1, 0, (value,), seen[0].time[:50], returns, [0.0] * 50)
    return TrialScore((value,), (fold,))

study = validated(
    StudyConfig,
    {
        "name": "shared",
        "preset": "logistic-regression",
        "space": {"network.l2": {"low": 1e-4, "high": 1.0, "log": True}},
        "walk_forward": {"folds": 2},
        "stopping": {"trials": trials},
    },
    origin="study",
)
tune(
    study, read_candles(candles), objective=objective, heartbeat=1,
    sources=[f"SIM/USDT={candles}"],
)
print("done", flush=True)
"""

# What a machine can tell of the study: its trials, its workers, its runs and their returns.
STANDING = """
import json, socket
import optuna
from mlflow.tracking import MlflowClient
from experiments.child_runs import PARENT_TAG
from experiments.tuning.ownership import Owner, live_workers
from experiments.tuning.storage import open_storage
from experiments.tuning.study_record import read_record
from experiments.tuning.trial_runs import StudyRuns
from lightning_models.home import find_home
import os

home = find_home()
storage = open_storage(os.environ["LSTM_STORAGE"], home=home, name="shared")
study = optuna.load_study(study_name="shared", storage=storage)
record = read_record(study)
client = MlflowClient(home.tracking_uri)
parent = client.get_run(record.run_id)
below = [
    one for one in client.search_runs([parent.info.experiment_id], max_results=1000)
    if one.data.tags.get(PARENT_TAG) == record.run_id
]
runs = StudyRuns(home, "shared", key=record.key, parent=record.run_id)
complete = [one for one in study.trials if one.state.name == "COMPLETE"]
print(json.dumps({
    "here": socket.gethostname(),
    "trials": [
        {
            "number": one.number, "state": one.state.name, "params": one.params,
            "error": one.user_attrs.get("error", ""), "host": Owner.of(one).host,
            "seen": Owner.of(one).is_alive(),
            "again": one.system_attrs.get("retry_history", []),
        }
        for one in study.trials
    ],
    "live": [one.owner.host for one in live_workers(study)],
    "parent": parent.info.status,
    "runs": sorted(
        [int(one.data.tags["lstm.trial"]), one.data.tags["lstm.state"], one.info.status]
        for one in below
    ),
    "returns": {one.number: float(one.returns.sum()) for one in runs.returns_of(complete)},
    "artifacts": parent.info.artifact_uri.partition(":")[0],
}))
"""

# Fails what is not heard of, with a patience of half an hour.
PATIENT = """
import os
import optuna
from experiments.tuning.orphans import reap
from experiments.tuning.storage import open_storage
from lightning_models.home import find_home

storage = open_storage(
    os.environ["LSTM_STORAGE"], home=find_home(), name="shared", heartbeat=600, grace=1800
)
print(*reap(optuna.load_study(study_name="shared", storage=storage)))
"""


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    """Two machines; whatever runs on them ends with the test."""
    try:
        with two_machines(tmp_path) as both:
            yield both
    except NotAllowedError as reason:
        pytest.skip(str(reason))


@pytest.fixture
def network(machines: tuple[Machine, Machine], tmp_path: Path) -> Iterator[dict[str, str]]:
    """What both machines have in their environment; both servers run on the first."""
    if find_programs() is None:
        pytest.skip("no PostgreSQL server on this machine: apt-get install postgresql")
    alpha, _ = machines
    tracking = f"http://{alpha.address}:{PORT}"
    with (
        postgres(alpha, tmp_path / "postgres.log") as storage,
        alpha.serving(
            tmp_path / "mlflow.log",
            sys.executable, "-m", "mlflow", "server", "--host", alpha.address, "--port", PORT,
            "--workers", 1, "--backend-store-uri", f"sqlite:///{alpha.folder / 'mlflow.db'}",
            "--artifacts-destination", alpha.folder / "artifacts",
            MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
        ),
    ):  # fmt: skip
        alpha.run(AWAIT, tracking)
        yield {"LSTM_STORAGE": storage, "MLFLOW_TRACKING_URI": tracking}


@contextmanager
def postgres(machine: Machine, log: Path) -> Iterator[str]:
    server = RemoteProcess(machine, log, POSTGRES, machine.address)
    try:
        (address,) = server.says()
        yield address
        # Told to end, it removes what it wrote.
        server.tell()
        server.end()
    finally:
        server.close()


@pytest.fixture
def candles(machines: tuple[Machine, Machine]) -> dict[str, Path]:
    """The same candles at another path on each machine."""
    (market,) = simulate_market(candles=1200)
    paths = {one.host: one.folder / f"data-{one.host}" / "SIM_USDT.csv" for one in machines}
    for path in paths.values():
        path.parent.mkdir()
        market.to_frame().to_csv(path, index=False)
    return paths


def standing(machine: Machine, network: dict[str, str]) -> dict:
    return json.loads(machine.run(STANDING, **network))


@contextmanager
def killed_at_its_trial(machine: Machine, log: Path, home: Path, address: str) -> Iterator[None]:
    worker = RemoteProcess(machine, log, WORKER, home, address)
    try:
        assert worker.says() == ["running", "0"], log.read_text()
        worker.kill()
        yield
    finally:
        worker.close()


@pytest.mark.soak
def test_a_process_killed_on_one_machine_is_missed_by_the_other_for_want_of_heartbeats(
    machines: tuple[Machine, Machine], tmp_path: Path
) -> None:
    if find_programs() is None:
        pytest.skip("no PostgreSQL server on this machine: apt-get install postgresql")
    alpha, beta = machines
    log = tmp_path / "log"
    with (
        postgres(alpha, log) as storage,
        killed_at_its_trial(beta, log, beta.folder, storage),
    ):
        reaper = RemoteProcess(alpha, log, REAPER, alpha.folder, storage)
        try:
            assert reaper.says() == ["None"], "the process is not seen from here"
            assert reaper.says() == [], "it may be slow as well as dead"
            assert reaper.says() == ["0"]
            assert reaper.says() == ["FAIL", "WAITING", "True"]
        finally:
            reaper.close()


@pytest.mark.soak
def test_a_journal_that_both_reach_does_not_tell_of_a_process_killed_on_the_other_machine(
    machines: tuple[Machine, Machine], tmp_path: Path
) -> None:
    alpha, beta = machines
    log, shared = tmp_path / "log", tmp_path / "shared"
    with killed_at_its_trial(beta, log, shared, ""):
        assert alpha.run(OPEN + "say(*reap(study))", shared, "").split() == []


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_worker_killed_on_one_machine_has_its_trial_run_again_by_the_other(
    machines: tuple[Machine, Machine],
    network: dict[str, str],
    candles: dict[str, Path],
    tmp_path: Path,
) -> None:
    alpha, beta = machines

    def start(machine: Machine) -> RemoteProcess:
        log = tmp_path / f"{machine.host}.log"
        path = candles[machine.host]
        return RemoteProcess(machine, log, TUNER, path, TRIALS, **network)

    victim = start(beta)
    try:
        assert victim.says() == ["trial", "0"]
        victim.tell()
        assert victim.says() == ["trial", "1"]
        survivor = start(alpha)
        try:
            assert survivor.says() == ["trial", "2"]
            victim.kill()
            killed = standing(alpha, network)["trials"][1]
            assert (killed["state"], killed["host"]) == ("RUNNING", "beta")
            # The process is not seen from the other machine, and its absence alone ends nothing.
            assert killed["seen"] is None
            assert alpha.run(PATIENT, **network).split() == []
            ran = [2]
            survivor.tell()
            while (said := survivor.says()) != ["done"]:
                assert said, (tmp_path / "alpha.log").read_text()
                ran.append(int(said[1]))
                survivor.tell()
            assert survivor.end() == 0
        finally:
            survivor.close()
    finally:
        victim.close()

    here, there = standing(alpha, network), standing(beta, network)
    assert (here.pop("here"), there.pop("here")) == ("alpha", "beta")
    for view in (here, there):
        for trial in view["trials"]:
            del trial["seen"]
    assert here == there, "both machines are told the same"

    trials = here["trials"]
    assert Counter(one["state"] for one in trials) == {"COMPLETE": TRIALS, "FAIL": 1}
    failed = trials[1]
    assert (failed["state"], failed["host"]) == ("FAIL", "beta")
    assert "not been heard of" in failed["error"]
    (again,) = [one for one in trials if one["again"]]
    assert again["again"] == [1]
    assert again["params"] == failed["params"]
    assert again["host"] == "alpha"
    assert [one["host"] for one in trials if one["number"] not in (0, 1)] == ["alpha"] * (
        TRIALS - 1
    )
    assert ran == [one["number"] for one in trials[2:]]
    drawn = [one["params"]["network.l2"] for one in trials if one is not again]
    assert len(set(drawn)) == TRIALS, "no two workers drew the same"

    assert here["live"] == [], "nobody waits for the one that was killed"
    assert here["parent"] == "FINISHED"
    states = {"COMPLETE": ("complete", "FINISHED"), "FAIL": ("failed", "FAILED")}
    assert here["runs"] == [[one["number"], *states[one["state"]]] for one in trials]
    assert here["artifacts"] == "mlflow-artifacts"
    complete = [one for one in trials if one["state"] == "COMPLETE"]
    assert here["returns"] == {
        str(one["number"]): pytest.approx(one["params"]["network.l2"] * 1225.0) for one in complete
    }
    written = (tmp_path / "alpha.log").read_text()
    assert "artifacts" not in written, "no progress bars"
    assert network["LSTM_STORAGE"].split("@")[0] not in written
