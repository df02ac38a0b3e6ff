"""Backtest a registered model on candles it has not seen, beside buy-and-hold."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np
import numpy.typing as npt
import pandas as pd

from experiments.config import BacktestConfig
from experiments.result import BacktestResult, BuyAndHold, EquityPoint, ForecastCounts, Slice
from experiments.significance import measure_significance, verdict
from lightning_models.candles import Candles, iso_utc, read_candles
from lightning_models.candles.timestamps import milliseconds_of
from lightning_models.errors import ConfigError, TooFewCandlesError
from lightning_models.evaluation import ForecastScores, Outcomes, evaluate
from lightning_models.evaluation.collect import pair_outcomes
from lightning_models.forecast import forecast_lines
from lightning_models.home import Home, find_home
from lightning_models.predictor import Predictor
from lightning_models.timeframes import bar_stamp
from lstm_strategies import (
    BacktestMetrics,
    CandleData,
    CryptoCommission,
    LSTMStrategy,
    SimulatedBroker,
)
from lstm_strategies.forecast_cache import ForecastCache
from lstm_strategies.models import cache_folder, predictor_of
from lstm_strategies.performance import bar_returns, drawdown, periods_per_year, sharpe_ratio

__all__ = ["backtest"]

_log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]


def backtest(
    config: BacktestConfig,
    candles: Candles | Sequence[Candles],
    *,
    home: str | Path | Home | None = None,
    report: str | Path | None = None,
) -> BacktestResult:
    """Run a model's forecasts through `LSTMStrategy` and judge the result.

    Parameters
    ----------
    config
        Model, period, thresholds, risk and costs.
    candles
        Of one symbol; finer ones are resampled to the model's timeframe.
    home
        Folder of the registry; by default ``$LSTM_HOME`` or the user's data folder.
    report
        Folder for ``report.html``, ``result.json`` and ``trades.csv``. The same three are
        logged to an MLflow run in any case.

    Returns
    -------
    BacktestResult
        With buy-and-hold beside it, intervals, and a verdict in words.

    Raises
    ------
    TooFewCandlesError
        If no candle is left to trade on: too short a history, or none the model has not seen.
    CandleError, BundleError, ModelNotFoundError, ConfigError, StorageError
        As reading, loading and writing do.
    """
    from experiments.backtest_tracking import record_backtest  # three seconds of MLflow

    place = find_home(home)
    predictor = predictor_of(config.model, str(place.path))
    prepared = _prepare(config, predictor, _one_symbol(candles))
    strategy = _run(config, prepared, place)
    result, forecasts, outcomes = _judge(config, prepared, strategy, place)
    with tempfile.TemporaryDirectory(prefix="lstm-report-") as scratch:
        record_backtest(
            place,
            result,
            candles=prepared.candles,
            forecasts=forecasts,
            outcomes=outcomes,
            folder=Path(report) if report is not None else Path(scratch),
        )
    return result


@dataclass(frozen=True)
class _Prepared:
    # The candles that a run needs, and the first decision that may trade.
    predictor: Predictor
    candles: Candles
    first: int
    slice: Slice
    notes: tuple[str, ...]

    @property
    def from_time(self) -> int:
        # Stamp of the first bar whose close may decide on an entry.
        return int(bar_stamp(self.candles.time[self.first :][:1], self.candles.timeframe)[0])


def _one_symbol(candles: Candles | Sequence[Candles]) -> Candles:
    if isinstance(candles, Candles):
        return candles
    if len(candles) != 1:
        raise ConfigError(
            f"a backtest takes one symbol, got {len(candles)}: call it once for each of them"
        )
    return candles[0]


def _prepare(config: BacktestConfig, predictor: Predictor, given: Candles) -> _Prepared:
    bundle = predictor.bundle
    candles = read_candles(given, timeframe=predictor.timeframe)
    if config.end is not None:
        candles = candles.between(None, milliseconds_of(config.end) - candles.period_ms + 1)
    needed = predictor.required_bars
    if len(candles) < needed + 2:
        raise TooFewCandlesError(
            f"{candles.symbol} has {len(candles)} {candles.timeframe} candles; a backtest of "
            f"{predictor.model} needs {needed + 2}: {predictor.warmup} to warm its features up, "
            f"{predictor.lookback} for its window, and 2 to trade on. Give more history"
        )
    decided = candles.time + candles.period_ms
    start = 0 if config.start is None else milliseconds_of(config.start)
    unseen = bundle.unseen_from_ms
    allowed = start if config.in_sample else max(start, unseen)
    first = max(int(np.searchsorted(decided, allowed)), needed - 1)
    if first > len(candles) - 2:
        raise TooFewCandlesError(
            f"nothing to trade on: {predictor.model} has seen everything before "
            f"{bundle.unseen_from:%Y-%m-%d %H:%M}Z, and the candles of {candles.symbol} end at "
            f"{iso_utc(int(decided[-1]))}. Give newer candles, an earlier --from, or --in-sample "
            "to trade on what it has seen"
        )
    # What comes before the warm-up of the first decision changes nothing.
    cut = first - needed + 1
    candles = candles.between(int(candles.time[cut]), None)
    decided = decided[cut:]
    seen = int((decided[needed - 1 :] < unseen).sum())
    kind: Slice = "out_of_sample"
    if seen:
        kind = "in_sample" if seen == len(decided) - needed + 1 else "mixed"
    notes = _notes(predictor, candles)
    return _Prepared(predictor, candles, needed - 1, kind, notes)


def _notes(predictor: Predictor, candles: Candles) -> tuple[str, ...]:
    bundle = predictor.bundle
    notes = []
    if candles.symbol not in bundle.symbols:
        notes.append(
            f"{candles.symbol} is not among the symbols the model was trained on "
            f"({', '.join(bundle.symbols)})."
        )
    if not bundle.metrics and bundle.evaluated_by:
        notes.append(
            f"The model is a refit without metrics of its own; run {bundle.evaluated_by} "
            "evaluated its configuration."
        )
    if any(calibration.no_skill for calibration in bundle.calibration):
        notes.append("Calibration found no skill: the temperature lies at its bound.")
    incomplete = int(candles.incomplete.sum())
    if incomplete:
        notes.append(f"{incomplete} of {len(candles)} candles lack some of their finer candles.")
    if candles.market == "continuous":
        span = int(candles.time[-1] - candles.time[0]) // candles.period_ms + 1
        if span > len(candles):
            notes.append(f"{span - len(candles)} of {span} candles are missing.")
    return tuple(notes)


def _run(config: BacktestConfig, prepared: _Prepared, home: Home) -> Any:
    cerebro = bt.Cerebro(stdstats=False)
    broker = SimulatedBroker()
    broker.setcash(config.cash)
    broker.addcommissioninfo(
        CryptoCommission(maker_fee=config.maker_fee, taker_fee=config.taker_fee)
    )
    if config.slippage:
        # Slippage beyond the bar's range is what a gap does to a market order.
        broker.set_slippage_perc(config.slippage, slip_open=True, slip_out=True)
    cerebro.setbroker(broker)
    cerebro.adddata(CandleData(dataname=prepared.candles))
    cerebro.addanalyzer(BacktestMetrics, _name="metrics", from_time=prepared.from_time)
    cerebro.addstrategy(
        LSTMStrategy,
        model=prepared.predictor.model,
        home=str(home.path),
        in_sample=config.in_sample,
        **config.model_dump(
            include={
                "min_confidence",
                "min_edge",
                "top_share",
                "long_only",
                "risk_per_trade",
                "atr_period",
                "atr_stop",
                "atr_target",
            }
        ),
    )
    return cerebro.run()[0]


def _judge(
    config: BacktestConfig, prepared: _Prepared, strategy: Any, home: Home
) -> tuple[BacktestResult, pd.DataFrame, Outcomes]:
    predictor, candles = prepared.predictor, prepared.candles
    arrays = ForecastCache(cache_folder(str(home.path))).forecasts(
        predictor, bar_stamp(candles.time, candles.timeframe), candles.ohlcv
    )
    lines = forecast_lines(
        arrays, candles.ohlcv[:, 3], horizon=0, min_confidence=strategy.threshold
    )
    outcomes = pair_outcomes(
        arrays, candles, predictor.bundle, start=int(candles.time[prepared.first])
    )
    scores = evaluate(outcomes, seed=config.seed) if len(outcomes) else None
    metrics = strategy.analyzers.metrics.get_analysis()
    held = _buy_and_hold(config, prepared)
    periods = periods_per_year(candles.timeframe, candles.market, candles.time[prepared.first :])
    equity = np.array([point["equity"] for point in metrics["equity_curve"]])
    significance = measure_significance(
        bar_returns(config.cash, equity),
        bar_returns(config.cash, held),
        periods_per_year=periods,
        trades=metrics["total_trades"],
        seed=config.seed,
        replications=config.replications,
    )
    counts = _counts(strategy, lines, prepared)
    notes = list(prepared.notes)
    if not metrics["trades"]:
        notes.append(strategy.why_no_trade().capitalize() + ".")
    refused = strategy.counts["orders_margin"] + strategy.counts["orders_rejected"]
    if refused:
        notes.append(f"{refused} orders were refused for lack of cash.")
    if strategy.counts["unsized"]:
        notes.append(
            f"{strategy.counts['unsized']} entries were left out: smaller than one lot, or without "
            "a stop distance."
        )
    result = BacktestResult.model_validate(
        {
            **metrics,
            "timeframe": candles.timeframe,
            "slice": prepared.slice,
            "verdict": verdict(significance),
            "model": predictor.model,
            "sharpe_low": significance.sharpe_low,
            "sharpe_high": significance.sharpe_high,
            "excess_return": significance.excess_return,
            "excess_low": significance.excess_low,
            "excess_high": significance.excess_high,
            "buy_and_hold": _described(held, config.cash, metrics, periods),
            "traded_share": counts.traded / max(1, counts.total - counts.without_forecast),
            "forecasts": counts,
            "forecast_scores": _scores(scores),
            "unseen_from": iso_utc(predictor.bundle.unseen_from_ms),
            "data_fingerprint": candles.fingerprint,
            "bundle_sha256": predictor.sha256,
            "configuration": config.model_dump(mode="json"),
            "notes": notes,
        }
    )
    return result, pd.DataFrame(lines), outcomes


def _scores(scores: ForecastScores | None) -> dict[str, Any] | None:
    return None if scores is None else scores.model_dump()


def _buy_and_hold(config: BacktestConfig, prepared: _Prepared) -> Floats:
    # All cash into the asset at the open after the first decision, with the same costs.
    prices = prepared.candles.ohlcv[prepared.first :]
    entry = prices[1, 0] * (1.0 + config.slippage)
    units = config.cash / (entry * (1.0 + config.taker_fee))
    equity: Floats = units * prices[:, 3]
    equity[0] = config.cash
    return equity


def _described(held: Floats, cash: float, metrics: dict[str, Any], periods: float) -> BuyAndHold:
    stamps = [point["time"] for point in metrics["equity_curve"]]
    return BuyAndHold(
        total_return_pct=100.0 * (float(held[-1]) / cash - 1.0),
        sharpe_ratio=sharpe_ratio(bar_returns(cash, held), periods),
        max_drawdown_pct=drawdown(cash, held).largest_pct,
        equity_curve=tuple(
            EquityPoint(time=time, equity=value)
            for time, value in zip(stamps, held.tolist(), strict=True)
        ),
    )


def _counts(strategy: Any, lines: dict[str, Floats], prepared: _Prepared) -> ForecastCounts:
    # Of every bar of the period, in a position or not: what the thresholds would let trade.
    confidence = lines["confidence"][prepared.first :]
    signal = lines["signal"][prepared.first :]
    known = np.isfinite(confidence)
    confident = known & (confidence >= strategy.threshold)
    passed = confident & (signal != 0)
    if strategy.p.min_edge:
        cost = 2.0 * (
            strategy.broker.getcommissioninfo(strategy.data).p.taker_fee
            + strategy.broker.p.slip_perc
        )
        move = np.abs(lines["change_pct"][prepared.first :]) / 100.0
        passed &= move >= strategy.p.min_edge * cost
    return ForecastCounts(
        total=len(confidence),
        without_forecast=int((~known).sum()),
        under_threshold=int((known & ~confident).sum()),
        disagreeing=int((confident & (signal == 0)).sum()),
        traded=int(passed.sum()),
    )
