"""`lstm-strategies quickstart`: the whole way on the built-in market, in a minute or two."""

from __future__ import annotations

from typing import Annotated

import typer

from experiments.cli.console import (
    DebugOption,
    HomeOption,
    SetOption,
    errors,
    say,
    show_progress,
    show_table,
)
from experiments.cli.logs import quiet_mlflow

__all__ = ["quickstart_command"]

NAME = "quickstart"
CANDLES = 12_000
# Far above anything a real market gives away: large enough to be found in a minute.
SIGNAL = 0.25


def quickstart_command(
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of market and weights.")] = 0,
    home: HomeOption = None,
    debug: DebugOption = False,
    settings: SetOption = None,
) -> None:
    """Train on a simulated market, register, backtest beside buy-and-hold, write a report."""
    from experiments.cli.backtest import show_backtest
    from experiments.cli.tables import baselines_table, scores_table
    from lightning_models.candles import simulate_market
    from lightning_models.errors import TrainingInterrupted
    from lightning_models.home import find_home

    place = find_home(home).create()
    with errors.status("simulating a market, loading torch, Lightning and MLflow"):
        candles = simulate_market(candles=CANDLES, seed=seed, signal=SIGNAL)
        from experiments.backtesting import backtest
        from experiments.config import BacktestConfig
        from experiments.presets import load_train_config
        from experiments.training import train

        config = load_train_config("quickstart", [*(settings or ()), f"training.seed={seed}"])
    say(
        f"A simulated market of {CANDLES:,} hourly candles, with a planted signal: its driver "
        f"has a correlation of {SIGNAL} with the next return."
    )
    try:
        with quiet_mlflow():
            model = train(config, candles, name=NAME, home=place, progress=show_progress())
    except TrainingInterrupted as error:
        raise TrainingInterrupted("stopped; the quickstart begins anew when it is run again") from (
            error
        )
    show_table(scores_table(model.metrics))
    show_table(baselines_table(model.metrics))
    say(model.verdict)
    report = place.reports / NAME
    with errors.status("trading its forecasts"), quiet_mlflow():
        result = backtest(
            BacktestConfig(model=model.uri, min_confidence=0.55, seed=seed),
            candles,
            home=place,
            report=report,
        )
    show_backtest(result, None)
    say("")
    say("The signal was planted, and no real market gives one of this size away.")
    say(
        f"model:  models:/{NAME}@{model.alias} (version {model.version}) in {place.path}",
        copied=True,
    )
    say(f"report: {report / 'report.html'}", copied=True)
    say(f"MLflow: {place.ui_command}", copied=True)
