"""A backtest's result is JSON as it stands and refuses what is not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydantic import ValidationError

from experiments.result import BacktestResult


def test_result_survives_a_round_trip_through_json(made):
    text = made.result.model_dump_json()
    assert BacktestResult.model_validate_json(text) == made.result
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


@pytest.mark.parametrize(
    "field", ["sharpe_ratio", "total_return", "annualized_return", "excess_low", "profit_factor"]
)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float64("nan")])
def test_not_a_number_is_refused(made, field, value):
    with pytest.raises(ValidationError, match=field):
        made.with_result(**{field: value})


def test_scalars_of_numpy_become_plain_numbers(made):
    result = made.with_result(sharpe_ratio=np.float64(0.5), total_trades=np.int64(12)).result
    assert type(result.sharpe_ratio) is float
    assert type(result.total_trades) is int


@pytest.mark.parametrize("time", ["2024-01-01T00:00:00", "2024-01-01T00:00:00+02:00", "nowZ"])
def test_time_that_is_not_utc_is_refused(made, time):
    with pytest.raises(ValidationError, match="unseen_from"):
        made.with_result(unseen_from=time)


def test_misspelt_field_is_refused(made):
    with pytest.raises(ValidationError, match="sharp_ratio"):
        made.with_result(sharp_ratio=1.0)


def test_result_cannot_be_changed(made):
    with pytest.raises(ValidationError, match="frozen"):
        made.result.sharpe_ratio = 9.0
