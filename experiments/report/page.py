"""The report's page: what it says, in which order, as one self-contained HTML document."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from experiments.report.charts import (
    Chart,
    candle_chart,
    confidence_chart,
    drawdown_chart,
    equity_chart,
    outcome_chart,
    reliability_chart,
)
from experiments.report.coverage_chart import coverage_chart
from experiments.report.seen import seen_sentence, was_seen
from experiments.report.tables import NOTHING, coverage_rows, forecast_rows, metric_rows
from lightning_models.errors import ConfigError
from lightning_models.evaluation.coverage import coverage_sentence
from lightning_models.spelling import nearest_names

if TYPE_CHECKING:
    from experiments.result import BacktestResult
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
    forecasts: pd.DataFrame,
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
        One row a candle with the columns `FORECAST_COLUMNS`.
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
    if forecasts["confidence"].notna().any():
        minimum = _minimum_confidence(result.configuration)
        confidence = [confidence_chart(forecasts, minimum)]
    template = _environment().get_template("report.html.jinja")
    return template.render(
        result=result,
        period=_period(result),
        seen=seen_sentence(result),
        metrics=metric_rows(result),
        scores=forecast_rows(result.forecast_scores),
        results=results,
        met=met,
        coverage=coverage_rows(result),
        covered=covered,
        coverage_verdict=coverage_sentence(result.coverage),
        confidence=confidence,
        trades=[(trade, was_seen(trade.entry_time, result)) for trade in result.trades],
        configuration=json.dumps(result.configuration, indent=2, ensure_ascii=False),
        figures=_figures_json([*results, *met, *covered, *confidence]),
        drawing_library=_drawing_library(),
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("experiments", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = _moment
    environment.filters["figure"] = _figure
    return environment


def _drawing_library() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _figures_json(charts: list[Chart]) -> str:
    figures = {chart.key: json.loads(chart.figure.to_json()) for chart in charts}
    text = json.dumps(figures, allow_nan=False)
    # Inside a script element only "<" can end it.
    return text.replace("<", "\\u003c")


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


def _period(result: BacktestResult) -> str:
    if result.start_date is None or result.end_date is None:
        return "no bars"
    return f"{_moment(result.start_date)} to {_moment(result.end_date)}"


def _moment(text: str | None) -> str:
    # To the minute, without the millisecond that stamps a bar's end.
    if text is None:
        return "open"
    stamp = pd.Timestamp(text)
    if stamp.microsecond:
        stamp = stamp.ceil("s")
    return str(stamp.strftime("%Y-%m-%d %H:%M"))


def _figure(value: float | None, digits: int = 2, *, signed: bool = False) -> str:
    if value is None or not np.isfinite(value):
        return NOTHING
    return f"{value:{'+' if signed else ''},.{digits}f}"
