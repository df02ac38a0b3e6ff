"""The report's page: what it says, in which order, as one self-contained HTML document."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from experiments.report.charts import (
    candle_chart,
    confidence_chart,
    drawdown_chart,
    equity_chart,
    outcome_chart,
    reliability_chart,
)
from experiments.report.coverage_chart import coverage_chart
from experiments.report.document import period_words, render_document
from experiments.report.seen import seen_sentence, was_seen
from experiments.report.tables import coverage_rows, forecast_rows, metric_rows
from lightning_models.errors import ConfigError
from lightning_models.evaluation.coverage import coverage_sentence
from lightning_models.spelling import nearest_names

if TYPE_CHECKING:
    import pandas as pd

    from experiments.result import BacktestResult, TradeRecord
    from lightning_models.candles.candles import Candles
    from lightning_models.evaluation.outcomes import Outcomes

__all__ = ["FORECAST_COLUMNS", "render_page"]

FORECAST_COLUMNS = (
    "signal",
    "direction",
    "change_pct",
    "confidence",
    "predicted_price",
    "lower",
    "upper",
)


def render_page(
    result: BacktestResult,
    *,
    candles: Candles,
    forecasts: pd.DataFrame | None,
    outcomes: Outcomes | None,
) -> str:
    """Return the report as one HTML document that needs no network.

    Parameters
    ----------
    result
        What the backtest found.
    candles
        The candles it ran on, warm-up included.
    forecasts
        One row a candle with the columns `FORECAST_COLUMNS`; None without a model.
    outcomes
        Forecasts with the returns that followed, or None.

    Returns
    -------
    str
        HTML; every text of the result is escaped.

    Raises
    ------
    ConfigError
        If `forecasts` lacks a column or has another number of rows than the candles.
    """
    if forecasts is not None:
        _check_forecasts(forecasts, len(candles))
    results = [
        equity_chart(result),
        drawdown_chart(result),
        candle_chart(result, candles, forecasts),
    ]
    met = []
    if outcomes is not None and bool((outcomes.actual != 0.0).any()):
        met = [outcome_chart(outcomes), reliability_chart(outcomes)]
    covered = []
    if outcomes is not None and outcomes.bounds is not None and len(outcomes):
        covered = [coverage_chart(outcomes)]
    confidence = []
    if forecasts is not None and forecasts["confidence"].notna().any():
        minimum = _minimum_confidence(result.configuration)
        confidence = [confidence_chart(forecasts, minimum)]
    return render_document(
        "report.html.jinja",
        [*results, *met, *covered, *confidence],
        result=result,
        period=period_words(result.start_date, result.end_date),
        seen=seen_sentence(result),
        metrics=metric_rows(result),
        scores=forecast_rows(result.forecast_scores),
        results=results,
        met=met,
        coverage=coverage_rows(result),
        covered=covered,
        coverage_verdict=coverage_sentence(result.coverage),
        confidence=confidence,
        trades=[(trade, *_slice_of(trade, result)) for trade in result.trades],
        configuration=json.dumps(result.configuration, indent=2, ensure_ascii=False),
    )


def _check_forecasts(forecasts: pd.DataFrame, candles: int) -> None:
    for column in FORECAST_COLUMNS:
        if column not in forecasts.columns:
            there = [str(name) for name in forecasts.columns]
            raise ConfigError(f"forecasts lack {column!r}: {nearest_names(column, there)}")
    if len(forecasts) != candles:
        raise ConfigError(
            f"forecasts have {len(forecasts)} rows for {candles} candles: give one row a candle"
        )


def _minimum_confidence(configuration: Any) -> float | None:
    """Return the first ``min_confidence`` above zero in a nested configuration."""
    if isinstance(configuration, dict):
        found = configuration.get("min_confidence")
        if isinstance(found, int | float) and found > 0.0:
            return float(found)
        for value in configuration.values():
            nested = _minimum_confidence(value)
            if nested is not None:
                return nested
    return None


def _slice_of(trade: TradeRecord, result: BacktestResult) -> tuple[bool, str]:
    if was_seen(trade.entry_time, result):
        return True, "in-sample"
    known = result.unseen_from is not None or result.model is None
    return False, "unseen" if known else "unknown"
