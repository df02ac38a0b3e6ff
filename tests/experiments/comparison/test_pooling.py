"""Scores over symbols and seeds together."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.comparison.pooling import difference, pooled
from experiments.comparison.trial import TrialResult
from lightning_models.errors import ConfigError
from lightning_models.evaluation import Outcomes, evaluate

ROWS = 600


def result(symbol: str, seed: int, *, knows: float, first: int = 0) -> TrialResult:
    """A trial whose probabilities lean towards what happens by `knows`."""
    market = np.random.default_rng(sum(map(ord, symbol)))
    actual = market.standard_normal(ROWS) * 0.01
    noise = np.random.default_rng(seed).uniform(-0.02, 0.02, ROWS)
    probability = np.clip(0.5 + knows * np.sign(actual) + noise, 0.01, 0.99)
    outcomes = Outcomes(
        symbol=np.zeros(ROWS),
        time=np.arange(first, first + ROWS) * 3_600_000,
        probability_up=probability,
        predicted=np.zeros(ROWS),
        actual=actual,
        base_rate=0.5,
        bounds=np.broadcast_to([[-0.0128, 0.0128], [-0.0196, 0.0196]], (ROWS, 2, 2)),
    )
    return TrialResult("any", symbol, seed, {}, 1.0, (1.0,), 1, outcomes)


def test_one_trial_pools_to_its_own_scores():
    one = result("BTC/USDT", 0, knows=0.1)
    scores, own = pooled([one]), evaluate(one.outcomes)
    assert scores["log_loss"].value == pytest.approx(own.log_loss)
    assert scores["log_loss_gain"].value == pytest.approx(own.log_loss_gain)
    assert scores["auc"].value == pytest.approx(own.auc)
    assert scores["directional_accuracy"].value == pytest.approx(own.directional_accuracy)
    assert scores["coverage_80"].value == pytest.approx(0.8, abs=0.05)
    assert scores["coverage_95"].value == pytest.approx(0.95, abs=0.03)


def test_an_area_is_the_mean_of_the_symbols_own():
    good, none = result("BTC/USDT", 0, knows=0.3), result("ETH/USDT", 0, knows=0.0)
    both = pooled([good, none])["auc"].value
    assert both == pytest.approx(
        (evaluate(good.outcomes).auc + evaluate(none.outcomes).auc) / 2, abs=1e-6
    )


def test_seeds_add_no_evidence():
    # Ten trainings that say the same of one market know no more of others than one does.
    one = result("BTC/USDT", 0, knows=0.05)
    ten = [TrialResult(**{**vars(one), "seed": seed}) for seed in range(10)]
    assert pooled(ten)["log_loss"] == pooled([one])["log_loss"]


def test_an_arm_that_knows_more_leads():
    knowing = [result(symbol, 1, knows=0.1) for symbol in ("BTC/USDT", "ETH/USDT")]
    guessing = [result(symbol, 2, knows=0.0) for symbol in ("BTC/USDT", "ETH/USDT")]
    lead = difference(knowing, guessing)
    assert lead["log_loss"].high < 0.0
    assert lead["auc"].low > 0.0


def test_arms_alike_cannot_be_told_apart():
    lead = difference([result("BTC/USDT", 1, knows=0.1)], [result("BTC/USDT", 2, knows=0.1)])
    assert lead["log_loss"].low < 0.0 < lead["log_loss"].high


def test_arms_are_compared_on_the_rows_of_both():
    # The same bars of one market, of which the second arm forecasts the later half alone.
    whole = result("BTC/USDT", 1, knows=0.1)
    later = TrialResult(
        **{**vars(whole), "outcomes": whole.outcomes.take(np.arange(ROWS) >= ROWS // 2)}
    )
    assert difference([whole], [later])["log_loss"].value == 0.0
    with pytest.raises(ConfigError, match="no bar in common"):
        difference([whole], [result("BTC/USDT", 1, knows=0.1, first=10 * ROWS)])
