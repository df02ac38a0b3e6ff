"""Work side by side: named failures, workers that are ended, Ctrl-C that stays audible."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from functools import partial
from operator import attrgetter
from types import SimpleNamespace

import pytest

from experiments.workers import side_by_side
from lightning_models.errors import ConfigError, TrainingError


def task(do):
    return SimpleNamespace(name=f"the one that {do}", do=do)


# By value, since a worker cannot import a test file by its name.
def work(one):
    from lightning_models.errors import ConfigError

    if one.do == "refuses":
        raise ConfigError("that cannot be. Try another")
    if one.do == "breaks":
        raise ZeroDivisionError("by nothing")
    if one.do == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return os.environ.get("PREPARED"), signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def prepare():
    os.environ["PREPARED"] = "yes"


def run(*what, jobs=2):
    import sys

    from cloudpickle import register_pickle_by_value, unregister_pickle_by_value

    module = sys.modules[__name__]
    register_pickle_by_value(module)
    try:
        tasks = [task(do) for do in what]
        running = side_by_side(
            partial(work), tasks, name=attrgetter("name"), prepare=partial(prepare), jobs=jobs
        )
        with closing(running):
            return [(one.do, result) for one, result in running]
    finally:
        unregister_pickle_by_value(module)


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


def test_a_worker_that_is_killed_ends_the_work_and_says_what_helps():
    with pytest.raises(TrainingError, match=r"ended from outside.*fewer --jobs"):
        run("is killed")
