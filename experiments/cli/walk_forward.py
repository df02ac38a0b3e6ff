"""`lstm-strategies walk-forward`."""

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
    MarketOption,
    SetOption,
    TimeframeOption,
    errors,
    print_json,
    say,
    show_table,
)
from experiments.cli.counting import Counting
from experiments.cli.logs import quiet_mlflow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from experiments.result import BacktestResult
    from experiments.walk_forward import WalkForwardResult
    from lightning_models.candles import Candles

__all__ = ["folds_table", "walk_forward_command"]

# Headings of the scores, and their names in `ForecastScores`.
COLUMNS = (
    ("log-loss", "log_loss"),
    ("gain", "log_loss_gain"),
    ("AUC", "auc"),
    ("right", "directional_accuracy"),
    ("ECE", "ece"),
)


def walk_forward_command(
    preset: Annotated[
        str, typer.Option("--preset", metavar="NAME|FILE", help="A shipped preset or a YAML file.")
    ],
    data: DataOption,
    timeframe: TimeframeOption = None,
    market: MarketOption = "continuous",
    name: Annotated[
        str | None, typer.Option("--name", help="To register under; PRESET-walk-forward.")
    ] = None,
    folds: Annotated[int | None, typer.Option("--folds", help="Times to fit again; 5.")] = None,
    scheme: Annotated[
        str | None,
        typer.Option(
            "--scheme", help="anchored: train from the first candle on; rolling: a fixed length."
        ),
    ] = None,
    test_length: Annotated[
        str | None,
        typer.Option("--test-length", help="Of a fold: candles, or a duration such as 90d."),
    ] = None,
    embargo: Annotated[
        int | None,
        typer.Option("--embargo", help="Candles to leave out after each cut, beyond the labels."),
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", help="Folds at a time; -1 is one for each core.")
    ] = -1,
    backend: Annotated[
        str, typer.Option("--backend", help="loky: this machine; dask: a cluster.")
    ] = "loky",
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", metavar="ADDRESS", help="Of dask; one of its own by default."),
    ] = None,
    promote: Annotated[
        bool, typer.Option("--promote", help="Make the new version the champion.")
    ] = False,
    trade: Annotated[
        bool, typer.Option("--backtest", help="Trade the joined forecasts, symbol by symbol.")
    ] = False,
    min_confidence: Annotated[
        float | None,
        typer.Option("--min-confidence", help="That an entry of the backtest needs; 0.6."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="DIR", help="Backtest, and write the report there."),
    ] = None,
    as_json: JsonOption = False,
    features: FeaturesOption = None,
    home: HomeOption = None,
    debug: DebugOption = False,
    settings: SetOption = None,
) -> None:
    """Fit again and again as time goes on; join what was said of candles not yet seen."""
    from experiments.cli.sources import closed_by_now, read_sources

    with errors.status("reading candles"):
        read = read_sources(data, timeframe=timeframe, market=market)
        candles = [closed_by_now(one) for one in read]
    with errors.status("loading torch, Lightning and MLflow"):
        from experiments.clusters import on_backend
        from experiments.config import BacktestConfig
        from experiments.presets import load_train_config
        from experiments.settings import validated
        from experiments.walk_forward import WalkForwardConfig, walk_forward
        from lightning_models.errors import ConfigError
        from lightning_models.home import find_home
    if jobs == 0:
        raise ConfigError("--jobs 0 fits nothing: give a number of processes, or -1 for all cores")
    config = load_train_config(preset, settings or ())
    given: dict[str, Any] = {
        "folds": folds,
        "scheme": scheme,
        "test_length": _length(test_length),
        "embargo": embargo,
    }
    walk = validated(
        WalkForwardConfig,
        {key: value for key, value in given.items() if value is not None},
        origin="walk-forward",
    )
    # Whatever is wrong with the backtest's options is told before the folds are fitted.
    confidence = {} if min_confidence is None else {"min_confidence": min_confidence}
    planned = validated(BacktestConfig, {"model": "the series", **confidence}, origin="backtest")
    place = find_home(home)
    with (
        on_backend(backend, jobs=jobs, scheduler=scheduler),
        quiet_mlflow(),
        Counting("fitting folds", walk.folds) as counted,
    ):
        result = walk_forward(
            config,
            walk,
            candles,
            name=name or f"{config.preset}-walk-forward",
            home=place,
            promote=promote,
            on_fold=lambda fold: counted.done(f"{fold.name} is done"),
        )
    if not as_json:
        _show(result)
    backtests = []
    if trade or report is not None:
        asked = planned.model_copy(update={"model": result.model})
        backtests = _backtests(asked, candles, place, report, quiet=as_json)
    if as_json:
        found = result.model_dump(mode="json")
        print_json({**found, "backtests": [one.model_dump(mode="json") for one in backtests]})
    else:
        say(f"runs and figures: {place.ui_command}", copied=True)


