"""Write the reports of several backtests and log them to MLflow, a run above and one for each."""

from __future__ import annotations

import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mlflow.tracking import MlflowClient

from experiments.backtest_tracking import backtest_metrics, experiment_of, record_backtest
from experiments.config import flatten
from experiments.report import (
    ReportFiles,
    SummaryFiles,
    write_comparison,
    write_portfolio,
    write_symbols,
)
from experiments.report.summary_table import folder_of
from experiments.tracking import log_candles, log_metrics, log_parameters, set_tags, tracked_run
from lightning_models.candles import fingerprint_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from experiments.comparing import Comparison, ComparisonResult
    from experiments.config import BacktestConfig
    from experiments.many_symbols import MultiSymbolResult, SymbolFailure
    from experiments.portfolio import PortfolioResult
    from lightning_models.candles import Candles
    from lightning_models.home import Home

__all__ = ["metric_part", "record_comparison", "record_portfolio", "record_symbols", "symbols_run"]

# MLflow takes no longer tags and keys, and no more metrics at a time.
_LONGEST_TAG: Final = 5_000
_LONGEST_PART: Final = 100
_METRICS_AT_ONCE: Final = 500

_PORTFOLIO_LOGGED: Final = (
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
    "exposure",
    "largest_exposure",
    "fees_paid",
    "funding_paid",
    "liquidations",
    "turnover",
)


def record_comparison(home: Home, done: Comparison, *, folder: Path) -> SummaryFiles:
    """Write a comparison's reports and log them, each strategy's backtest as a run below.

    Parameters
    ----------
    home
        Whose tracking server to log to.
    done
        The comparison.
    folder
        Where the page goes; each strategy's own report goes into a folder of its name in it.

    Returns
    -------
    SummaryFiles

    Raises
    ------
    StorageError
        If a report or a run cannot be written.
    """
    result = done.result
    models = {one.model for one in result.comparisons if one.model is not None}
    experiments = {experiment_of(model, "compare") for model in models}
    experiment = experiments.pop() if len(experiments) == 1 else "compare"
    with tracked_run(home, experiment, run_name=f"compare {result.symbol}") as run:
        log_parameters(run, _shared(result))
        _log_all_metrics(run, _comparison_metrics(result))
        _set_tags(
            run,
            {
                "kind": "comparison",
                "symbols": result.symbol,
                "timeframe": result.timeframe,
                "data_fingerprint": result.data_fingerprint,
                "strategies": ",".join(one.strategy for one in result.comparisons),
                "best_strategy": result.best_strategy,
                "best_metric": result.best_metric,
                "slice": result.slice,
                "verdict": result.verdict,
            },
        )
        log_candles(run, [done.backtests[0].period.candles], context="comparison")
        # The strategies' own first: the page's links lead somewhere from the start.
        for one in done.backtests:
            record_backtest(home, one, folder=folder / folder_of(one.result.strategy), parent=run)
        files = write_comparison(result, folder=folder)
        # Beside the artifact there are no folders to link to: those reports are the runs below.
        with tempfile.TemporaryDirectory(prefix="lstm-report-") as scratch:
            _log_files(run, write_comparison(result, folder=scratch, links=False))
    return files


@contextmanager
def symbols_run(home: Home, config: BacktestConfig, candles: Sequence[Candles]) -> Iterator[str]:
    """Open the run above those of many symbols' backtests.

    Parameters
    ----------
    home
        Whose tracking server to log to.
    config
        Of all the backtests.
    candles
        One entry for each symbol.

    Yields
    ------
    str
        The run's id, for `record_backtest` and `record_symbols`. It ends FINISHED, KILLED where
        the user stopped it, FAILED on any other error.

    Raises
    ------
    StorageError
        If the tracking server cannot be reached or written.
    """
    name = f"{config.strategy} on {len(candles)} symbols"
    experiment = experiment_of(config.model, "multi_symbol")
    with tracked_run(home, experiment, run_name=name) as run:
        log_parameters(run, flatten(config.model_dump(mode="json")))
        _set_tags(
            run,
            {
                "kind": "multi_symbol",
                "symbols": ",".join(one.symbol for one in candles),
                "timeframe": candles[0].timeframe,
                "data_fingerprint": fingerprint_of(candles),
                "strategy": config.strategy,
            },
        )
        log_candles(run, candles, context="backtest")
        yield run


def record_symbols(
    parent: str, result: MultiSymbolResult, *, folder: Path | None
) -> SummaryFiles | None:
    """Write the page of many symbols and log it to the run above theirs.

    Parameters
    ----------
    parent
        As `symbols_run` yields it, while that lasts.
    result
        What was found.
    folder
        Where the page goes, beside a folder for each symbol; None keeps it in the run alone.

    Returns
    -------
    SummaryFiles or None
        None without a folder.

    Raises
    ------
    StorageError
        If the page cannot be written.
    """
    models = {one.model for one in result.symbol_results if one.model is not None}
    _log_all_metrics(parent, _symbols_metrics(result))
    _set_tags(
        parent,
        {
            "timeframe": result.timeframe,
            "model": ",".join(sorted(models)) or None,
            "best_symbol": result.best_symbol,
            "worst_symbol": result.worst_symbol,
            "slices": ",".join(sorted({one.slice for one in result.symbol_results})),
            "failures": _told(result.failures),
            "verdict": result.verdict,
        },
    )
    files = None if folder is None else write_symbols(result, folder=folder)
    with tempfile.TemporaryDirectory(prefix="lstm-report-") as scratch:
        _log_files(parent, write_symbols(result, folder=scratch, links=False))
    return files


