"""The page of a comparison: its verdict, the ranking, and every strategy's curve in one picture."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from experiments.report.curves_chart import (
    Curve,
    curves_chart,
    depth_of,
    drawdown_of,
    equity_of,
)
from experiments.report.document import period_words, render_document
from experiments.report.numbers import NOTHING
from experiments.report.seen import seen_sentence
from experiments.report.seen_by_many import seen_by_any, seen_words, slice_words
from experiments.report.summary_table import (
    SummaryRow,
    SummaryTable,
    held_cells,
    link_to,
    result_cells,
)
from experiments.report.writing import SummaryFiles, write_summary

if TYPE_CHECKING:
    from pathlib import Path

    from experiments.comparing import ComparisonResult
    from experiments.result import BacktestResult
    from experiments.superiority import Contender, Superiority

__all__ = ["render_comparison", "write_comparison"]

_RANKED_BY: Final = {
    "sharpe_ratio": "Sharpe ratio",
    "sortino_ratio": "Sortino ratio",
    "total_return_pct": "total return",
    "max_drawdown_pct": "smallest drawdown",
    "profit_factor": "profit factor",
    "win_rate": "win rate",
}


@dataclass(frozen=True)
class _Account:
    """What the page says of one strategy below the ranking."""

    result: BacktestResult
    link: str | None
    sentences: tuple[str, ...]


def write_comparison(
    result: ComparisonResult, *, folder: str | Path, links: bool = True
) -> SummaryFiles:
    """Write ``report.html`` and ``result.json`` of a comparison into a folder, or neither.

    Parameters
    ----------
    result
        What was found.
    folder
        Created where it is missing.
    links
        Whether each strategy's own report lies in a folder of its name beside the page.

    Returns
    -------
    SummaryFiles

    Raises
    ------
    StorageError
        If the folder cannot be made or written.
    """
    page = render_comparison(result, links=links)
    return write_summary(folder, page, result.model_dump_json())


def render_comparison(result: ComparisonResult, *, links: bool = True) -> str:
    """Return the page of a comparison as one HTML document that needs no network.

    Parameters
    ----------
    result
        What was found; every text of it is escaped.
    links
        As for `write_comparison`.
    """
    charts = [_equity(result), _drawdown(result)]
    return render_document(
        "comparison.html.jinja",
        charts,
        result=result,
        period=period_words(result.start_date, result.end_date),
        ranked_by=_RANKED_BY[result.best_metric],
        slice=slice_words([one.slice for one in result.comparisons]),
        seen=seen_words(result.comparisons, [one.strategy for one in result.comparisons]),
        threshold=(1.0 - result.superiority.level) / 2.0,
        ranking=_ranking(result, links=links),
        accounts=[_account(one, links=links) for one in result.comparisons],
        models=_models(result.comparisons),
        configuration=json.dumps(_configuration(result), indent=2, ensure_ascii=False),
    )


def _ranking(result: ComparisonResult, *, links: bool) -> SummaryTable:
    contenders = {one.name: one for one in result.superiority.contenders}
    rows = [
        SummaryRow(
            name=one.strategy,
            cells={
                **_shown(contenders.get(one.strategy), result.superiority),
                **result_cells(one),
            },
            link=link_to(one.strategy) if links else None,
            seen=one.slice != "out_of_sample",
        )
        for one in result.comparisons
    ]
    held = result.comparisons[0].buy_and_hold
    if held is not None:
        rows.append(SummaryRow("buy-and-hold", held_cells(held), baseline=True))
    return SummaryTable("strategy", tuple(rows), words=(*_SHOWN, "rating", "slice"))


_SHOWN: Final = ("could be the best", "above buy-and-hold")


def _shown(one: Contender | None, found: Superiority) -> dict[str, str]:
    best, above = NOTHING, NOTHING
    if one is not None and one.p_best is not None:
        answer = "yes" if one.name in found.could_be_best else "no"
        best = f"{answer} (p {one.p_best:.3f})"
    if one is not None and one.p_against is not None:
        answer = "shown" if one.name in found.better_than_against else "not shown"
        above = f"{answer} (p {one.p_against:.3f})"
    return dict(zip(_SHOWN, (best, above), strict=True))


def _equity(result: ComparisonResult) -> Any:
    curves = [equity_of(one.equity_curve, one.strategy) for one in result.comparisons]
    held = result.comparisons[0].buy_and_hold
    if held is not None:
        curves.append(equity_of(held.equity_curve, "buy-and-hold", kind="baseline"))
    return curves_chart(
        "equity",
        "Equity against buy-and-hold",
        "Equity at each bar's close, the same cash in all at the start; in the order of the "
        "ranking.",
        "equity, quote currency",
        curves,
        seen=seen_by_any(result.comparisons),
    )


def _drawdown(result: ComparisonResult) -> Any:
    curves: list[Curve] = [
        drawdown_of(one.drawdown_curve, one.strategy) for one in result.comparisons
    ]
    held = result.comparisons[0].buy_and_hold
    if held is not None:
        curves.append(depth_of(held.equity_curve, "buy-and-hold"))
    return curves_chart(
        "drawdown",
        "Drawdowns",
        "Distance below the highest equity so far.",
        "drawdown, %",
        curves,
        seen=seen_by_any(result.comparisons),
    )


def _account(result: BacktestResult, *, links: bool) -> _Account:
    sentences = []
    if result.model is not None:
        sentences.append(seen_sentence(result))
    if result.random_exposure is not None:
        sentences.append(result.random_exposure.words(result.trials))
    if result.deflated_sharpe is not None:
        sentences.append(result.deflated_sharpe.words())
    # The verdict may end with one of them.
    told = tuple(one for one in sentences if one not in result.verdict)
    return _Account(result, link_to(result.strategy) if links else None, told)


def _models(results: tuple[BacktestResult, ...]) -> list[tuple[str, str]]:
    # Each model once, with the digest of its bundle.
    return sorted({(one.model, one.bundle_sha256 or NOTHING) for one in results if one.model})


def _configuration(result: ComparisonResult) -> dict[str, Any]:
    given = {one.strategy: one.configuration for one in result.comparisons}
    first = result.comparisons[0].configuration
    shared = {
        name: value
        for name, value in first.items()
        if all(name in one and one[name] == value for one in given.values())
    }
    return {
        "shared": shared,
        "strategies": {
            strategy: {name: value for name, value in one.items() if name not in shared}
            for strategy, one in given.items()
        },
    }
