"""Everything that is said of a test slice, and what the verdict claims of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from lightning_models import simulate_market
from lightning_models.data.datamodule import CandleDataModule, DataConfig
from lightning_models.evaluation import (
    BASELINES,
    REGIMES,
    Assessment,
    assess,
    assess_forecasts,
    baseline_forecasts,
    evaluate,
)
from lightning_models.evaluation.assessment import CONSTANTS
from lightning_models.evaluation.baselines import rows_of


@pytest.fixture(scope="module")
def data():
    candles = simulate_market(candles=2500, symbols=("A/B", "C/D"), seed=4, signal=0.3)
    return CandleDataModule(DataConfig(features=("close", "volume"), lookback=4), candles)


@pytest.fixture(scope="module")
def outcomes(data, outcomes_of):
    """Forecasts that know each outcome's odds better than any baseline could."""
    samples = data.samples["test"]
    actual = data.returns[samples.ends, 0].astype(np.float64)
    random = np.random.default_rng(0)
    logit = 0.8 * np.sign(actual) + random.standard_normal(len(actual))
    return outcomes_of(
        1 / (1 + np.exp(-1.6 * logit)),
        actual,
        time=samples.decided - 1,
        symbol=samples.symbol,
        base_rate=0.5,
    )


@pytest.fixture(scope="module")
def knowing(outcomes, data):
    return assess(outcomes, data, replications=200)


@pytest.fixture(scope="module")
def guessing(outcomes, data):
    shuffled = np.random.default_rng(1).permutation(outcomes.probability_up)
    return assess(replace(outcomes, probability_up=shuffled), data, replications=200)


def test_it_holds_the_scores_every_baseline_every_regime_and_every_symbol(knowing, outcomes, data):
    assert knowing.scores == evaluate(outcomes, replications=200)
    assert [one.name for one in knowing.baselines] == list(BASELINES)
    assert [one.name for one in knowing.regimes] == list(REGIMES)
    assert [one.name for one in knowing.symbols] == list(data.symbols)
    assert sum(one.n for one in knowing.symbols) == knowing.scores.n
    assert knowing.compared == len(outcomes)
    assert knowing.horizon == "1h"


def test_the_verdict_names_the_baselines_that_are_beaten(knowing):
    assert knowing.verdict.startswith("Skill found: over")
    assert all(one.beaten for one in knowing.baselines)
    assert "it beats the zero return forecast, the majority class forecast" in knowing.verdict
    assert "and gradient boosting (bootstrap" in knowing.verdict
    assert "corrected for 5 comparisons" in knowing.verdict
    assert "does not beat" not in knowing.verdict
    assert "more than chance explains" in knowing.verdict


def test_the_verdict_names_the_baselines_that_are_not_beaten_and_those_that_are_better(guessing):
    assert guessing.verdict.startswith("No skill found")
    assert "it does not beat the zero return forecast" in guessing.verdict
    worse = re.search(r"is worse than (.*?) \(bootstrap", guessing.verdict).group(1)
    assert "logistic regression" in worse
    assert "not more than chance explains" in guessing.verdict


def test_skill_that_the_other_comparisons_put_in_doubt_is_said_to_be_so(outcomes, data):
    # Forecasts that know something, under noise that drowns some of it.
    few = outcomes.take(np.arange(len(outcomes)) < 60)
    forecasts = baseline_forecasts(data, few, rows_of(data, few))
    logit = np.log(few.probability_up / (1.0 - few.probability_up))
    openings = set()
    for seed in range(20):
        noise = np.random.default_rng(seed).standard_normal(len(few))
        mixed = replace(few, probability_up=1 / (1 + np.exp(-0.15 * logit - 0.03 * seed * noise)))
        found = assess_forecasts(
            mixed, mixed, forecasts, candles=data.candles, horizon="1h", replications=60
        )
        constants = [one for one in found.baselines if one.name in CONSTANTS]
        assert len(constants) == 2
        opening = (
            "No skill found"
            if not found.scores.skill
            else "Skill found"
            if all(one.beaten for one in constants)
            else "Skill in doubt"
        )
        assert found.verdict.startswith(opening)
        openings.add(opening)
    assert openings == {"No skill found", "Skill in doubt", "Skill found"}


def test_one_direction_alone_is_said_to_be_beyond_a_test(outcomes, data):
    up = replace(outcomes, probability_up=np.full(len(outcomes), 0.6))
    found = assess(up, data, replications=20)
    assert found.direction.p_value is None
    assert "Every forecast says up" in found.verdict
    assert "Pesaran-Timmermann" not in found.verdict


def test_metrics_have_names_that_mlflow_takes_and_cover_every_part(knowing):
    metrics = knowing.metrics()
    assert all(re.fullmatch(r"test/[\w.\-/ ]+", name) for name in metrics)
    assert metrics["test/log_loss"] == knowing.scores.log_loss
    assert metrics["test/pesaran_timmermann_p"] == knowing.direction.p_value
    for one in knowing.baselines:
        place = f"test/baseline/{one.name}"
        assert metrics[f"{place}/log_loss_gain_low"] == one.log_loss_gain_low
        assert metrics[f"{place}/log_loss_p"] == one.log_loss_p_corrected
        assert metrics[f"{place}/beaten"] == 1.0
    assert metrics["test/symbol/A_B/auc"] == knowing.symbols[0].auc
    assert {f"test/regime/{name}/n" for name in REGIMES} <= set(metrics)
    assert len(metrics) < 500


def test_it_is_json_and_comes_back_as_it_was(knowing):
    text = json.dumps(knowing.model_dump(mode="json"), allow_nan=False)
    assert Assessment.model_validate_json(text) == knowing


def test_forecasts_that_are_no_samples_of_the_slice_are_scored_but_not_compared(outcomes, data):
    moved = outcomes.time.copy()
    moved[:100] -= 10**10
    found = assess(replace(outcomes, time=moved), data, replications=20)
    assert found.compared == len(outcomes) - 100
    assert found.scores.n == evaluate(outcomes, replications=20).n
    assert found.baselines[0].n < found.scores.n


def test_too_few_forecasts_are_said_to_be_too_few(outcomes, data):
    few = assess(outcomes.take(np.arange(len(outcomes)) < 12), data)
    assert "too few" in few.verdict
    assert "beat" not in few.verdict
    assert all(one.too_few for one in (*few.regimes, *few.symbols))


def test_no_forecast_at_all_says_so(outcomes, data):
    none = assess(outcomes.take(np.zeros(len(outcomes), dtype=bool)), data)
    assert "nothing can be said" in none.verdict
    assert none.baselines == ()
    assert none.metrics()["test/log_loss"] is None
