"""What a user's own objective may return."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from experiments.tuning.own_score import own_score
from experiments.tuning.score import FoldScore, TrialScore
from lightning_models.errors import TrainingError

FOLD = FoldScore(1, 0, (1.0,), np.arange(3), np.zeros(3), np.zeros(3))


@pytest.mark.parametrize("found", [1, 1.0, np.float32(1), np.array(1.0), [1.0], (1,), np.ones(1)])
def test_a_number_stands_by_itself_or_in_a_sequence(found):
    score = own_score(found, objectives=1)
    assert score.values == (1.0,)
    assert type(score.values[0]) is float
    assert score.folds == ()


def test_a_trial_score_keeps_its_folds():
    score = own_score(TrialScore((np.float64(2.0), 3), (FOLD,)), objectives=2)
    assert score.values == (2.0, 3.0)
    assert score.folds == (FOLD,)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_no_score(value):
    for found in (value, [value], TrialScore((value,), ()), TrialScore((value,), (FOLD,))):
        with pytest.raises(TrainingError, match=f"the objective is {value}, which is no number"):
            own_score(found, objectives=1)


@pytest.mark.parametrize(
    ("found", "objectives", "told"),
    [
        (1.0, 2, "returned 1 value, and the study has 2 objectives"),
        ((1.0, 2.0), 1, "returned 2 values, and the study has 1 objective"),
        (TrialScore((1.0, 2.0), (FOLD,)), 1, "returned 2 values, and the study has 1 objective"),
        (TrialScore((), ()), 1, "returned 0 values"),
        (None, 1, "returned nothing"),
        ("0.5", 1, "returned str '0.5', which is no number"),
        ([None], 1, "the objective is nan"),
        ({"loss": 1.0}, 1, "returned dict"),
        (np.ones((1, 1)), 1, "returned ndarray"),
        (TrialScore(("good",), ()), 1, "returned tuple \"('good',)\""),
    ],
)
def test_anything_else_is_told_as_what_it_is(found, objectives, told):
    with pytest.raises(TrainingError) as refused:
        own_score(found, objectives=objectives)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"returns": np.array([0.0, np.nan, 0.0])}, "has returns that are no finite numbers"),
        ({"market": np.array([0.0, np.inf, 0.0])}, "has market that are no finite numbers"),
        ({"returns": np.zeros(2)}, "has 3 stamps, 2 returns and 3 of the market"),
        ({"time": np.zeros((3, 1))}, "give one of each for every bar"),
        ({"metrics": {"loss": "low"}}, "has metrics that are no numbers"),
        ({"metrics": {"up/down?": 1.0}}, "a metric 'up/down?', and MLflow takes no such name"),
        ({"metrics": {"up//down": 1.0}}, "takes no such name"),
        ({"metrics": {"../loss": 1.0}}, "takes no such name"),
        ({"metrics": {"x" * 201: 1.0}}, "takes no such name"),
        ({"values": ("low",)}, "has values that are no numbers"),
    ],
)
def test_folds_that_could_not_be_kept_are_told_at_once(changes, told):
    with pytest.raises(TrainingError, match="fold 1 of the objective's TrialScore") as refused:
        own_score(TrialScore((1.0,), (replace(FOLD, **changes),)), objectives=1)
    assert told in str(refused.value)
