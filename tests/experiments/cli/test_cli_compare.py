"""`compare`, `multi-symbol`, `portfolio`, `signal` and `strategies`, by their options alone."""

from __future__ import annotations

import json

import pytest

from experiments.comparing import ComparisonResult
from experiments.many_symbols import MultiSymbolResult
from experiments.portfolio import PortfolioResult
from lightning_models import load_predictor
from lightning_models.candles import read_candles
from lstm_strategies.strategies import STRATEGIES

QUICK = ("--set", "replications=100", "--set", "doubled_costs=false")


@pytest.fixture
def trade(cli, home):
    """Run a command of several strategies or symbols in the test's own home."""

    def run(command, *options):
        return cli(command, *options, "--home", home.path, *QUICK)

    return run


def test_strategies_are_listed_with_their_parameters(cli):
    rows = cli("strategies", "--json").done().json
    assert [row["strategy"] for row in rows] == list(STRATEGIES)
    by_name = {row["strategy"]: row for row in rows}
    assert by_name["lstm_conservative"]["parameters"]["min_confidence"] == 0.75
    assert by_name["supertrend"]["needs_model"] is False
    assert "model" not in by_name["lstm"]["parameters"]
    table = cli("strategies").done().out
    assert all(name in table for name in STRATEGIES)


def test_compare_ranks_and_tests(trade, bundle, market, tmp_path):
    ended = trade(
        "compare", "lstm_fast", "supertrend", "buy_and_hold", "--model", bundle,
        "--data", market.sim_file, "--json", "--report", tmp_path / "out",
    )  # fmt: skip
    result = ComparisonResult.model_validate_json(ended.out)
    assert ended.code == 0
    assert {one.strategy for one in result.comparisons} == {
        "lstm_fast", "supertrend", "buy_and_hold",
    }  # fmt: skip
    assert result.best_strategy == result.comparisons[0].strategy
    assert result.slice == "out_of_sample"
    # A strategy without a model starts where the others' model has seen nothing.
    unseen = load_predictor(bundle).bundle.unseen_from_ms
    assert len({one.start_date for one in result.comparisons}) == 1
    assert all(
        trade.entry_time > result.comparisons[0].start_date
        for one in result.comparisons
        for trade in one.trades
    )
    assert unseen > 0
    assert (tmp_path / "out" / "report.html").stat().st_size > 100_000
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == ended.json
    assert (tmp_path / "out" / "supertrend" / "report.html").exists()


def test_compare_says_in_words_what_was_found(trade, market):
    ended = trade("compare", "supertrend", "macd_stoch", "--data", market.sim_file)
    assert ended.code == 0
    told = " ".join(ended.out.split())
    assert "best by sharpe_ratio:" in told
    assert "(buy and hold)" in told
    assert "no best is shown" in told or "is beaten" in told


def test_multi_symbol_tells_of_each_and_of_one_that_failed(trade, market, tmp_path):
    short = market.alt.between(None, int(market.alt.time[30]))
    path = tmp_path / "SHORT_USDT.parquet"
    short.to_frame().to_parquet(path)
    ended = trade(
        "multi-symbol", "supertrend", "--data", market.sim_file, "--data", market.alt_file,
        "--data", path, "--json", "--jobs", "1", "--report", tmp_path / "out",
    )  # fmt: skip
    result = MultiSymbolResult.model_validate_json(ended.out)
    assert [one.symbol for one in result.symbol_results] == ["SIM/USDT", "ALT/USDT"]
    assert [one.symbol for one in result.failures] == ["SHORT/USDT"]
    assert (tmp_path / "out" / "SIM_USDT" / "trades.csv").exists()
    assert "SHORT/USDT: failed" in ended.err


@pytest.mark.soak
def test_portfolio_is_one_account(trade, market, tmp_path):
    ended = trade(
        "portfolio", "supertrend", "--data", market.sim_file, "--data", market.alt_file,
        "--position-size", "0.3", "--json", "--report", tmp_path / "out",
    )  # fmt: skip
    result = PortfolioResult.model_validate_json(ended.out)
    assert result.symbols == ("SIM/USDT", "ALT/USDT")
    assert result.equity_curve[0].equity == 10_000
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"report.html", "result.json"}
    told = trade("portfolio", "supertrend", "--data", market.sim_file, "--data", market.alt_file)
    assert "same exposure at random" in told.out


