"""The options that every command which trades candles has."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

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
)

if TYPE_CHECKING:
    from experiments.config import BacktestConfig
    from lightning_models.candles import Candles

__all__ = [
    "TradingOptions",
    "folder_of",
    "read_detail",
    "read_traded",
    "takes_trading_options",
]


@dataclass(frozen=True)
class TradingOptions:
    """What is traded, when, with which account and at what cost."""

    data: DataOption
    model: Annotated[
        str | None,
        typer.Option("--model", help="models:/NAME@champion, models:/NAME/3 or a folder."),
    ] = None
    timeframe: TimeframeOption = None
    market: MarketOption = "continuous"
    detail: Annotated[
        list[str] | None,
        typer.Option(
            "--detail", metavar="SPEC", help="Finer candles: they decide within a bar; repeatable."
        ),
    ] = None
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="First moment, UTC.")
    ] = None
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Last moment, UTC.")] = (
        None
    )
    days_back: Annotated[
        int | None, typer.Option("--days-back", help="Days before the end, in place of --from.")
    ] = None
    in_sample: Annotated[
        bool, typer.Option("--in-sample", help="Trade on what the model has seen, too; shaded.")
    ] = False
    any_timeframe: Annotated[
        bool,
        typer.Option(
            "--any-timeframe", help="Ask a model about candles of another timeframe than its own."
        ),
    ] = False
    cash: Annotated[
        float | None,
        typer.Option("--cash", "--initial-capital", help="At the start; 10000."),
    ] = None
    leverage: Annotated[
        float | None, typer.Option("--leverage", help="Notional over margin; 1.")
    ] = None
    position_size: Annotated[
        float | None,
        typer.Option("--position-size", help="Most of the equity put up as margin; 0.1 is 10 %."),
    ] = None
    maker_fee: Annotated[
        float | None, typer.Option("--maker-fee", help="Fraction of notional; 0.0002.")
    ] = None
    taker_fee: Annotated[
        float | None, typer.Option("--taker-fee", help="Fraction of notional; 0.0004.")
    ] = None
    min_confidence: Annotated[
        float | None, typer.Option("--min-confidence", help="That an entry needs; 0.6 is 60 %.")
    ] = None
    risk_per_trade: Annotated[
        float | None,
        typer.Option("--risk-per-trade", help="Of the equity, lost at the stop; 0.02 is 2 %."),
    ] = None
    use_llm: Annotated[
        bool | None,
        typer.Option("--llm/--no-llm", help="Whether a language model is asked."),
    ] = None
    features: FeaturesOption = None
    home: HomeOption = None
    debug: DebugOption = False
    settings: SetOption = None

    def given(self) -> dict[str, Any]:
        """Return the fields of `experiments.config.BacktestConfig` that were given."""
        from experiments.moment import moment_of

        found = {
            "model": self.model,
            "start": None if self.start is None else moment_of(self.start, option="--from"),
            "end": None if self.end is None else moment_of(self.end, option="--to"),
            "days_back": self.days_back,
            "in_sample": self.in_sample or None,
            "any_timeframe": self.any_timeframe or None,
            "cash": self.cash,
            "leverage": self.leverage,
            "position_size": self.position_size,
            "maker_fee": self.maker_fee,
            "taker_fee": self.taker_fee,
            "min_confidence": self.min_confidence,
            "risk_per_trade": self.risk_per_trade,
            "use_llm": self.use_llm,
        }
        return {name: value for name, value in found.items() if value is not None}

    def config_of(self, strategy: str, *, origin: str) -> BacktestConfig:
        """Return the configuration of a strategy with these options.

        Parameters
        ----------
        strategy
            Its name in the table.
        origin
            The command, for messages.

        Raises
        ------
        ConfigError
            Naming every problem.
        """
        from experiments.config import BacktestConfig
        from experiments.settings import validated

        given = {**self.given(), "strategy": strategy}
        return validated(BacktestConfig, given, self.settings or (), origin=origin)


def takes_trading_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command with a parameter ``trading: TradingOptions`` an option for each field."""
    hints = get_type_hints(TradingOptions, include_extras=True)
    own_hints = get_type_hints(command, include_extras=True)
    own = [
        parameter.replace(annotation=own_hints[name])
        for name, parameter in inspect.signature(command).parameters.items()
        if name != "trading"
    ]
    shared = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(TradingOptions)
    ]

    @wraps(command)
    def taken(**options: Any) -> None:
        trading = {field.name: options.pop(field.name) for field in fields(TradingOptions)}
        command(trading=TradingOptions(**trading), **options)

    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*own, *shared)
    ]
    # Typer reads both, and looks behind a wrapped function for neither.
    taken.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    taken.__annotations__ = {one.name: one.annotation for one in parameters}
    del taken.__wrapped__
    return taken


def read_traded(trading: TradingOptions) -> list[Candles]:
    """Return the candles to trade, in the model's timeframe where there is a model.

    Raises
    ------
    ConfigError
        If ``--timeframe`` is another one than the model's, or a specification is unreadable.
    CandleError, TooFewCandlesError, ModelNotFoundError, BundleError
        As reading and loading do.
    """
    from experiments.cli.logs import quiet_mlflow
    from lightning_models.errors import ConfigError
    from lightning_models.loading import load_predictor

    timeframe, market = trading.timeframe, trading.market
    if trading.model is not None:
        with errors.status("loading the model"), quiet_mlflow():
            predictor = load_predictor(trading.model, home=trading.home)
        market = predictor.bundle.market
        if trading.any_timeframe:
            return _read(trading, timeframe, market)
        if timeframe not in (None, predictor.timeframe):
            raise ConfigError(
                f"{predictor.model} reads {predictor.timeframe} candles, and --timeframe asks for "
                f"{timeframe}: leave --timeframe out, and finer candles are resampled, train a "
                f"model on {timeframe}, or ask this one all the same with --any-timeframe"
            )
        timeframe = predictor.timeframe
    return _read(trading, timeframe, market)


def _read(trading: TradingOptions, timeframe: str | None, market: str) -> list[Candles]:
    from experiments.cli.sources import closed_by_now, read_sources

    with errors.status("reading candles"):
        read = read_sources(trading.data, timeframe=timeframe, market=market)
        return [closed_by_now(one) for one in read]


def read_detail(trading: TradingOptions, traded: Sequence[Candles]) -> list[Candles]:
    """Return the finer candles of ``--detail``, in their own timeframes.

    Raises
    ------
    ConfigError
        If they are of a symbol that is not traded.
    """
    from experiments.cli.sources import read_sources
    from lightning_models.errors import ConfigError

    if not trading.detail:
        return []
    with errors.status("reading finer candles"):
        details = read_sources(trading.detail, market=traded[0].market)
    symbols = [one.symbol for one in traded]
    for one in details:
        if one.symbol not in symbols:
            raise ConfigError(
                f"--detail has candles of {one.symbol}, and what is traded is "
                f"{', '.join(symbols)}: name the symbol, --detail {symbols[0]}=FILE"
            )
    return details


def folder_of(report: Path | None, symbol: str, *, several: bool) -> Path | None:
    """Return where a symbol's report goes: a folder of its own where there are several."""
    if report is None or not several:
        return report
    from experiments.report.summary_table import folder_of as own_folder_of

    return report / own_folder_of(symbol)
