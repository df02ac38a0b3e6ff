"""The report's tables: figures with their intervals, beside what they are to be compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.result import BacktestResult
    from lightning_models.evaluation.scores import ForecastScores

__all__ = ["NOTHING", "Row", "coverage_rows", "forecast_rows", "metric_rows"]

NOTHING = "\N{EN DASH}"
"""What a table shows where there is no figure."""


@dataclass(frozen=True)
class Row:
    """A figure with its interval, beside the one it is to be compared with."""

    name: str
    value: str
    interval: str = NOTHING
    against: str = NOTHING


def metric_rows(result: BacktestResult) -> list[Row]:
    """Return the strategy's metrics with their intervals beside buy-and-hold's.

    Parameters
    ----------
    result
        What the backtest found.

    Returns
    -------
    list of Row
        In the order of the page.
    """
    held = result.buy_and_hold
    annual = None if result.annualized_return is None else 100.0 * result.annualized_return
    return [
        Row(
            "Total return",
            _percent(result.total_return_pct, signed=True),
            against=_percent(held.total_return_pct if held else None, signed=True),
        ),
        Row("Annualised return", _percent(annual, signed=True)),
        Row(
            "Return above buy-and-hold, a year",
            _percent(_hundredfold(result.excess_return), signed=True),
            _span(_hundredfold(result.excess_low), _hundredfold(result.excess_high), "%", 1),
        ),
        Row(
            "Sharpe ratio",
            _number(result.sharpe_ratio),
            _span(result.sharpe_low, result.sharpe_high),
            _number(held.sharpe_ratio if held else None),
        ),
        Row("Sortino ratio", _number(result.sortino_ratio)),
        Row(
            "Largest drawdown",
            _percent(result.max_drawdown_pct),
            against=_percent(held.max_drawdown_pct if held else None),
        ),
        Row("Trades", f"{result.total_trades:,}"),
        Row("Won / lost", f"{result.winning_trades:,} / {result.losing_trades:,}"),
        Row("Win rate", _percent(result.win_rate) if result.total_trades else NOTHING),
        Row("Profit factor", _number(result.profit_factor)),
        Row("Average win / loss", f"{_number(result.avg_win)} / {_number(result.avg_loss)}"),
        Row("Bars in the market", _percent(100.0 * result.exposure), against="100.0%"),
        Row("Fees paid", _number(result.fees_paid)),
        Row("Turnover, times the equity", _number(result.turnover)),
        Row("Rating", result.performance_rating if result.total_trades else "–"),
    ]


def forecast_rows(scores: ForecastScores | None) -> list[Row]:
    """Return the forecasts' scores beside those of the majority class.

    Parameters
    ----------
    scores
        As `evaluate` returns them, or None.

    Returns
    -------
    list of Row
        Empty without scores.
    """
    if scores is None:
        return []
    return [
        Row(
            "Log-loss, nats",
            _number(scores.log_loss, 5),
            _span(scores.log_loss_low, scores.log_loss_high, digits=5),
            _number(scores.majority_log_loss, 5),
        ),
        Row(
            "Gain in log-loss",
            _number(scores.log_loss_gain, 5, signed=True),
            _span(scores.log_loss_gain_low, scores.log_loss_gain_high, digits=5),
            "0",
        ),
        Row(
            "AUC",
            _number(scores.auc, 4),
            _span(scores.auc_low, scores.auc_high, digits=4),
            "0.5000",
        ),
        Row(
            "Directional accuracy",
            _percent(_hundredfold(scores.directional_accuracy)),
            _span(
                _hundredfold(scores.directional_accuracy_low),
                _hundredfold(scores.directional_accuracy_high),
                "%",
                1,
            ),
            _percent(_hundredfold(scores.majority_accuracy)),
        ),
        Row(
            "Brier score",
            _number(scores.brier, 4),
            _span(scores.brier_low, scores.brier_high, digits=4),
            _number(scores.majority_brier, 4),
        ),
        Row(
            "Expected calibration error",
            _number(scores.ece, 4),
            _span(scores.ece_low, scores.ece_high, digits=4),
        ),
    ]


def coverage_rows(result: BacktestResult) -> list[Row]:
    """Return what share of outcomes the forecasts' bounds held, beside the share asked for.

    Parameters
    ----------
    result
        What the backtest found.

    Returns
    -------
    list of Row
        Empty where the model gave no conformal bounds.
    """
    kinds = (("conformal", result.coverage), ("adaptive", result.adaptive_coverage))
    return [
        Row(
            f"Held by {kind} bounds",
            _percent(100.0 * one.got),
            _span(_hundredfold(one.low), _hundredfold(one.high), "%", 1),
            _percent(100.0 * one.asked),
        )
        for kind, coverages in kinds
        for one in coverages
    ]


def _hundredfold(fraction: float | None) -> float | None:
    return None if fraction is None else 100.0 * fraction


def _number(value: float | None, digits: int = 2, *, signed: bool = False) -> str:
    return NOTHING if value is None else f"{value:{'+' if signed else ''},.{digits}f}"


def _percent(value: float | None, *, signed: bool = False) -> str:
    return NOTHING if value is None else f"{value:{'+' if signed else ''},.1f}%"


def _span(low: float | None, high: float | None, unit: str = "", digits: int = 2) -> str:
    if low is None or high is None:
        return NOTHING
    return f"{low:,.{digits}f}{unit} to {high:,.{digits}f}{unit}"