def test_signal_is_the_live_signals_json(cli, home, bundle, market):
    ended = cli(
        "signal", "lstm_fast", "--model", bundle, "--data", market.sim_file, "--json",
        "--home", home.path,
    ).done()  # fmt: skip
    (one,) = ended.json
    assert set(one) == {
        "strategy", "symbol", "timestamp", "current_price", "signal", "indicator_values",
    }  # fmt: skip
    assert set(one["signal"]) == {
        "should_enter", "direction", "confidence", "entry_price", "stop_loss", "take_profit",
        "reasoning", "risk_reward_ratio",
    }  # fmt: skip
    assert one["current_price"] == pytest.approx(market.sim.ohlcv[-1, 3])
    told = cli(
        "signal", "lstm_fast", "--model", bundle, "--data", market.sim_file, "--home", home.path
    ).done()
    assert told.out.startswith("SIM/USDT: ")
    assert len(told.out.strip().splitlines()) == 1


def test_every_field_of_a_backtest_request_has_an_option(cli, home, bundle, market):
    ended = cli(
        "backtest", "--strategy", "lstm_fast", "--model", bundle, "--data", market.sim_file,
        "--initial-capital", "5000", "--leverage", "3", "--position-size", "0.1",
        "--days-back", "10", "--maker-fee", "0.0001", "--taker-fee", "0.0003",
        "--min-confidence", "0.55", "--risk-per-trade", "0.01", "--no-llm", "--json",
        "--home", home.path, *QUICK,
    ).done()  # fmt: skip
    result = ended.json
    told = result["configuration"]
    assert (told["cash"], told["leverage"], told["position_size"]) == (5000, 3, 0.1)
    assert (told["maker_fee"], told["taker_fee"]) == (0.0001, 0.0003)
    assert (told["min_confidence"], told["risk_per_trade"], told["use_llm"]) == (0.55, 0.01, False)
    # The bar whose close decides first, and ten days of hours after it.
    assert len(result["equity_curve"]) == 1 + 10 * 24
    assert result["strategy"] == "lstm_fast"
    asked = {
        "strategy_name", "symbol", "start_date", "end_date", "total_trades", "winning_trades",
        "losing_trades", "win_rate", "total_return", "total_return_pct", "annualized_return",
        "max_drawdown", "max_drawdown_pct", "sharpe_ratio", "sortino_ratio", "profit_factor",
        "avg_win", "avg_loss", "performance_rating", "trades", "equity_curve", "drawdown_curve",
    }  # fmt: skip
    assert asked <= set(result)


@pytest.mark.soak
def test_finer_candles_decide_within_a_bar(cli, home, market, tmp_path):
    coarse = tmp_path / "SIM_USDT.parquet"
    read_candles(market.sim, timeframe="6h").to_frame().to_parquet(coarse)
    plain = (
        "backtest", "--strategy", "rsi_ema", "--data", coarse, "--json", "--home", home.path,
        "--set", "atr_stop=0.4", "--set", "atr_target=0.4",
    )  # fmt: skip
    without = cli(*plain, *QUICK).done().json
    finer = cli(*plain, "--detail", market.sim_file, *QUICK).done().json
    assert without["total_trades"] > 5
    assert finer["trades"] != without["trades"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("compare", "supertrnd"), ("there is no strategy 'supertrnd'", "buy_and_hold")),
        (("compare", "lstm_fast"), ("needs a model",)),
        (("compare", "supertrend", "--metric", "luck"), ("cannot rank by 'luck'",)),
        (("compare", "supertrend", "--leverage", "200"), ("give at most 125",)),
        (("compare", "supertrend", "--taker-fee", "0.04"), ("0.0004 for 0.04 %",)),
        (("compare", "supertrend", "--min-confidence", "0.6"), ("has no min_confidence",)),
        (("multi-symbol", "supertrend", "--jobs", "0"), ("runs nothing",)),
        (("multi-symbol", "supertrend", "--backend", "sky"), ("no backend 'sky'",)),
        (("portfolio", "buy_and_hold", "--set", "atr_stop=2"), ("has no atr_stop",)),
        (("signal", "supertrend"), ("has no fused score", "lstm_fast")),
        (("compare", "supertrend", "--days-back", "5", "--from", "2020-01-01"), ("leave out one",)),
    ],
)
def test_wrong_use_is_refused_in_one_sentence(trade, market, arguments, words):
    ended = trade(*arguments, "--data", market.sim_file)
    assert ended.code in (1, 2)
    assert "Traceback" not in ended.err
    told = " ".join(ended.err.split())
    for word in words:
        assert word in told


