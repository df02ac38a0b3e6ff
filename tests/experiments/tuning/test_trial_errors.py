"""What is kept of the error that a trial failed with."""

from __future__ import annotations

from experiments.tuning.trial_errors import words_of
from lightning_models.errors import ConfigError


def raised(error):
    try:
        raise error
    except Exception as caught:
        return caught


def test_the_projects_own_errors_speak_for_themselves():
    assert words_of(ConfigError("units are 0: give at least 1")) == "units are 0: give at least 1"


def test_any_other_is_told_with_its_kind_and_place():
    told = words_of(raised(ValueError("shapes differ")))
    assert told.startswith("ValueError: shapes differ (in raised, line ")


def test_it_is_one_line_of_what_can_be_printed():
    assert words_of(ConfigError("first\nsecond\x1b[31m\tthird")) == "first second [31m third"


def test_a_long_one_is_cut_and_keeps_its_place():
    told = words_of(raised(ValueError("x" * 1_000)))
    assert len(told) == 400
    assert "… (in raised, line " in told


def test_a_password_is_hidden_wherever_the_line_is_cut():
    for before in range(340, 400):
        address = "postgresql://me:hidden-word@db/studies"
        told = words_of(raised(ValueError("x" * before + f" {address}")))
        assert "hidden" not in told
