"""What a fold's backtests score: every figure, and what stands where a figure has none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from experiments.tuning.config import GAINS, LOSSES
from experiments.tuning.held_positions import HeldPositions
from experiments.tuning.trading_folds import (
    HIGHEST_RATIO,
    TradedSymbol,
    figure,
    trade_fold,
    traded,
    trading_metrics,
)
from experiments.walk_forward.folds import plan_folds
from lightning_models.errors import TooFewCandlesError
from lightning_models.home import Home
from tests.experiments.tuning.small_trials import small_candidate, small_market, small_study

HOUR = 3_600_000


def symbol_with(*, trades=3, market=(0.0, 0.01, 0.01), **metrics):
    figures = {
        "total_trades": trades,
        "trades": [{}] * trades,
        "liquidations": 0,
        "sharpe_ratio": 1.0,
        "total_return": 100.0,
        "max_drawdown": 50.0,
        "max_drawdown_pct": 5.0,
        **metrics,
    }
    bars = len(market)
    time = np.arange(bars) * HOUR
    return TradedSymbol(
        figures, 1_000.0, time, np.zeros(bars), np.array(market, dtype=float), nothing_held(time)
    )


def nothing_held(time):
    return HeldPositions("SIM/USDT", time, np.zeros(len(time)), np.zeros(len(time)))


def test_a_figure_is_the_mean_over_the_symbols():
    symbols = [symbol_with(sharpe_ratio=1.0), symbol_with(sharpe_ratio=2.0)]
    assert figure("sharpe_ratio", symbols) == 1.5


def test_a_symbol_without_a_trade_gains_nothing():
    idle = symbol_with(trades=0, sharpe_ratio=0.0, total_return=0.0, market=(0.0, -0.5))
    for name in GAINS:
        assert figure(name, [idle]) == 0.0, name
    assert figure("sharpe_ratio", [idle, symbol_with(sharpe_ratio=3.0)]) == 1.5


def test_standing_aside_has_the_worst_drawdown():
    idle = symbol_with(trades=0, max_drawdown=0.0, max_drawdown_pct=0.0)
    assert figure("max_drawdown_pct", [idle, idle]) == 100.0
    assert figure("max_drawdown", [idle]) == 1_000.0
    assert figure("max_drawdown_pct", [idle, symbol_with(max_drawdown_pct=8.0)]) == 54.0
    assert figure("max_drawdown", [idle, symbol_with(max_drawdown=80.0)]) == 540.0


@pytest.mark.parametrize("name", LOSSES)
def test_one_small_trade_in_one_symbol_of_ten_has_no_small_drawdown(name):
    idle = symbol_with(trades=0, max_drawdown=0.0, max_drawdown_pct=0.0)
    small = symbol_with(trades=1, max_drawdown=0.1, max_drawdown_pct=0.01)
    real = symbol_with(trades=20, max_drawdown=120.0, max_drawdown_pct=12.0)
    assert figure(name, [small] + [idle] * 9) > figure(name, [real] * 10)
    # By the traded symbols alone it would have been the best there is.
    assert figure(name, [small]) < figure(name, [real] * 10)


@pytest.mark.parametrize(
    ("name", "lucky"), [("win_rate", 100.0), ("profit_factor", 10.0), ("sharpe_ratio", 4.0)]
)
def test_a_few_lucky_trades_gain_nothing(name, lucky):
    figures = {"win_rate": 100.0, "profit_factor": None, "sharpe_ratio": 4.0}
    few, enough = symbol_with(trades=2, **figures), symbol_with(trades=3, **figures)
    assert figure(name, [few, few], min_trades=5) == 0.0
    assert figure(name, [few, enough], min_trades=5) == lucky
    assert figure(name, [few, few]) == lucky


def test_what_a_few_trades_lost_is_lost():
    few = symbol_with(trades=1, sharpe_ratio=-3.0, total_return=-500.0)
    assert figure("sharpe_ratio", [few], min_trades=5) == -3.0
    assert figure("annualized_return", [few], min_trades=5) < 0.0


def test_a_few_trades_have_the_worst_drawdown():
    few = symbol_with(trades=4, max_drawdown=1.0, max_drawdown_pct=0.1)
    assert figure("max_drawdown_pct", [few], min_trades=5) == 100.0
    assert figure("max_drawdown", [few], min_trades=5) == 1_000.0
    assert figure("max_drawdown_pct", [few], min_trades=4) == 0.1


@pytest.mark.parametrize("name", ["sortino_ratio", "profit_factor"])
@pytest.mark.parametrize(
    ("found", "wanted"), [(None, 10.0), (25.0, 10.0), (2.5, 2.5), (-3.0, -3.0)]
)
def test_a_ratio_without_losses_counts_as_the_highest(name, found, wanted):
    assert HIGHEST_RATIO == 10.0
    assert figure(name, [symbol_with(**{name: found})]) == wanted


def test_an_annualised_return_is_the_fraction_earned_times_folds_a_year():
    # 10 % in 36.5 days.
    one = symbol_with(total_return=100.0, market=np.zeros(876))
    assert figure("annualized_return", [one]) == pytest.approx(1.0)
    lost = symbol_with(total_return=-1_000.0, market=np.zeros(876))
    assert figure("annualized_return", [lost]) == pytest.approx(-10.0)


def test_an_excess_return_is_over_holding():
    one = symbol_with(total_return=100.0, market=(0.0, 0.1, 0.1))
    assert figure("excess_return", [one]) == pytest.approx(0.1 - 0.21)


def test_bars_are_averaged_over_the_symbols_that_have_them():
    time = np.array([1, 2])
    none = nothing_held(time)
    first = TradedSymbol({}, 1.0, time, np.array([0.1, 0.2]), np.array([0.0, 0.4]), none)
    later = TradedSymbol({}, 1.0, time + 1, np.array([0.4, 0.5]), np.array([0.2, 0.1]), none)
    time, returns, market = traded([first, later])
    assert time.tolist() == [1, 2, 3]
    np.testing.assert_allclose(returns, [0.1, 0.3, 0.5])
    np.testing.assert_allclose(market, [0.0, 0.3, 0.1])


@pytest.fixture(scope="module")
def folds_and_candles():
    candles = small_market(520, ("ALT/USDT", "SIM/USDT"))
    train = small_candidate().train
    return plan_folds(small_study(folds=2).walk_forward, train.data, candles), candles


def run(fold, candles, tmp_path, **backtest):
    config = small_candidate(backtest={"strategy": "rsi_ema", **backtest}).backtest
    return trade_fold(config, fold, candles, predictor=None, home=Home(tmp_path))


def test_every_figure_of_a_study_is_a_number(folds_and_candles, tmp_path):
    folds, candles = folds_and_candles
    symbols = run(folds[0], candles, tmp_path)
    assert len(symbols) == 2
    assert any(one.has_traded for one in symbols)
    for name in (*GAINS, *LOSSES):
        assert np.isfinite(figure(name, symbols)), name
    told = trading_metrics(symbols)
    assert told["trades"] == sum(one.metrics["total_trades"] for one in symbols)
    assert all(np.isfinite(value) for value in told.values())


def test_a_fold_is_traded_from_its_first_decision_to_before_the_next_models(
    folds_and_candles, tmp_path
):
    (first, second), candles = folds_and_candles
    before = traded(run(first, candles, tmp_path))[0]
    after = traded(run(second, candles, tmp_path))[0]
    assert before[0] == first.slices.unseen_from - 1
    assert after[0] == first.replaced_at - 1 == before[-1] + HOUR
    assert after[-1] == int(candles[0].time[-1]) + HOUR - 1


def test_the_market_is_bought_at_the_open_after_the_first_decision(folds_and_candles, tmp_path):
    (first, _), candles = folds_and_candles
    one = run(first, candles[:1], tmp_path)[0]
    rows = np.searchsorted(candles[0].time + HOUR - 1, one.time)
    opened, closed = candles[0].ohlcv[rows, 0], candles[0].ohlcv[rows, 3]
    assert one.market[0] == 0.0
    assert np.prod(1.0 + one.market) == pytest.approx(closed[-1] / opened[1])
    assert one.cash * np.prod(1.0 + one.returns) == pytest.approx(
        one.cash + one.metrics["total_return"]
    )


def test_positions_earn_from_each_open_to_the_next_what_the_account_does(
    folds_and_candles, tmp_path
):
    (first, _), candles = folds_and_candles
    free = {"taker_fee": 0.0, "slippage": 0.0, "funding_rate": 0.0}
    (one,) = run(first, candles[1:], tmp_path, **free)
    held = one.held
    assert held.symbol == "SIM/USDT"
    assert held.time.tobytes() == one.time.tobytes()
    # Candles of the simulated market open where the one before closed, so that a bar without a
    # stop, which begins and ends with the same position, is one from open to open.
    earned = held.weights * held.market
    same = np.isclose(earned, one.returns, rtol=1e-6, atol=1e-12) & (held.weights != 0.0)
    assert same.sum() > 0.5 * (held.weights != 0.0).sum()
    late = held.weights[:-1] * held.market[1:]
    alike = np.isclose(late, one.returns[1:], rtol=1e-6, atol=1e-12)[same[1:]]
    assert alike.mean() < 0.1


def test_nothing_after_a_fold_changes_what_it_earned(folds_and_candles, tmp_path):
    (first, _), candles = folds_and_candles
    sim = candles[1]
    last = first.replaced_at - HOUR
    changed = sim.ohlcv.copy()
    changed[sim.time >= last] *= 3.0
    earlier = sim.ohlcv.copy()
    earlier[sim.time >= last - HOUR] *= 3.0
    (plain,), (late,), (early,) = (
        run(first, [replace(sim, ohlcv=prices)], tmp_path)
        for prices in (sim.ohlcv, changed, earlier)
    )
    assert late.returns.tobytes() == plain.returns.tobytes()
    assert late.metrics == plain.metrics
    # The bar before is the fold's last: a change of it is seen.
    assert early.market[-1] == pytest.approx(3.0 * (1.0 + plain.market[-1]) - 1.0)


def test_a_period_in_the_configuration_gives_way_to_the_folds(folds_and_candles, tmp_path):
    (first, _), candles = folds_and_candles
    plain = run(first, candles, tmp_path)
    asked = run(first, candles, tmp_path, days_back=2, in_sample=True)
    for one, other in zip(plain, asked, strict=True):
        assert one.time.tobytes() == other.time.tobytes()
        assert one.returns.tobytes() == other.returns.tobytes()


def test_a_symbol_that_is_too_short_is_left_out_and_all_of_them_are_an_error(
    folds_and_candles, tmp_path
):
    (first, _), (alt, sim) = folds_and_candles
    listed_later = alt.between(first.replaced_at, None)
    assert len(run(first, [listed_later, sim], tmp_path)) == 1
    with pytest.raises(TooFewCandlesError, match=r"needs \d+"):
        run(first, [listed_later], tmp_path)
