"""Write a backtest's report and log it to an MLflow run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import mlflow
import pandas as pd

from experiments.config import flatten
from experiments.report import ReportFiles, write_report
from experiments.result import BacktestResult
from experiments.tracking import log_candles, log_metrics, log_parameters, set_tags, tracked_run
from lightning_models.candles import Candles
from lightning_models.evaluation import Outcomes
from lightning_models.home import Home

__all__ = ["record_backtest"]

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
    "turnover",
    "traded_share",
)


def record_backtest(
    home: Home,
    result: BacktestResult,
    *,
    candles: Candles,
    forecasts: pd.DataFrame,
    outcomes: Outcomes | None,
    folder: Path,
) -> ReportFiles:
    """Write the report into a folder and log it, with its figures, to an MLflow run.

    Parameters
    ----------
    home
        Whose tracking server to log to.
    result
        What the backtest found.
    candles, forecasts, outcomes
        As `experiments.report.write_report` takes them.
    folder
        Where the report goes.

    Returns
    -------
    ReportFiles

    Raises
    ------
    StorageError
        If the report or the run cannot be written.
    """
    files = write_report(
        result, candles=candles, forecasts=forecasts, outcomes=outcomes, folder=folder
    )
    name = re.sub(r"^models:/|/\d+$", "", result.model)
    experiment = name if result.model.startswith("models:/") else "backtest"
    with tracked_run(home, experiment, run_name=f"backtest {result.symbol}") as run:
        log_parameters(run, flatten(result.configuration))
        log_metrics(run, {f"backtest/{key}": getattr(result, key) for key in LOGGED})
        set_tags(
            run,
            {
                "kind": "backtest",
                "symbols": result.symbol,
                "timeframe": result.timeframe,
                "data_fingerprint": result.data_fingerprint,
                "bundle_sha256": result.bundle_sha256,
                "model": result.model,
                "slice": result.slice,
                "verdict": result.verdict,
            },
        )
        log_candles(run, [candles], context="backtest")
        for path in (files.html, files.result, files.trades):
            mlflow.log_artifact(str(path))
    return files
