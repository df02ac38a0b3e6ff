"""Rich tables of strategies: which there are, and how several did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from experiments.comparing import ComparisonResult
    from experiments.many_symbols import MultiSymbolResult
    from experiments.portfolio import PortfolioResult

__all__ = [
    "comparison_table",
    "portfolio_table",
    "shares_table",
    "strategies_table",
    "symbols_table",
]


def strategies_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return a row for each strategy, with what sets it apart."""
    table = _table("Strategies")
    table.add_column("name", no_wrap=True)
    table.add_column("model", no_wrap=True)
    table.add_column("what it does")
    for row in rows:
        own = row["parameters"]
        marked = ", ".join(f"{name} {own[name]:g}" for name in _TELLING if own.get(name))
        summary = Text(row["summary"])
        if marked:
            summary.append(f" ({marked})", style="dim")
        table.add_row(row["strategy"], "needed" if row["needs_model"] else "none", summary)
    return table


def comparison_table(result: ComparisonResult) -> Table:
    """Return a row for each strategy, best first, and one for buy-and-hold."""
    first = result.comparisons[0]
    table = _table(
        f"{result.symbol} {result.timeframe}, {(result.start_date or '')[:10]} to "
        f"{(result.end_date or '')[:10]}, ranked by {result.best_metric}"
    )
    table.add_column("strategy", no_wrap=True)
    for heading in (
        "return %", "costs\nx 2 %", "Sharpe", "95 %\ninterval", "max\ndrawdown %", "trades",
        "won %", "bars let\ntrade %", "could be\nbest, p", "rating",
    ):  # fmt: skip
        table.add_column(heading, justify="right", no_wrap=True)
    could = {one.name: one.p_best for one in result.superiority.contenders}
    for one in result.comparisons:
        doubled = one.doubled_costs
        table.add_row(
            one.strategy,
            f"{one.total_return_pct:+.1f}",
            _number(None if doubled is None else doubled.total_return_pct, "+.1f"),
            f"{one.sharpe_ratio:.2f}",
            _interval(one.sharpe_low, one.sharpe_high),
            f"{one.max_drawdown_pct:.1f}",
            str(one.total_trades),
            f"{one.win_rate:.0f}" if one.total_trades else "–",
            _number(None if one.traded_share is None else 100 * one.traded_share, ".1f"),
            _number(could.get(one.strategy), ".3f"),
            one.performance_rating if one.trades else "–",
        )
    held = first.buy_and_hold
    if held is not None:
        table.add_section()
        table.add_row(
            "(buy and hold)",
            f"{held.total_return_pct:+.1f}",
            "",
            f"{held.sharpe_ratio:.2f}",
            "",
            f"{held.max_drawdown_pct:.1f}",
        )
    return table


def symbols_table(result: MultiSymbolResult) -> Table:
    """Return a row for each symbol's account, and one for all together."""
    table = _table(f"{result.strategy} on {len(result.symbol_results)} symbols")
    table.add_column("symbol", no_wrap=True)
    for heading in (
        "return %", "held %", "Sharpe", "95 %\ninterval", "max\ndrawdown %", "trades", "won %",
        "bars let\ntrade %",
    ):  # fmt: skip
        table.add_column(heading, justify="right", no_wrap=True)
    for one in result.symbol_results:
        held = one.buy_and_hold
        table.add_row(
            Text(one.symbol),
            f"{one.total_return_pct:+.1f}",
            _number(None if held is None else held.total_return_pct, "+.1f"),
            f"{one.sharpe_ratio:.2f}",
            _interval(one.sharpe_low, one.sharpe_high),
            f"{one.max_drawdown_pct:.1f}",
            str(one.total_trades),
            f"{one.win_rate:.0f}" if one.total_trades else "–",
            _number(None if one.traded_share is None else 100 * one.traded_share, ".1f"),
        )
    table.add_section()
    table.add_row(
        "all",
        f"{result.portfolio_total_return_pct:+.1f}",
        f"{result.buy_and_hold_total_return_pct:+.1f}",
        f"{result.portfolio_sharpe_ratio:.2f}",
        _interval(result.portfolio_sharpe_low, result.portfolio_sharpe_high),
        f"{result.portfolio_max_drawdown_pct:.1f}",
        str(result.total_trades),
    )
    return table


def portfolio_table(result: PortfolioResult) -> Table:
    """Return an account's figures beside its yardsticks."""
    held, chance = result.buy_and_hold, result.random_exposure
    table = _table(
        f"{result.strategy} on {len(result.symbols)} symbols of one account, "
        f"{(result.start_date or '')[:10]} to {(result.end_date or '')[:10]}"
    )
    table.add_column("")
    for heading in (result.strategy, "95 % interval", "buy-and-hold"):
        table.add_column(heading, justify="right")
    rows = [
        ("total return %", f"{result.total_return_pct:+.1f}", "", f"{held.total_return_pct:+.1f}"),
        (
            "Sharpe ratio, a year",
            f"{result.sharpe_ratio:.2f}",
            _interval(result.sharpe_low, result.sharpe_high),
            f"{held.sharpe_ratio:.2f}",
        ),
        (
            "same exposure at random %",
            _number(chance.random_return_pct, "+.1f"),
            _interval(chance.random_return_low, chance.random_return_high),
            "",
        ),
        (
            "costs doubled %",
            _number(
                None if result.doubled_costs is None else result.doubled_costs.total_return_pct,
                "+.1f",
            ),
            "",
            "",
        ),
        (
            "largest drawdown %",
            f"{result.max_drawdown_pct:.1f}",
            "",
            f"{held.max_drawdown_pct:.1f}",
        ),
        ("trades", str(result.total_trades), "", ""),
        ("time in the market %", f"{100 * result.exposure:.1f}", "", "100.0"),
        ("largest exposure, times equity", f"{result.largest_exposure:.2f}", "", "1.00"),
        ("fees paid", f"{result.fees_paid:,.2f}", "", ""),
        ("funding paid", f"{result.funding_paid:+,.2f}", "", ""),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def shares_table(result: PortfolioResult) -> Table:
    """Return a row for each symbol of an account."""
    table = _table("By symbol")
    table.add_column("symbol", no_wrap=True)
    for heading in ("profit", "trades", "won %", "fees", "mean size\nover equity"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in result.by_symbol:
        table.add_row(
            Text(one.symbol),
            f"{one.total_return:+,.2f}",
            str(one.total_trades),
            f"{one.win_rate:.0f}" if one.total_trades else "–",
            f"{one.fees_paid:,.2f}",
            f"{one.mean_weight:.2f}",
        )
    return table


_TELLING = ("min_confidence", "risk_per_trade", "atr_stop", "atr_target", "position_size")


def _table(title: str) -> Table:
    # Titles hold names of files and symbols: text, never markup.
    table = Table(title=Text(title), box=box.SIMPLE_HEAD, title_justify="left")
    table.show_edge, table.pad_edge, table.collapse_padding = False, False, True
    return table


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _interval(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{low:.2f} … {high:.2f}"
