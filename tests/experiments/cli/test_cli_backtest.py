"""`lstm-strategies backtest`: options, report, and the run it leaves behind."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from experiments.result import BacktestResult
from lightning_models import load_predictor
from lightning_models.candles import iso_utc

REPORT = {"report.html", "result.json", "trades.csv"}


@pytest.fixture
def backtest(cli, bundle, market, home):
    """Backtest the bundle on its own symbol."""

    def run(*options, model=bundle, data=(market.sim_file,)):
        specs = [part for one in data for part in ("--data", one)]
        return cli("backtest", "--model", model, *specs, "--home", home.path, *options)

    return run


@pytest.fixture(scope="module")
def result(cli, shop, market):
    """One backtest with all defaults but the threshold, of the registered champion."""
    ended = cli(
        "backtest", "--model", shop.champion, "--data", market.sim_file, "--home", shop.home,
        "--min-confidence", "0.55", "--json",
    ).done()  # fmt: skip
    assert ended.err == ""
    return BacktestResult.model_validate_json(ended.out)


@pytest.fixture(scope="module")
def unseen_from(bundle):
    return iso_utc(load_predictor(bundle).bundle.unseen_from_ms)


def test_json_is_one_result_with_slice_verdict_and_model(result):
    assert result.slice == "out_of_sample"
    assert result.verdict
    assert result.model == "models:/tiny/1"
    assert (result.symbol, result.timeframe) == ("SIM/USDT", "1h")
    assert result.total_trades > 30
    assert result.configuration["min_confidence"] == 0.55
    assert result.configuration["cash"] == 10_000


def test_by_default_it_starts_where_the_model_has_seen_nothing(result, unseen_from):
    assert result.unseen_from == unseen_from
    # The first bar is the one whose close is the first unseen decision.
    assert result.start_date == iso_utc(_milliseconds(unseen_from) - 1)
    assert all(trade.entry_time > unseen_from for trade in result.trades)


def test_the_run_is_logged_with_its_kind_metrics_and_files(result, shop):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{shop.home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tiny")
    runs = client.search_runs([experiment.experiment_id], "tags.`lstm.kind` = 'backtest'")
    run = next(one for one in runs if one.data.params["min_confidence"] == "0.55")
    assert run.info.status == "FINISHED"
    assert run.data.tags["lstm.symbols"] == "SIM/USDT"
    assert run.data.tags["lstm.timeframe"] == "1h"
    assert run.data.tags["lstm.bundle_sha256"] == result.bundle_sha256
    assert run.data.tags["lstm.data_fingerprint"] == result.data_fingerprint
    assert run.data.tags["lstm.verdict"] == result.verdict
    assert run.data.metrics["backtest/sharpe_ratio"] == pytest.approx(result.sharpe_ratio)
    assert run.data.metrics["backtest/total_trades"] == result.total_trades
    assert {one.path for one in client.list_artifacts(run.info.run_id)} >= REPORT


def test_a_table_a_verdict_and_where_the_report_is(backtest, tmp_path):
    ended = backtest("--report", tmp_path / "report").done()
    for words in ("buy-and-hold", "Sharpe ratio", "95 % interval", "time in the market"):
        assert words in ended.out
    assert f"report: {tmp_path / 'report' / 'report.html'}" in ended.out.splitlines()
    assert {path.name for path in (tmp_path / "report").iterdir()} == REPORT


def test_the_report_holds_what_json_prints(backtest, tmp_path):
    ended = backtest("--json", "--report", tmp_path / "a" / "b", "--min-confidence", "0.55").done()
    folder = tmp_path / "a" / "b"
    assert {path.name for path in folder.iterdir()} == REPORT
    assert json.loads((folder / "result.json").read_text()) == ended.json
    with (folder / "trades.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(ended.json["trades"]) > 0
    assert [float(row["pnl"]) for row in rows] == [one["pnl"] for one in ended.json["trades"]]


@pytest.mark.soak
def test_in_sample_trades_earlier_and_shades_it(backtest, tmp_path, unseen_from):
    ended = backtest("--in-sample", "--report", tmp_path, "--json").done()
    assert ended.json["slice"] == "mixed"
    assert ended.json["trades"][0]["entry_time"] < unseen_from
    assert ended.json["verdict"].startswith("No evidence of an edge: the model had seen part")
    assert "shaded" in (tmp_path / "report.html").read_text()
    plain = backtest("--in-sample").done()
    assert f"In sample: the model has seen the candles before {unseen_from}." in plain.out


def test_a_start_and_an_end_bound_the_trades(backtest):
    ended = backtest("--from", "2020-05-01", "--to", "2020-05-05T12:00:00Z", "--json").done()
    assert ended.json["start_date"] == "2020-04-30T23:59:59.999Z"  # the close that decides first
    assert ended.json["end_date"] == "2020-05-05T11:59:59.999Z"
    times = [one["entry_time"] for one in ended.json["trades"]]
    assert times
    assert min(times) > "2020-05-01T00"
    # A negative control: without an end the same command goes on.
    assert backtest("--from", "2020-05-01", "--json").json["end_date"] > "2020-05-09"


@pytest.mark.soak
def test_a_start_in_what_the_model_has_seen_changes_nothing(backtest):
    early, plain = backtest("--from", "2020-02-01", "--json"), backtest("--json")
    assert early.json["trades"] == plain.json["trades"]
    assert early.json["start_date"] == plain.json["start_date"]


@pytest.mark.soak
def test_cash_and_threshold_are_taken(backtest):
    strict = backtest("--cash", "500", "--min-confidence", "0.7", "--json").done().json
    loose = backtest("--min-confidence", "0.55", "--json").done().json
    assert strict["equity_curve"][0]["equity"] == 500
    assert loose["equity_curve"][0]["equity"] == 10_000
    assert strict["forecasts"]["traded"] < loose["forecasts"]["traded"]


def test_settings_reach_the_strategy(backtest):
    both = backtest("--json").done().json
    longs = backtest("--set", "long_only=true", "--set", "taker_fee=0", "--json").done().json
    assert {one["direction"] for one in both["trades"]} == {"LONG", "SHORT"}
    assert {one["direction"] for one in longs["trades"]} == {"LONG"}


def test_several_symbols_have_a_report_each(backtest, market, tmp_path):
    data = (market.sim_file, market.alt_file)
    ended = backtest("--json", "--report", tmp_path, data=data).done()
    assert [one["symbol"] for one in ended.json] == ["SIM/USDT", "ALT/USDT"]
    assert any("not among the symbols" in note for note in ended.json[1]["notes"])
    for name in ("SIM_USDT", "ALT_USDT"):
        assert {path.name for path in (tmp_path / name).iterdir()} == REPORT


@pytest.mark.soak
def test_finer_candles_are_resampled(backtest, market, tmp_path):
    frame = market.sim.to_frame()
    doubled = frame.loc[np.repeat(frame.index, 2)].reset_index(drop=True)
    doubled["timestamp"] += np.arange(len(doubled)) % 2 * np.timedelta64(30, "m")
    file = tmp_path / "SIM_USDT.parquet"
    doubled.to_parquet(file)
    finer = backtest("--json", data=(file,)).done().json
    assert finer["timeframe"] == "1h"
    assert finer["trades"] == backtest("--json").json["trades"]


def test_no_trade_says_why(backtest):
    ended = backtest("--min-confidence", "0.999", "--json").done()
    assert ended.json["total_trades"] == 0
    assert ended.json["verdict"].startswith("No trades, so no verdict")
    (note,) = [one for one in ended.json["notes"] if "No position was opened" in one]
    assert "under the confidence of 0.999" in note
    assert "the largest confidence was 0." in note
    plain = backtest("--min-confidence", "0.999").done()
    assert " ".join(plain.out.split()).count("position was opened") == 1


@pytest.mark.parametrize("option", ["--from", "--to"])
@pytest.mark.parametrize("written", ["soon", "2021", "2021-02-30"])
def test_an_unreadable_time_is_refused(backtest, option, written):
    backtest(option, written).failed(f"unreadable {option} {written!r}", code=2)


def test_a_start_after_the_end_is_refused(backtest):
    backtest("--from", "2020-05-05", "--to", "2020-05-01").failed(
        "ends at 2020-05-01T00:00:00Z", "not after its start at 2020-05-05T00:00:00Z", code=2
    )


def test_a_start_beyond_the_candles_is_refused(backtest):
    backtest("--from", "2020-06-01").failed(
        "nothing to trade on", "end at 2020-05-10T00:00:00Z", "starts at 2020-06-01T00:00:00Z"
    )
    backtest("--in-sample", "--from", "2020-06-01").failed("starts at 2020-06-01T00:00:00Z")


def test_an_end_before_the_warm_up_is_refused(backtest):
    backtest("--to", "2020-01-07").failed(
        "SIM/USDT has 24 1h candles that close by 2020-01-07T00:00:00Z", "8 for its window",
        "Give a later end",
    )  # fmt: skip


@pytest.mark.soak
def test_nothing_unseen_says_so_and_what_helps(backtest, market, unseen_from, tmp_path):
    file = tmp_path / "SIM_USDT.parquet"
    market.sim.between(None, _milliseconds(unseen_from)).to_frame().to_parquet(file)
    backtest(data=(file,)).failed(
        f"has seen everything before {unseen_from}", "Give newer candles, or --in-sample"
    )
    ended = backtest("--in-sample", "--json", data=(file,)).done()
    assert ended.json["slice"] == "in_sample"


def test_too_few_candles_say_how_many_and_why(backtest, market, bundle, tmp_path):
    needed = load_predictor(bundle).required_bars + 2
    file = tmp_path / "SIM_USDT.parquet"
    market.sim.to_frame()[: needed - 1].to_parquet(file)
    backtest(data=(file,)).failed(
        f"SIM/USDT has {needed - 1} 1h candles", f"needs {needed}", "warm its features up",
        "2 to trade on", "Give more history",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--cash", "0"), "cash=0.0: give more than 0"),
        (("--cash", "nan"), "cash=nan"),
        (("--cash", "inf"), "cash=inf"),
        (("--min-confidence", "1.5"), "min_confidence=1.5: give at most 1"),
        (("--set", "slipage=0.1"), "unknown key 'slipage': did you mean 'slippage'?"),
        (("--set", "start=2022"), "start=2022: write a UTC time"),
        (("--set", "risk_per_trade=2"), "risk_per_trade=2"),
    ],
)
def test_wrong_settings_are_refused(backtest, options, words):
    backtest(*options).failed(words, code=2)


def test_all_wrong_settings_are_named_at_once(backtest):
    backtest("--cash", "-1", "--set", "slipage=0.1", "--set", "atr_period=x").failed(
        "cash=-1.0", "'slipage'", "atr_period='x'", code=2
    )


def _milliseconds(time: str) -> int:
    return int(np.datetime64(time.removesuffix("Z"), "ms").astype(np.int64))
