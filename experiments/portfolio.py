"""One strategy on many symbols that share one account, as a real one does."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict

from experiments.backtest_period import Period, with_common_start
from experiments.backtesting import (
    described_holding,
    doubled_costs_of,
    fitting_detail,
    funding_a_bar,
    notes_on_trading,
    period_of,
)
from experiments.config import BacktestConfig
from experiments.many_symbols import SymbolFailure, check_symbols
from experiments.quiet import without_warnings
from experiments.result import (
    BuyAndHold,
    DoubledCosts,
    DrawdownPoint,
    EquityPoint,
    Slice,
    TradeRecord,
)
from experiments.significance import is_distinguishable, measure_significance, verdict
from experiments.simulation import simulate
from experiments.yardsticks import RandomExposure, open_to_open, random_exposure
from lightning_models.candles import Candles, fingerprint_of, iso_utc
from lightning_models.errors import ConfigError, TooFewCandlesError
from lightning_models.home import Home, find_home
from lightning_models.timeframes import bar_stamp
from lstm_strategies.performance import (
    bar_returns,
    capped_rating,
    periods_per_year,
)

__all__ = ["PortfolioResult", "SymbolShare", "backtest_portfolio"]

_log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]


class SymbolShare(BaseModel):
    """What one symbol brought to a portfolio."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    symbol: str
    total_trades: int
    win_rate: float
    """Percent of the closed trades."""
    total_return: float
    """Quote currency, net of fees and funding."""
    fees_paid: float
    """Quote currency."""
    mean_weight: float
    """Mean size of its position, long or short, over equity."""


