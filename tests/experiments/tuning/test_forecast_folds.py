"""Scores and returns of a fold's forecasts: against other code, slow loops and planted leaks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from experiments.tuning.fold_fitting import FoldToFit, fit_fold
from experiments.tuning.forecast_folds import (
    brier_score,
    followed,
    forecast_fold,
    forecast_metrics,
    held_returns,
    log_loss,
    market_returns,
    why_no_score,
)
from experiments.tuning.held_positions import together
from experiments.walk_forward.folds import plan_folds
from experiments.walk_forward.running import FoldTask, fold_config, outcomes_of_fold
from lightning_models.errors import TooFewCandlesError
from lightning_models.evaluation import evaluate
from lightning_models.evaluation.crps import crps_of_outcomes
from tests.experiments.tuning.small_trials import (
    REGRESSION,
    small_candidate,
    small_market,
    small_study,
)


@pytest.fixture(scope="module")
def candles():
    """Two symbols, one of which was listed later."""
    alt, sim = small_market(520, ("ALT/USDT", "SIM/USDT"))
    return alt.between(int(alt.time[90]), None), sim


@pytest.fixture(scope="module", params=["horizon 1", "horizon 3"])
def fitted(request, candles, tmp_path_factory):
    """Both folds of a walk-forward: the fold, its predictor and its forecasts."""
    train = small_candidate(REGRESSION, f"data.horizons=[{request.param[-1]}]").train
    found = []
    for fold in plan_folds(small_study(folds=2).walk_forward, train.data, candles):
        one = FoldToFit(fold, fold_config(train, fold), candles)
        predictor = fit_fold(one, scratch=tmp_path_factory.mktemp("fold")).predictor
        found.append((fold, predictor, forecast_fold(predictor, fold, candles)))
    return train, found


def test_outcomes_are_those_of_a_walk_forward(fitted, candles, tmp_path):
    train, folds = fitted
    for fold, predictor, forecasts in folds:
        wanted = outcomes_of_fold(predictor, FoldTask(fold, train, candles, tmp_path, ""))
        assert len(wanted) > 50
        assert set(wanted.symbol.tolist()) == {0, 1}
        for name in ("symbol", "time", "probability_up", "predicted", "actual", "bounds"):
            ours, theirs = getattr(forecasts.outcomes, name), getattr(wanted, name)
            assert ours.tobytes() == theirs.tobytes(), name
        assert forecasts.outcomes.base_rate == wanted.base_rate
        assert forecasts.outcomes.overlap == wanted.overlap


def test_log_loss_and_brier_are_those_of_the_evaluation(fitted):
    for _, _, forecasts in fitted[1]:
        wanted = evaluate(forecasts.outcomes, replications=1)
        found = forecast_metrics(forecasts)
        assert found["log_loss"] == pytest.approx(wanted.log_loss, rel=1e-12)
        assert found["brier"] == pytest.approx(wanted.brier, rel=1e-12)
        assert found["log_loss"] < 0.69


def test_crps_is_in_multiples_of_the_trailing_volatility_over_the_horizon(fitted):
    for _, predictor, forecasts in fitted[1]:
        outcomes = forecasts.outcomes
        scaled = []
        for place, one in zip(forecasts.places, forecasts.candles, strict=True):
            here = outcomes.symbol == place
            units = predictor.units(one.time, one.ohlcv)[:, 0]
            rows = np.searchsorted(one.time + one.period_ms - 1, outcomes.time[here])
            scaled.append(crps_of_outcomes(outcomes.take(here)) / units[rows])
        wanted = np.mean(np.concatenate(scaled))
        assert forecast_metrics(forecasts)["crps"] == pytest.approx(wanted, rel=1e-12)


def test_a_score_that_is_missing_has_its_reason(fitted):
    _, _, forecasts = fitted[1][0]
    outcomes = forecasts.outcomes

    def without(**changes):
        return replace(forecasts, outcomes=replace(outcomes, **changes))

    still = without(actual=np.zeros(len(outcomes)))
    assert "log_loss" not in forecast_metrics(still)
    assert why_no_score(still, "log_loss") == "no price moved after any of its forecasts"
    unbounded = without(bounds=None)
    assert set(forecast_metrics(unbounded)) == {"log_loss", "brier"}
    assert "no intervals" in why_no_score(unbounded, "crps")
    nothing = replace(forecasts, outcomes=outcomes.take(np.zeros(len(outcomes), dtype=bool)))
    assert forecast_metrics(nothing) == {}
    assert "none of its forecasts met an outcome" in why_no_score(nothing, "crps")


def test_a_certain_forecast_that_was_wrong_costs_much_and_stays_finite():
    up = np.array([True, False])
    assert log_loss(np.array([0.0, 1.0]), up) == pytest.approx(36.04, abs=0.01)
    assert brier_score(np.array([0.0, 1.0]), up) == 1.0


def slow_account(opened, closed, direction, horizon, cost):
    # One bar after another, with a list of the forecasts that are followed and their last bars.
    open_forecasts, position, returns = [], 0.0, []
    for bar in range(1, len(opened)):
        worth = 1.0
        worth *= 1.0 + position * (opened[bar] / closed[bar - 1] - 1.0)
        open_forecasts.append((direction[bar - 1], bar + horizon))
        open_forecasts = [one for one in open_forecasts if one[1] > bar]
        wanted = sum(sign for sign, _ in open_forecasts) / horizon
        worth *= 1.0 - cost * abs(wanted - position)
        position = wanted
        worth *= 1.0 + position * (closed[bar] / opened[bar] - 1.0)
        if bar == len(opened) - 1:
            worth *= 1.0 - cost * abs(position)
        returns.append(worth - 1.0)
    return np.array(returns)


def walk(bars, seed=0):
    random = np.random.default_rng(seed)
    closed = 100.0 * np.exp(np.cumsum(0.01 * random.standard_normal(bars)))
    gap = 0.002 * random.standard_normal(bars)
    opened = np.concatenate([[100.0], closed[:-1]]) * np.exp(gap)
    return opened, closed, random.choice([-1.0, 0.0, 1.0], bars)


@pytest.mark.parametrize("horizon", [1, 2, 5, 40])
@pytest.mark.parametrize("cost", [0.0, 0.001])
def test_returns_are_those_of_a_slow_account(horizon, cost):
    opened, closed, direction = walk(30, seed=horizon)
    found = held_returns(opened, closed, direction, horizon=horizon, cost=cost)
    np.testing.assert_allclose(
        found, slow_account(opened, closed, direction, horizon, cost), atol=1e-14
    )


@pytest.mark.parametrize("horizon", [1, 4])
def test_what_a_bar_did_before_it_closed_cannot_be_earned(horizon):
    opened, closed, _ = walk(20_000)
    within = closed / opened - 1.0
    late = np.sign(within)  # of the bar that has just closed
    early = np.append(np.sign(within[1:]), 0.0)  # a forecast that comes true

    def mean(direction, look=held_returns):
        return look(opened, closed, direction, horizon=horizon, cost=0.0).mean() * horizon

    def leaking(opened, closed, direction, **options):
        return held_returns(opened, closed, np.append(direction[1:], 0.0), **options)

    assert abs(mean(late)) < 0.0004
    assert mean(early) > 0.007
    # An account that fills at the open of the deciding bar itself would have earned it.
    assert mean(late, leaking) > 0.007


def test_one_forecast_earns_from_the_next_open_to_the_open_after_its_horizon():
    opened = np.array([10.0, 20.0, 30.0, 50.0, 90.0])
    closed = np.array([11.0, 22.0, 33.0, 55.0, 99.0])
    direction = np.array([1.0, 0.0, 0.0, 0.0, 0.0])
    found = held_returns(opened, closed, direction, horizon=1, cost=0.0)
    assert found.round(12).tolist() == [0.1, round(30.0 / 22.0 - 1.0, 12), 0.0, 0.0]
    assert np.prod(1.0 + found) == pytest.approx(30.0 / 20.0)


def test_overlapping_forecasts_add_up_to_the_whole_account():
    opened, closed, _ = walk(50)
    always = held_returns(opened, closed, np.ones(50), horizon=4, cost=0.0)
    market = market_returns(opened, closed)
    np.testing.assert_allclose(always[4:], market[4:], atol=1e-14)
    # Before, a part of it was not yet in the market.
    assert not np.allclose(always[:3], market[:3])


def test_without_a_forecast_nothing_is_held():
    opened, closed, _ = walk(20)
    assert not held_returns(opened, closed, np.zeros(20), horizon=3, cost=0.01).any()


def test_each_change_of_position_costs_and_so_does_the_end():
    flat = np.full(5, 100.0)
    found = held_returns(flat, flat, np.array([1.0, -1.0, -1.0, 0, 0]), horizon=1, cost=0.01)
    assert found.round(12).tolist() == [-0.01, -0.02, 0.0, -0.01]
    held = held_returns(flat, flat, np.ones(5), horizon=1, cost=0.01)
    assert held.round(12).tolist() == [-0.01, 0.0, 0.0, -0.01]


def test_holding_compounds_from_the_first_open_to_the_last_close():
    opened, closed, _ = walk(40)
    market = market_returns(opened, closed)
    assert np.prod(1.0 + market) == pytest.approx(closed[-1] / opened[1])


def test_the_bars_of_folds_meet_without_a_gap(fitted, candles):
    period = candles[0].period_ms
    (first, _, early), (second, _, late) = fitted[1]
    (before, *_), (after, *_) = (
        followed(early, first, cost=0.0),
        followed(late, second, cost=0.0),
    )
    assert before[0] == first.slices.unseen_from + period - 1
    assert after[0] == before[-1] + period
    assert after[-1] == int(candles[1].time[-1]) + period - 1
    for time in (before, after):
        assert set(np.diff(time).tolist()) == {period}


def test_positions_are_those_that_earn_on_their_bar(fitted):
    fold, _, forecasts = fitted[1][0]
    time, returns, _, held = followed(forecasts, fold, cost=0.0)
    assert [one.symbol for one in held] == [one.symbol for one in forecasts.candles]
    weights, market = together(held)
    assert len(weights) == len(time)
    # Candles of the simulated market open where the one before closed.
    np.testing.assert_allclose((weights * market).sum(axis=1), returns, atol=1e-12)
    # A bar later they would earn something else.
    late = (weights[:-1] * market[1:]).sum(axis=1)
    assert np.abs(late - returns[1:]).max() > 0.001


def test_returns_are_the_mean_over_the_symbols(fitted):
    fold, _, forecasts = fitted[1][0]
    time, returns, market, _ = followed(forecasts, fold, cost=0.001)
    alone = [
        followed(
            replace(
                forecasts,
                candles=(forecasts.candles[place],),
                arrays=(forecasts.arrays[place],),
            ),
            fold,
            cost=0.001,
        )
        for place in (0, 1)
    ]
    np.testing.assert_allclose(returns, (alone[0][1] + alone[1][1]) / 2.0, atol=1e-15)
    np.testing.assert_allclose(market, (alone[0][2] + alone[1][2]) / 2.0, atol=1e-15)
    # The planted signal earns more than holding.
    assert returns.mean() > market.mean()
    prices = forecasts.candles[1]
    rows = np.searchsorted(prices.time + prices.period_ms - 1, time)
    closes = prices.ohlcv[rows, 3]
    wanted = np.concatenate([[closes[0] / prices.ohlcv[rows[0], 0]], closes[1:] / closes[:-1]])
    np.testing.assert_allclose(alone[1][2], wanted - 1.0, atol=1e-14)


def test_a_fold_without_enough_candles_of_any_symbol_is_an_error(fitted, candles):
    fold, predictor, _ = fitted[1][0]
    short = [one.between(int(one.time[-20]), None) for one in candles]
    with pytest.raises(TooFewCandlesError, match="no symbol has the"):
        forecast_fold(predictor, fold, short)
