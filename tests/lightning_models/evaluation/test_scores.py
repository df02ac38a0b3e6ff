"""Scores against independent computations, and intervals against simulated truth."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from lightning_models.errors import ConfigError
from lightning_models.evaluation import (
    MINIMUM_MOMENTS,
    SCORES,
    EvaluationError,
    Outcomes,
    evaluate,
)

HOUR = 3_600_000


def outcomes_of(probability, up, *, time=None, base_rate=0.5, overlap=1, size=0.01) -> Outcomes:
    probability = np.asarray(probability, dtype=np.float64)
    count = len(probability)
    return Outcomes(
        symbol=np.zeros(count),
        time=np.arange(count) * HOUR if time is None else time,
        probability_up=probability,
        predicted=np.zeros(count),
        actual=np.where(up, size, -size) * np.ones(count),
        base_rate=base_rate,
        overlap=overlap,
    )


def skilled(count: int, *, seed: int = 0, spread: float = 0.1) -> Outcomes:
    random = np.random.default_rng(seed)
    probability = np.clip(0.5 + spread * random.standard_normal(count), 0.02, 0.98)
    return outcomes_of(probability, random.random(count) < probability)


@pytest.fixture
def tied():
    """Give probabilities of two decimals, so that many tie."""
    random = np.random.default_rng(3)
    probability = np.round(random.uniform(0.2, 0.8, 800), 2)
    return probability, random.random(800) < probability


def test_log_loss_brier_and_auc_agree_with_scikit_learn(tied):
    probability, up = tied
    scores = evaluate(outcomes_of(probability, up), replications=10)
    assert scores.auc == pytest.approx(roc_auc_score(up, probability), abs=1e-12)
    assert scores.log_loss == pytest.approx(log_loss(up, probability), abs=1e-12)
    assert scores.brier == pytest.approx(brier_score_loss(up, probability), abs=1e-12)
    assert scores.directional_accuracy == pytest.approx(np.mean((probability >= 0.5) == up))


def test_majority_class_is_scored_by_the_train_labels_share_of_ups(tied):
    probability, up = tied
    scores = evaluate(outcomes_of(probability, up, base_rate=0.3), replications=10)
    assert scores.majority_log_loss == pytest.approx(log_loss(up, np.full(len(up), 0.3)))
    assert scores.log_loss_gain == pytest.approx(scores.majority_log_loss - scores.log_loss)


def test_calibration_error_agrees_with_a_loop_over_sorted_tenths():
    outcomes = skilled(1000, seed=5)
    order = np.argsort(outcomes.probability_up)
    up = outcomes.actual > 0
    expected = 0.0
    for tenth in np.array_split(order, 10):
        gap = outcomes.probability_up[tenth].mean() - up[tenth].mean()
        expected += abs(gap) * len(tenth) / len(order)
    assert evaluate(outcomes, replications=10).ece == pytest.approx(expected, abs=1e-12)


def test_order_of_rows_does_not_matter():
    one = skilled(300)
    order = np.random.default_rng(1).permutation(300)
    other = Outcomes(
        symbol=one.symbol[order],
        time=one.time[order],
        probability_up=one.probability_up[order],
        predicted=one.predicted[order],
        actual=one.actual[order],
        base_rate=0.5,
    )
    expected, found = evaluate(one, replications=20), evaluate(other, replications=20)
    for name in SCORES:
        assert getattr(found, name) == pytest.approx(getattr(expected, name), abs=1e-12)
        assert getattr(found, f"{name}_low") == pytest.approx(getattr(expected, f"{name}_low"))


def test_same_seed_gives_the_same_intervals_and_another_seed_others():
    outcomes = skilled(300)
    assert evaluate(outcomes, seed=4) == evaluate(outcomes, seed=4)
    assert evaluate(outcomes, seed=4).auc_low != evaluate(outcomes, seed=5).auc_low


def test_return_of_exactly_zero_is_left_out_and_counted():
    moved = skilled(200)
    actual = moved.actual.copy()
    actual[::10] = 0.0
    scores = evaluate(
        Outcomes(moved.symbol, moved.time, moved.probability_up, moved.predicted, actual, 0.5),
        replications=10,
    )
    kept = actual != 0.0
    assert (scores.n, scores.zero_returns) == (180, 20)
    assert scores.log_loss == pytest.approx(log_loss(actual[kept] > 0, moved.probability_up[kept]))


def test_planted_skill_is_found_and_its_absence_is_not():
    found = evaluate(skilled(2000))
    assert found.skill
    assert found.verdict.startswith("Skill found")
    random = np.random.default_rng(8)
    guess = np.clip(0.5 + 0.1 * random.standard_normal(2000), 0.02, 0.98)
    none = evaluate(outcomes_of(guess, random.random(2000) < 0.5))
    assert not none.skill
    assert none.verdict.startswith("No skill found")


def test_a_constant_that_is_nearer_to_one_half_than_the_majority_class_is_no_skill():
    # Two shares of ups, each estimated from a hundred labels of a fair coin.
    found = by_majority_alone = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        base_rate, stated = random.binomial(100, 0.5, 2) / 100
        outcomes = outcomes_of(
            np.full(1000, stated), random.random(1000) < 0.5, base_rate=base_rate
        )
        scores = evaluate(outcomes, seed=seed, replications=100, level=0.9)
        found += scores.skill
        by_majority_alone += scores.log_loss_gain_low > 0.0
        if scores.log_loss_gain_low > 0.0 and not scores.skill:
            assert scores.verdict.startswith("No skill found")
            assert "not surely below 0.69315" in scores.verdict
    # At most 11 of 100 at 5 %, one-sided; the majority class alone lets far more through.
    assert found <= 11
    assert by_majority_alone > 11


def test_probabilities_turned_round_are_worse_than_the_majority_class():
    right = skilled(1500)
    scores = evaluate(outcomes_of(1.0 - right.probability_up, right.actual > 0))
    assert scores.log_loss_gain_high < 0
    assert "worse than the majority class" in scores.verdict


def test_copies_of_one_coin_give_the_interval_of_one_coin():
    one = skilled(200)
    copies = outcomes_of(
        np.repeat(one.probability_up, 10),
        np.repeat(one.actual > 0, 10),
        time=np.repeat(one.time, 10),
    )
    single, pooled = evaluate(one), evaluate(copies)
    width = single.log_loss_gain_high - single.log_loss_gain_low
    assert pooled.moments == 200
    assert pooled.log_loss_gain_high - pooled.log_loss_gain_low == pytest.approx(width, rel=1e-9)
    # Rows resampled one by one would take ten copies for ten times the evidence.
    up = copies.actual > 0
    gain = np.log(np.where(up, copies.probability_up, 1.0 - copies.probability_up))
    random = np.random.default_rng(0)
    means = [gain[random.integers(0, 2000, 2000)].mean() for _ in range(200)]
    assert np.ptp(np.quantile(means, [0.025, 0.975])) < 0.5 * width


def test_block_is_at_least_as_long_as_labels_overlap():
    random = np.random.default_rng(2)
    outcomes = outcomes_of(np.full(400, 0.6), random.random(400) < 0.5, overlap=24)
    assert evaluate(outcomes, replications=10).block_length >= 24
    assert evaluate(skilled(400), replications=10).block_length < 24


def overlapping_market(seed: int, *, horizon: int = 8, length: int = 300) -> Outcomes:
    """Give a guess without skill on two coins that move together, with overlapping labels."""
    random = np.random.default_rng(seed)
    common = random.standard_normal(length + horizon)
    driver = random.standard_normal(length + horizon)
    smooth = np.convolve(driver, np.ones(horizon) / np.sqrt(horizon), "valid")[:length]
    parts = []
    for _ in range(2):
        bars = common + 0.5 * random.standard_normal(length + horizon)
        parts.append(np.convolve(bars, np.ones(horizon), "valid")[:length])
    probability = np.clip(0.5 + 0.08 * smooth, 0.02, 0.98)
    return outcomes_of(
        np.tile(probability, 2),
        np.concatenate(parts) > 0,
        time=np.tile(np.arange(length) * HOUR, 2),
        overlap=horizon,
    )


def expected_gain() -> float:
    # The guess is independent of the outcome, which is up half the time.
    smooth = np.random.default_rng(0).standard_normal(400_000)
    probability = np.clip(0.5 + 0.08 * smooth, 0.02, 0.98)
    return float(np.log(2.0) + 0.5 * np.mean(np.log(probability) + np.log(1 - probability)))


def test_intervals_of_overlapping_labels_cover_the_truth():
    # Stated error: at least 85 of 100 at the 95 % level. A true coverage of 0.95 fails this
    # 4 times in 100,000, one of 0.75 passes once in 100.
    truth = expected_gain()
    covered, covered_by_rows = 0, 0
    for seed in range(100):
        outcomes = overlapping_market(seed)
        scores = evaluate(outcomes, seed=seed, replications=200)
        covered += scores.log_loss_gain_low <= truth <= scores.log_loss_gain_high
        up = outcomes.actual > 0
        chosen = np.where(up, outcomes.probability_up, 1 - outcomes.probability_up)
        gain = np.log(2.0) + np.log(chosen)
        covered_by_rows += abs(gain.mean() - truth) <= 1.96 * gain.std() / np.sqrt(len(gain))
    assert covered >= 85
    # Rows taken for independent fall far short, so the simulation does put this to the test.
    assert covered_by_rows < 75


def test_one_class_alone_defines_no_skill():
    scores = evaluate(outcomes_of(np.full(100, 0.6), np.ones(100, dtype=bool)))
    assert scores.auc is None
    assert scores.log_loss == pytest.approx(-np.log(0.6))
    assert scores.log_loss_gain_low is None
    assert not scores.skill
    assert "followed by a move up" in scores.verdict


def test_too_few_moments_give_scores_without_intervals():
    few = evaluate(skilled(MINIMUM_MOMENTS - 1))
    assert few.log_loss is not None
    assert few.log_loss_low is None
    assert not few.skill
    assert "too few" in few.verdict
    assert evaluate(skilled(MINIMUM_MOMENTS)).log_loss_low is not None


def test_many_symbols_at_few_times_are_few():
    many = outcomes_of(
        np.tile([0.6, 0.4], 250), np.tile([True, False], 250), time=np.repeat([0, HOUR], 250)
    )
    assert not evaluate(many).skill


def test_no_forecast_at_all_says_so():
    scores = evaluate(outcomes_of([], np.zeros(0, dtype=bool)))
    assert scores.n == 0
    assert scores.log_loss is None
    assert "nothing can be said" in scores.verdict


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.sampled_from([-0.02, 0.0, 0.01])
        ),
        max_size=60,
    ),
    st.integers(1, 80),
    st.integers(1, 4),
)
def test_every_answer_is_json_without_nan(rows, overlap, symbols):
    probability = np.array([row[0] for row in rows])
    actual = np.array([row[1] for row in rows])
    time = np.arange(len(rows)) // symbols * HOUR
    scores = evaluate(
        Outcomes(time * 0, time, probability, actual, actual, 0.5, overlap), replications=5
    )
    text = json.dumps(scores.model_dump(), allow_nan=False)
    assert type(scores).model_validate_json(text) == scores
    for name in SCORES:
        low, high = getattr(scores, f"{name}_low"), getattr(scores, f"{name}_high")
        assert (low is None) == (high is None)
        assert low is None or low <= high


def test_five_hundred_replicates_of_ten_thousand_forecasts_take_seconds():
    outcomes = skilled(10_000)
    started = time.process_time()
    evaluate(outcomes, replications=500)
    # About one second of one core; the bound leaves room for a slow machine.
    assert time.process_time() - started < 15.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"probability_up": [0.5, 1.2]}, r"probability_up of row 1 is 1\.2"),
        ({"actual": [0.1, np.nan]}, "actual of row 1 is nan"),
        ({"predicted": [0.1]}, r"predicted has shape \(1,\)"),
        ({"overlap": 0}, "overlap is 0"),
        ({"base_rate": np.nan}, "base_rate is nan"),
    ],
)
def test_outcomes_that_cannot_be_scored_are_refused(change, words):
    good = {
        "symbol": [0, 0],
        "time": [0, HOUR],
        "probability_up": [0.5, 0.6],
        "predicted": [0.0, 0.0],
        "actual": [0.1, -0.1],
        "base_rate": 0.5,
    }
    assert len(Outcomes(**good)) == 2
    with pytest.raises(EvaluationError, match=words):
        Outcomes(**{**good, **change})


def test_outcomes_are_closed_for_writing_and_clip_the_base_rate():
    outcomes = outcomes_of([0.5, 0.6], [True, False], base_rate=0.0)
    assert outcomes.base_rate == 0.01
    with pytest.raises(ValueError, match="read-only"):
        outcomes.actual[0] = 1.0


@pytest.mark.parametrize("wrong", [{"level": 1.0}, {"level": 0.0}, {"replications": 0}])
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="give"):
        evaluate(skilled(40), **wrong)
