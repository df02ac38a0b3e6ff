"""One strategy on many symbols, each with an account of its own, several at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict

from experiments.backtest_period import with_common_start
from experiments.config import BacktestConfig
from experiments.report.summary_table import folder_of
from experiments.result import BacktestResult, EquityPoint
from experiments.significance import Significance, measure_significance, verdict
from experiments.walk_forward.carried_features import pack_features, unpack_features
from experiments.workers import side_by_side
from lightning_models.candles import Candles, iso_utc
from lightning_models.errors import ConfigError, LSTMStrategiesError, StorageError
from lightning_models.home import Home, find_home
from lstm_strategies.performance import (
    bar_returns,
    drawdown,
    periods_per_year,
    sharpe_ratio,
)

__all__ = ["MultiSymbolResult", "SymbolFailure", "backtest_symbols", "check_symbols"]

_log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]


class SymbolFailure(BaseModel):
    """A symbol that could not be backtested, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbol: str
    error: str


class MultiSymbolResult(BaseModel):
    """One strategy on many symbols, an account of equal size for each."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    strategy: str
    timeframe: str
    symbol_results: tuple[BacktestResult, ...]
    """In the order the candles were given."""
    failures: tuple[SymbolFailure, ...]
    portfolio_total_return_pct: float
    """Of all accounts together."""
    portfolio_sharpe_ratio: float
    portfolio_sharpe_low: float | None
    portfolio_sharpe_high: float | None
    portfolio_max_drawdown_pct: float
    buy_and_hold_total_return_pct: float
    """Of the same sums put into each symbol and held."""
    best_symbol: str
    worst_symbol: str
    total_trades: int
    equity_curve: tuple[EquityPoint, ...]
    """Of all accounts together."""
    verdict: str


@dataclass(frozen=True)
class _Task:
    config: BacktestConfig
    candles: Candles
    detail: Candles | None
    home: Home
    folder: str | None
    parent: str
    features: bytes


def backtest_symbols(
    config: BacktestConfig,
    candles: Sequence[Candles],
    *,
    home: str | Path | Home | None = None,
    report: str | Path | None = None,
    details: Sequence[Candles] = (),
    jobs: int | None = -1,
    on_symbol: Callable[[str, BacktestResult | SymbolFailure], None] | None = None,
) -> MultiSymbolResult:
    """Backtest a strategy on many symbols, side by side.

    Parameters
    ----------
    config
        Strategy, model, costs and period; ``cash`` is that of each symbol's account.
    candles
        One entry for each symbol.
    home
        Folder of the registry; by default ``$LSTM_HOME`` or the user's data folder.
    report
        Folder for ``report.html``, ``result.json`` and a folder for each symbol.
    details
        Finer candles of some of the symbols, which decide what came first within a bar.
    jobs
        Processes; -1 is one for each core, None what ``joblib.parallel_config`` says around
        this call, as for a cluster.
    on_symbol
        Called as each symbol is done, in whatever order that is.

    Returns
    -------
    MultiSymbolResult
        A symbol that failed is among its failures, and the others are not affected.

    Raises
    ------
    ConfigError
        If there is no symbol, one is there twice, or every one failed.
    StorageError
        If nothing can be written: that would fail for every symbol.
    """
    from experiments.backtesting import predictor_for
    from experiments.comparison_tracking import record_symbols, symbols_run  # MLflow

    _check(candles)
    place = find_home(home)
    finer = {one.symbol: one for one in details}
    done: dict[str, BacktestResult] = {}
    failures: dict[str, SymbolFailure] = {}
    config = with_common_start(config, candles)
    predictor = predictor_for(config, place, candles[0])
    features = pack_features(() if predictor is None else predictor.bundle.features)
    with symbols_run(place, config, candles) as parent:
        tasks = [
            _Task(
                config,
                one,
                finer.get(one.symbol),
                place,
                None if report is None else str(Path(report) / folder_of(one.symbol)),
                parent,
                features,
            )
            for one in candles
        ]
        for task, found in side_by_side(
            _backtested, tasks, name=_name, prepare=_prepare, jobs=jobs
        ):
            symbol = task.candles.symbol
            if isinstance(found, SymbolFailure):
                _log.warning("%s failed and is left out: %s", symbol, found.error)
                failures[symbol] = found
            else:
                done[symbol] = found
            if on_symbol is not None:
                on_symbol(symbol, found)
        if not done:
            raise ConfigError(
                f"none of the {len(candles)} symbols could be backtested; the first one: "
                f"{next(iter(failures.values())).error}"
            )
        symbols = [one.symbol for one in candles]
        result = _joined(
            config,
            [done[symbol] for symbol in symbols if symbol in done],
            [failures[symbol] for symbol in symbols if symbol in failures],
            candles[0],
        )
        record_symbols(parent, result, folder=None if report is None else Path(report))
    return result


def _backtested(task: _Task) -> BacktestResult | SymbolFailure:
    from experiments.backtest_tracking import record_backtest
    from experiments.backtesting import run_backtest

    unpack_features(task.features)
    try:
        one = run_backtest(task.config, task.candles, home=task.home, detail=task.detail)
        record_backtest(
            task.home,
            one,
            folder=None if task.folder is None else Path(task.folder),
            parent=task.parent,
        )
    except StorageError:
        raise
    except LSTMStrategiesError as error:
        return SymbolFailure(symbol=task.candles.symbol, error=str(error))
    return one.result


def _name(task: _Task) -> str:
    return task.candles.symbol


def _prepare() -> None:
    import torch

    # A worker for each core: more threads in each would only wait for each other.
    torch.set_num_threads(1)


def _joined(
    config: BacktestConfig,
    results: Sequence[BacktestResult],
    failures: Sequence[SymbolFailure],
    candles: Candles,
) -> MultiSymbolResult:
    cash = config.cash * len(results)
    time, equity = _summed([one.equity_curve for one in results], config.cash)
    _, held = _summed(
        [one.buy_and_hold.equity_curve for one in results if one.buy_and_hold], config.cash
    )
    returns = bar_returns(cash, equity)
    periods = periods_per_year(results[0].timeframe, candles.market, time)
    significance = measure_significance(
        returns,
        bar_returns(cash, held),
        periods_per_year=periods,
        trades=sum(one.total_trades for one in results),
        trials=config.trials,
        seed=config.seed,
        replications=config.replications,
    )
    ranked = sorted(results, key=lambda one: one.total_return_pct)
    return MultiSymbolResult(
        strategy=config.strategy,
        timeframe=results[0].timeframe,
        symbol_results=tuple(results),
        failures=tuple(failures),
        portfolio_total_return_pct=100.0 * (float(equity[-1]) / cash - 1.0),
        portfolio_sharpe_ratio=sharpe_ratio(returns, periods),
        portfolio_sharpe_low=significance.sharpe_low,
        portfolio_sharpe_high=significance.sharpe_high,
        portfolio_max_drawdown_pct=drawdown(cash, equity).largest_pct,
        buy_and_hold_total_return_pct=100.0 * (float(held[-1]) / cash - 1.0),
        best_symbol=ranked[-1].symbol,
        worst_symbol=ranked[0].symbol,
        total_trades=sum(one.total_trades for one in results),
        equity_curve=tuple(
            EquityPoint(time=iso_utc(moment), equity=value)
            for moment, value in zip(time.tolist(), equity.tolist(), strict=True)
        ),
        verdict=_worded(significance, results),
    )


def _worded(significance: Significance, results: Sequence[BacktestResult]) -> str:
    kinds = {one.slice for one in results}
    period: Any = "out_of_sample" if kinds == {"out_of_sample"} else "mixed"
    return f"All {len(results)} accounts together: {verdict(significance, period=period)}"


def _summed(
    curves: Sequence[Sequence[EquityPoint]], cash: float
) -> tuple[npt.NDArray[np.int64], Floats]:
    # Where a symbol has no bar its account is worth what it was worth before, or its cash.
    columns = {}
    for number, curve in enumerate(curves):
        moments = pd.to_datetime([point.time for point in curve], utc=True).as_unit("ms")
        columns[number] = pd.Series([point.equity for point in curve], index=moments.asi8)
    joined = pd.DataFrame(columns).sort_index().ffill().fillna(cash)
    time = np.asarray(joined.index, dtype=np.int64)
    return time, np.asarray(joined.sum(axis=1), dtype=np.float64)


def check_symbols(candles: Sequence[Candles]) -> None:
    """Refuse no symbol, and one that is there twice.

    Raises
    ------
    ConfigError
        If it is so.
    """
    if not candles:
        raise ConfigError("no symbol was given: give candles of at least one")
    symbols = [one.symbol for one in candles]
    twice = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
    if twice:
        raise ConfigError(f"{twice[0]} is there twice: give each symbol once")


def _check(candles: Sequence[Candles]) -> None:
    check_symbols(candles)
    symbols = [one.symbol for one in candles]
    folders = [folder_of(symbol) for symbol in symbols]
    for symbol, folder in zip(symbols, folders, strict=True):
        if folders.count(folder) > 1:
            alike = " and ".join(one for one in symbols if folder_of(one) == folder)
            raise ConfigError(
                f"{alike} would share the folder {folder}: call one otherwise, "
                f"--data OTHER={symbol}.parquet"
            )
