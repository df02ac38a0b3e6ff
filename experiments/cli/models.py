"""`lstm-strategies models` and `models promote`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.cli.console import (
    DebugOption,
    HomeOption,
    JsonOption,
    SetOption,
    errors,
    note,
    print_json,
    say,
    show_table,
)

if TYPE_CHECKING:
    from lightning_models.home import Home
    from lightning_models.registry import ModelEntry

__all__ = ["models_app"]

models_app = typer.Typer(
    help="List registered models; promote a version.", invoke_without_command=True
)


@models_app.callback()
def list_models(
    context: typer.Context,
    as_json: JsonOption = False,
    home: HomeOption = None,
    debug: DebugOption = False,
    settings: SetOption = None,
) -> None:
    """List every version of every registered model."""
    from experiments.cli.settings import no_settings

    no_settings("models", settings)
    if context.invoked_subcommand is not None:
        context.obj = home
        return
    from dataclasses import asdict

    from experiments.cli.tables import models_table
    from lightning_models.candles.timestamps import iso_utc_of
    from lightning_models.home import find_home

    place = find_home(home)
    entries = _entries(place)
    if as_json:
        print_json([{**asdict(one), "created_at": iso_utc_of(one.created_at)} for one in entries])
    elif entries:
        show_table(models_table(entries))
    else:
        note(
            f"no models in {place.tracking_uri} yet. Train one: lstm-strategies train --preset "
            "price-predictor --data FILE --name NAME",
            copied=True,
        )


@models_app.command("promote")
def promote_model(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Of the model.")],
    version: Annotated[int, typer.Argument(help="To make the champion.")],
    home: HomeOption = None,
    debug: DebugOption = False,
    settings: SetOption = None,
) -> None:
    """Make a version the champion of its name."""
    from experiments.cli.settings import no_settings

    no_settings("models promote", settings)
    with errors.status("loading MLflow"):
        from lightning_models.home import find_home
        from lightning_models.registry import Registry

    above: Path | None = context.obj
    Registry(find_home(home or above)).promote(name, version)
    say(f"models:/{name}@champion is version {version}")


def _entries(home: Home) -> list[ModelEntry]:
    database = home.tracking_uri.removeprefix("sqlite:///")
    if database != home.tracking_uri and not Path(database).exists():
        return []  # found without MLflow, which would take a minute to make an empty database
    with errors.status("loading MLflow"):
        from lightning_models.registry import Registry
    return Registry(home).entries()
