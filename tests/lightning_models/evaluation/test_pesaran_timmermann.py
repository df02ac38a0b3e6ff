"""The test of directions: against scikit-learn's and SciPy's counts, and by its own error."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency
from scipy.stats import t as student

from lightning_models.evaluation import pesaran_timmermann


def directions(seed, count=200, right=0.6):
    random = np.random.default_rng(seed)
    up = random.random(count) < 0.55
    return np.where(random.random(count) < right, up, ~up), up


@pytest.mark.parametrize("seed", range(5))
def test_the_published_statistic_is_the_root_of_pearsons_chi_square(seed):
    # For two directions the statistic of 1992 squared is Pearson's, times n / (n - 1).
    forecast, up = directions(seed)
    counts = [[np.sum((forecast == a) & (up == b)) for b in (0, 1)] for a in (0, 1)]
    chi_square = chi2_contingency(counts, correction=False).statistic
    found = pesaran_timmermann(forecast, up, np.arange(200))
    assert found.plain_statistic**2 == pytest.approx(chi_square * 200 / 199)


def test_expected_accuracy_is_that_of_shuffled_forecasts():
    forecast, up = directions(1)
    random = np.random.default_rng(0)
    shuffled = [np.mean(random.permutation(forecast) == up) for _ in range(2000)]
    found = pesaran_timmermann(forecast, up, np.arange(200))
    assert found.expected_accuracy == pytest.approx(np.mean(shuffled), abs=0.003)
    assert found.accuracy == np.mean(forecast == up)


def test_the_corrected_statistic_agrees_with_sums_of_cosines_written_out(overlapping):
    score, actual, time = overlapping(3, horizon=4)
    forecast, up = score > 0, actual > 0
    product = (forecast - forecast.mean()) * (up - up.mean())
    series = product[:300] + product[300:]
    count = 35  # of frequencies: 300 / (2 * 4) is 37, 0.41 * 300^(2/3) is 18
    count = min(int(0.41 * 300 ** (2 / 3)), count)
    moment = np.arange(300) + 0.5
    waves = [
        np.sqrt(2 / 300) * np.sum((series - series.mean()) * np.cos(np.pi * j * moment / 300))
        for j in range(1, count + 1)
    ]
    expected = series.mean() / np.sqrt(np.mean(np.square(waves)) / 300)
    found = pesaran_timmermann(forecast, up, time, overlap=4)
    assert found.degrees == count
    assert found.statistic == pytest.approx(expected)
    assert found.p_value == pytest.approx(student.sf(expected, count))


@pytest.mark.parametrize("horizon", [1, 8])
def test_unrelated_directions_are_called_skill_about_five_times_in_a_hundred(overlapping, horizon):
    # Stated error: at most 11 of 100 at 5 %. A true rate of 0.05 exceeds that in 4 runs of
    # a thousand.
    corrected = plain = 0
    for seed in range(100):
        score, actual, time = overlapping(seed, horizon=horizon)
        found = pesaran_timmermann(score > 0, actual > 0, time, overlap=horizon)
        corrected += found.p_value <= 0.05
        plain += found.plain_statistic > 1.645
    assert corrected <= 11
    # The statistic of 1992 takes rows to be independent, and these are not: without the
    # correction the same test fails.
    assert plain > 11


def test_directions_with_a_correlation_of_three_tenths_are_found(overlapping):
    found = 0
    for seed in range(100):
        score, actual, time = overlapping(seed, horizon=4, length=800, skill=0.3)
        found += pesaran_timmermann(score > 0, actual > 0, time, overlap=4).p_value <= 0.05
    assert found >= 90


def test_ten_copies_of_a_coin_are_no_more_evidence_than_one():
    forecast, up = directions(4)
    one = pesaran_timmermann(forecast, up, np.arange(200))
    ten = pesaran_timmermann(np.tile(forecast, 10), np.tile(up, 10), np.tile(np.arange(200), 10))
    assert ten.statistic == pytest.approx(one.statistic)
    assert ten.plain_statistic > 3 * one.plain_statistic


def test_contrary_directions_are_not_called_skill():
    forecast, up = directions(5, right=0.3)
    found = pesaran_timmermann(forecast, up, np.arange(200))
    assert found.statistic < 0
    assert found.p_value > 0.99


@pytest.mark.parametrize(
    ("forecast", "up"),
    [(np.ones(200, bool), np.arange(200) % 2 == 0), (np.arange(200) % 2 == 0, np.zeros(200, bool))],
)
def test_one_direction_alone_gives_no_statistic(forecast, up):
    found = pesaran_timmermann(forecast, up, np.arange(200))
    assert found.accuracy == found.expected_accuracy
    assert found.statistic is None
    assert found.p_value is None


def test_too_few_labels_that_do_not_overlap_give_no_p_value():
    forecast, up = directions(6, count=100)
    time = np.arange(100)
    assert pesaran_timmermann(forecast, up, time, overlap=12).p_value is not None
    assert pesaran_timmermann(forecast, up, time, overlap=13).p_value is None


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=90), st.integers(1, 9))
def test_every_answer_is_json_without_nan(rows, overlap):
    forecast = np.array([row[0] for row in rows], dtype=bool)
    up = np.array([row[1] for row in rows], dtype=bool)
    found = pesaran_timmermann(forecast, up, np.arange(len(rows)) // 2, overlap=overlap)
    assert json.loads(json.dumps(found.model_dump(), allow_nan=False)) == found.model_dump()
    assert found.p_value is None or 0 <= found.p_value <= 1
