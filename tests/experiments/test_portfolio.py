"""Several symbols of one account."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.config import BacktestConfig
from experiments.portfolio import backtest_portfolio
from lightning_models.candles import Candles, read_candles, simulate_market
from lightning_models.errors import ConfigError, TooFewCandlesError
from lightning_models.home import Home

NAMES = ("A/USDT", "B/USDT", "C/USDT")
PLAIN = {"strategy": "supertrend", "replications": 100, "position_size": 0.2}


@pytest.fixture(scope="module")
def market():
    return simulate_market(candles=600, symbols=NAMES, timeframe="6h", seed=3)


@pytest.fixture(scope="module")
def home(migrated_database, tmp_path_factory):
    import shutil

    folder = tmp_path_factory.mktemp("portfolios")
    shutil.copy(migrated_database, folder / "mlflow.db")
    return Home(folder)


@pytest.fixture(scope="module")
def result(market, home):
    return backtest_portfolio(BacktestConfig(**PLAIN), market, home=home)


def test_all_symbols_share_one_account(result):
    assert result.equity_curve[0].equity == 10_000.0
    gained = sum(trade.pnl for trade in result.trades)
    assert gained == pytest.approx(result.total_return, abs=1e-6)
    assert {trade.symbol for trade in result.trades} == set(NAMES)


def test_each_symbols_share_adds_up(result):
    assert [one.symbol for one in result.by_symbol] == list(NAMES)
    assert sum(one.total_return for one in result.by_symbol) == pytest.approx(result.total_return)
    assert sum(one.total_trades for one in result.by_symbol) == result.total_trades
    assert sum(one.fees_paid for one in result.by_symbol) == pytest.approx(result.fees_paid)


def test_one_account_is_not_three(result, market, home):
    alone = backtest_portfolio(BacktestConfig(**PLAIN), market[:1], home=home)
    # A symbol's sizes depend on what the others made and hold.
    mine = [trade.size for trade in result.trades if trade.symbol == NAMES[0]]
    assert mine != pytest.approx([trade.size for trade in alone.trades])


def test_cash_is_shared(market, home):
    greedy = BacktestConfig(**{**PLAIN, "position_size": 0.9})
    result = backtest_portfolio(greedy, market, home=home)
    # Nobody gets more than a third, whoever comes first; a short that loses grows beside an
    # equity that shrinks.
    assert 0.5 < result.largest_exposure < 1.5
    assert all(0.15 < one.mean_weight < 0.45 for one in result.by_symbol)
    assert result.configuration["position_size"] == pytest.approx(1 / 3)
    assert "at most a part of 3" in result.notes[0]


def test_the_order_of_the_symbols_decides_nothing(market, home):
    there = backtest_portfolio(BacktestConfig(**PLAIN), market, home=home)
    back = backtest_portfolio(BacktestConfig(**PLAIN), market[::-1], home=home)
    assert back.total_return == pytest.approx(there.total_return, rel=0.02)


@pytest.mark.soak
def test_correlated_exposure_is_bounded(market, home):
    free = backtest_portfolio(BacktestConfig(**PLAIN, leverage=3.0), market, home=home)
    bound = backtest_portfolio(
        BacktestConfig(**PLAIN, leverage=3.0, max_exposure=0.5), market, home=home
    )
    assert bound.largest_exposure < free.largest_exposure


def test_yardsticks_stand_beside_it(result):
    assert result.buy_and_hold.equity_curve[0].equity == 10_000.0
    assert result.random_exposure.p_value is not None
    assert result.doubled_costs.total_return_pct < result.total_return_pct
    assert result.verdict


def test_no_rating_above_average_where_it_may_be_luck(result):
    assert "No edge found" in result.verdict
    assert result.performance_rating in ("AVERAGE", "POOR")


def test_a_symbol_that_starts_later_joins_later(market, home):
    late = market[1].between(int(market[1].time[300]), None)
    result = backtest_portfolio(BacktestConfig(**PLAIN), [market[0], late], home=home)
    first = min(trade.entry_time for trade in result.trades if trade.symbol == NAMES[1])
    assert first > min(trade.entry_time for trade in result.trades if trade.symbol == NAMES[0])
    assert result.by_symbol[1].total_trades > 0


def test_a_symbol_with_too_short_a_history_is_left_out_with_its_reason(market, home):
    short = market[2].between(None, int(market[2].time[50]))
    result = backtest_portfolio(BacktestConfig(**PLAIN), [*market[:2], short], home=home)
    (failure,) = result.failures
    assert failure.symbol == NAMES[2]
    assert "needs" in failure.error
    assert result.symbols == NAMES[:2]
    with pytest.raises(TooFewCandlesError, match="none of the 1 symbols"):
        backtest_portfolio(BacktestConfig(**PLAIN), [short], home=home)


def test_different_timeframes_are_refused(market, home):
    daily = read_candles(market[1], timeframe="1d")
    with pytest.raises(ConfigError, match="need one timeframe: B/USDT has 1d, A/USDT has 6h"):
        backtest_portfolio(BacktestConfig(**PLAIN), [market[0], daily], home=home)


def test_different_markets_are_refused(market, home):
    shares = Candles(
        symbol="NVDA",
        timeframe="6h",
        market="sessions",
        time=market[1].time,
        ohlcv=market[1].ohlcv,
    )
    with pytest.raises(ConfigError, match="need one market"):
        backtest_portfolio(BacktestConfig(**PLAIN), [market[0], shares], home=home)


def test_the_same_symbol_twice_is_refused(market, home):
    with pytest.raises(ConfigError, match="A/USDT is there twice"):
        backtest_portfolio(BacktestConfig(**PLAIN), [market[0], market[0]], home=home)


def test_a_cut_changes_no_earlier_trade(market, home):
    until = int(market[0].time[500]) + 1
    whole = backtest_portfolio(BacktestConfig(**PLAIN), market, home=home)
    shorter = backtest_portfolio(
        BacktestConfig(**PLAIN), [one.between(None, until) for one in market], home=home
    )
    closed = [one for one in shorter.trades if one.exit_reason != "end"]
    assert closed
    assert closed == [one for one in whole.trades if one in closed]


def test_weights_never_leave_what_the_margin_allows(market, home):
    result = backtest_portfolio(BacktestConfig(**PLAIN, leverage=2.0), market, home=home)
    assert result.largest_exposure < 0.2 * 2.0 * 3 * 1.5
    assert np.isfinite(result.turnover)


def test_days_back_count_from_the_end_of_all(market, home):
    ended = market[1].between(None, int(market[1].time[400]))
    config = BacktestConfig(**PLAIN, days_back=20)
    result = backtest_portfolio(config, [market[0], ended], home=home)
    # The one that ended long ago is left out rather than traded long ago.
    assert [one.symbol for one in result.failures] == [NAMES[1]]
    assert len(result.equity_curve) == 1 + 20 * 4


def test_a_symbol_listed_later_is_not_traded_in_its_own_warm_up(market, home):
    late = market[1].between(int(market[1].time[150]), None)
    result = backtest_portfolio(BacktestConfig(**PLAIN), [market[0], late], home=home)
    first = min(one.entry_time for one in result.trades if one.symbol == NAMES[1])
    from lightning_models.candles import iso_utc

    # Ten bars of the mean true range, eight times over.
    assert first > iso_utc(int(late.time[8 * 10 - 1]))


def test_what_stopped_it_is_told(market, home):
    careful = BacktestConfig(**PLAIN, max_drawdown=0.02)
    result = backtest_portfolio(careful, market, home=home)
    assert any("Trading was stopped once, since the drawdown" in note for note in result.notes)


def test_a_calibration_of_one_symbol_is_refused(market, home):
    with pytest.raises(ConfigError, match="fitted on one symbol"):
        backtest_portfolio(BacktestConfig(**PLAIN, calibrate_score=0.3), market, home=home)