class PortfolioResult(BaseModel):
    """A strategy on several symbols of one account."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    strategy: str
    symbols: tuple[str, ...]
    timeframe: str
    start_date: str | None
    end_date: str | None
    slice: Slice
    model: str | None
    total_trades: int
    winning_trades: int
    losing_trades: int
    win_rate: float
    total_return: float
    total_return_pct: float
    annualized_return: float | None
    max_drawdown: float
    max_drawdown_pct: float
    sharpe_ratio: float
    sharpe_low: float | None
    sharpe_high: float | None
    sortino_ratio: float | None
    profit_factor: float | None
    performance_rating: str
    exposure: float
    """Share of bars with any position."""
    fees_paid: float
    funding_paid: float
    liquidations: int
    turnover: float
    largest_exposure: float
    """Largest sum of all positions, long or short, over equity."""
    by_symbol: tuple[SymbolShare, ...]
    failures: tuple[SymbolFailure, ...]
    """Symbols that were left out, and why."""
    buy_and_hold: BuyAndHold
    """Equal parts of the cash put into each symbol and held."""
    random_exposure: RandomExposure
    doubled_costs: DoubledCosts | None
    trials: int
    open_pnl: float
    """Profit of positions still open, at the last close."""
    unseen_from: str | None
    """From this moment on the model had seen nothing; None without a model."""
    trades: tuple[TradeRecord, ...]
    equity_curve: tuple[EquityPoint, ...]
    drawdown_curve: tuple[DrawdownPoint, ...]
    verdict: str
    data_fingerprint: str
    bundle_sha256: str | None
    configuration: dict[str, Any]
    notes: tuple[str, ...]


def backtest_portfolio(
    config: BacktestConfig,
    candles: Sequence[Candles],
    *,
    home: str | Path | Home | None = None,
    report: str | Path | None = None,
    details: Sequence[Candles] = (),
) -> PortfolioResult:
    """Backtest a strategy on several symbols of one account.

    Parameters
    ----------
    config
        Strategy, model, costs and period; ``cash`` is that of the one account.
    candles
        One entry for each symbol, of one timeframe and market.
    home
        Folder of the registry; by default ``$LSTM_HOME`` or the user's data folder.
    report
        Folder for ``report.html``, ``result.json`` and ``trades.csv``.
    details
        Finer candles of some of the symbols, which decide what came first within a bar.

    Returns
    -------
    PortfolioResult
        A symbol with too short a history is among its failures.

    Raises
    ------
    ConfigError
        If there is no symbol, one is there twice, or they differ in timeframe or market.
    TooFewCandlesError
        If no symbol has enough history.
    CandleError, BundleError, ModelNotFoundError, StorageError
        As reading, loading and writing do.
    """
    from experiments.comparison_tracking import record_portfolio  # three seconds of MLflow

    place = find_home(home)
    if config.calibrate_score:
        raise ConfigError(
            "calibrate_score is fitted on one symbol: backtest it by itself, and give the "
            "portfolio the parameters that its result tells"
        )
    config, note = _shared_out(with_common_start(config, candles), len(candles))
    _check(candles, resampled=config.model is not None and not config.any_timeframe)
    periods, failures = _periods(config, candles, place)
    result = _judged(config, periods, failures, place, {one.symbol: one for one in details})
    result = result.model_copy(update={"notes": (*note, *result.notes)})
    with tempfile.TemporaryDirectory(prefix="lstm-report-") as scratch:
        record_portfolio(
            place,
            result,
            [one.candles for one in periods],
            folder=Path(report) if report is not None else Path(scratch),
        )
    return result


def _shared_out(config: BacktestConfig, symbols: int) -> tuple[BacktestConfig, tuple[str, ...]]:
    # Otherwise the first symbol to have a signal would take the margin of all others.
    share = 1.0 / symbols
    if config.position_size is None or 0.0 < config.position_size <= share:
        return config, ()
    note = (
        f"A symbol puts up at most a part of {symbols}, {share:.1%} of the equity, as margin: "
        "otherwise the first one to have a signal would leave nothing to the others. A smaller "
        "position_size is kept."
    )
    return config.model_copy(update={"position_size": share}), (note,) if symbols > 1 else ()


def _periods(
    config: BacktestConfig, candles: Sequence[Candles], home: Home
) -> tuple[list[Period], list[SymbolFailure]]:
    periods, failures = [], []
    for one in candles:
        try:
            periods.append(period_of(config, one, home=home))
        except TooFewCandlesError as error:
            _log.warning("%s is left out: %s", one.symbol, error)
            failures.append(SymbolFailure(symbol=one.symbol, error=str(error)))
    if not periods:
        raise TooFewCandlesError(
            f"none of the {len(candles)} symbols has enough history; the first one: "
            f"{failures[0].error}"
        )
    return periods, failures


def _judged(
    config: BacktestConfig,
    periods: Sequence[Period],
    failures: Sequence[SymbolFailure],
    home: Home,
    details: dict[str, Candles],
) -> PortfolioResult:
    candles = [one.candles for one in periods]

    def run(charge: float) -> Any:
        return simulate(
            config,
            candles,
            home=home,
            predictor=periods[0].predictor,
            trade_from=min(one.trade_from for one in periods),
            history=periods[0].first,
            details=[fitting_detail(details.get(one.candles.symbol), one) for one in periods],
            charge=charge,
        )

    strategy = run(1.0)
    metrics = strategy.analyzers.metrics.get_analysis()
    weights = strategy.analyzers.weights.weights
    times = pd.to_datetime([point["time"] for point in metrics["equity_curve"]], utc=True)
    stamps = times.as_unit("ms").asi8
    closes = _closes(candles, stamps)
    held = _held(config, closes)
    year = periods_per_year(candles[0].timeframe, candles[0].market, stamps)
    returns = bar_returns(
        config.cash, np.array([point["equity"] for point in metrics["equity_curve"]])
    )
    significance = measure_significance(
        returns,
        bar_returns(config.cash, held),
        periods_per_year=year,
        trades=metrics["total_trades"],
        trials=config.trials,
        seed=config.seed,
        replications=config.replications,
    )
    shuffled = random_exposure(
        strategy.analyzers.weights.opened,
        _market_returns(candles, stamps, closes),
        held_from="open",
        periods_per_year=year,
        cost_per_turnover=config.taker_fee + config.slippage,
        funding_rates=funding_a_bar(
            config, market=candles[0].market, period_ms=candles[0].period_ms
        ),
        replications=config.replications,
        seed=config.seed,
    )
    doubled = None
    if config.doubled_costs and metrics["trades"]:
        # What there was to warn of was said the first time.
        with without_warnings():
            doubled = doubled_costs_of(run(2.0).analyzers.metrics.get_analysis())
    kind = _slice_of(periods)
    predictor = periods[0].predictor
    taken = {name: metrics[name] for name in PortfolioResult.model_fields if name in metrics}
    return PortfolioResult.model_validate(
        {
            **taken,
            "strategy": config.strategy,
            "symbols": [one.symbol for one in candles],
            "timeframe": candles[0].timeframe,
            "slice": kind,
            "model": None if predictor is None else predictor.model,
            "sharpe_low": significance.sharpe_low,
            "sharpe_high": significance.sharpe_high,
            "performance_rating": capped_rating(
                metrics["performance_rating"],
                distinguishable=is_distinguishable(significance, period=kind),
            ),
            "largest_exposure": float(np.abs(weights).sum(axis=1).max(initial=0.0)),
            "by_symbol": [
                _share(one.symbol, metrics["trades"], weights[:, number])
                for number, one in enumerate(candles)
            ],
            "failures": failures,
            "buy_and_hold": described_holding(held, config.cash, metrics, year),
            "random_exposure": shuffled.model_dump(),
            "doubled_costs": doubled,
            "trials": config.trials,
            "unseen_from": None if predictor is None else iso_utc(predictor.bundle.unseen_from_ms),
            "verdict": verdict(
                significance, period=kind, exposure=shuffled if metrics["trades"] else None
            ),
            "data_fingerprint": fingerprint_of(candles),
            "bundle_sha256": None if predictor is None else predictor.sha256,
            "configuration": config.model_dump(mode="json"),
            "notes": _notes(periods, strategy, metrics),
        }
    )


def _closes(candles: Sequence[Candles], stamps: npt.NDArray[np.int64]) -> Floats:
    # The last close known at each bar; NaN before a symbol's first.
    columns = np.full((len(stamps), len(candles)), np.nan)
    for number, one in enumerate(candles):
        row = np.searchsorted(bar_stamp(one.time, one.timeframe), stamps, side="right") - 1
        known = row >= 0
        columns[known, number] = one.ohlcv[row[known], 3]
    return columns


def _market_returns(
    candles: Sequence[Candles], stamps: npt.NDArray[np.int64], closes: Floats
) -> Floats:
    # From each open to the next; a symbol without a candle stands at its last close.
    opens = closes.copy()
    for number, one in enumerate(candles):
        _, rows, own = np.intersect1d(
            stamps, bar_stamp(one.time, one.timeframe), return_indices=True
        )
        opens[rows, number] = one.ohlcv[own, 0]
    return np.nan_to_num(open_to_open(opens, closes), nan=0.0)


def _held(config: BacktestConfig, closes: Floats) -> Floats:
    # Equal parts, each bought at the symbol's first known close and held; cash until then.
    cost = (1.0 + config.taker_fee) * (1.0 + config.slippage)
    part = config.cash / closes.shape[1]
    known = ~np.isnan(closes)
    first = closes[known.argmax(axis=0), np.arange(closes.shape[1])]
    worth = np.where(known, closes / (first * cost), 1.0)
    equity: Floats = part * worth.sum(axis=1)
    equity[0] = config.cash
    return equity


def _share(symbol: str, trades: Sequence[dict[str, Any]], weights: Floats) -> SymbolShare:
    own = [one for one in trades if one["symbol"] == symbol]
    closed = [one for one in own if one["exit_time"] is not None]
    won = sum(one["pnl"] > 0.0 for one in closed)
    return SymbolShare(
        symbol=symbol,
        total_trades=len(closed),
        win_rate=100.0 * won / len(closed) if closed else 0.0,
        total_return=float(sum(one["pnl"] for one in own)),
        fees_paid=float(sum(one["fees"] for one in own)),
        mean_weight=float(np.abs(weights).mean()) if len(weights) else 0.0,
    )


def _slice_of(periods: Sequence[Period]) -> Slice:
    kinds = {one.slice for one in periods}
    return next(iter(kinds)) if len(kinds) == 1 else "mixed"


def _notes(periods: Sequence[Period], strategy: Any, metrics: dict[str, Any]) -> list[str]:
    notes = [f"{one.candles.symbol}: {note}" for one in periods for note in one.notes]
    return [*notes, *notes_on_trading(strategy, metrics)]


def _check(candles: Sequence[Candles], *, resampled: bool) -> None:
    check_symbols(candles)
    # A model's own timeframe is what all of them are resampled to.
    for what in ("market",) if resampled else ("timeframe", "market"):
        kinds = {getattr(one, what): one.symbol for one in reversed(candles)}
        if len(kinds) > 1:
            told = ", ".join(f"{symbol} has {kind}" for kind, symbol in sorted(kinds.items()))
            raise ConfigError(
                f"symbols of one portfolio need one {what}: {told}; resample the finer ones, with "
                "--timeframe"
                if what == "timeframe"
                else f"symbols of one portfolio need one {what}: {told}"
            )
