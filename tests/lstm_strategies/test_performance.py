from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lightning_models.timeframes import DAY_MS
from lstm_strategies import performance

HOUR_MS = DAY_MS // 24


def test_probabilistic_sharpe_ratio_of_the_papers_example():
    """Bailey and López de Prado 2012: 24 months of a hedge fund, 0.982 and 0.913."""
    normal = performance.psr_of_moments(0.458, benchmark=0.0, bars=24, skewness=0.0, kurtosis=3.0)
    true = performance.psr_of_moments(
        0.458, benchmark=0.0, bars=24, skewness=-2.448, kurtosis=10.164
    )
    assert normal == pytest.approx(0.982, abs=5e-4)
    assert true == pytest.approx(0.913, abs=5e-4)


def test_probabilistic_sharpe_ratio_against_scipy():
    returns = np.random.default_rng(1).standard_t(4, 500) * 0.01 + 0.0005
    ratio = returns.mean() / returns.std(ddof=1)
    kurtosis = stats.kurtosis(returns, fisher=False)
    deviation = math.sqrt(
        (1 - stats.skew(returns) * ratio + (kurtosis - 1) / 4 * ratio**2) / (len(returns) - 1)
    )
    expected = stats.norm.sf(0.01, loc=ratio, scale=deviation)
    found = performance.probabilistic_sharpe_ratio(returns, benchmark=0.01)
    assert found == pytest.approx(1 - stats.norm.cdf((0.01 - ratio) / deviation), abs=1e-12)
    assert found == pytest.approx(expected, abs=1e-12)


def test_probabilistic_sharpe_ratio_tells_luck_from_skill_as_often_as_it_says():
    rng = np.random.default_rng(2)
    found = [performance.probabilistic_sharpe_ratio(rng.normal(0, 1, 200)) for _ in range(400)]
    # Without skill it exceeds 0.95 in 5 % of samples; at most 11 in 100 leaves room for chance.
    assert np.mean(np.array(found) > 0.95) < 0.11
    assert np.mean(np.array(found) > 0.95) > 0.01


def test_sharpe_ratio_of_hourly_returns_uses_8760_hours():
    returns = np.array([0.01, -0.005, 0.002, 0.004])
    expected = np.mean(returns) / np.std(returns, ddof=1) * np.sqrt(8760)
    hours = performance.periods_per_year("1h", "continuous", np.zeros(0, dtype=np.int64))
    assert performance.sharpe_ratio(returns, hours) == pytest.approx(expected)


@pytest.mark.parametrize("returns", [[], [0.01], [0.0] * 5, [0.003] * 7, [-0.1] * 4])
def test_no_variance_is_a_sharpe_ratio_of_zero(returns):
    assert performance.sharpe_ratio(np.array(returns), 8760.0) == 0.0
    assert performance.probabilistic_sharpe_ratio(np.array(returns)) == 0.0


def test_sortino_ratio():
    returns = np.array([0.02, -0.01, 0.0, 0.01])
    expected = 0.005 / math.sqrt(0.0001 / 4) * math.sqrt(365)
    assert performance.sortino_ratio(returns, 365.0) == pytest.approx(expected)
    assert performance.sortino_ratio(np.zeros(3), 365.0) == 0.0
    assert performance.sortino_ratio(np.array([0.0, 0.1]), 365.0) is None


@pytest.mark.parametrize(
    ("timeframe", "market", "periods"),
    [
        ("1h", "continuous", 8760.0),
        ("6h", "continuous", 1460.0),
        ("1d", "continuous", 365.0),
        ("1d", "sessions", 252.0),
        ("1w", "sessions", 52.0),
        ("1h", "sessions", 252.0 * 7),
    ],
)
def test_periods_per_year(timeframe, market, periods):
    seven_hours_a_day = np.array(
        [day * DAY_MS + hour * HOUR_MS for day in range(5) for hour in range(14, 21)]
    )
    found = performance.periods_per_year(timeframe, market, seven_hours_a_day)
    assert found == pytest.approx(periods)


