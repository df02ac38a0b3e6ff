"""`lstm-strategies ensemble`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from experiments.cli.console import (
    DataOption,
    DebugOption,
    FeaturesOption,
    HomeOption,
    errors,
    note,
    say,
    show_table,
)
from experiments.cli.logs import quiet_mlflow

if TYPE_CHECKING:
    from rich.table import Table

    from experiments.ensembling import RegisteredEnsemble

# From this weight on the other members change no forecast that anybody would notice.
ALONE = 0.99

__all__ = ["ensemble_command", "members_table"]


def ensemble_command(
    members: Annotated[
        list[str],
        typer.Option(
            "--member",
            metavar="M",
            help="models:/NAME@champion, models:/NAME/3 or a folder; at least two.",
        ),
    ],
    data: DataOption,
    name: Annotated[str, typer.Option("--name", help="To register the ensemble under.")],
    timeframe: Annotated[
        str | None, typer.Option("--timeframe", help="To resample to; the members' own.")
    ] = None,
    calibrate_from: Annotated[
        str | None,
        typer.Option(
            "--calibrate-from",
            metavar="TIME",
            help="Start of the recalibration slice; the end of the last validation slice.",
        ),
    ] = None,
    calibrate_to: Annotated[
        str | None,
        typer.Option(
            "--calibrate-to",
            metavar="TIME",
            help="Its end; the end of the last calibration slice of a member.",
        ),
    ] = None,
    promote: Annotated[
        bool, typer.Option("--promote", help="Make the new version the champion.")
    ] = False,
    features: FeaturesOption = None,
    home: HomeOption = None,
    debug: DebugOption = False,
) -> None:
    """Join models into one, weighted by validation skill and recalibrated on later candles."""
    from experiments.cli.sources import closed_by_now, read_sources
    from experiments.cli.tables import baselines_table, parts_table, scores_table

    with errors.status("loading the members"):
        from experiments.ensembling import ensemble
        from lightning_models.home import find_home
        from lightning_models.loading import load_predictor

        place = find_home(home)
        predictors = [load_predictor(member, home=place) for member in members]
    first = predictors[0].bundle
    with errors.status("reading candles"):
        given = read_sources(data, timeframe=timeframe or first.timeframe, market=first.market)
        candles = [closed_by_now(one) for one in given]
    note(f"{sum(len(one) for one in candles):,} {candles[0].timeframe} candles")
    with errors.status("joining and evaluating"), quiet_mlflow():
        model = ensemble(
            predictors,
            candles,
            name=name,
            calibrate_from=calibrate_from,
            calibrate_to=calibrate_to,
            home=place,
            promote=promote,
        )
    show_table(members_table(model))
    say(f"{model.weighting[:1].upper()}{model.weighting[1:]}.")
    if max(row.weight for row in model.members) >= ALONE:
        say("One member counts for all: what follows is that model, calibrated anew.")
    show_table(scores_table(model.metrics))
    show_table(baselines_table(model.metrics))
    show_table(parts_table(model.metrics))
    say(model.verdict)
    say(
        f"registered as models:/{name}@{model.alias} (version {model.version}), run {model.run_id}",
        copied=True,
    )
    say(f"runs and figures: {place.ui_command}", copied=True)


def members_table(model: RegisteredEnsemble) -> Table:
    """Return each member with its weight and its gain on the validation slice."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text("Members"), box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("member", overflow="fold")
    for heading in ("weight", "log-loss gain on validation"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in model.members:
        gain = "–" if row.gain is None else f"{row.gain:+.4f}"
        table.add_row(Text(row.model), f"{row.weight:.2f}", gain)
    return table
