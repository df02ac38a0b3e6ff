"""How good the forecasts behind a backtest were, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from experiments.result import ForecastCounts
from lightning_models.evaluation import Outcomes, evaluate
from lightning_models.evaluation.collect import pair_outcomes
from lightning_models.evaluation.coverage import measure_coverage
from lightning_models.forecast import ForecastArrays, forecast_lines
from lightning_models.intervals import AdaptiveIntervals
from lightning_models.timeframes import bar_stamp
from lstm_strategies.forecast_cache import ForecastCache
from lstm_strategies.models import cache_folder
from lstm_strategies.verdicts import (
    CONFIDENT_DOWN,
    CONFIDENT_UP,
    DISAGREEING,
    UNDER_THRESHOLD,
    WITHOUT_FORECAST,
)

if TYPE_CHECKING:
    from experiments.backtest_period import Period
    from experiments.config import BacktestConfig
    from lightning_models.home import Home
    from lightning_models.predictor import Predictor

__all__ = ["ForecastJudgement", "judge_forecasts"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ForecastJudgement:
    """What the forecasts of a period were worth.

    Parameters
    ----------
    lines
        One row a candle, as the indicator draws them; None without a model.
    outcomes
        Forecasts with the returns that followed; None without a model.
    fields
        ``forecasts``, ``traded_share``, ``forecast_scores``, ``coverage`` and
        ``adaptive_coverage`` of a `experiments.result.BacktestResult`.
    """

    lines: pd.DataFrame | None = None
    outcomes: Outcomes | None = None
    fields: dict[str, Any] = field(default_factory=dict)


def judge_forecasts(
    config: BacktestConfig, period: Period, strategy: Any, home: Home
) -> ForecastJudgement:
    """Return what the forecasts of a period were worth, and what share of bars could trade.

    Parameters
    ----------
    config, period
        Of the backtest.
    strategy
        After its run.
    home
        Whose cache has the forecasts.
    """
    predictor, candles = period.predictor, period.candles
    if predictor is None or not strategy.needs_model:
        return ForecastJudgement(fields={"traded_share": _share_of_signals(strategy)})
    arrays = ForecastCache(cache_folder(str(home.path))).forecasts(
        predictor, bar_stamp(candles.time, candles.timeframe), candles.ohlcv
    )
    fused = strategy.measure != "confidence"
    lines = forecast_lines(
        arrays,
        candles.ohlcv[:, 3],
        horizon=0,
        min_confidence=0.0 if fused else strategy.threshold,
    )
    counts = _counted(strategy) if fused else _counts(strategy, lines, period)
    outcomes = pair_outcomes(
        arrays, candles, predictor.bundle, start=int(candles.time[period.first])
    )
    scores = evaluate(outcomes, seed=config.seed) if len(outcomes) else None
    return ForecastJudgement(
        pd.DataFrame(lines),
        outcomes,
        {
            "traded_share": counts.traded / max(1, counts.total - counts.without_forecast),
            "forecasts": counts,
            "forecast_scores": None if scores is None else scores.model_dump(),
            "coverage": [one.model_dump() for one in measure_coverage(outcomes, seed=config.seed)],
            "adaptive_coverage": _adaptive_coverage(config, period, predictor, arrays),
        },
    )


def _share_of_signals(strategy: Any) -> float:
    return float(strategy.counts["signals"] / max(1, strategy.counts["bars"]))


def _adaptive_coverage(
    config: BacktestConfig, period: Period, predictor: Predictor, arrays: ForecastArrays
) -> list[dict[str, Any]]:
    if not arrays.has_intervals:
        return []
    candles = period.candles
    adapted = AdaptiveIntervals(predictor).adapted(arrays, candles.time, candles.ohlcv)
    outcomes = pair_outcomes(
        adapted, candles, predictor.bundle, start=int(candles.time[period.first])
    )
    return [one.model_dump() for one in measure_coverage(outcomes, seed=config.seed)]


def _counted(strategy: Any) -> ForecastCounts:
    # As the strategy judged each bar of the period, in a position or not.
    counts = strategy.counts
    return ForecastCounts(
        total=counts["bars"],
        without_forecast=counts[WITHOUT_FORECAST],
        under_threshold=counts[UNDER_THRESHOLD],
        disagreeing=counts[DISAGREEING],
        traded=counts[CONFIDENT_UP] + counts[CONFIDENT_DOWN],
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
