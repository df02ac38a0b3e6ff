"""Work side by side: named failures, lost workers, Ctrl-C that stays audible."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace

import pytest
from cloudpickle import register_pickle_by_value, unregister_pickle_by_value

from experiments.workers import side_by_side
from lightning_models.errors import ConfigError, TrainingError


@pytest.fixture(autouse=True)
def _by_value():
    # A worker cannot import a test file by its name.
    register_pickle_by_value(sys.modules[__name__])
    yield
    unregister_pickle_by_value(sys.modules[__name__])


def work(one):
    from lightning_models.errors import ConfigError

    if one.do == "refuses":
        raise ConfigError("that cannot be. Try another")
    if one.do == "breaks":
        raise ZeroDivisionError("by nothing")
    return os.environ.get("PREPARED"), signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def prepare():
    os.environ["PREPARED"] = "yes"


def run(*what, jobs=2):
    tasks = [SimpleNamespace(name=f"the one that {do}", do=do) for do in what]
    running = side_by_side(
        partial(work), tasks, name=attrgetter("name"), prepare=partial(prepare), jobs=jobs
    )
    with closing(running):
        return [(one.do, result) for one, result in running]


def test_workers_are_prepared_and_deaf_to_ctrl_c_and_each_result_comes_with_its_task():
    assert sorted(run("a", "b", "c")) == [(do, ("yes", True)) for do in "abc"]


def test_a_process_that_works_itself_is_neither():
    assert run("a", jobs=1) == [("a", (None, False))]
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_failure_is_told_with_the_tasks_name(jobs):
    with pytest.raises(ConfigError, match=r"^the one that refuses: that cannot be\. Try another$"):
        run("refuses", jobs=jobs)
    with pytest.raises(TrainingError, match=r"the one that breaks failed with .*ZeroDivisionError"):
        run("breaks", jobs=jobs)


@pytest.fixture
def log(tmp_path):
    """A file that takes a line for each attempt at a task."""
    return tmp_path / "attempts"


def attempt(one):
    """Return the attempt's number, or end this process: once if lost, always if fatal."""
    with Path(one.log).open("a") as file:
        file.write(f"{one.name}\n")
    number = Path(one.log).read_text().split().count(one.name)
    until(lambda: all(Path(f"{one.log}-{name}").exists() for name in one.after))
    if one.name.startswith("fatal") or (one.name.startswith("lost") and number == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def attempts(log, *names, after=None, **options):
    """Yield each task's name with the number of the attempt that its result is of.

    A task in `after` waits until the results of those that it names there were given.
    """
    after = after or {}
    tasks = [SimpleNamespace(name=name, log=str(log), after=after.get(name, ())) for name in names]
    running = side_by_side(partial(attempt), tasks, name=attrgetter("name"), jobs=2, **options)
    with closing(running):
        for one, number in running:
            yield one.name, number
            Path(f"{log}-{one.name}").touch()


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_a_killed_worker_was_at_is_done_again_and_told(log, caplog):
    found = dict(attempts(log, "a", "lost", "b", "c"))
    assert set(found) == {"a", "lost", "b", "c"}
    assert found["lost"] == 2
    (told,) = [one.getMessage() for one in caplog.records if one.name == "experiments.workers"]
    assert "a worker process was ended from outside" in told
    assert "done again:" in told
    assert "lost" in told


def test_where_nothing_is_done_again_the_same_kill_loses_the_work(log):
    with pytest.raises(TrainingError, match=r"ended from outside, most.*fewer --jobs.*done: .*los"):
        list(attempts(log, "a", "lost", "b", "c", losses=1))


@pytest.mark.soak
def test_what_was_finished_is_neither_done_nor_given_again(log):
    assert list(attempts(log, "a", "lost", after={"lost": ("a",)})) == [("a", 1), ("lost", 2)]
    assert sorted(log.read_text().split()) == ["a", "lost", "lost"]


def test_results_that_nobody_has_asked_for_yet_outlive_a_lost_worker(log):
    found = {}
    with closing(attempts(log, "a", "lost", "b", "c", after={"lost": ("looked",)})) as running:
        for name, number in running:
            assert name not in found
            found[name] = number
            if name == "a":
                # The other worker is handed c once b's result is here.
                until(lambda: "c" in log.read_text().split())
                workers = children()
                assert len(workers) >= 2
                Path(f"{log}-looked").touch()
                until(lambda gone=workers.isdisjoint: gone(children()))
    assert set(found) == {"a", "lost", "b", "c"}
    assert (found["b"], found["lost"]) == (1, 2)


@pytest.mark.soak
def test_a_task_that_ends_each_worker_is_named_and_given_up_while_the_others_are_kept(log):
    found = []
    with pytest.raises(TrainingError, match=r"again when its work .*Not done: fatal\. What was"):
        found.extend(attempts(log, "a", "b", "fatal", after={"fatal": ("a", "b")}))
    assert sorted(found) == [("a", 1), ("b", 1)]
    assert log.read_text().split().count("fatal") == 2


@pytest.mark.soak
def test_losses_with_a_result_in_between_do_not_add_up(log):
    names = ["lost-1", "lost-2", "lost-3"]
    order = {"lost-2": ("lost-1",), "lost-3": ("lost-2",)}
    found = list(attempts(log, *names, after=order))
    assert [name for name, _ in found] == names


def children():
    found = subprocess.run(
        # Told no width, ps would cut each line at what COLUMNS says.
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(os.getpid())],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    return {line.split()[0] for line in found.splitlines() if "popen_loky" in line}
