"""What is given for a number must be one, in its range, and what names something known."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_strategies.errors import ParameterError
from lstm_strategies.given_values import (
    check_choice,
    check_count,
    check_fraction,
    check_model,
    check_positive,
)


@given(st.floats(0, 1) | st.sampled_from([0, 1, np.float32(0.5), np.float64(1), np.int64(1)]))
def test_fractions_pass(value):
    check_fraction("share", value)


@given(st.floats().filter(lambda value: not 0 <= value <= 100))
def test_numbers_outside_are_no_fractions(value):
    with pytest.raises(ParameterError, match=r"share=.*: give a fraction from 0 to 1$"):
        check_fraction("share", value)


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (60, "60 % write share=0.6"),
        (2.5, "2.5 % write share=0.025"),
        (100, "100 % write share=1"),
        (np.float32(7), "7 % write share=0.07"),
        ("55", "55 % write share=0.55"),
    ],
)
def test_what_may_be_a_percentage_is_named_as_the_fraction_it_makes(value, meant):
    with pytest.raises(ParameterError) as refused:
        check_fraction("share", value)
    assert str(refused.value).endswith(f"give a fraction from 0 to 1; for {meant}")


@given(st.floats(1, 100, exclude_min=True))
def test_the_fraction_named_for_a_percentage_would_do(value):
    with pytest.raises(ParameterError) as refused:
        check_fraction("share", value)
    meant = float(str(refused.value).rpartition("=")[2])
    check_fraction("share", meant)
    assert meant == pytest.approx(value / 100)


@given(st.text() | st.booleans() | st.none() | st.just(Decimal("0.5")) | st.just(np.True_))
def test_what_is_no_number_passes_nowhere(value):
    for check in (check_fraction, check_positive, check_count):
        with pytest.raises(ParameterError, match="no number: give a "):
            check("share", value)


def test_number_in_quotes_is_named_where_it_would_do():
    with pytest.raises(ParameterError, match=r"such as share=0\.5$"):
        check_fraction("share", "0.5")
    with pytest.raises(ParameterError, match=r"give a fraction from 0 to 1$"):
        check_fraction("share", "500")


def test_zero_is_positive_only_where_it_may_be():
    check_positive("edge", 0, or_zero=True)
    check_positive("edge", 5e-324)
    for value in (0, -1, math.inf, math.nan):
        with pytest.raises(ParameterError, match="give a number above 0"):
            check_positive("edge", value)


@given(st.integers(1, 10**9) | st.sampled_from([14.0, np.int64(3), np.float32(5)]))
def test_whole_numbers_are_counts(value):
    check_count("bars", value)


@pytest.mark.parametrize("value", [0, -1, 2.5, math.nan, math.inf, -math.inf])
def test_nothing_else_is_a_count(value):
    with pytest.raises(ParameterError, match=r"bars=.*: give a whole number of bars, 1 or more$"):
        check_count("bars", value)


def test_no_bars_are_a_count_only_where_they_may_be():
    check_count("bars", 0, or_zero=True)
    with pytest.raises(ParameterError, match=r"give a whole number of bars, 0 or more$"):
        check_count("bars", -1, or_zero=True)
    with pytest.raises(ParameterError, match=r"give a whole number of bars, 0 or more, such as"):
        check_count("bars", "0", or_zero=True)


MODES = ("fixed", "trailing", "none")


@pytest.mark.parametrize("value", MODES)
def test_known_names_pass(value):
    check_choice("stop", value, MODES)
    check_choice("stop", value, iter(MODES))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("trailling", "stop='trailling': did you mean 'trailing'?"),
        ("Fixed", "stop='Fixed': did you mean 'fixed'?"),
        ("", "stop='': known: fixed, trailing, none"),
        (None, "stop=None is a NoneType and no text: give one of fixed, trailing, none"),
        (1, "stop=1 is a int and no text: give one of fixed, trailing, none"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(value, told):
    with pytest.raises(ParameterError) as refused:
        check_choice("stop", value, MODES)
    assert str(refused.value) == told


@pytest.mark.parametrize("model", ["models:/a@champion", Path("folder")])
def test_names_and_paths_are_models(model):
    check_model("LSTMForecast", model)


@pytest.mark.parametrize("model", ["", None, 3, b"models:/a@champion", ["a"]])
def test_nothing_else_is_a_model(model):
    with pytest.raises(ParameterError, match="LSTMForecast needs model: models:/NAME@champion"):
        check_model("LSTMForecast", model)
