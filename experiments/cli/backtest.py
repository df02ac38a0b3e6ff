"""`lstm-strategies backtest`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.cli.console import JsonOption, errors, print_json, say, show_table
from experiments.cli.logs import quiet_mlflow
from experiments.cli.trading_options import (
    TradingOptions,
    folder_of,
    read_detail,
    read_traded,
    takes_trading_options,
)

if TYPE_CHECKING:
    from experiments.result import BacktestResult

__all__ = ["backtest_command", "show_backtest"]


@takes_trading_options
def backtest_command(
    trading: TradingOptions,
    strategy: Annotated[
        str,
        typer.Option(
            "--strategy", metavar="NAME", help="See `strategies`; the model's forecasts alone."
        ),
    ] = "forecast",
    report: Annotated[
        Path | None, typer.Option("--report", metavar="DIR", help="Write the report there.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Trade a strategy on candles its model has not seen, beside its yardsticks."""
    with errors.status("loading torch and backtrader"):
        from experiments.backtesting import backtest

        config = trading.config_of(strategy, origin="backtest")
    sources = read_traded(trading)
    details = {one.symbol: one for one in read_detail(trading, sources)}
    found = []
    for candles in sources:
        folder = folder_of(report, candles.symbol, several=len(sources) > 1)
        with errors.status(f"trading {candles.symbol}"), quiet_mlflow():
            result = backtest(
                config,
                candles,
                home=trading.home,
                report=folder,
                detail=details.get(candles.symbol),
            )
        found.append(result)
        if not as_json:
            show_backtest(result, folder)
    if as_json:
        documents = [one.model_dump(mode="json") for one in found]
        print_json(documents[0] if len(documents) == 1 else documents)


def show_backtest(result: BacktestResult, folder: Path | None) -> None:
    """Print a backtest's table, its verdict, its notes and where its report is."""
    from experiments.cli.tables import backtest_table

    show_table(backtest_table(result))
    if result.slice != "out_of_sample":
        say(
            f"In sample: the model has seen the candles before {result.unseen_from}.",
            style="yellow",
        )
    say(result.verdict)
    for sentence in result.notes:
        say(f"note: {sentence}")
    if folder is not None:
        say(f"report: {(folder / 'report.html').absolute()}", copied=True)
