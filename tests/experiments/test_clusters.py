"""Work on a dask cluster: what is refused, what a lost worker costs, how arrays arrive."""

from __future__ import annotations

import os
import signal
import site
import sys
import threading
from contextlib import closing
from functools import partial
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cloudpickle import register_pickle_by_value, unregister_pickle_by_value
from joblib import parallel_config

from experiments import clusters
from experiments.clusters import on_backend
from experiments.dask_workers import DaskWorkers
from experiments.workers import side_by_side
from lightning_models.errors import ConfigError, TrainingError

pytest.importorskip("distributed", reason="needs the extra cluster")


@pytest.fixture(autouse=True)
def _by_value():
    # A worker cannot import a test file by its name.
    register_pickle_by_value(sys.modules[__name__])
    yield
    unregister_pickle_by_value(sys.modules[__name__])


def attempt(one):
    """Return the attempt's number and process; some end theirs, others wait to be killed."""
    with Path(one.log).open("a") as file:
        file.write(f"{one.name}:{os.getpid()}\n")
    tried = [line for line in Path(one.log).read_text().split() if line.startswith(one.name)]
    if one.name == "fatal" or (one.name == "lost" and len(tried) == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if one.name == "slow" and len(tried) == 1:
        threading.Event().wait()
    if one.name == "refuses":
        from lightning_models.errors import ConfigError

        raise ConfigError("that cannot be")
    return len(tried), os.getpid()


def attempts(log, *names, **options):
    tasks = [SimpleNamespace(name=name, log=str(log)) for name in names]
    running = side_by_side(partial(attempt), tasks, name=attrgetter("name"), **options)
    with closing(running):
        for one, result in running:
            yield one.name, result


@pytest.fixture(scope="module")
def one_worker():
    """A client of a cluster of one worker, and a way to work on it."""
    with clusters._dask(None, 1) as (client, own):
        yield client, partial(parallel_config, backend=DaskWorkers(client, own), n_jobs=1)


def test_a_cluster_of_one_worker_works_in_its_process_and_errors_keep_their_kind(
    one_worker, tmp_path
):
    _, on_it = one_worker
    with on_it():
        found = dict(attempts(tmp_path / "log", "a", "b"))
        with pytest.raises(ConfigError, match=r"^refuses: that cannot be$"):
            list(attempts(tmp_path / "log", "c", "refuses"))
        # The cluster is whole again, for what is asked next.
        found |= dict(attempts(tmp_path / "log", "d"))
    assert set(found) == {"a", "b", "d"}
    assert os.getpid() not in {process for _, process in found.values()}


class Unreadable:
    """What only this process can read."""

    def __reduce__(self):
        return import_module, ("no_module_of_this_name",)


def test_work_that_a_worker_cannot_read_is_an_error_and_no_endless_wait(one_worker):
    _, on_it = one_worker
    with (
        on_it(),
        pytest.raises(TrainingError, match=r"could not run this.*no_module_of_this_name"),
    ):
        list(side_by_side(id, [Unreadable()], name=str))


def arrival(one):
    return one.values.flags.aligned, float(one.values.sum()).hex()


def test_arrays_arrive_aligned_so_that_sums_are_the_same_to_the_last_bit(one_worker):
    client, on_it = one_worker
    values = np.random.default_rng(0).normal(size=(17, 1001))
    here = (True, float(values.sum()).hex())
    with on_it():
        running = side_by_side(partial(arrival), [SimpleNamespace(values=values)], name=str)
        assert [result for _, result in running] == [here]
    # As dask itself carries them: the comparison can fail.
    assert client.submit(arrival, SimpleNamespace(values=values)).result() != here


@pytest.mark.soak
def test_what_a_killed_worker_was_at_is_done_again_once(tmp_path, caplog):
    with on_backend("dask", jobs=2):
        found = list(attempts(tmp_path / "log", "a", "lost", "b", "c"))
    assert sorted(name for name, _ in found) == ["a", "b", "c", "lost"]
    assert dict(found)["lost"][0] == 2
    told = [one.getMessage() for one in caplog.records if one.name == "experiments.workers"]
    assert any("was ended from outside" in one and "lost" in one for one in told)


@pytest.mark.soak
def test_where_nothing_is_done_again_the_same_kill_loses_the_work(tmp_path):
    with (
        on_backend("dask", jobs=2),
        pytest.raises(TrainingError, match=r"ended from outside, most.*Not done: .*lost"),
    ):
        list(attempts(tmp_path / "log", "a", "lost", "b", "c", losses=1))


@pytest.mark.soak
def test_a_task_that_ends_every_worker_is_named_once_the_others_are_done(tmp_path):
    found = []
    with (
        on_backend("dask", jobs=2),
        pytest.raises(TrainingError, match=r"again when its work .*Not done: fatal\. What"),
    ):
        found.extend(attempts(tmp_path / "log", "fatal", "a", "b", "c"))
    assert sorted(name for name, _ in found) == ["a", "b", "c"]


@pytest.mark.soak
def test_the_work_of_a_machine_that_is_lost_is_done_by_another(
    dask_processes, until, tmp_path, caplog
):
    log = tmp_path / "log"
    log.touch()
    workers = {one.pid: one for one in (dask_processes.start_worker() for _ in range(2))}

    def lose_it():
        until(lambda: "slow" in log.read_text())
        slow = next(line for line in log.read_text().split() if line.startswith("slow"))
        os.kill(int(slow.partition(":")[2]), signal.SIGKILL)

    killer = threading.Thread(target=lose_it)
    killer.start()
    with on_backend("dask", scheduler=dask_processes.address):
        found = dict(attempts(log, "a", "slow", "b"))
    killer.join()
    assert set(found) == {"a", "slow", "b"}
    assert found["slow"][0] == 2
    assert found["slow"][1] in workers
    told = [one.getMessage() for one in caplog.records if one.name == "experiments.clusters"]
    assert any("was lost; done again as soon as another is free" in one for one in told)
    assert sorted(one.poll() is None for one in workers.values()) == [False, True]


@pytest.mark.soak
def test_a_worker_of_several_threads_is_refused(dask_processes):
    dask_processes.start_worker(threads=2)
    with (
        pytest.raises(ConfigError, match=r"has 2 threads.*dask worker tcp://.* --nthreads 1"),
        on_backend("dask", scheduler=dask_processes.address),
    ):
        pass


def test_a_scheduler_without_workers_is_refused(dask_processes, monkeypatch):
    monkeypatch.setattr(clusters, "SECONDS", 1)
    with (
        pytest.raises(ConfigError, match=r"has no worker: start one with `dask worker tcp://"),
        on_backend("dask", scheduler=dask_processes.address),
    ):
        pass


def test_a_worker_without_this_package_is_named(dask_processes, tmp_path):
    # Its packages are those of this process, but for one.
    for folder in map(Path, site.getsitepackages()):
        for one in folder.iterdir():
            if not one.name.startswith(("lstm_strategies", "__editable__")):
                (tmp_path / one.name).symlink_to(one)
    dask_processes.start_worker(python=("-S", "-m", "dask"), path=tmp_path)
    with (
        pytest.raises(ConfigError, match=r"worker tcp://\S+ does not have the package lstm-strat"),
        on_backend("dask", scheduler=dask_processes.address),
    ):
        pass
