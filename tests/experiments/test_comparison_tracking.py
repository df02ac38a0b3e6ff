"""Results of many backtests in MLflow: one run above, one for each below, found again."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from experiments.backtest_tracking import record_backtest
from experiments.child_runs import PARENT_TAG, child_run
from experiments.comparison_tracking import (
    metric_part,
    record_comparison,
    record_portfolio,
    record_symbols,
    symbols_run,
)
from experiments.config import BacktestConfig
from experiments.many_symbols import SymbolFailure
from experiments.tracking import tracked_run
from experiments.workers import side_by_side
from lightning_models.errors import StorageError, TrainingError, TrainingInterrupted
from tests.experiments.report.made import walk
from tests.experiments.report.made_summaries import (
    comparison_of,
    portfolio_of,
    symbol_backtests,
    symbols_of,
)

SYMBOLS = ("BTC/USDT", "ETH/USDT")
EVIL = "<script>alert(1)</script>"


def client_of(home):
    return MlflowClient(home.tracking_uri)


def run_of(home, kind):
    """Return the only run of a kind."""
    client = client_of(home)
    experiments = [one.experiment_id for one in client.search_experiments()]
    (run,) = client.search_runs(experiments, f"tags.`lstm.kind` = '{kind}'")
    return run


def children_of(home, run):
    return client_of(home).search_runs(
        [run.info.experiment_id], f"tags.`{PARENT_TAG}` = '{run.info.run_id}'"
    )


def files_of(home, run):
    return {one.path for one in client_of(home).list_artifacts(run.info.run_id)}


def text_of(home, run, path):
    return Path(client_of(home).download_artifacts(run.info.run_id, path)).read_text()


def experiment_of(home, run):
    return client_of(home).get_experiment(run.info.experiment_id).name


def status_of(home, run):
    return client_of(home).get_run(run).info.status


def candles_on(symbols=SYMBOLS):
    return [walk(200, symbol)[0] for symbol in symbols]


@pytest.fixture(scope="module")
def compared(empty_home, tmp_path_factory):
    """A comparison that was recorded, its home and its folder."""
    home, folder = empty_home(), tmp_path_factory.mktemp("compared")
    done = comparison_of()
    files = record_comparison(home, done, folder=folder)
    return home, done, folder, files


def test_comparison_is_found_again_with_its_tags(compared):
    home, done, _, _ = compared
    run = run_of(home, "comparison")
    assert run.info.run_name == "compare SIM/USDT"
    assert run.info.status == "FINISHED"
    assert experiment_of(home, run) == "sim"
    tags = run.data.tags
    assert tags["lstm.symbols"] == "SIM/USDT"
    assert tags["lstm.timeframe"] == "1h"
    assert tags["lstm.data_fingerprint"] == done.result.data_fingerprint
    assert tags["lstm.best_strategy"] == done.result.best_strategy
    assert tags["lstm.best_metric"] == "sharpe_ratio"
    assert tags["lstm.verdict"] == done.result.verdict


def test_every_strategy_is_measured_with_what_chance_leaves_of_it(compared):
    home, done, _, _ = compared
    metrics = run_of(home, "comparison").data.metrics
    for one, contender in zip(
        done.result.comparisons, done.result.superiority.contenders, strict=True
    ):
        under = f"compare/{one.strategy}"
        assert metrics[f"{under}/total_return_pct"] == one.total_return_pct
        assert metrics[f"{under}/sharpe_low"] == one.sharpe_low
        assert metrics[f"{under}/sharpe_high"] == one.sharpe_high
        assert metrics[f"{under}/max_drawdown_pct"] == one.max_drawdown_pct
        assert metrics[f"{under}/total_trades"] == 12
        assert metrics[f"{under}/random_exposure_p"] == 0.412
        assert metrics[f"{under}/doubled_costs_return_pct"] == -3.21
        assert metrics[f"{under}/deflated_sharpe"] == one.deflated_sharpe.probability
        assert metrics[f"{under}/p_best"] == contender.p_best
        assert metrics[f"{under}/p_against"] == contender.p_against
    assert metrics["compare/against_p"] == done.result.superiority.against_p
    held = done.result.comparisons[0].buy_and_hold
    assert metrics["compare/buy-and-hold/total_return_pct"] == held.total_return_pct


def test_parameters_are_those_that_all_share(compared):
    home, *_ = compared
    assert run_of(home, "comparison").data.params == {"cash": "10000.0", "taker_fee": "0.0004"}


def test_each_strategy_is_a_run_below_with_its_own_report(compared):
    home, done, _, _ = compared
    children = children_of(home, run_of(home, "comparison"))
    found = {one.data.tags["lstm.strategy"]: one for one in children}
    assert sorted(found) == sorted(one.strategy for one in done.result.comparisons)
    for one in done.result.comparisons:
        run = found[one.strategy]
        assert run.info.status == "FINISHED"
        assert run.data.tags["lstm.kind"] == "backtest"
        assert run.data.metrics["backtest/sharpe_ratio"] == one.sharpe_ratio
        assert run.data.params["speed"] == json.dumps(one.configuration["speed"])
        assert files_of(home, run) == {"report.html", "result.json", "trades.csv"}
        (given,) = run.inputs.dataset_inputs
        assert given.dataset.name == "SIM/USDT 1h"


def test_folder_holds_the_page_and_every_report_that_it_links_to(compared):
    _, done, folder, files = compared
    assert files.html == folder / "report.html"
    page = files.html.read_text()
    for one in done.result.comparisons:
        assert f'href="./{one.strategy}/report.html"' in page
        assert {path.name for path in (folder / one.strategy).iterdir()} == {
            "report.html",
            "result.json",
            "trades.csv",
        }


def test_artifact_has_the_page_without_links_into_a_folder(compared):
    home, done, *_ = compared
    run = run_of(home, "comparison")
    assert files_of(home, run) == {"report.html", "result.json"}
    page = text_of(home, run, "report.html")
    assert done.result.verdict in page
    assert 'href="./' not in page


def test_comparison_without_a_model_has_an_experiment_of_its_own(home, tmp_path):
    plain = {"lstm_fast": {"model": None, "bundle_sha256": None}}
    record_comparison(home, comparison_of(("lstm_fast",), changes=plain), folder=tmp_path)
    assert experiment_of(home, run_of(home, "comparison")) == "compare"


def test_a_strategy_whose_report_cannot_be_written_fails_the_comparison(home, tmp_path):
    (tmp_path / "trend").write_text("mine")
    with pytest.raises(StorageError, match="trend"):
        record_comparison(home, comparison_of(("trend",)), folder=tmp_path)
    run = run_of(home, "comparison")
    assert run.info.status == "FAILED"
    assert not (tmp_path / "report.html").exists()
    assert (tmp_path / "trend").read_text() == "mine"


def record_all(home, done, folder=None, failures=()):
    """Record backtests of several symbols, as they are with an account each."""
    config = BacktestConfig(strategy="supertrend")
    with symbols_run(home, config, candles_on()) as parent:
        for one in done:
            own = None if folder is None else folder / one.result.symbol.replace("/", "_")
            record_backtest(home, one, folder=own, parent=parent)
        result = symbols_of([one.result for one in done], failures)
        return parent, result, record_symbols(parent, result, folder=folder)


def test_many_symbols_are_found_again_below_one_run(home, tmp_path):
    parent, result, files = record_all(
        home, symbol_backtests(SYMBOLS), tmp_path, [("ADA/USDT", "too short a history")]
    )
    run = run_of(home, "multi_symbol")
    assert (run.info.run_id, run.info.status) == (parent, "FINISHED")
    assert experiment_of(home, run) == "multi_symbol"
    tags = run.data.tags
    assert tags["lstm.symbols"] == "BTC/USDT,ETH/USDT"
    assert tags["lstm.best_symbol"] == result.best_symbol
    assert tags["lstm.worst_symbol"] == result.worst_symbol
    assert tags["lstm.failures"] == "ADA/USDT: too short a history"
    assert tags["lstm.verdict"] == result.verdict
    metrics = run.data.metrics
    assert metrics["symbols/portfolio_total_return_pct"] == result.portfolio_total_return_pct
    assert metrics["symbols/portfolio_sharpe_low"] == -1.2
    for one in result.symbol_results:
        under = f"symbols/{one.symbol.replace('/', '_')}"
        assert metrics[f"{under}/total_return_pct"] == one.total_return_pct
        assert metrics[f"{under}/sharpe_ratio"] == one.sharpe_ratio
    assert run.data.params["cash"] == "10000.0"
    assert {given.dataset.name for given in run.inputs.dataset_inputs} == {
        "BTC/USDT 1h",
        "ETH/USDT 1h",
    }
    children = children_of(home, run)
    assert {one.data.tags["lstm.symbols"] for one in children} == set(SYMBOLS)
    assert {one.info.status for one in children} == {"FINISHED"}
    assert 'href="./BTC_USDT/report.html"' in files.html.read_text()
    assert (tmp_path / "BTC_USDT" / "report.html").exists()
    assert files_of(home, run) == {"report.html", "result.json"}
    assert 'href="./' not in text_of(home, run, "report.html")


def test_without_a_folder_the_reports_are_kept_by_the_runs_alone(home):
    _, _, files = record_all(home, symbol_backtests(SYMBOLS[:1]))
    assert files is None
    run = run_of(home, "multi_symbol")
    (child,) = children_of(home, run)
    assert files_of(home, child) == {"report.html", "result.json", "trades.csv"}
    assert "lstm.failures" not in run.data.tags


def test_model_names_the_experiment_of_its_symbols(home):
    config = BacktestConfig(strategy="forecast", model="models:/btc@champion")
    with symbols_run(home, config, candles_on()) as parent:
        pass
    run = client_of(home).get_run(parent)
    assert experiment_of(home, run) == "btc"
    assert run.info.run_name == "forecast on 2 symbols"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TrainingError("every symbol failed"), "FAILED"),
        (ZeroDivisionError(), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (TrainingInterrupted("stopped"), "KILLED"),
    ],
)
def test_the_run_above_ends_as_its_body_did(home, error, status):
    with (
        pytest.raises(type(error)),
        symbols_run(home, BacktestConfig(strategy="supertrend"), candles_on()) as parent,
    ):
        raise error
    assert status_of(home, parent) == status
    assert mlflow.active_run() is None


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TrainingError("broken"), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (TrainingInterrupted("stopped"), "KILLED"),
    ],
)
def test_a_child_ends_as_its_body_did(home, error, status):
    with tracked_run(home, "btc", run_name="y") as parent:
        with pytest.raises(type(error)), child_run(home, parent, run_name="child") as child:
            raise error
        assert status_of(home, child) == status
        assert status_of(home, parent) == "RUNNING"


def test_child_neither_needs_nor_disturbs_an_active_run(home):
    with tracked_run(home, "btc", run_name="above") as parent:
        pass
    (one,) = symbol_backtests(("BTC/USDT",))
    assert mlflow.active_run() is None
    record_backtest(home, one, folder=None, parent=parent)
    assert mlflow.active_run() is None
    with tracked_run(home, "other", run_name="the user's own") as active:
        record_backtest(home, one, folder=None, parent=parent)
        assert mlflow.active_run().info.run_id == active
        assert status_of(home, active) == "RUNNING"
    assert client_of(home).get_run(active).data.metrics == {}
    assert files_of(home, client_of(home).get_run(active)) == set()
    assert len(children_of(home, client_of(home).get_run(parent))) == 2


def test_without_a_parent_the_active_run_is_joined(home, tmp_path):
    (one,) = symbol_backtests(("BTC/USDT",))
    with tracked_run(home, "other", run_name="the user's own") as active:
        record_backtest(home, one, folder=tmp_path)
    run = client_of(home).get_run(active)
    assert run.data.metrics["backtest/total_trades"] == 12
    assert files_of(home, run) == {"report.html", "result.json", "trades.csv"}
    assert PARENT_TAG not in run.data.tags


def test_child_of_a_run_that_the_home_does_not_keep_is_refused(home, other_home):
    with tracked_run(other_home, "btc", run_name="y") as parent:
        pass
    with (
        pytest.raises(StorageError, match="cannot be used"),
        child_run(home, parent, run_name="x"),
    ):
        pass


def test_child_is_kept_by_its_own_home_whatever_mlflow_was_told_before(home, other_home):
    with tracked_run(home, "btc", run_name="above") as parent:
        pass
    with tracked_run(other_home, "btc", run_name="y"):
        pass
    (one,) = symbol_backtests(("BTC/USDT",))
    record_backtest(home, one, folder=None, parent=parent)
    assert len(children_of(home, client_of(home).get_run(parent))) == 1


def _recorded(task):
    home, one, parent = task
    record_backtest(home, one, folder=None, parent=parent)
    return one.result.symbol


def _called(task):
    return task[1].result.symbol


@pytest.mark.soak
def test_children_are_recorded_by_several_processes_at_a_time(home):
    done = symbol_backtests([f"COIN{number}/USDT" for number in range(6)])
    with tracked_run(home, "btc", run_name="above") as parent:
        tasks = [(home, one, parent) for one in done]
        found = {symbol for _, symbol in side_by_side(_recorded, tasks, name=_called, jobs=2)}
    assert len(found) == 6
    children = children_of(home, client_of(home).get_run(parent))
    assert {one.data.tags["lstm.symbols"] for one in children} == found
    assert {one.info.status for one in children} == {"FINISHED"}


def test_portfolio_is_found_again_with_its_candles_and_trades(home, tmp_path):
    failure = SymbolFailure(symbol="ADA/USDT", error="too short a history")
    result = portfolio_of(SYMBOLS, model="models:/sim/3", failures=(failure,))
    files = record_portfolio(home, result, candles_on(), folder=tmp_path / "report")
    run = run_of(home, "portfolio")
    assert run.info.status == "FINISHED"
    assert experiment_of(home, run) == "sim"
    tags, metrics = run.data.tags, run.data.metrics
    assert tags["lstm.symbols"] == "BTC/USDT,ETH/USDT"
    assert tags["lstm.model"] == "models:/sim/3"
    assert tags["lstm.failures"] == "ADA/USDT: too short a history"
    assert tags["lstm.verdict"] == result.verdict
    assert metrics["portfolio/total_return_pct"] == result.total_return_pct
    assert metrics["portfolio/sharpe_low"] == result.sharpe_low
    assert metrics["portfolio/random_exposure_p"] == 0.412
    assert metrics["portfolio/doubled_costs_return_pct"] == -3.21
    assert metrics["portfolio/ETH_USDT/mean_weight"] == 0.12
    held = result.buy_and_hold.total_return_pct
    assert metrics["portfolio/buy_and_hold_return_pct"] == held
    assert {given.dataset.name for given in run.inputs.dataset_inputs} == {
        "BTC/USDT 1h",
        "ETH/USDT 1h",
    }
    assert files_of(home, run) == {"report.html", "result.json", "trades.csv"}
    assert all(path.exists() for path in (files.html, files.result, files.trades))


def test_portfolio_that_cannot_be_written_leaves_no_run(home, tmp_path):
    place = tmp_path / "taken"
    place.write_text("mine")
    with pytest.raises(StorageError, match="taken"):
        record_portfolio(home, portfolio_of(SYMBOLS), candles_on(), folder=place)
    client = client_of(home)
    experiments = [one.experiment_id for one in client.search_experiments()]
    assert client.search_runs(experiments) == []


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("BTC/USDT", "BTC_USDT"),
        ("BTC/USDT:USDT", "BTC_USDT_USDT"),
        (EVIL, "_script_alert_1___script_"),
        ("lstm_fast", "lstm_fast"),
        ("..", "_"),
        ("Münze", "M_nze"),
        ("x" * 300, "x" * 100),
    ],
)
def test_names_become_parts_of_metrics_that_mlflow_takes(name, part):
    assert metric_part(name) == part


def test_symbol_that_is_no_metric_name_is_logged_all_the_same(home):
    # What a name would do as it stands.
    with pytest.raises(StorageError, match="cannot be used"), tracked_run(home, "x", run_name="y"):
        mlflow.log_metric(f"symbols/{EVIL}", 1.0)
    record_all(home, symbol_backtests((EVIL,)))
    metrics = run_of(home, "multi_symbol").data.metrics
    assert "symbols/_script_alert_1___script_/sharpe_ratio" in metrics


def test_long_lists_of_symbols_and_failures_fit_mlflows_limits(home):
    done = symbol_backtests(SYMBOLS[:1])
    failures = [(f"COIN{number}/USDT", "too short a history " * 20) for number in range(100)]
    record_all(home, done, failures=failures)
    told = run_of(home, "multi_symbol").data.tags["lstm.failures"]
    assert told.startswith("COIN0/USDT: too short")
    assert len(told) == 5_000
