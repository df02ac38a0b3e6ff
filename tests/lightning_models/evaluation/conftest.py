"""Forecasts of known skill on markets whose labels overlap and whose coins move together."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_models.evaluation import Outcomes

HOUR = 3_600_000


def _overlapping(seed, *, horizon=8, length=300, skill=0.0, symbols=2):
    """Return forecast scores, outcomes and times of coins that share most of their moves.

    Score and outcome are standard normal with correlation `skill`; both are sums over
    `horizon` steps, so that neighbours share most of what they are made of.
    """
    random = np.random.default_rng(seed)

    def smooth():
        steps = random.standard_normal(length + horizon - 1)
        return np.convolve(steps, np.ones(horizon) / np.sqrt(horizon), "valid")

    driver, common = smooth(), smooth()
    actual = [
        np.sqrt(1 - skill**2) * (0.9 * common + np.sqrt(0.19) * smooth()) + skill * driver
        for _ in range(symbols)
    ]
    times = np.tile(np.arange(length) * HOUR, symbols)
    return np.tile(driver, symbols), np.concatenate(actual), times


def _outcomes_of(probability, actual, *, time=None, symbol=None, base_rate=0.5, overlap=1):
    probability = np.asarray(probability, dtype=np.float64)
    count = len(probability)
    return Outcomes(
        symbol=np.zeros(count, dtype=np.int64) if symbol is None else symbol,
        time=np.arange(count) * HOUR if time is None else time,
        probability_up=probability,
        predicted=0.01 * (probability - 0.5),
        actual=actual,
        base_rate=base_rate,
        overlap=overlap,
    )


def _skilled(count, *, seed=0, spread=0.1):
    random = np.random.default_rng(seed)
    probability = np.clip(0.5 + spread * random.standard_normal(count), 0.02, 0.98)
    up = random.random(count) < probability
    return _outcomes_of(probability, np.where(up, 0.01, -0.01))


@pytest.fixture(scope="session")
def overlapping():
    return _overlapping


@pytest.fixture(scope="session")
def outcomes_of():
    return _outcomes_of


@pytest.fixture(scope="session")
def skilled():
    return _skilled
