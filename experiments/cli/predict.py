"""`lstm-strategies predict`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.cli.console import (
    DataOption,
    DebugOption,
    FeaturesOption,
    HomeOption,
    JsonOption,
    SetOption,
    errors,
    note,
    print_json,
    show_table,
)

if TYPE_CHECKING:
    from rich.table import Table

    from lightning_models.candles import Candles
    from lightning_models.fan import Fan

__all__ = ["fan_table", "predict_command"]


def predict_command(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="models:/NAME@champion, models:/NAME/3, a folder, or statistical:TIMEFRAME, "
            "which was never trained.",
        ),
    ],
    data: DataOption,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="Forecast as of this UTC time; else the newest."),
    ] = None,
    level: Annotated[
        float, typer.Option("--level", help="Share of outcomes the bounds shall hold: 0.8 or 0.95.")
    ] = 0.80,
    fallback: Annotated[
        str,
        typer.Option(
            "--fallback", help="What to use if there is no such model, such as statistical:6h."
        ),
    ] = "",
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps", help="Go on candle by candle, so many, each forecast from the one before."
        ),
    ] = None,
    as_json: JsonOption = False,
    features: FeaturesOption = None,
    home: HomeOption = None,
    debug: DebugOption = False,
    settings: SetOption = None,
) -> None:
    """Forecast each symbol at its last closed candle, at one horizon, at all, or step by step."""
    from pydantic import BaseModel, ConfigDict

    from experiments.cli.sources import read_sources
    from experiments.moment import moment_of
    from experiments.settings import validated

    class PredictConfig(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        horizon: str = ""

    config = validated(PredictConfig, {}, settings or (), origin="predict")
    if steps is not None and config.horizon:
        from lightning_models.errors import ConfigError  # its package takes a second

        raise ConfigError(
            f"--steps goes on in steps of one candle, and horizon={config.horizon} asks for one of "
            "the model's own horizons: leave out one of the two"
        )
    asked = None if at is None else moment_of(at, option="--at")
    with errors.status("loading the model"):
        from lightning_models.loading import load_predictor

        predictor = load_predictor(model, home=home, fallback=fallback)
    predictor.check_level(level)
    if steps is not None and len(predictor.horizons) > 1:
        note(
            "note: a path repeats the one-candle forecast; the model's own forecasts of "
            f"{', '.join(predictor.horizons[1:])} are those of predict without --steps"
        )
    bundle = predictor.bundle
    forecasts, fans = [], []
    for candles in read_sources(data, timeframe=predictor.timeframe, market=bundle.market):
        if bundle.symbols and candles.symbol not in bundle.symbols:
            note(
                f"note: {candles.symbol} is not among the symbols the model was trained on "
                f"({', '.join(bundle.symbols)})"
            )
        known = _closed(candles, asked)
        if steps is not None:
            fans.append(predictor.forecast_path(known, steps=steps, level=level))
            continue
        asked_for = [config.horizon] if config.horizon else predictor.horizons
        forecasts += [
            predictor.predict_latest(known, horizon=horizon, level=level) for horizon in asked_for
        ]
    if as_json:
        shown = [one.model_dump(mode="json") for one in forecasts]
        print_json(shown if steps is None else [fan.to_json() for fan in fans])
        return
    if forecasts:
        from experiments.cli.tables import forecast_table

        show_table(forecast_table(forecasts))
        for one in forecasts:
            if one.change_pct * one.direction < 0:
                note(
                    f"note: for {one.symbol}, {one.horizon} ahead, the direction and the median "
                    "change point opposite ways; strategies do not trade such a bar"
                )
    for fan in fans:
        show_table(fan_table(fan))


def fan_table(fan: Fan) -> Table:
    """Return a row for each step of a fan: when, the median, and the bounds."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from lightning_models.candles import iso_utc

    table = Table(
        title=Text(
            f"{fan.model} on {fan.symbol}, candle by candle from {iso_utc(fan.time + 1)}, last "
            f"close {fan.price:,.6g}, {fan.level:.0%} bounds"
        ),
        box=box.SIMPLE_HEAD,
        title_justify="left",
    )
    table.add_column("ahead", no_wrap=True)
    table.add_column("until", no_wrap=True)
    for heading in ("median", "change", "lower", "upper"):
        table.add_column(heading, justify="right", no_wrap=True)
    for time, row in zip(fan.times.tolist(), fan.to_json()["steps"], strict=True):
        table.add_row(
            row["horizon"],
            iso_utc(time + 1),  # a bar is stamped just before its end
            f"{row['median']:,.6g}",
            f"{row['median_pct']:+.2f} %",
            f"{row['lower']:,.6g} ({row['lower_pct']:+.2f} %)",
            f"{row['upper']:,.6g} ({row['upper_pct']:+.2f} %)",
        )
    return table


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
