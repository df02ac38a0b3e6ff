"""`lstm-strategies predict`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from experiments.cli.console import (
    DataOption,
    DebugOption,
    HomeOption,
    JsonOption,
    SetOption,
    errors,
    print_json,
    results,
)
from lightning_models.errors import ConfigError

__all__ = ["predict_command"]


def predict_command(
    model: Annotated[
        str, typer.Option("--model", help="models:/NAME@champion, models:/NAME/3 or a folder.")
    ],
    data: DataOption,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="Forecast as of this UTC time; else the newest."),
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    debug: DebugOption = False,
    settings: SetOption = None,
) -> None:
    """Forecast each symbol at its last closed candle."""
    from pydantic import BaseModel, ConfigDict

    from experiments.cli.sources import read_sources
    from experiments.cli.tables import forecast_table
    from lightning_models.loading import load_predictor

    class PredictConfig(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        horizon: str = ""

    moment = None if at is None else _milliseconds(at)
    with errors.status("loading the model"):
        from experiments.config import validated

        config = validated(PredictConfig, {}, settings or (), origin="predict")
        predictor = load_predictor(model, home=home)
    bundle = predictor.bundle
    forecasts = []
    for candles in read_sources(data, timeframe=predictor.timeframe, market=bundle.market):
        known = candles
        if moment is not None:
            known = candles.between(None, moment - candles.period_ms + 1)
        if candles.symbol not in bundle.symbols:
            errors.print(
                f"note: {candles.symbol} is not among the symbols the model was trained on "
                f"({', '.join(bundle.symbols)})",
                markup=False,
                highlight=False,
            )
        forecasts.append(predictor.predict_latest(known, horizon=config.horizon))
    if as_json:
        print_json([one.model_dump(mode="json") for one in forecasts])
    else:
        results.print(forecast_table(forecasts))


def _milliseconds(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"unreadable --at {text!r}: write a UTC time such as 2022-06-30T18:00:00Z"
        ) from error
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return round(moment.timestamp() * 1000)
