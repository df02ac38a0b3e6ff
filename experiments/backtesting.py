"""Backtest a registered model on candles it has not seen, beside buy-and-hold."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import backtrader as bt
import numpy as np
import numpy.typing as npt
import pandas as pd

from experiments.backtest_period import Period, choose_period
from experiments.config import BacktestConfig
from experiments.result import BacktestResult, BuyAndHold, EquityPoint, ForecastCounts
from experiments.significance import measure_significance, verdict
from lightning_models.candles import Candles, iso_utc
from lightning_models.errors import ConfigError
from lightning_models.evaluation import ForecastScores, Outcomes, evaluate
from lightning_models.evaluation.collect import pair_outcomes
from lightning_models.evaluation.coverage import measure_coverage
from lightning_models.forecast import ForecastArrays, forecast_lines
from lightning_models.home import Home, find_home
from lightning_models.intervals import AdaptiveIntervals
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

# Under this share of forecasts that may trade, a threshold is most likely not what was meant.
FEW: Final = 0.01

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
    period = choose_period(config, predictor, _one_symbol(candles))
    strategy = _run(config, period, place)
    result, forecasts, outcomes = _judge(config, period, strategy, place)
    with tempfile.TemporaryDirectory(prefix="lstm-report-") as scratch:
        record_backtest(
            place,
            result,
            candles=period.candles,
            forecasts=forecasts,
            outcomes=outcomes,
            folder=Path(report) if report is not None else Path(scratch),
        )
    return result


def _one_symbol(candles: Candles | Sequence[Candles]) -> Candles:
    if isinstance(candles, Candles):
        return candles
    given = list(candles) if isinstance(candles, (list, tuple)) else [candles]
    if len(given) != 1:
        raise ConfigError(
            f"a backtest takes one symbol, got {len(given)}: call it once for each of them"
        )
    if not isinstance(given[0], Candles):
        raise ConfigError(
            f"a backtest runs on Candles, not on a {type(given[0]).__name__}: read it with "
            "read_candles(…) first"
        )
    return given[0]


def _run(config: BacktestConfig, period: Period, home: Home) -> Any:
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
    cerebro.adddata(CandleData(dataname=period.candles))
    cerebro.addanalyzer(BacktestMetrics, _name="metrics", from_time=period.from_time)
    cerebro.addstrategy(
        LSTMStrategy,
        model=period.predictor.model,
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
    config: BacktestConfig, period: Period, strategy: Any, home: Home
) -> tuple[BacktestResult, pd.DataFrame, Outcomes]:
    predictor, candles = period.predictor, period.candles
    arrays = ForecastCache(cache_folder(str(home.path))).forecasts(
        predictor, bar_stamp(candles.time, candles.timeframe), candles.ohlcv
    )
    lines = forecast_lines(
        arrays, candles.ohlcv[:, 3], horizon=0, min_confidence=strategy.threshold
    )
    outcomes = pair_outcomes(
        arrays, candles, predictor.bundle, start=int(candles.time[period.first])
    )
    scores = evaluate(outcomes, seed=config.seed) if len(outcomes) else None
    metrics = strategy.analyzers.metrics.get_analysis()
    held = _buy_and_hold(config, period)
    periods = periods_per_year(candles.timeframe, candles.market, candles.time[period.first :])
    equity = np.array([point["equity"] for point in metrics["equity_curve"]])
    significance = measure_significance(
        bar_returns(config.cash, equity),
        bar_returns(config.cash, held),
        periods_per_year=periods,
        trades=metrics["total_trades"],
        seed=config.seed,
        replications=config.replications,
    )
    counts = _counts(strategy, lines, period)
    share = counts.traded / max(1, counts.total - counts.without_forecast)
    notes = list(period.notes)
    if not metrics["trades"]:
        reason = strategy.why_no_trade()
        notes.append(f"{reason[0].upper()}{reason[1:]}.")
    elif share < FEW and not config.top_share:
        notes.append(
            f"Only {share:.1%} of the forecasts may trade at a confidence of "
            f"{strategy.threshold:g}: honest confidence is small. top_share=0.1 asks for the "
            "model's own most confident tenth."
        )
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
            "slice": period.slice,
            "verdict": verdict(significance, period=period.slice),
            "model": predictor.model,
            "sharpe_low": significance.sharpe_low,
            "sharpe_high": significance.sharpe_high,
            "excess_return": significance.excess_return,
            "excess_low": significance.excess_low,
            "excess_high": significance.excess_high,
            "buy_and_hold": _described(held, config.cash, metrics, periods),
            "traded_share": share,
            "forecasts": counts,
            "forecast_scores": _scores(scores),
            "coverage": [one.model_dump() for one in measure_coverage(outcomes, seed=config.seed)],
            "adaptive_coverage": _adaptive_coverage(config, period, arrays),
            "unseen_from": iso_utc(predictor.bundle.unseen_from_ms),
            "data_fingerprint": candles.fingerprint,
            "bundle_sha256": predictor.sha256,
            "configuration": config.model_dump(mode="json"),
            "notes": notes,
        }
    )
    return result, pd.DataFrame(lines), outcomes


def _adaptive_coverage(
    config: BacktestConfig, period: Period, arrays: ForecastArrays
) -> list[dict[str, Any]]:
    if not arrays.has_intervals:
        return []
    predictor, candles = period.predictor, period.candles
    adapted = AdaptiveIntervals(predictor).adapted(arrays, candles.time, candles.ohlcv)
    outcomes = pair_outcomes(
        adapted, candles, predictor.bundle, start=int(candles.time[period.first])
    )
    return [one.model_dump() for one in measure_coverage(outcomes, seed=config.seed)]


def _scores(scores: ForecastScores | None) -> dict[str, Any] | None:
    return None if scores is None else scores.model_dump()


def _buy_and_hold(config: BacktestConfig, period: Period) -> Floats:
    # All cash into the asset at the open after the first decision, with the same costs.
    prices = period.candles.ohlcv[period.first :]
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


def _counts(strategy: Any, lines: dict[str, Floats], period: Period) -> ForecastCounts:
    # Of every bar of the period, in a position or not: what the thresholds would let trade.
    confidence = lines["confidence"][period.first :]
    signal = lines["signal"][period.first :]
    known = np.isfinite(confidence)
    confident = known & (confidence >= strategy.threshold)
    agreeing = confident & (signal != 0)
    passed = agreeing & _worth_their_cost(strategy, lines, period)
    return ForecastCounts(
        total=len(confidence),
        without_forecast=int((~known).sum()),
        under_threshold=int((known & ~confident).sum() + (agreeing & ~passed).sum()),
        disagreeing=int((confident & ~agreeing).sum()),
        traded=int(passed.sum()),
    )


def _worth_their_cost(
    strategy: Any, lines: dict[str, Floats], period: Period
) -> npt.NDArray[np.bool_]:
    commission = strategy.broker.getcommissioninfo(strategy.data)
    cost = 2.0 * (commission.p.taker_fee + strategy.broker.p.slip_perc)
    move = np.abs(lines["change_pct"][period.first :]) / 100.0
    worth: npt.NDArray[np.bool_] = move >= strategy.p.min_edge * cost
    return worth if strategy.p.min_edge else np.ones_like(worth)
