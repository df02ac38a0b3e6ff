"""`lstm-strategies signal`."""

from __future__ import annotations

from typing import Annotated

import typer

from experiments.cli.console import JsonOption, errors, print_json, say
from experiments.cli.logs import quiet_mlflow
from experiments.cli.trading_options import TradingOptions, read_traded, takes_trading_options

__all__ = ["signal_command"]


@takes_trading_options
def signal_command(
    trading: TradingOptions,
    strategy: Annotated[
        str, typer.Argument(metavar="STRATEGY", help="One of a fused score, such as lstm_fast.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Say what a strategy would do at the last finished candle, and why."""
    with errors.status("loading torch and backtrader"):
        from experiments.signals import latest_signal
        from lightning_models.errors import ConfigError

        config = trading.config_of(strategy, origin="signal")
    if trading.detail:
        raise ConfigError("--detail decides within a bar that is traded: a signal needs none")
    made = []
    for candles in read_traded(trading):
        with errors.status(f"reading {candles.symbol}"), quiet_mlflow():
            made.append(latest_signal(config, candles, home=trading.home))
    if as_json:
        print_json([one.model_dump(mode="json") for one in made])
        return
    for one in made:
        verb = "enter" if one.should_enter else "no entry"
        say(f"{one.symbol}: {verb}. {one.reasoning}")
