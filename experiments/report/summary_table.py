"""A table with a row for each strategy or symbol, each beside what it is to be compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from experiments.report.numbers import NOTHING, hundredfold, number, percent, span

if TYPE_CHECKING:
    from experiments.result import BacktestResult, BuyAndHold

__all__ = [
    "SummaryRow",
    "SummaryTable",
    "folder_of",
    "held_cells",
    "link_to",
    "result_cells",
    "slice_word",
]


@dataclass(frozen=True)
class SummaryRow:
    """One strategy, symbol or yardstick.

    Parameters
    ----------
    name
        What it is called.
    cells
        Text of each column by the column's heading; a column that is left out shows nothing.
    link
        Address of its own report, relative to the page; None where there is none.
    baseline
        Whether it is a yardstick for the others.
    seen
        Whether its model had seen any of the period.
    """

    name: str
    cells: dict[str, str]
    link: str | None = None
    baseline: bool = False
    seen: bool = False


@dataclass(frozen=True)
class SummaryTable:
    """Rows under the same headings.

    Parameters
    ----------
    what
        Heading of the first column, which names the rows.
    rows
        In the order of the page; the first one's cells are the columns.
    words
        Headings of columns that hold words, set to the left.
    """

    what: str
    rows: tuple[SummaryRow, ...]
    words: tuple[str, ...] = ("rating", "slice")

    @property
    def columns(self) -> list[str]:
        """Headings without the first; a column that shows nothing in any row is left out."""
        first = self.rows[0].cells if self.rows else {}
        return [
            name
            for name in first
            if any(row.cells.get(name, NOTHING) != NOTHING for row in self.rows)
        ]


def result_cells(result: BacktestResult) -> dict[str, str]:
    """Return what a row tells of a backtest, by column.

    Parameters
    ----------
    result
        What the backtest found.
    """
    doubled, chance, deflated = (
        result.doubled_costs,
        result.random_exposure,
        result.deflated_sharpe,
    )
    traded = result.total_trades > 0
    return {
        "total return": percent(result.total_return_pct, signed=True),
        "costs doubled": percent(doubled.total_return_pct if doubled else None, signed=True),
        "at random (p)": number(chance.p_value if chance else None, 3),
        "Sharpe ratio": number(result.sharpe_ratio),
        "95% interval": span(result.sharpe_low, result.sharpe_high),
        "deflated Sharpe": percent(hundredfold(deflated.probability if deflated else None)),
        "largest drawdown": percent(result.max_drawdown_pct),
        "trades": f"{result.total_trades:,}",
        "win rate": percent(result.win_rate) if traded else NOTHING,
        "profit factor": number(result.profit_factor) if traded else NOTHING,
        "in the market": percent(100.0 * result.exposure),
        "let through": percent(hundredfold(result.traded_share)),
        "fees": number(result.fees_paid),
        "funding": number(result.funding_paid, signed=True),
        "liquidations": f"{result.liquidations:,}",
        "rating": result.performance_rating.lower() if traded else NOTHING,
        "slice": slice_word(result),
    }


def held_cells(held: BuyAndHold) -> dict[str, str]:
    """Return what a row tells of buy-and-hold, by column."""
    return {
        "total return": percent(held.total_return_pct, signed=True),
        "Sharpe ratio": number(held.sharpe_ratio),
        "largest drawdown": percent(held.max_drawdown_pct),
        "in the market": percent(100.0),
    }


def slice_word(result: BacktestResult) -> str:
    """Return in a word or two whether a result's model had seen the period."""
    if result.model is None:
        return "nothing fitted"
    return {"out_of_sample": "unseen", "in_sample": "in-sample", "mixed": "partly in-sample"}[
        result.slice
    ]


def folder_of(name: str) -> str:
    """Return the folder that the own report of a strategy or symbol lies in, beside the page.

    Examples
    --------
    >>> folder_of("BTC/USDT"), folder_of("..")
    ('BTC_USDT', '__')
    """
    folder = name.replace("/", "_").replace("\\", "_")
    # Only of dots it would be this folder, or the one above.
    return folder if folder.strip(".") else "_" * max(1, len(folder))


def link_to(name: str) -> str:
    """Return the address of that report, relative to the page.

    Examples
    --------
    >>> link_to("BTC/USDT")
    './BTC_USDT/report.html'
    """
    return f"./{quote(folder_of(name), safe='')}/report.html"