def folds_table(result: WalkForwardResult) -> Table:
    """Return a row for each fold, mean and deviation, and the joined series; 80 columns wide."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(
            f"{len(result.folds)} {result.config.scheme} folds of {result.preset}, "
            f"{result.timeframe} candles: each tested on what its model had not seen"
        ),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    for heading in ("fold", "tested\nfrom, to"):
        table.add_column(heading, no_wrap=True)
    for heading in ("forecasts", "epoch", *(title for title, _ in COLUMNS)):
        table.add_column(heading, justify="right", no_wrap=True)
    for fold in result.folds:
        table.add_row(
            str(fold.number),
            f"{fold.tested_from:%Y-%m-%d}\n{fold.tested_to:%Y-%m-%d}",
            f"{fold.scores.n:,}",
            str(fold.best_epoch),
            *(_number(getattr(fold.scores, name)) for _, name in COLUMNS),
        )
    spread = {one.metric: one for one in result.spread}
    if spread:
        table.add_section()
        for title, part in (("mean", "mean"), ("± sd", "deviation")):
            cells = [
                _number(getattr(spread[name], part) if name in spread else None)
                for _, name in COLUMNS
            ]
            table.add_row(title, "", "", "", *cells)
    table.add_section()
    scores = result.joined.scores
    table.add_row(
        "all",
        f"{result.folds[0].tested_from:%Y-%m-%d}\n{result.folds[-1].tested_to:%Y-%m-%d}",
        f"{scores.n:,}",
        "",
        *(_number(getattr(scores, name)) for _, name in COLUMNS),
    )
    for title, bound in (("low", "_low"), ("high", "_high")):
        cells = [_number(getattr(scores, f"{name}{bound}")) for _, name in COLUMNS]
        table.add_row(title, *[""] * 3, *cells)
    table.caption = Text(f"low, high: {scores.level:.0%} interval of all forecasts as one series")
    table.caption_justify = "left"
    return table


def _show(result: WalkForwardResult) -> None:
    from experiments.cli.tables import baselines_table, parts_table
    from lightning_models.evaluation.coverage import coverage_sentence

    metrics = result.joined.metrics()
    show_table(folds_table(result))
    show_table(baselines_table(metrics))
    show_table(parts_table(metrics))
    say(result.verdict)
    if result.coverage:
        say(coverage_sentence(result.coverage))
    seeds = [str(fold.seed) for fold in result.folds]
    say(
        f"Seeds {seeds[0]} to {seeds[-1]}, one a fold; gain is the log-loss below the majority "
        "class of the train labels: of all folds' mean share in the joined row, of each fold's own "
        "in the table of baselines."
        if len(seeds) > 1
        else f"Seed {seeds[0]}; gain is the log-loss below the majority class of the train labels."
    )
    say(
        f"registered as {result.model} ({result.alias}), run {result.run_id}: a bar's forecast "
        "comes from the newest fold that had not seen it",
        copied=True,
    )


def _backtests(
    config: Any, candles: Sequence[Candles], home: Any, report: Path | None, *, quiet: bool
) -> list[BacktestResult]:
    from experiments.backtesting import backtest
    from experiments.cli.backtest import show_backtest

    found = []
    for one in candles:
        folder = report
        if report is not None and len(candles) > 1:
            folder = report / one.symbol.replace("/", "_")
        with errors.status(f"trading {one.symbol}"), quiet_mlflow():
            result = backtest(config, one, home=home, report=folder)
        found.append(result)
        if not quiet:
            show_backtest(result, folder)
    return found


def _length(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isdecimal() else text


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
