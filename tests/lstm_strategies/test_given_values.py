"""What is given for a number must be one, and in its range."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_strategies.errors import ParameterError
from lstm_strategies.given_values import check_fraction, check_model, check_positive


@given(st.floats(0, 1) | st.sampled_from([0, 1, np.float32(0.5), np.float64(1), np.int64(1)]))
def test_fractions_pass(value):
    check_fraction("share", value)


@given(st.floats().filter(lambda value: not 0 <= value <= 1))
def test_numbers_outside_are_no_fractions(value):
    with pytest.raises(ParameterError, match=r"share=.*: give a fraction from 0 to 1$"):
        check_fraction("share", value)


@given(st.text() | st.booleans() | st.none() | st.just(Decimal("0.5")) | st.just(np.True_))
def test_what_is_no_number_passes_nowhere(value):
    for check in (check_fraction, check_positive):
        with pytest.raises(ParameterError, match="no number: give a "):
            check("share", value)


def test_number_in_quotes_is_named_where_it_would_do():
    with pytest.raises(ParameterError, match=r"such as share=0\.5$"):
        check_fraction("share", "0.5")
    with pytest.raises(ParameterError, match=r"give a fraction from 0 to 1$"):
        check_fraction("share", "50")


def test_zero_is_positive_only_where_it_may_be():
    check_positive("edge", 0, or_zero=True)
    check_positive("edge", 5e-324)
    for value in (0, -1, math.inf, math.nan):
        with pytest.raises(ParameterError, match="give a number above 0"):
            check_positive("edge", value)


@pytest.mark.parametrize("model", ["models:/a@champion", Path("folder")])
def test_names_and_paths_are_models(model):
    check_model("LSTMForecast", model)


@pytest.mark.parametrize("model", ["", None, 3, b"models:/a@champion", ["a"]])
def test_nothing_else_is_a_model(model):
    with pytest.raises(ParameterError, match="LSTMForecast needs model: models:/NAME@champion"):
        check_model("LSTMForecast", model)
