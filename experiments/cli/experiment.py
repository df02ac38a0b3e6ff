"""`lstm-strategies experiment`: comparisons over many trainings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from experiments.cli.console import (
    DataOption,
    DebugOption,
    HomeOption,
    MarketOption,
    SetOption,
    TimeframeOption,
    errors,
    say,
    show_table,
)
from experiments.cli.counting import Counting
from experiments.cli.logs import quiet_mlflow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.table import Table

    from experiments.comparison import ModesResult, TrialResult, ZooResult
    from experiments.comparison.pooling import Measured
    from lightning_models.candles import Candles

__all__ = ["experiment_app"]

experiment_app = typer.Typer(
    help="Compare networks or modes over many trainings; a stopped one goes on when repeated.",
    no_args_is_help=True,
)

JobsOption = Annotated[
    int, typer.Option("--jobs", help="Trainings at a time; -1 is one for each core.")
]


@experiment_app.command("zoo")
def zoo_command(
    data: DataOption,
    timeframe: TimeframeOption = None,
    market: MarketOption = "continuous",
    presets: Annotated[
        list[str] | None,
        typer.Option("--preset", metavar="NAME|FILE", help="All networks by default; repeatable."),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Trainings of each.")] = 1,
    name: Annotated[str, typer.Option("--name", help="Of the MLflow experiment.")] = "zoo",
    jobs: JobsOption = -1,
    home: HomeOption = None,
    debug: DebugOption = False,
    settings: SetOption = None,
) -> None:
    """Train every network on every symbol and score each out of sample."""
    candles = _candles(data, timeframe, market)
    with errors.status("loading torch, Lightning and MLflow"):
        from experiments.comparison import ZOO, run_zoo
        from lightning_models.home import find_home
    _check_jobs(jobs)
    chosen = tuple(presets or ZOO)
    place = find_home(home)
    with quiet_mlflow(), Counting("training", len(chosen) * len(candles) * seeds) as counted:
        result = run_zoo(
            candles,
            presets=chosen,
            settings=settings or (),
            seeds=seeds,
            name=name,
            home=place,
            jobs=jobs,
            on_trial=_told(counted),
        )
    show_table(zoo_table(result))
    say(result.verdict)
    say(f"runs and figures: {place.ui_command}", copied=True)


@experiment_app.command("modes")
def modes_command(
    data: DataOption,
    timeframe: TimeframeOption = None,
    market: MarketOption = "continuous",
    preset: Annotated[
        str,
        typer.Option("--preset", metavar="NAME|FILE", help="Of a network that can be a stream."),
    ] = "layer-norm",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Trainings of each arm.")] = 5,
    name: Annotated[str, typer.Option("--name", help="Of the MLflow experiment.")] = "modes",
    jobs: JobsOption = -1,
    home: HomeOption = None,
    debug: DebugOption = False,
    settings: SetOption = None,
) -> None:
    """Train one network over windows and over whole stretches, and compare out of sample."""
    candles = _candles(data, timeframe, market)
    with errors.status("loading torch, Lightning and MLflow"):
        from experiments.comparison import compare_modes
        from lightning_models.home import find_home
    _check_jobs(jobs)
    place = find_home(home)
    with quiet_mlflow(), Counting("training", 3 * len(candles) * seeds) as counted:
        result = compare_modes(
            candles,
            preset=preset,
            settings=settings or (),
            seeds=seeds,
            name=name,
            home=place,
            jobs=jobs,
            on_trial=_told(counted),
        )
    show_table(modes_table(result))
    say(result.verdict)
    say(f"runs and figures: {place.ui_command}", copied=True)


def zoo_table(result: ZooResult) -> Table:
    """Return a row for each preset and symbol, and one for each preset over all symbols."""
    table = _table(
        "Each network trained on each symbol by itself; scores of candles it has not seen",
        ("network", "symbol"),
        ("log-loss", "gain", "AUC", "right", "95 % interval", "in 80 %", "in 95 %", "train s"),
    )
    for preset, scores in result.overall.items():
        own = [one for one in result.trials if one.label == preset]
        for one in own:
            read = one.metrics.get
            table.add_row(
                preset,
                one.symbol,
                _number(read("test/log_loss"), ".4f"),
                _number(read("test/log_loss_gain"), "+.4f"),
                _number(read("test/auc"), ".3f"),
                _number(read("test/directional_accuracy"), ".1%"),
                _bounds(
                    read("test/directional_accuracy_low"),
                    read("test/directional_accuracy_high"),
                    ".1%",
                ),
                _number(read("test/coverage_80"), ".1%"),
                _number(read("test/coverage_95"), ".1%"),
                f"{one.seconds:.1f}",
            )
        table.add_row(
            preset,
            "all",
            *(_value(scores, name, form) for name, form in _SHOWN),
            _interval(scores, "directional_accuracy", ".1%"),
            _value(scores, "coverage_80", ".1%"),
            _value(scores, "coverage_95", ".1%"),
            f"{sum(one.seconds for one in own):.1f}",
            style="bold",
            end_section=True,
        )
    return table


def modes_table(result: ModesResult) -> Table:
    """Return a row for each arm, and for the sequence's lead over each other arm."""
    table = _table(
        f"{result.preset} in both modes; scores of candles it has not seen, mean of the seeds",
        ("",),
        ("log-loss", "95 % interval", "AUC", "95 % interval", "right", "in 80 %", "fit s"),
    )
    for arm, scores in result.scores.items():
        table.add_row(arm, *_cells(scores, ""), f"{result.seconds(arm):.1f}")
    table.add_section()
    for arm, lead in result.lead.items():
        table.add_row(f"sequence less {arm}", *_cells(lead, "+"), "")
    return table


_SHOWN = (
    ("log_loss", ".4f"),
    ("log_loss_gain", "+.4f"),
    ("auc", ".3f"),
    ("directional_accuracy", ".1%"),
)


def _cells(scores: dict[str, Measured], sign: str) -> list[str]:
    return [
        _value(scores, "log_loss", f"{sign}.5f"),
        _interval(scores, "log_loss", f"{sign}.5f"),
        _value(scores, "auc", f"{sign}.4f"),
        _interval(scores, "auc", f"{sign}.4f"),
        _value(scores, "directional_accuracy", f"{sign}.1%"),
        _value(scores, "coverage_80", f"{sign}.1%"),
    ]


def _table(title: str, texts: Sequence[str], numbers: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), box=box.SIMPLE_HEAD, title_justify="left")
    for heading in texts:
        table.add_column(heading)
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _value(scores: dict[str, Measured], name: str, form: str) -> str:
    return format(scores[name].value, form) if name in scores else "–"


def _interval(scores: dict[str, Measured], name: str, form: str) -> str:
    return _bounds(scores[name].low, scores[name].high, form) if name in scores else "–"


def _bounds(low: float | None, high: float | None, form: str) -> str:
    return "–" if low is None or high is None else f"{low:{form}} … {high:{form}}"


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _candles(data: list[str], timeframe: str | None, market: str) -> list[Candles]:
    from experiments.cli.sources import closed_by_now, read_sources

    with errors.status("reading candles"):
        return [
            closed_by_now(one) for one in read_sources(data, timeframe=timeframe, market=market)
        ]


def _check_jobs(jobs: int) -> None:
    from lightning_models.errors import ConfigError

    if jobs == 0:
        raise ConfigError("--jobs 0 runs nothing: give a number of processes, or -1 for all cores")


def _told(counted: Counting) -> Callable[[TrialResult], None]:
    return lambda one: counted.done(
        f"{one.label} on {one.symbol}, seed {one.seed}: {one.seconds:.0f} s"
    )
