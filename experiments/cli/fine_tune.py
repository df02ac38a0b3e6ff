"""`lstm-strategies fine-tune`."""

from __future__ import annotations

from typing import Annotated

import typer

from experiments.cli.console import (
    DataOption,
    DebugOption,
    FeaturesOption,
    HomeOption,
    SetOption,
    errors,
    note,
    say,
    show_progress,
    show_table,
)
from experiments.cli.logs import quiet_mlflow

__all__ = ["fine_tune_command"]


def fine_tune_command(
    model: Annotated[
        str,
        typer.Option(
            "--model", metavar="M", help="To go on from: models:/NAME@champion or models:/NAME/3."
        ),
    ],
    data: DataOption,
    name: Annotated[
        str | None, typer.Option("--name", help="To register under; the model's own name.")
    ] = None,
    replay: Annotated[
        float | None,
        typer.Option(
            "--replay",
            metavar="SHARE",
            help="Of windows it was trained on, against forgetting; 0.25 if they are there.",
        ),
    ] = None,
    timeframe: Annotated[
        str | None, typer.Option("--timeframe", help="To resample to; the model's own.")
    ] = None,
    features: FeaturesOption = None,
    home: HomeOption = None,
    debug: DebugOption = False,
    settings: SetOption = None,
) -> None:
    """Continue a registered model on newer candles, and compare it with what it was."""
    from experiments.cli.sources import closed_by_now, read_sources
    from experiments.cli.tables import baselines_table, scores_table

    with errors.status("loading the model"):
        from experiments.config import validated
        from experiments.fine_tuning import FineTuneConfig, fine_tune
        from experiments.parent import load_parent
        from lightning_models.home import find_home
        from lightning_models.registry import Registry

        place = find_home(home)
        given = {} if replay is None else {"replay": replay}
        config = validated(FineTuneConfig, given, settings or (), origin="fine-tuning")
        parent = load_parent(model, Registry(place))
    bundle = parent.bundle
    with errors.status("reading candles"):
        found = read_sources(data, timeframe=timeframe or bundle.timeframe, market=bundle.market)
        candles = [closed_by_now(one) for one in found]
    note(
        f"{sum(len(one) for one in candles):,} {candles[0].timeframe} candles; {parent.model} has "
        f"seen nothing from {bundle.unseen_from:%Y-%m-%d %H:%M}Z on"
    )
    with quiet_mlflow():
        tuned = fine_tune(
            parent.model, candles, config=config, name=name, home=place, progress=show_progress()
        )
    if "test/log_loss" in tuned.metrics:
        show_table(scores_table(tuned.metrics))
        show_table(baselines_table(tuned.metrics))
    say(tuned.verdict)
    say(tuned.judgement)
    say(
        f"registered as models:/{tuned.name}@{tuned.alias} (version {tuned.version}), continuing "
        f"{tuned.parent}, run {tuned.run_id}",
        copied=True,
    )
    say(f"runs and figures: {place.ui_command}", copied=True)
