"""Write a backtest's report and log it to an MLflow run."""

from __future__ import annotations

import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mlflow.tracking import MlflowClient

from experiments.child_runs import child_run
from experiments.config import flatten
from experiments.report import ReportFiles, write_report
from experiments.tracking import log_candles, log_metrics, log_parameters, set_tags, tracked_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from experiments.backtesting import Backtest
    from experiments.result import BacktestResult
    from lightning_models.home import Home

__all__ = ["backtest_metrics", "experiment_of", "record_backtest"]

LOGGED: Final = (
    "total_trades",
    "win_rate",
    "total_return_pct",
    "annualized_return",
    "max_drawdown_pct",
    "sharpe_ratio",
    "sharpe_low",
    "sharpe_high",
    "sortino_ratio",
    "profit_factor",
    "excess_return",
    "excess_low",
    "excess_high",
    "exposure",
    "fees_paid",
    "funding_paid",
    "liquidations",
    "turnover",
    "traded_share",
)


def record_backtest(
    home: Home, done: Backtest, *, folder: Path | None, parent: str | None = None
) -> ReportFiles | None:
    """Write the report into a folder and log it, with its figures, to an MLflow run.

    Parameters
    ----------
    home
        Whose tracking server to log to.
    done
        The backtest.
    folder
        Where the report goes; None keeps it in the run alone.
    parent
        Run that the backtest's own is a child of. It is made beside whatever run is active, in
        any process; without a parent the active run is joined or a new one started.

    Returns
    -------
    ReportFiles or None
        None without a folder.

    Raises
    ------
    StorageError
        If the report or the run cannot be written.
    """
    result = done.result
    with tempfile.TemporaryDirectory(prefix="lstm-report-") as scratch:
        files = write_report(
            result,
            candles=done.period.candles,
            forecasts=done.judgement.lines,
            outcomes=done.judgement.outcomes,
            folder=Path(scratch) if folder is None else folder,
        )
        with _run(home, result, parent) as run:
            _log(run, done)
            client = MlflowClient()
            for path in (files.html, files.result, files.trades):
                client.log_artifact(run, str(path))
    return None if folder is None else files


def experiment_of(model: str | None, otherwise: str) -> str:
    """Return the name of the MLflow experiment that a model's results belong to.

    Parameters
    ----------
    model
        As a configuration or a result names it.
    otherwise
        Where there is no model, or it is a folder without a name in the registry.

    Examples
    --------
    >>> experiment_of("models:/btc/3", "backtest"), experiment_of("models:/btc@champion", "x")
    ('btc', 'btc')
    >>> experiment_of(None, "backtest"), experiment_of("bundles/btc", "backtest")
    ('backtest', 'backtest')
    """
    found = re.match(r"models:/([^/@]+)", model or "")
    return found[1] if found else otherwise


def backtest_metrics(result: BacktestResult) -> dict[str, float | None]:
    """Return the figures of a backtest that are logged, None where there is none.

    Parameters
    ----------
    result
        What it found.
    """
    metrics: dict[str, float | None] = {key: getattr(result, key) for key in LOGGED}
    if result.doubled_costs is not None:
        metrics["doubled_costs_return_pct"] = result.doubled_costs.total_return_pct
    if result.random_exposure is not None:
        metrics["random_exposure_p"] = result.random_exposure.p_value
    if result.deflated_sharpe is not None:
        metrics["deflated_sharpe"] = result.deflated_sharpe.probability
    return metrics


@contextmanager
def _run(home: Home, result: BacktestResult, parent: str | None) -> Iterator[str]:
    if parent is None:
        experiment = experiment_of(result.model, "backtest")
        with tracked_run(home, experiment, run_name=f"backtest {result.symbol}") as run:
            yield run
    else:
        name = f"{result.strategy} {result.symbol}"
        with child_run(home, parent, run_name=name) as run:
            yield run


def _log(run: str, done: Backtest) -> None:
    result = done.result
    tags: dict[str, Any] = {
        "kind": "backtest",
        "symbols": result.symbol,
        "timeframe": result.timeframe,
        "data_fingerprint": result.data_fingerprint,
        "strategy": result.strategy,
        "bundle_sha256": result.bundle_sha256,
        "model": result.model,
        "slice": result.slice,
        "verdict": result.verdict,
    }
    log_parameters(run, flatten(result.configuration))
    log_metrics(run, {f"backtest/{key}": value for key, value in backtest_metrics(result).items()})
    set_tags(run, {key: value for key, value in tags.items() if value is not None})
    log_candles(run, [done.period.candles], context="backtest")