def record_portfolio(
    home: Home, result: PortfolioResult, candles: Sequence[Candles], *, folder: Path
) -> ReportFiles:
    """Write a portfolio's report and log it, with its figures, to an MLflow run.

    Parameters
    ----------
    home
        Whose tracking server to log to.
    result
        What was found.
    candles
        What it traded on, one entry for each symbol.
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
    files = write_portfolio(result, folder=folder)
    experiment = experiment_of(result.model, "portfolio")
    name = f"{result.strategy} on a portfolio of {len(result.symbols)}"
    with tracked_run(home, experiment, run_name=name) as run:
        log_parameters(run, flatten(result.configuration))
        _log_all_metrics(run, _portfolio_metrics(result))
        _set_tags(
            run,
            {
                "kind": "portfolio",
                "symbols": ",".join(result.symbols),
                "timeframe": result.timeframe,
                "data_fingerprint": result.data_fingerprint,
                "strategy": result.strategy,
                "bundle_sha256": result.bundle_sha256,
                "model": result.model,
                "slice": result.slice,
                "failures": _told(result.failures),
                "verdict": result.verdict,
            },
        )
        log_candles(run, candles, context="backtest")
        _log_files(run, files)
    return files


def metric_part(name: str) -> str:
    """Return a symbol or strategy as a part of a metric's name, which MLflow limits.

    Examples
    --------
    >>> metric_part("BTC/USDT:USDT")
    'BTC_USDT_USDT'
    """
    allowed = re.sub(r"[^\w\-. ]", "_", name, flags=re.ASCII).strip(". ")
    return allowed[:_LONGEST_PART] or "_"


def _shared(result: ComparisonResult) -> dict[str, Any]:
    given = [flatten(one.configuration) for one in result.comparisons]
    return {
        key: value
        for key, value in given[0].items()
        if all(key in one and one[key] == value for one in given)
    }


def _comparison_metrics(result: ComparisonResult) -> dict[str, float | None]:
    metrics: dict[str, float | None] = {"compare/against_p": result.superiority.against_p}
    for one in result.comparisons:
        metrics |= _under(f"compare/{metric_part(one.strategy)}", backtest_metrics(one))
    for contender in result.superiority.contenders:
        tested = {"p_best": contender.p_best, "p_against": contender.p_against}
        metrics |= _under(f"compare/{metric_part(contender.name)}", tested)
    held = result.comparisons[0].buy_and_hold
    if held is not None:
        metrics |= _under(
            "compare/buy-and-hold",
            {
                "total_return_pct": held.total_return_pct,
                "sharpe_ratio": held.sharpe_ratio,
                "max_drawdown_pct": held.max_drawdown_pct,
            },
        )
    return metrics


def _symbols_metrics(result: MultiSymbolResult) -> dict[str, float | None]:
    metrics: dict[str, float | None] = {
        f"symbols/{name}": getattr(result, name)
        for name in (
            "portfolio_total_return_pct",
            "portfolio_sharpe_ratio",
            "portfolio_sharpe_low",
            "portfolio_sharpe_high",
            "portfolio_max_drawdown_pct",
            "buy_and_hold_total_return_pct",
            "total_trades",
        )
    }
    metrics["symbols/failures"] = len(result.failures)
    for one in result.symbol_results:
        metrics |= _under(
            f"symbols/{metric_part(one.symbol)}",
            {"total_return_pct": one.total_return_pct, "sharpe_ratio": one.sharpe_ratio},
        )
    return metrics


def _portfolio_metrics(result: PortfolioResult) -> dict[str, float | None]:
    metrics: dict[str, float | None] = {
        f"portfolio/{key}": getattr(result, key) for key in _PORTFOLIO_LOGGED
    }
    metrics["portfolio/buy_and_hold_return_pct"] = result.buy_and_hold.total_return_pct
    metrics["portfolio/buy_and_hold_sharpe_ratio"] = result.buy_and_hold.sharpe_ratio
    metrics["portfolio/random_exposure_p"] = result.random_exposure.p_value
    if result.doubled_costs is not None:
        metrics["portfolio/doubled_costs_return_pct"] = result.doubled_costs.total_return_pct
    for one in result.by_symbol:
        shares = one.model_dump(exclude={"symbol"})
        metrics |= _under(f"portfolio/{metric_part(one.symbol)}", shares)
    return metrics


def _under(prefix: str, metrics: Mapping[str, float | None]) -> dict[str, float | None]:
    return {f"{prefix}/{key}": value for key, value in metrics.items()}


def _log_all_metrics(run: str, metrics: Mapping[str, float | None]) -> None:
    given = list(metrics.items())
    for start in range(0, len(given), _METRICS_AT_ONCE):
        log_metrics(run, dict(given[start : start + _METRICS_AT_ONCE]))


def _told(failures: Sequence[SymbolFailure]) -> str | None:
    return "; ".join(f"{one.symbol}: {one.error}" for one in failures) or None


def _set_tags(run: str, tags: Mapping[str, str | None]) -> None:
    known = {key: value[:_LONGEST_TAG] for key, value in tags.items() if value is not None}
    set_tags(run, known)


def _log_files(run: str, files: ReportFiles | SummaryFiles) -> None:
    client = MlflowClient()
    paths = [files.html, files.result]
    if isinstance(files, ReportFiles):
        paths.append(files.trades)
    for path in paths:
        client.log_artifact(run, str(path))
