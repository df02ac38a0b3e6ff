"""A model beside baselines: what is gained, how surely, and after how many comparisons."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss, mean_pinball_loss, roc_auc_score

from lightning_models.errors import ConfigError
from lightning_models.evaluation import (
    GAINS,
    BaselineForecasts,
    compare,
    diebold_mariano,
    evaluate,
    holm,
)


def constant(outcomes, probability=0.5, name="constant"):
    count = len(outcomes)
    return BaselineForecasts(name, np.full(count, probability), np.zeros(count))


def noisy(outcomes, seed=0, name="noisy"):
    random = np.random.default_rng(seed)
    probability = np.clip(
        outcomes.probability_up + 0.05 * random.standard_normal(len(outcomes)), 0, 1
    )
    return BaselineForecasts(name, probability, 0.01 * random.standard_normal(len(outcomes)))


def test_scores_of_a_baseline_agree_with_scikit_learn(skilled):
    outcomes = skilled(400)
    other = noisy(outcomes)
    (found,) = compare(outcomes, [other], replications=10)
    up, p = outcomes.actual > 0, other.probability_up
    assert found.log_loss == pytest.approx(log_loss(up, np.clip(p, 1e-15, 1 - 1e-15)))
    assert found.auc == pytest.approx(roc_auc_score(up, p))
    assert found.brier == pytest.approx(brier_score_loss(up, p))
    assert found.directional_accuracy == pytest.approx(np.mean((p >= 0.5) == up))
    assert found.squared_error == pytest.approx(np.mean((other.predicted - outcomes.actual) ** 2))
    assert found.pinball == pytest.approx(
        mean_pinball_loss(outcomes.actual, other.predicted, alpha=0.5)
    )


def test_every_gain_is_the_difference_of_two_scores_and_positive_where_the_model_is_better(skilled):
    outcomes = skilled(400)
    mine = BaselineForecasts("itself", outcomes.probability_up, outcomes.predicted)
    itself, other = compare(outcomes, [mine, noisy(outcomes)], replications=50)
    for gain in GAINS:
        assert getattr(itself, f"{gain}_gain") == 0.0
        sign = 1 if gain in ("auc", "directional_accuracy") else -1
        difference = sign * (getattr(itself, gain) - getattr(other, gain))
        assert getattr(other, f"{gain}_gain") == pytest.approx(difference)
        assert (
            getattr(other, f"{gain}_gain_low") <= difference <= getattr(other, f"{gain}_gain_high")
        )
    assert itself.log_loss_p == 1.0
    assert not itself.beaten


def test_the_gain_over_the_majority_class_is_that_of_the_scores(skilled):
    outcomes = skilled(500)
    scores = evaluate(outcomes, replications=400)
    (found,) = compare(outcomes, [constant(outcomes)], replications=400)
    assert found.log_loss_gain == pytest.approx(scores.log_loss_gain)
    assert found.log_loss_gain_low == pytest.approx(scores.log_loss_gain_low)
    assert found.auc_gain_low == pytest.approx(scores.auc_low - 0.5, abs=0.005)


def test_p_values_are_diebold_marianos_corrected_for_all_baselines(skilled):
    outcomes = skilled(300)
    others = [constant(outcomes), noisy(outcomes), noisy(outcomes, seed=1, name="other")]
    found = compare(outcomes, others, replications=10)
    up = outcomes.actual > 0
    expected = [
        diebold_mariano(
            -np.log(np.where(up, outcomes.probability_up, 1 - outcomes.probability_up)),
            -np.log(np.clip(np.where(up, o.probability_up, 1 - o.probability_up), 1e-16, 1)),
            outcomes.time,
        ).p_value
        for o in others
    ]
    assert [one.log_loss_p for one in found] == pytest.approx(expected)
    assert [one.log_loss_p_corrected for one in found] == pytest.approx(holm(expected))


def test_a_better_forecast_beats_and_a_guess_does_not(skilled, outcomes_of):
    good = skilled(2000)
    (found,) = compare(good, [constant(good)])
    assert found.beaten
    guess = outcomes_of(good.probability_up, np.random.default_rng(1).permutation(good.actual))
    (lost,) = compare(guess, [constant(guess)])
    assert not lost.beaten
    assert lost.log_loss_gain_high < 0


def test_one_comparison_in_many_is_no_longer_evidence_once_corrected(skilled, outcomes_of):
    # Found by its seed: a gain that its own test takes for real, and five tests do not.
    for seed in range(200):
        guess = skilled(200, seed=seed, spread=0.08)
        random = np.random.default_rng(1000 + seed)
        others = [
            BaselineForecasts(
                str(n),
                np.clip(guess.probability_up + 0.08 * random.standard_normal(200), 0.01, 0.99),
                np.zeros(200),
            )
            for n in range(5)
        ]
        found = compare(guess, others, replications=60)
        lost = [one for one in found if one.log_loss_p <= 0.05 < one.log_loss_p_corrected]
        if lost:
            assert not any(one.beaten for one in lost)
            return
    pytest.fail("no such case in 200")


def test_zero_returns_count_for_the_change_alone(skilled, outcomes_of):
    moved = skilled(200)
    actual = moved.actual.copy()
    actual[::4] = 0.0
    (found,) = compare(
        outcomes_of(moved.probability_up, actual),
        [BaselineForecasts("zero", np.full(200, 0.5), np.zeros(200))],
        replications=10,
    )
    assert found.n == 150
    assert found.squared_error == pytest.approx(np.mean(actual**2))


def test_forecasts_of_other_rows_are_refused(skilled):
    with pytest.raises(ConfigError, match="constant forecasts 10 rows of 20"):
        compare(skilled(20), [constant(skilled(10))])


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.5, 0.6, 1.0]), st.sampled_from([-0.02, 0.0, 0.01])),
        max_size=70,
    ),
    st.integers(1, 9),
)
def test_every_answer_is_json_without_nan(outcomes_of, rows, overlap):
    outcomes = outcomes_of(
        [row[0] for row in rows], np.array([row[1] for row in rows]), overlap=overlap
    )
    (found,) = compare(outcomes, [constant(outcomes, 0.4)], replications=5)
    text = json.dumps(found.model_dump(), allow_nan=False)
    assert type(found).model_validate_json(text) == found