def test_annualized_return_is_withheld_under_90_days():
    assert performance.annualized_return(100.0, 110.0, 90 * DAY_MS - 1) is None
    assert performance.annualized_return(100.0, 110.0, 365 * DAY_MS) == pytest.approx(0.1)
    assert performance.annualized_return(100.0, 110.0, 730 * DAY_MS) == pytest.approx(1.1**0.5 - 1)


def test_annualized_return_of_a_lost_account_is_none():
    assert performance.annualized_return(100.0, -1.0, 365 * DAY_MS) is None
    assert performance.annualized_return(1e-300, 1e300, 90 * DAY_MS) is None


def test_drawdown_counts_from_the_start_and_in_percent():
    found = performance.drawdown(100.0, np.array([90.0, 120.0, 60.0, 130.0]))
    assert found.curve_pct == pytest.approx([10.0, 0.0, 50.0, 0.0])
    assert (found.largest, found.largest_pct) == (60.0, 50.0)
    assert performance.drawdown(100.0, np.zeros(0)).largest == 0.0


@given(st.lists(st.floats(1.0, 1e6), min_size=1, max_size=30))
def test_drawdown_is_never_negative_and_never_above_100(equity):
    found = performance.drawdown(100.0, np.array(equity))
    assert (found.curve_pct >= 0.0).all()
    assert found.largest_pct <= 100.0
    assert found.largest >= 0.0


@given(st.lists(st.floats(1.0, 1e6), min_size=1, max_size=30))
def test_returns_compound_to_the_end(equity):
    returns = performance.bar_returns(50.0, np.array(equity))
    assert 50.0 * np.prod(1.0 + returns) == pytest.approx(equity[-1], rel=1e-9)


def test_nothing_is_earned_on_a_lost_account():
    returns = performance.bar_returns(10.0, np.array([5.0, -5.0, 5.0, 10.0]))
    assert returns.tolist() == [-0.5, -2.0, 0.0, 1.0]


def test_trade_statistics():
    found = performance.trade_statistics([30.0, -10.0, 0.0, -5.0])
    assert (found.total, found.winning, found.losing) == (4, 1, 2)
    assert found.win_rate == 25.0
    assert found.profit_factor == 2.0
    assert (found.average_win, found.average_loss) == (30.0, -7.5)


@pytest.mark.parametrize(
    ("profits", "factor"), [([], 0.0), ([-1.0], 0.0), ([0.0], 0.0), ([1.0], None)]
)
def test_profit_factor_without_a_loss_or_a_win(profits, factor):
    assert performance.trade_statistics(profits).profit_factor == factor


RATED = {
    "trades": 40,
    "total_return": 1000.0,
    "sharpe": 2.5,
    "max_drawdown_pct": 10.0,
    "psr": 0.99,
}


@pytest.mark.parametrize(
    ("change", "rating"),
    [
        ({}, "EXCELLENT"),
        ({"trades": 29}, "GOOD"),
        ({"sharpe": 1.5}, "GOOD"),
        ({"max_drawdown_pct": 20.0}, "GOOD"),
        ({"max_drawdown_pct": 30.0}, "AVERAGE"),
        ({"sharpe": 0.7}, "AVERAGE"),
        ({"psr": 0.95}, "AVERAGE"),
        ({"sharpe": 0.4}, "POOR"),
        ({"total_return": 0.0}, "POOR"),
        ({"trades": 0}, "POOR"),
    ],
)
def test_rating(change, rating):
    assert performance.performance_rating(**(RATED | change)) == rating


@given(
    trades=st.integers(0, 1000),
    total=st.floats(-1e6, 1e6),
    sharpe=st.floats(-20, 20),
    fall=st.floats(0, 200),
    psr=st.floats(0, 0.95),
)
def test_what_may_be_luck_is_never_rated_above_average(trades, total, sharpe, fall, psr):
    rating = performance.performance_rating(
        trades=trades, total_return=total, sharpe=sharpe, max_drawdown_pct=fall, psr=psr
    )
    assert rating in ("AVERAGE", "POOR")
