"""Several strategies on the same candles, compared."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.comparing import compare, configs_of, run_comparison
from experiments.config import BacktestConfig
from lightning_models.candles import simulate_market
from lightning_models.errors import ConfigError
from lightning_models.home import Home

GIVEN = {"replications": 100, "doubled_costs": False}


@pytest.fixture(scope="module")
def candles():
    return simulate_market(candles=900, timeframe="6h", seed=1)[0]


@pytest.fixture(scope="module")
def home(migrated_database, tmp_path_factory):
    import shutil

    folder = tmp_path_factory.mktemp("comparisons")
    shutil.copy(migrated_database, folder / "mlflow.db")
    return Home(folder)


@pytest.fixture(scope="module")
def done(candles, home):
    configs = configs_of(["supertrend", "macd_stoch", "buy_and_hold"], GIVEN, origin="compare")
    return run_comparison(configs, candles, metric="sharpe_ratio", home=home)


def test_every_strategy_trades_the_same_bars(done):
    times = {tuple(point.time for point in one.equity_curve) for one in done.result.comparisons}
    assert len(times) == 1
    assert len({one.data_fingerprint for one in done.result.comparisons}) == 1


def test_ranks_by_the_metric_best_first(done):
    ratios = [one.sharpe_ratio for one in done.result.comparisons]
    assert ratios == sorted(ratios, reverse=True)
    assert done.result.best_strategy == done.result.comparisons[0].strategy
    assert done.result.best_metric == "sharpe_ratio"


def test_a_smaller_drawdown_is_better(candles, home):
    configs = configs_of(["supertrend", "macd_stoch"], GIVEN, origin="compare")
    done = run_comparison(configs, candles, metric="max_drawdown_pct", home=home)
    falls = [one.max_drawdown_pct for one in done.result.comparisons]
    assert falls == sorted(falls)


def test_sharpe_ratios_are_deflated_by_what_was_compared(done):
    for one in done.result.comparisons:
        assert one.deflated_sharpe.trials == one.trials == 3
        assert one.deflated_sharpe.expected_maximum > 0.0


def test_the_best_is_tested_against_the_rest(done):
    found = done.result.superiority
    assert {one.name for one in found.contenders} == {
        one.strategy for one in done.result.comparisons
    }
    assert done.result.verdict
    assert found.against == "buy-and-hold"


def test_buy_and_hold_as_a_strategy_earns_what_the_yardstick_does(done):
    (held,) = [one for one in done.result.comparisons if one.strategy == "buy_and_hold"]
    # Its size leaves room for a gap at the open; the yardstick puts all cash in.
    invested = held.trades[0].size * held.trades[0].entry_price / 10_000.0
    assert 0.95 < invested <= 1.0
    assert held.total_return_pct == pytest.approx(
        held.buy_and_hold.total_return_pct * invested, abs=0.5
    )


def test_a_strategy_alone_does_what_it_does_in_company(done, candles, home):
    from experiments.backtesting import run_backtest

    (mine,) = [one for one in done.result.comparisons if one.strategy == "supertrend"]
    alone = run_backtest(
        BacktestConfig(strategy="supertrend", **GIVEN), candles, home=home, history=8 * 26
    )
    assert [one.entry_time for one in alone.result.trades] == [
        one.entry_time for one in mine.trades
    ]


def test_settings_reach_the_strategies_that_have_them():
    first, second = configs_of(
        ["supertrend", "rsi_ema"],
        GIVEN,
        ["parameters.supertrend_period=20", "atr_stop=4", "leverage=2"],
        origin="compare",
    )
    assert first.parameters == {"supertrend_period": 20}
    assert second.parameters == {}
    assert first.atr_stop == second.atr_stop == 4
    assert first.leverage == second.leverage == 2


def test_confidence_reaches_only_those_that_ask_for_it():
    fast, plain = configs_of(
        ["lstm_fast", "supertrend"], {"model": "m", "min_confidence": 0.55}, origin="compare"
    )
    assert (fast.min_confidence, plain.min_confidence) == (0.55, None)


@pytest.mark.parametrize(
    ("strategies", "given", "settings", "message"),
    [
        ([], {}, [], "no strategy was named"),
        (["supertrnd"], {}, [], "did you mean 'supertrend'"),
        (["supertrend", "supertrend"], {}, [], "named twice"),
        (["supertrend"], {}, ["parameters.atr_stop=2"], "give atr_stop itself"),
        (["supertrend"], {}, ["parameters.periode=2"], "no parameter 'periode'"),
        (["lstm_fast"], {}, [], "needs a model"),
        (["supertrend"], {"min_confidence": 0.6}, [], "has no min_confidence"),
        (["lstm_fast"], {"model": "m", "min_confidence": 60}, [], "a fraction: 0.6 for 60 %"),
        (["supertrend"], {"leverage": 500}, [], "at most 125"),
        (["supertrend"], {"taker_fee": 0.04}, [], "0.0004 for 0.04 %"),
        (["supertrend"], {"leverage": 100, "maintenance_margin": 0.02}, [], "lower one of the two"),
    ],
)
def test_what_cannot_be_meant_is_refused(strategies, given, settings, message):
    with pytest.raises(ConfigError, match=message):
        configs_of(strategies, given, settings, origin="compare")


def test_costs_that_differ_are_refused(candles, home):
    configs = [
        BacktestConfig(strategy="supertrend"),
        BacktestConfig(strategy="macd_stoch", taker_fee=0.001),
    ]
    with pytest.raises(ConfigError, match=r"taker_fee is 0\.0004 and 0\.001"):
        compare(configs, candles, home=home)


def test_an_unknown_metric_is_refused(candles, home):
    with pytest.raises(ConfigError, match="did you mean 'sharpe_ratio'"):
        compare([BacktestConfig(strategy="supertrend")], candles, metric="sharpe_rato", home=home)


def test_a_strategy_that_never_traded_comes_last(candles, home):
    configs = configs_of(["supertrend", "macd_stoch"], GIVEN, origin="compare")
    idle = BacktestConfig(
        strategy="rsi_ema", **GIVEN, parameters={"overbought": 50.5, "oversold": 49.5}
    )
    done = run_comparison([idle, *configs], candles, metric="sharpe_ratio", home=home)
    last = done.result.comparisons[-1]
    assert last.strategy == "rsi_ema" or last.trades
    assert np.isfinite(last.sharpe_ratio)


def test_longer_periods_lengthen_the_history_of_all(candles, home):
    configs = configs_of(
        ["supertrend", "rsi_ema"], GIVEN, ["parameters.ema_slow=60"], origin="compare"
    )
    done = run_comparison(configs, candles, metric="sharpe_ratio", home=home)
    first = {one.strategy: one.start_date for one in done.result.comparisons}
    assert len(set(first.values())) == 1
    assert len(done.result.comparisons[0].equity_curve) == len(candles) - 8 * 60 + 1
