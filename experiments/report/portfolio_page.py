"""The page of a portfolio: one account on several symbols, beside what it has to be better than."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pandas as pd

from experiments.report.curves_chart import curves_chart, depth_of, drawdown_of, equity_of
from experiments.report.document import period_words, render_document
from experiments.report.numbers import NOTHING, hundredfold, number, percent, span
from experiments.report.seen_by_many import slice_words
from experiments.report.summary_table import SummaryRow, SummaryTable
from experiments.report.tables import Row
from experiments.report.writing import ReportFiles, trades_csv, write_files

if TYPE_CHECKING:
    from pathlib import Path

    from experiments.portfolio import PortfolioResult
    from experiments.report.charts import Chart

__all__ = ["render_portfolio", "write_portfolio"]

_SEEN: Final = {
    "out_of_sample": "Out of sample: the model had seen none of what was traded on.",
    "in_sample": (
        "In-sample: the model had seen this whole period, so nothing here says anything about "
        "skill."
    ),
    "mixed": (
        "Partly in-sample: the model had seen a part of this period, and that part says nothing "
        "about skill."
    ),
}

_TRADE_SLICES: Final = {"out_of_sample": "unseen", "in_sample": "in-sample", "mixed": "unknown"}


def write_portfolio(result: PortfolioResult, *, folder: str | Path) -> ReportFiles:
    """Write a portfolio's ``report.html``, ``result.json`` and ``trades.csv``, or none of them.

    Parameters
    ----------
    result
        What was found.
    folder
        Created where it is missing.

    Returns
    -------
    ReportFiles

    Raises
    ------
    StorageError
        If the folder cannot be made or written.
    """
    return write_files(
        folder,
        page=render_portfolio(result),
        result=result.model_dump_json(),
        trades=trades_csv(result.trades),
    )


def render_portfolio(result: PortfolioResult) -> str:
    """Return the page of a portfolio as one HTML document that needs no network.

    Parameters
    ----------
    result
        What was found; every text of it is escaped.
    """
    charts = [_equity(result), _drawdown(result)]
    fitted = result.model is not None
    return render_document(
        "portfolio.html.jinja",
        charts,
        result=result,
        period=period_words(result.start_date, result.end_date),
        slice=slice_words([result.slice]),
        seen=(
            _SEEN[result.slice]
            if fitted
            else "Nothing was fitted: every decision comes from indicators alone."
        ),
        metrics=_metric_rows(result),
        chance=_beyond_verdict(result),
        table=_table(result),
        trades=[
            (trade, fitted and result.slice == "in_sample", _TRADE_SLICES[result.slice])
            for trade in result.trades
        ],
        configuration=json.dumps(result.configuration, indent=2, ensure_ascii=False),
    )


def _beyond_verdict(result: PortfolioResult) -> str:
    words = result.random_exposure.words()
    return "" if words in result.verdict else words


def _metric_rows(result: PortfolioResult) -> list[Row]:
    held, chance = result.buy_and_hold, result.random_exposure
    rows = [
        Row(
            "Total return",
            percent(result.total_return_pct, signed=True),
            against=percent(held.total_return_pct, signed=True),
        ),
        Row("Annualised return", percent(hundredfold(result.annualized_return), signed=True)),
    ]
    if result.doubled_costs is not None:
        doubled = percent(result.doubled_costs.total_return_pct, signed=True)
        rows.append(Row("Total return, costs doubled", doubled))
    if chance.random_return_pct is not None:
        rows.append(
            Row(
                "Same exposure at random times",
                percent(chance.random_return_pct, signed=True),
                span(chance.random_return_low, chance.random_return_high, "%", 1),
            )
        )
    return [
        *rows,
        Row(
            "Sharpe ratio",
            number(result.sharpe_ratio),
            span(result.sharpe_low, result.sharpe_high),
            number(held.sharpe_ratio),
        ),
        Row("Sortino ratio", number(result.sortino_ratio)),
        Row(
            "Largest drawdown",
            percent(result.max_drawdown_pct),
            against=percent(held.max_drawdown_pct),
        ),
        Row("Trades", f"{result.total_trades:,}"),
        Row("Won / lost", f"{result.winning_trades:,} / {result.losing_trades:,}"),
        Row("Win rate", percent(result.win_rate) if result.total_trades else NOTHING),
        Row("Profit factor", number(result.profit_factor)),
        Row("Bars with any position", percent(100.0 * result.exposure), against=percent(100.0)),
        Row("Largest exposure, times the equity", number(result.largest_exposure), against="1.00"),
        Row("Fees paid", number(result.fees_paid)),
        Row("Funding paid", number(result.funding_paid, signed=True)),
        Row("Liquidations", f"{result.liquidations:,}"),
        Row("Turnover, times the equity", number(result.turnover)),
        Row("Rating", result.performance_rating if result.total_trades else NOTHING),
    ]


def _table(result: PortfolioResult) -> SummaryTable:
    rows = [
        SummaryRow(
            name=one.symbol,
            cells={
                "profit": number(one.total_return, signed=True),
                "trades": f"{one.total_trades:,}",
                "win rate": percent(one.win_rate) if one.total_trades else NOTHING,
                "fees": number(one.fees_paid),
                "mean position": percent(100.0 * one.mean_weight),
            },
        )
        for one in result.by_symbol
    ]
    whole = SummaryRow(
        "the account",
        {
            "profit": number(result.total_return, signed=True),
            "trades": f"{result.total_trades:,}",
            "win rate": percent(result.win_rate) if result.total_trades else NOTHING,
            "fees": number(result.fees_paid),
        },
        baseline=True,
    )
    return SummaryTable("symbol", (*rows, whole))


def _equity(result: PortfolioResult) -> Chart:
    return curves_chart(
        "equity",
        "Equity against buy-and-hold",
        "Equity at each bar's close. Buy-and-hold puts equal parts of the same cash into each "
        "symbol.",
        "equity, quote currency",
        [
            equity_of(result.equity_curve, result.strategy),
            equity_of(result.buy_and_hold.equity_curve, "buy-and-hold", kind="baseline"),
        ],
        seen=_seen_until(result),
    )


def _drawdown(result: PortfolioResult) -> Chart:
    return curves_chart(
        "drawdown",
        "Drawdown",
        "Distance below the highest equity so far.",
        "drawdown, %",
        [
            drawdown_of(result.drawdown_curve, result.strategy),
            depth_of(result.buy_and_hold.equity_curve, "buy-and-hold"),
        ],
        seen=_seen_until(result),
    )


def _seen_until(result: PortfolioResult) -> pd.Timestamp | None:
    # Where only a part was seen, the result does not say until when.
    if result.slice != "in_sample" or result.end_date is None:
        return None
    return pd.Timestamp(result.end_date) + pd.Timedelta(milliseconds=1)
