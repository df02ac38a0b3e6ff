"""Time-outs and touched labels are scored apart, with the same scores."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_models.evaluation.barriers import score_timeouts, score_touched
from lightning_models.evaluation.outcomes import EvaluationError, Outcomes

HOUR = 3_600_000


def outcomes(count=600, **changes):
    rng = np.random.default_rng(3)
    probability = rng.uniform(0.1, 0.9, count)
    timed_out = rng.random(count) < probability
    direction = rng.uniform(0.3, 0.7, count)
    sign = np.where(rng.random(count) < direction, 1.0, -1.0)
    options = {
        "symbol": np.zeros(count, dtype=np.int64),
        "time": np.arange(count, dtype=np.int64) * HOUR,
        "probability_up": direction,
        "predicted": np.zeros(count),
        "actual": sign * np.where(timed_out, 0.001, 0.02),
        "base_rate": 0.5,
        "timed_out": timed_out,
        "probability_timeout": probability,
    }
    return Outcomes(**options | changes)


def test_time_outs_are_scored_as_ups_are():
    given = outcomes()
    scores = score_timeouts(given, rate=0.5, replications=100)
    p, y = given.probability_timeout, given.timed_out
    assert scores.n == len(given)
    assert scores.log_loss == pytest.approx(-np.mean(np.where(y, np.log(p), np.log1p(-p))))
    assert scores.brier == pytest.approx(np.mean((p - y) ** 2))
    assert scores.skill


def test_the_constant_to_beat_is_the_train_labels_share():
    scores = score_timeouts(outcomes(), rate=0.2, replications=100)
    share = outcomes().timed_out.mean()
    expected = -(share * np.log(0.2) + (1 - share) * np.log(0.8))
    assert scores.majority_log_loss == pytest.approx(expected)


def test_touched_labels_alone_are_scored():
    given = outcomes()
    scores = score_touched(given, base_rate=0.5, replications=100)
    rows = ~given.timed_out
    p, up = given.probability_up[rows], given.actual[rows] > 0
    assert scores.n == rows.sum()
    assert scores.log_loss == pytest.approx(-np.mean(np.where(up, np.log(p), np.log1p(-p))))


def test_all_timed_out_leaves_nothing_to_say_of_directions():
    given = outcomes(timed_out=np.ones(600, dtype=bool))
    assert score_touched(given, base_rate=0.5).n == 0


@pytest.mark.parametrize("score", [score_timeouts, score_touched])
def test_outcomes_of_another_model_are_refused(score):
    given = outcomes(timed_out=None, probability_timeout=None)
    rate = {"rate": 0.5} if score is score_timeouts else {"base_rate": 0.5}
    with pytest.raises(EvaluationError, match="triple-barrier"):
        score(given, **rate)


def test_columns_of_another_length_are_refused():
    with pytest.raises(EvaluationError, match="timed_out has shape"):
        outcomes(timed_out=np.ones(3, dtype=bool))
