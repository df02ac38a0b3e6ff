"""Mean and deviation over seeds."""

from __future__ import annotations

import statistics

import pytest

from lightning_models.errors import ConfigError
from lightning_models.evaluation import spread_of

ROWS = [{"auc": value, "ece": None, "late": late} for value, late in
        ((0.51, None), (0.55, 1.0), (0.50, 2.0))]  # fmt: skip


def test_the_deviation_is_that_of_a_sample():
    (found,) = spread_of(ROWS, ["auc"])
    values = [row["auc"] for row in ROWS]
    assert found.mean == pytest.approx(statistics.mean(values))
    assert found.deviation == pytest.approx(statistics.stdev(values))
    assert (found.seeds, found.lowest, found.highest) == (3, 0.50, 0.55)


def test_a_metric_that_fewer_than_two_seeds_define_is_left_out():
    assert [one.metric for one in spread_of(ROWS, ["ece", "late", "auc", "unknown"])] == [
        "late",
        "auc",
    ]
    assert spread_of(ROWS, ["late"])[0].seeds == 2


def test_one_seed_has_no_deviation():
    with pytest.raises(ConfigError, match="give at least 2"):
        spread_of(ROWS[:1], ["auc"])
