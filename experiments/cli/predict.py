"""`lstm-strategies predict`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.cli.console import (
    DataOption,
    DebugOption,
    HomeOption,
    JsonOption,
    SetOption,
    errors,
    note,
    print_json,
    show_table,
)

if TYPE_CHECKING:
    from lightning_models.candles import Candles

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
    from experiments.moment import moment_of
    from experiments.settings import validated

    class PredictConfig(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        horizon: str = ""

    config = validated(PredictConfig, {}, settings or (), origin="predict")
    asked = None if at is None else moment_of(at, option="--at")
    with errors.status("loading the model"):
        from lightning_models.loading import load_predictor

        predictor = load_predictor(model, home=home)
    bundle = predictor.bundle
    forecasts = []
    for candles in read_sources(data, timeframe=predictor.timeframe, market=bundle.market):
        if candles.symbol not in bundle.symbols:
            note(
                f"note: {candles.symbol} is not among the symbols the model was trained on "
                f"({', '.join(bundle.symbols)})"
            )
        forecasts.append(predictor.predict_latest(_closed(candles, asked), horizon=config.horizon))
    if as_json:
        print_json([one.model_dump(mode="json") for one in forecasts])
    else:
        from experiments.cli.tables import forecast_table

        show_table(forecast_table(forecasts))


def _closed(candles: Candles, asked: datetime | None) -> Candles:
    # A forecast from a candle that is still forming would change until it closes.
    from lightning_models.candles import iso_utc
    from lightning_models.candles.timestamps import iso_utc_of, milliseconds_of
    from lightning_models.errors import TooFewCandlesError

    moment = datetime.now(UTC) if asked is None else asked
    known = candles.between(None, milliseconds_of(moment) - candles.period_ms + 1)
    end = iso_utc(int(candles.time[-1]) + candles.period_ms)
    if not len(known):
        raise TooFewCandlesError(
            f"no candle of {candles.symbol} has closed at {iso_utc_of(moment)}: the first one "
            f"closes at {iso_utc(int(candles.time[0]) + candles.period_ms)}. "
            + ("Give finished candles" if asked is None else "Give a later --at")
        )
    if asked is None and len(known) < len(candles):
        note(
            f"note: {len(candles) - len(known)} of the candles of {candles.symbol} have not closed "
            f"yet (the last one will at {end}) and are left out; --at {end} would take them"
        )
    late = milliseconds_of(moment) - int(candles.time[-1]) - 2 * candles.period_ms
    if asked is not None and late >= 0:
        note(
            f"note: the candles of {candles.symbol} end at {end}, before --at "
            f"{iso_utc_of(moment)}: the forecast is of that candle"
        )
    return known
