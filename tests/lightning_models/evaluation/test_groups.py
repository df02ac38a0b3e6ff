"""Parts of the rows are scored by themselves, or called too few."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from lightning_models.evaluation import MINIMUM_GROUP_MOMENTS, evaluate, score_groups


def test_a_part_is_scored_as_if_it_were_all(skilled):
    outcomes = skilled(600)
    part = (np.arange(600) >= 200).astype(np.int64)
    first, second = score_groups(outcomes, part, ("first", "second"))
    assert (first.n, second.n) == (200, 400)
    alone = evaluate(outcomes.take(part == 1))
    assert second.log_loss_gain == pytest.approx(alone.log_loss_gain)
    assert second.log_loss_gain_low == pytest.approx(alone.log_loss_gain_low)
    assert second.auc == pytest.approx(alone.auc)
    assert second.auc_low == pytest.approx(alone.auc_low, abs=0.01)
    up = outcomes.actual[part == 0] > 0
    probability = outcomes.probability_up[part == 0]
    assert first.log_loss_gain == pytest.approx(np.log(2) - log_loss(up, probability))
    assert first.auc == pytest.approx(roc_auc_score(up, probability))


def test_skill_in_one_part_alone_is_found_there_alone(skilled, outcomes_of):
    outcomes = skilled(3000, spread=0.15)
    part = (np.arange(3000) % 2).astype(np.int64)
    actual = outcomes.actual.copy()
    actual[part == 1] = np.random.default_rng(3).permutation(actual[part == 1])
    real, none = score_groups(outcomes_of(outcomes.probability_up, actual), part, ("a", "b"))
    assert real.log_loss_gain_low > 0
    assert none.log_loss_gain_low < 0


def test_rows_of_no_part_are_left_out(skilled):
    outcomes = skilled(300)
    part = np.full(300, -1)
    part[:120] = 0
    (one,) = score_groups(outcomes, part, ("only",), replications=10)
    assert one.n == 120


@pytest.mark.parametrize("count", [0, 1, MINIMUM_GROUP_MOMENTS - 1])
def test_a_small_part_is_too_few_and_has_no_figures(skilled, count):
    outcomes = skilled(300)
    part = np.where(np.arange(300) < count, 0, 1)
    small, large = score_groups(outcomes, part, ("small", "large"), replications=10)
    assert small.too_few
    assert (small.n, small.log_loss_gain, small.auc_low) == (count, None, None)
    assert not large.too_few
    assert large.auc_low is not None


def test_many_symbols_at_few_times_are_too_few(skilled, outcomes_of):
    one = skilled(1000)
    crowd = outcomes_of(one.probability_up, one.actual, time=np.arange(1000) // 20)
    (found,) = score_groups(crowd, np.zeros(1000, dtype=np.int64), ("crowd",))
    assert found.moments == 50
    assert found.too_few


def test_a_part_that_only_rose_is_too_few(skilled, outcomes_of):
    risen = outcomes_of(np.full(200, 0.6), np.full(200, 0.01))
    (found,) = score_groups(risen, np.zeros(200, dtype=np.int64), ("risen",))
    assert found.too_few
