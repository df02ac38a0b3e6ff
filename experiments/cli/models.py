"""`lstm-strategies models` and `models promote`."""

from __future__ import annotations

from typing import Annotated

import typer

from experiments.cli.console import (
    DebugOption,
    HomeOption,
    JsonOption,
    SetOption,
    errors,
    print_json,
    results,
)

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
    if context.invoked_subcommand is not None:
        return
    from experiments.cli.settings import no_settings

    no_settings("models", settings)
    from dataclasses import asdict

    from experiments.cli.tables import models_table
    from lightning_models.candles.timestamps import iso_utc_of
    from lightning_models.home import find_home
    from lightning_models.registry import Registry

    place = find_home(home)
    entries = Registry(place).entries()
    if as_json:
        print_json([{**asdict(one), "created_at": iso_utc_of(one.created_at)} for one in entries])
    elif entries:
        results.print(models_table(entries))
    else:
        errors.print(
            f"no models in {place.tracking_uri} yet. Train one: lstm-strategies train --preset "
            "price-predictor --data FILE --name NAME",
            markup=False,
            highlight=False,
        )


@models_app.command("promote")
def promote_model(
    name: Annotated[str, typer.Argument(help="Of the model.")],
    version: Annotated[int, typer.Argument(help="To make the champion.")],
    home: HomeOption = None,
    debug: DebugOption = False,
    settings: SetOption = None,
) -> None:
    """Make a version the champion of its name."""
    from experiments.cli.settings import no_settings

    no_settings("models promote", settings)
    from lightning_models.home import find_home
    from lightning_models.registry import Registry

    Registry(find_home(home)).promote(name, version)
    results.print(f"models:/{name}@champion is version {version}", markup=False, highlight=False)
