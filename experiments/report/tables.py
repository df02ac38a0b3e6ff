"""The report's tables: figures with their intervals, beside what they are to be compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.report.numbers import NOTHING, hundredfold, number, percent, span

if TYPE_CHECKING:
    from experiments.result import BacktestResult
    from lightning_models.evaluation.scores import ForecastScores

__all__ = ["Row", "coverage_rows", "forecast_rows", "metric_rows"]


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
            percent(result.total_return_pct, signed=True),
            against=percent(held.total_return_pct if held else None, signed=True),
        ),
        Row("Annualised return", percent(annual, signed=True)),
        *_costs_rows(result),
        *_random_rows(result),
        Row(
            "Return above buy-and-hold, a year",
            percent(hundredfold(result.excess_return), signed=True),
            span(hundredfold(result.excess_low), hundredfold(result.excess_high), "%", 1),
        ),
        Row(
            "Sharpe ratio",
            number(result.sharpe_ratio),
            span(result.sharpe_low, result.sharpe_high),
            number(held.sharpe_ratio if held else None),
        ),
        *_deflated_rows(result),
        Row("Sortino ratio", number(result.sortino_ratio)),
        Row(
            "Largest drawdown",
            percent(result.max_drawdown_pct),
            against=percent(held.max_drawdown_pct if held else None),
        ),
        Row("Trades", f"{result.total_trades:,}"),
        Row("Won / lost", f"{result.winning_trades:,} / {result.losing_trades:,}"),
        Row("Win rate", percent(result.win_rate) if result.total_trades else NOTHING),
        Row("Profit factor", number(result.profit_factor)),
        Row("Average win / loss", f"{number(result.avg_win)} / {number(result.avg_loss)}"),
        *_let_trade_rows(result),
        Row("Bars in the market", percent(100.0 * result.exposure), against="100.0%"),
        Row("Fees paid", number(result.fees_paid)),
        Row("Funding paid", number(result.funding_paid, signed=True)),
        *([Row("Liquidations", f"{result.liquidations:,}")] if result.liquidations else []),
        Row("Turnover, times the equity", number(result.turnover)),
        *_analyst_rows(result),
        Row("Rating", result.performance_rating if result.total_trades else "–"),
    ]


def _let_trade_rows(result: BacktestResult) -> list[Row]:
    if result.traded_share is None:
        return []
    what = "Forecasts that may trade" if result.model else "Bars with a signal"
    return [Row(what, percent(100.0 * result.traded_share))]


def _analyst_rows(result: BacktestResult) -> list[Row]:
    used = result.analyst
    if used is None:
        return []
    return [
        Row("Language model: asked / found in the cache", f"{used.calls:,} / {used.cached:,}"),
        Row("Language model: abstained on", f"{used.abstained:,} bars"),
        Row(
            "Language model: tokens read / written, cost",
            f"{used.tokens_in:,} / {used.tokens_out:,}, {used.cost:,.4f}",
        ),
    ]


def _costs_rows(result: BacktestResult) -> list[Row]:
    doubled = result.doubled_costs
    if doubled is None:
        return []
    return [
        Row("Total return, costs doubled", percent(doubled.total_return_pct, signed=True)),
    ]


def _random_rows(result: BacktestResult) -> list[Row]:
    chance = result.random_exposure
    if chance is None or chance.random_return_pct is None:
        return []
    return [
        Row(
            "Same exposure at random times",
            percent(chance.random_return_pct, signed=True),
            span(chance.random_return_low, chance.random_return_high, "%", 1),
        )
    ]


def _deflated_rows(result: BacktestResult) -> list[Row]:
    deflated = result.deflated_sharpe
    if deflated is None:
        return []
    return [
        Row(
            f"Deflated Sharpe ratio, {deflated.trials:,} trials",
            percent(hundredfold(deflated.probability)),
        )
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
            number(scores.log_loss, 5),
            span(scores.log_loss_low, scores.log_loss_high, digits=5),
            number(scores.majority_log_loss, 5),
        ),
        Row(
            "Gain in log-loss",
            number(scores.log_loss_gain, 5, signed=True),
            span(scores.log_loss_gain_low, scores.log_loss_gain_high, digits=5),
            "0",
        ),
        Row(
            "AUC",
            number(scores.auc, 4),
            span(scores.auc_low, scores.auc_high, digits=4),
            "0.5000",
        ),
        Row(
            "Directional accuracy",
            percent(hundredfold(scores.directional_accuracy)),
            span(
                hundredfold(scores.directional_accuracy_low),
                hundredfold(scores.directional_accuracy_high),
                "%",
                1,
            ),
            percent(hundredfold(scores.majority_accuracy)),
        ),
        Row(
            "Brier score",
            number(scores.brier, 4),
            span(scores.brier_low, scores.brier_high, digits=4),
            number(scores.majority_brier, 4),
        ),
        Row(
            "Expected calibration error",
            number(scores.ece, 4),
            span(scores.ece_low, scores.ece_high, digits=4),
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
            percent(100.0 * one.got),
            span(hundredfold(one.low), hundredfold(one.high), "%", 1),
            percent(100.0 * one.asked),
        )
        for kind, coverages in kinds
        for one in coverages
    ]
