"""Variables of the environment that several threads need at a time."""

from __future__ import annotations

import os
from threading import Thread

import pytest

from experiments.environment import Environment


@pytest.fixture(autouse=True)
def _before(monkeypatch):
    monkeypatch.setenv("OF_THE_USER", "mine")
    monkeypatch.delenv("NOT_SET", raising=False)


def values():
    return os.environ.get("OF_THE_USER"), os.environ.get("NOT_SET")


def breaks_within(variables):
    with Environment(variables):
        assert values() == ("a", "b")
        raise ZeroDivisionError


def test_what_was_there_is_put_back_whatever_happens_within():
    with pytest.raises(ZeroDivisionError):
        breaks_within({"OF_THE_USER": "a", "NOT_SET": "b"})
    assert values() == ("mine", None)


def test_the_last_that_leaves_puts_it_back_though_it_was_not_the_first_that_came():
    shared = Environment({"OF_THE_USER": "a", "NOT_SET": "b"})
    shared.__enter__()
    other = Thread(target=shared.__enter__)
    other.start()
    other.join()
    shared.__exit__(None, None, None)
    assert values() == ("a", "b")
    shared.__exit__(None, None, None)
    assert values() == ("mine", None)


def test_one_for_each_would_leave_the_firsts_values_behind():
    first, second = Environment({"NOT_SET": "b"}), Environment({"NOT_SET": "b"})
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert values() == ("mine", "b")
    os.environ.pop("NOT_SET")
