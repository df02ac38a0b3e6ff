"""What a parameter may be, and numbers and names that nothing could keep."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from experiments.tuning.parameters import Choice, Parameter, Range, refuse_nested

PARAMETER = TypeAdapter(Parameter)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"low": 1, "high": 2**53 + 1}, "high is beyond 2**53"),
        ({"low": 1, "high": 10**400}, "high is beyond 2**53"),
        ({"low": -1.7e308, "high": 1.7e308}, "low is beyond 2**53"),
        ({"low": 1, "high": 2, "step": 10**30}, "step is beyond 2**53"),
        ({"low": 0.0, "high": 1.0, "step": 1e-300}, "step=1e-300 is too fine"),
        ({"low": False, "high": True}, "give a number, or choices: [false, …]"),
    ],
)
def test_numbers_that_nothing_could_draw_are_refused(written, told):
    with pytest.raises(ValidationError) as refused:
        PARAMETER.validate_python(written)
    assert told in str(refused.value)


def test_the_largest_and_the_finest_range_can_be_drawn_from():
    largest = Range(low=-(2**53), high=2**53).distribution(1)
    assert (largest.low, largest.high) == (-(2**53), 2**53)
    fine = Range(low=0.0, high=1.0, step=1e-9).distribution(0.5)
    assert fine.high == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["a" * 201, "\x00", "a\x1b[31mb", "two\nlines", "‮abc", " wide "])
def test_names_that_no_table_can_show_are_refused(name):
    for written in ({"choices": {name: 1, "other": 2}}, [name, "other"]):
        with pytest.raises(ValidationError, match="name the values, as in choices"):
            PARAMETER.validate_python(written)


def test_values_that_are_too_long_to_be_names_are_given_one():
    units = [[number] * 100 for number in (1, 2)]
    with pytest.raises(ValidationError, match="has 300 characters, of 200 at most"):
        Choice(choices=units)
    named = Choice(choices={"ones": units[0], "twos": units[1]})
    assert named.value_of("twos") == units[1]


@pytest.mark.parametrize("name", ["a" * 200, "<script>", "größer √2", "a/b: c, d.e_f-g", "'\"&"])
def test_any_other_name_is_taken(name):
    assert Choice(choices={name: 1, "other": 2}).value_of(name) == 1


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"network": {"l2": {"low": 0, "high": 1}}}, "with dots, as network.l2: {…}"),
        ({"data": {"slices": {"test": [0.1]}}}, "with dots, as data.slices.test: […]"),
    ],
)
def test_nested_fields_are_told_to_be_dotted(space, told):
    with pytest.raises(ValueError) as refused:
        refuse_nested(space)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [
        {},
        3,
        None,
        [1],
        {"low": 1},
        {"choices": [1]},
        {"when": {"network.kind": 1}},
        {"hihg": 3},
        {"choises": [1]},
        Range(low=1, high=2),
    ],
)
def test_what_may_be_a_parameter_is_left_to_its_own_check(content):
    refuse_nested({"network.l2": content})
