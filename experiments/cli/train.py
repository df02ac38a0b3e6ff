"""`lstm-strategies train`."""

from __future__ import annotations

from typing import Annotated

import typer

from experiments.cli.console import (
    DataOption,
    DebugOption,
    FeaturesOption,
    HomeOption,
    MarketOption,
    SetOption,
    TimeframeOption,
    errors,
    note,
    say,
    show_progress,
    show_table,
)
from experiments.cli.logs import quiet_mlflow

__all__ = ["train_command"]


def train_command(
    preset: Annotated[
        str, typer.Option("--preset", metavar="NAME|FILE", help="A shipped preset or a YAML file.")
    ],
    data: DataOption,
    name: Annotated[str, typer.Option("--name", help="To register the model under.")],
    timeframe: TimeframeOption = None,
    market: MarketOption = "continuous",
    resume: Annotated[
        str | None,
        typer.Option("--resume", metavar="RUN|last", help="Go on where a run stopped."),
    ] = None,
    promote: Annotated[
        bool, typer.Option("--promote", help="Make the new version the champion.")
    ] = False,
    refit: Annotated[
        bool,
        typer.Option(
            "--refit", help="Fit the evaluated configuration again, to the newest candle."
        ),
    ] = False,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds", min=2, help="Train with so many seeds; register the best by validation."
        ),
    ] = None,
    features: FeaturesOption = None,
    home: HomeOption = None,
    debug: DebugOption = False,
    settings: SetOption = None,
) -> None:
    """Train a model on candles, evaluate it on later ones, and register it."""
    from experiments.cli.sources import closed_by_now, read_sources
    from experiments.cli.tables import baselines_table, parts_table, scores_table, seeds_table

    if seeds is not None and (resume or refit):
        from lightning_models.errors import ConfigError  # its package takes a second

        raise ConfigError(
            f"--seeds trains anew and cannot be combined with {'--resume' if resume else '--refit'}"
            ": leave out one"
        )

    with errors.status("reading candles"):
        given = read_sources(data, timeframe=timeframe, market=market)
        candles = [closed_by_now(one) for one in given]
    total = sum(len(one) for one in candles)
    incomplete = sum(int(one.incomplete.sum()) for one in candles)
    note(
        f"{total:,} {candles[0].timeframe} candles of {len(candles)} "
        f"symbol{'s' if len(candles) > 1 else ''}"
        + (f", {incomplete} of them lacking some of their finer candles" if incomplete else "")
    )
    with errors.status("loading torch, Lightning and MLflow"):
        from experiments.presets import load_train_config
        from experiments.seeds import train_seeds
        from experiments.training import train
        from lightning_models.home import find_home
    config = load_train_config(preset, settings or ())
    place = find_home(home)
    with quiet_mlflow():
        if seeds is None:
            study = None
            model = train(
                config,
                candles,
                name=name,
                home=place,
                resume=resume,
                promote=promote,
                refit=refit,
                progress=show_progress(),
            )
        else:
            study = train_seeds(
                config,
                candles,
                name=name,
                seeds=seeds,
                home=place,
                promote=promote,
                progress=show_progress(),
            )
            model = study.model
    if model.metrics:
        several = len(config.data.horizons) > 1
        ahead = str(config.data.horizons[0]) if several else ""
        show_table(scores_table(model.metrics, ahead=ahead))
    if "test/log_loss" in model.metrics:
        show_table(baselines_table(model.metrics))
        show_table(parts_table(model.metrics))
    say(model.verdict)
    if study is not None:
        show_table(seeds_table(study))
        say(study.verdict)
    say(
        f"registered as models:/{name}@{model.alias} (version {model.version}), run {model.run_id}",
        copied=True,
    )
    say(f"runs and figures: {place.ui_command}", copied=True)
