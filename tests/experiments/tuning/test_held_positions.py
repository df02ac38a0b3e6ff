"""Positions of several symbols, seeds and folds on one axis of time."""

from __future__ import annotations

import numpy as np

from experiments.tuning.held_positions import HeldPositions, together


def held(symbol, first, weights, market):
    time = np.arange(first, first + len(weights))
    return HeldPositions(symbol, time, np.array(weights, float), np.array(market, float))


def test_folds_follow_each_other():
    weights, market = together([held("A", 2, [0.5], [0.2]), held("A", 0, [1.0, -1.0], [0.0, 0.1])])
    assert weights.tolist() == [[1.0], [-1.0], [0.5]]
    assert market.tolist() == [[0.0], [0.1], [0.2]]


def test_seeds_of_the_same_bars_are_averaged():
    weights, market = together(
        [held("A", 0, [1.0, 1.0], [0.1, 0.2]), held("A", 0, [0.0, -1.0], [0.1, 0.2])]
    )
    assert weights.tolist() == [[0.5], [0.0]]
    np.testing.assert_allclose(market, [[0.1], [0.2]])


def test_what_all_earn_is_the_mean_over_the_symbols_with_a_bar():
    one, two = held("A", 0, [1.0, 1.0], [0.1, 0.2]), held("B", 1, [-1.0, 1.0], [0.4, 0.3])
    weights, market = together([two, one])
    np.testing.assert_allclose((weights * market).sum(axis=1), [0.1, (0.2 - 0.4) / 2, 0.3])


def test_none_are_nothing():
    weights, market = together([])
    assert weights.shape == market.shape == (0, 0)
