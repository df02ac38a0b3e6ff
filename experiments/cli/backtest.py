"""`lstm-strategies backtest`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.cli.console import (
    DataOption,
    DebugOption,
    FeaturesOption,
    HomeOption,
    JsonOption,
    SetOption,
    errors,
    print_json,
    say,
    show_table,
)
from experiments.cli.logs import quiet_mlflow

if TYPE_CHECKING:
    from experiments.result import BacktestResult

__all__ = ["backtest_command", "show_backtest"]


def backtest_command(
    model: Annotated[
        str, typer.Option("--model", help="models:/NAME@champion, models:/NAME/3 or a folder.")
    ],
    data: DataOption,
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="First moment, UTC.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Last moment, UTC.")
    ] = None,
    in_sample: Annotated[
        bool, typer.Option("--in-sample", help="Trade on what the model has seen, too; shaded.")
    ] = False,
    cash: Annotated[float | None, typer.Option("--cash", help="At the start; 10000.")] = None,
    min_confidence: Annotated[
        float | None, typer.Option("--min-confidence", help="That an entry needs; 0.6.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="DIR", help="Write the report there.")
    ] = None,
    as_json: JsonOption = False,
    features: FeaturesOption = None,
    home: HomeOption = None,
    debug: DebugOption = False,
    settings: SetOption = None,
) -> None:
    """Trade a model's forecasts on candles it has not seen, beside buy-and-hold."""
    with errors.status("loading the model"):
        from experiments.backtesting import backtest
        from experiments.cli.sources import closed_by_now, read_sources
        from experiments.config import BacktestConfig
        from experiments.moment import moment_of
        from experiments.settings import validated
        from lightning_models.loading import load_predictor

        given: dict[str, Any] = {
            "model": model,
            "start": None if start is None else moment_of(start, option="--from"),
            "end": None if end is None else moment_of(end, option="--to"),
            "in_sample": in_sample,
            "cash": cash,
            "min_confidence": min_confidence,
        }
        config = validated(
            BacktestConfig,
            {key: value for key, value in given.items() if value is not None},
            settings or (),
            origin="backtest",
        )
        with quiet_mlflow():
            predictor = load_predictor(config.model, home=home)
    read = read_sources(data, timeframe=predictor.timeframe, market=predictor.bundle.market)
    sources = [closed_by_now(one) for one in read]
    found = []
    for candles in sources:
        folder = report
        if report is not None and len(sources) > 1:
            folder = report / candles.symbol.replace("/", "_")
        with errors.status(f"trading {candles.symbol}"), quiet_mlflow():
            result = backtest(config, candles, home=home, report=folder)
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