def test_compare_takes_one_symbol(trade, market):
    trade("compare", "supertrend", "--data", market.sim_file, "--data", market.alt_file).failed(
        "compared on one symbol, got 2", code=2
    )


def test_confidence_in_percent_is_refused_with_the_likely_meaning(trade, bundle, market):
    ended = trade(
        "backtest", "--strategy", "lstm_fast", "--model", bundle, "--data", market.sim_file,
        "--min-confidence", "60",
    )  # fmt: skip
    assert "give at most 1, a fraction: 0.6 for 60 %" in ended.err


def test_a_models_timeframe_is_not_overruled(trade, bundle, market):
    ended = trade("backtest", "--model", bundle, "--data", market.sim_file, "--timeframe", "6h")
    told = " ".join(ended.err.split())
    assert "reads 1h candles, and --timeframe asks for 6h" in told


def test_timeframes_that_differ_are_refused_in_one_portfolio(trade, market, tmp_path):
    path = tmp_path / "ALT_USDT.parquet"
    read_candles(market.alt, timeframe="6h").to_frame().to_parquet(path)
    ended = trade("portfolio", "supertrend", "--data", market.sim_file, "--data", path)
    assert "need one timeframe" in ended.err
    assert "--timeframe" in ended.err


def test_a_model_is_asked_about_another_timeframe_only_where_that_is_asked_for(
    trade, bundle, market
):
    ended = trade(
        "backtest", "--model", bundle, "--data", market.sim_file, "--timeframe", "2h",
        "--any-timeframe", "--min-confidence", "0.5", "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    result = ended.json
    assert result["timeframe"] == "2h"
    assert any("whatever timeframe" in note for note in result["notes"])
    assert "was trained on 1h candles and is asked about 2h ones" in " ".join(ended.err.split())


def test_detail_of_another_symbol_is_refused(trade, market):
    ended = trade(
        "backtest", "--strategy", "supertrend", "--data", market.sim_file,
        "--detail", market.alt_file,
    )  # fmt: skip
    assert ended.code == 2
    assert "--detail has candles of ALT/USDT" in ended.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--from", "2020-02-01"), "leave start out"),
        (("--days-back", "5"), "leave days_back out"),
        (("--set", "top_share=0.1"), "give min_confidence instead"),
    ],
)
def test_a_signal_takes_no_period_and_no_rank(cli, home, bundle, market, options, words):
    ended = cli(
        "signal", "lstm_fast", "--model", bundle, "--data", market.sim_file, "--home", home.path,
        *options,
    )  # fmt: skip
    assert ended.code == 2
    assert words in " ".join(ended.err.split())


def test_a_signal_does_not_enter_on_what_the_model_has_seen(cli, home, bundle, market, tmp_path):
    unseen = load_predictor(bundle).bundle.unseen_from_ms
    path = tmp_path / "SIM_USDT.parquet"
    market.sim.between(None, unseen - 10 * market.sim.period_ms).to_frame().to_parquet(path)
    told = ("--model", bundle, "--data", path, "--home", home.path, "--json")
    loose = ("--min-confidence", "0.5")
    (seen,) = cli("signal", "lstm_fast", *told, *loose).done().json
    assert not seen["signal"]["should_enter"]
    assert "has seen this candle" in seen["signal"]["reasoning"]
    (asked,) = cli("signal", "lstm_fast", *told, *loose, "--in-sample").done().json
    assert asked["signal"]["should_enter"]


def test_a_key_put_into_a_strategys_parameters_is_refused_and_not_repeated(
    trade, bundle, market, home
):
    secret = "sk-abc123secretKEY"
    ended = trade(
        "backtest", "--strategy", "lstm", "--model", bundle, "--data", market.sim_file,
        "--set", f"parameters.llm_key_env={secret}",
    )  # fmt: skip
    assert ended.code == 2
    assert "set analyst.endpoint" in " ".join(ended.err.split())
    assert secret not in ended.err + ended.out
    # Where it belongs, only a variable's name is taken, and it is not shown either.
    named = trade(
        "backtest", "--strategy", "lstm", "--model", bundle, "--data", market.sim_file,
        "--set", f"analyst.api_key_env={secret}",
    )  # fmt: skip
    assert named.code != 0
    assert secret not in named.err + named.out
