"""The page of one strategy on many symbols, an account for each: all together, then each one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from experiments.report.curves_chart import Curve, curves_chart, return_of
from experiments.report.document import period_words, render_document
from experiments.report.numbers import NOTHING, number, percent, span
from experiments.report.seen_by_many import seen_by_any, seen_words, slice_words
from experiments.report.summary_table import (
    SummaryRow,
    SummaryTable,
    held_cells,
    link_to,
    result_cells,
)
from experiments.report.tables import Row
from experiments.report.writing import SummaryFiles, write_summary

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from experiments.many_symbols import MultiSymbolResult
    from experiments.report.charts import Chart
    from experiments.result import BacktestResult, EquityPoint

__all__ = ["render_symbols", "write_symbols"]

# With more symbols than colours, only as many of the best and the worst are drawn at first.
_DRAWN_AT_FIRST: Final = 5
_MOST_DRAWN: Final = 11


def write_symbols(
    result: MultiSymbolResult, *, folder: str | Path, links: bool = True
) -> SummaryFiles:
    """Write ``report.html`` and ``result.json`` of many symbols into a folder, or neither.

    Parameters
    ----------
    result
        What was found.
    folder
        Created where it is missing.
    links
        Whether each symbol's own report lies in a folder of its name beside the page.

    Returns
    -------
    SummaryFiles

    Raises
    ------
    StorageError
        If the folder cannot be made or written.
    """
    page = render_symbols(result, links=links)
    return write_summary(folder, page, result.model_dump_json())


def render_symbols(result: MultiSymbolResult, *, links: bool = True) -> str:
    """Return the page of many symbols as one HTML document that needs no network.

    Parameters
    ----------
    result
        What was found; every text of it is escaped.
    links
        As for `write_symbols`.
    """
    ranked = sorted(result.symbol_results, key=lambda one: -one.total_return_pct)
    charts = [_returns(result, ranked)]
    results = result.symbol_results
    starts = [one.start_date for one in results if one.start_date is not None]
    ends = [one.end_date for one in results if one.end_date is not None]
    return render_document(
        "symbols.html.jinja",
        charts,
        result=result,
        period=period_words(min(starts, default=None), max(ends, default=None)),
        models=sorted({one.model for one in results if one.model is not None}),
        slice=slice_words([one.slice for one in results]),
        seen=seen_words(results, [one.symbol for one in results]),
        together=_together(result),
        table=_table(ranked, links=links),
        accounts=ranked,
        bundles=sorted({one.bundle_sha256 for one in results if one.bundle_sha256 is not None}),
        configuration=json.dumps(results[0].configuration, indent=2, ensure_ascii=False),
    )


def _together(result: MultiSymbolResult) -> list[Row]:
    results = result.symbol_results
    held = _held_depth(results)
    above = sum(
        one.total_return_pct > one.buy_and_hold.total_return_pct
        for one in results
        if one.buy_and_hold is not None
    )
    return [
        Row(
            "Total return",
            percent(result.portfolio_total_return_pct, signed=True),
            against=percent(result.buy_and_hold_total_return_pct, signed=True),
        ),
        *_doubled(results),
        Row(
            "Sharpe ratio",
            number(result.portfolio_sharpe_ratio),
            span(result.portfolio_sharpe_low, result.portfolio_sharpe_high),
        ),
        Row(
            "Largest drawdown",
            percent(result.portfolio_max_drawdown_pct),
            against=NOTHING if held is None else percent(held),
        ),
        Row("Trades", f"{result.total_trades:,}"),
        Row("Symbols above their buy-and-hold", f"{above:,} of {len(results):,}"),
        Row("Fees paid", number(sum(one.fees_paid for one in results))),
        Row("Funding paid", number(sum(one.funding_paid for one in results), signed=True)),
        Row("Liquidations", f"{sum(one.liquidations for one in results):,}"),
    ]


def _doubled(results: Sequence[BacktestResult]) -> list[Row]:
    # An account without a trade pays no costs; with one that was not run twice nothing is known.
    if any(one.doubled_costs is None and one.trades for one in results):
        return []
    returns = [
        one.doubled_costs.total_return_pct if one.doubled_costs else one.total_return_pct
        for one in results
    ]
    # Accounts of equal size: the mean of their returns is the return of all together.
    mean = float(np.mean(returns))
    return [Row("Total return, costs doubled", percent(mean, signed=True))]


def _table(ranked: Sequence[BacktestResult], *, links: bool) -> SummaryTable:
    rows = []
    for one in ranked:
        cells = result_cells(one)
        held = held_cells(one.buy_and_hold)["total return"] if one.buy_and_hold else NOTHING
        rows.append(
            SummaryRow(
                name=one.symbol,
                cells={"total return": cells["total return"], "buy-and-hold": held, **cells},
                link=link_to(one.symbol) if links else None,
                seen=one.slice != "out_of_sample",
            )
        )
    return SummaryTable("symbol", tuple(rows))


def _returns(result: MultiSymbolResult, ranked: Sequence[BacktestResult]) -> Chart:
    together = return_of(result.equity_curve, "all accounts together", kind="total")
    curves = [together]
    held = _held(ranked)
    if held is not None:
        curves.append(
            Curve(
                "buy-and-hold of all",
                held[0],
                100.0 * (held[1] / held[1][0] - 1.0),
                kind="baseline",
            )
        )
    many = len(ranked) > _MOST_DRAWN
    for place, one in enumerate(ranked):
        between = _DRAWN_AT_FIRST <= place < len(ranked) - _DRAWN_AT_FIRST
        curves.append(return_of(one.equity_curve, one.symbol, hidden=many and between))
    return curves_chart(
        "returns",
        "Equity as a return on the cash at the start",
        "At each bar's close; every account started with the same cash. Symbols from the highest "
        "return to the lowest.",
        "return, %",
        curves,
        seen=seen_by_any(ranked),
    )


def _held_depth(results: Sequence[BacktestResult]) -> float | None:
    held = _held(results)
    if held is None:
        return None
    peak = np.maximum.accumulate(held[1])
    return float(100.0 * (1.0 - held[1] / peak).max(initial=0.0))


def _held(results: Sequence[BacktestResult]) -> tuple[list[str], npt.NDArray[np.float64]] | None:
    # Equity of buy-and-hold in all accounts; where a symbol has no bar it is worth what it was
    # worth before, or the cash that its first bar starts with.
    curves = [one.buy_and_hold.equity_curve for one in results if one.buy_and_hold is not None]
    if len(curves) < len(results) or not all(curves):
        return None
    columns = [_column(points).rename(str(place)) for place, points in enumerate(curves)]
    joined = pd.concat(columns, axis=1).sort_index().ffill()
    summed = joined.fillna({column.name: column.iloc[0] for column in columns}).sum(axis=1)
    stamps = np.datetime_as_string(summed.index.to_numpy(dtype="datetime64[ms]"))
    return [f"{stamp}Z" for stamp in stamps], summed.to_numpy(dtype=np.float64)


def _column(points: Sequence[EquityPoint]) -> pd.Series[float]:
    times = pd.to_datetime([point.time for point in points], utc=True, format="ISO8601")
    return pd.Series([point.equity for point in points], index=times.tz_localize(None))
