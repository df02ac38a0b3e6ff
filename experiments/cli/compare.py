"""`lstm-strategies compare`, `multi-symbol`, `portfolio` and `strategies`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.cli.console import (
    DebugOption,
    JsonOption,
    errors,
    note,
    print_json,
    say,
    show_table,
)
from experiments.cli.counting import Counting
from experiments.cli.logs import quiet_mlflow
from experiments.cli.trading_options import (
    TradingOptions,
    read_detail,
    read_traded,
    takes_trading_options,
)

if TYPE_CHECKING:
    from experiments.many_symbols import SymbolFailure
    from experiments.result import BacktestResult

__all__ = [
    "compare_command",
    "multi_symbol_command",
    "portfolio_command",
    "strategies_command",
]

ReportOption = Annotated[
    Path | None, typer.Option("--report", metavar="DIR", help="Write the reports there.")
]
StrategyArgument = Annotated[
    str, typer.Argument(metavar="STRATEGY", help="Its name; `strategies` lists them.")
]


def strategies_command(as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """List the strategies by name, with their parameters."""
    from experiments.cli.strategy_tables import strategies_table
    from experiments.strategy_config import TOLD, default_parameters
    from lstm_strategies.strategies import STRATEGIES, summary_of

    rows = [
        {
            "strategy": name,
            "summary": summary_of(name),
            "needs_model": kind.needs_model,
            "parameters": {
                key: value for key, value in default_parameters(name).items() if key not in TOLD
            },
        }
        for name, kind in STRATEGIES.items()
    ]
    if as_json:
        print_json(rows)
    else:
        show_table(strategies_table(rows))


@takes_trading_options
def compare_command(
    trading: TradingOptions,
    strategies: Annotated[
        list[str], typer.Argument(metavar="STRATEGY", help="Names; `strategies` lists them.")
    ],
    metric: Annotated[
        str, typer.Option("--metric", help="To rank by, such as total_return_pct.")
    ] = "sharpe_ratio",
    report: ReportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Trade several strategies on the same candles at the same costs, and rank them."""
    with errors.status("loading torch and backtrader"):
        from experiments.cli.strategy_tables import comparison_table
        from experiments.comparing import compare, configs_of
        from lightning_models.errors import ConfigError

        configs = configs_of(strategies, trading.given(), trading.settings or (), origin="compare")
    sources = read_traded(trading)
    if len(sources) != 1:
        raise ConfigError(
            f"strategies are compared on one symbol, got {len(sources)}: give one file, or run "
            "multi-symbol for each strategy"
        )
    detail = next(iter(read_detail(trading, sources)), None)
    with quiet_mlflow(), Counting("backtesting", len(configs)) as counted:
        result = compare(
            configs,
            sources[0],
            metric=metric,
            home=trading.home,
            report=report,
            detail=detail,
            on_backtest=lambda one: counted.done(
                f"{one.strategy}: {one.total_trades} trades, {one.total_return_pct:+.1f} %"
            ),
        )
    if as_json:
        print_json(result.model_dump(mode="json"))
        return
    show_table(comparison_table(result))
    if result.slice != "out_of_sample":
        say("In sample: a model has seen part of these candles, or all.", style="yellow")
    say(f"best by {result.best_metric}: {result.best_strategy}. {result.verdict}")
    for one in result.comparisons:
        say(f"{one.strategy}: {one.verdict}")
        for sentence in one.notes:
            note(f"note: {one.strategy}: {sentence}")
    _say_report(report)


@takes_trading_options
def multi_symbol_command(
    trading: TradingOptions,
    strategy: StrategyArgument,
    jobs: Annotated[
        int, typer.Option("--jobs", help="Symbols at a time; -1 is one for each core.")
    ] = -1,
    backend: Annotated[
        str, typer.Option("--backend", help="loky: this machine; dask: a cluster.")
    ] = "loky",
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", metavar="ADDRESS", help="Of dask; one of its own by default."),
    ] = None,
    report: ReportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Trade a strategy on many symbols side by side, each with an account of its own."""
    with errors.status("loading torch and backtrader"):
        from experiments.cli.strategy_tables import symbols_table
        from experiments.clusters import on_backend
        from experiments.many_symbols import SymbolFailure, backtest_symbols

        config = trading.config_of(strategy, origin="multi-symbol")
    sources = read_traded(trading)
    details = read_detail(trading, sources)

    def told(symbol: str, found: BacktestResult | SymbolFailure) -> None:
        counted.done(
            f"{symbol}: failed"
            if isinstance(found, SymbolFailure)
            else f"{symbol}: {found.total_trades} trades, {found.total_return_pct:+.1f} %"
        )

    with (
        on_backend(backend, jobs=jobs, scheduler=scheduler),
        quiet_mlflow(),
        Counting("backtesting", len(sources)) as counted,
    ):
        result = backtest_symbols(
            config,
            sources,
            home=trading.home,
            report=report,
            details=details,
            jobs=None,
            on_symbol=told,
        )
    if as_json:
        print_json(result.model_dump(mode="json"))
        return
    show_table(symbols_table(result))
    say(result.verdict)
    for one in result.failures:
        say(f"left out: {one.symbol}: {one.error}", style="yellow")
    _say_report(report)


@takes_trading_options
def portfolio_command(
    trading: TradingOptions,
    strategy: StrategyArgument,
    report: ReportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Trade a strategy on many symbols of one account, as a real one does."""
    with errors.status("loading torch and backtrader"):
        from experiments.cli.strategy_tables import portfolio_table, shares_table
        from experiments.portfolio import backtest_portfolio

        config = trading.config_of(strategy, origin="portfolio")
    sources = read_traded(trading)
    details = read_detail(trading, sources)
    with errors.status(f"trading {len(sources)} symbols"), quiet_mlflow():
        result = backtest_portfolio(
            config, sources, home=trading.home, report=report, details=details
        )
    if as_json:
        print_json(result.model_dump(mode="json"))
        return
    show_table(portfolio_table(result))
    show_table(shares_table(result))
    if result.slice != "out_of_sample":
        say("In sample: the model has seen part of these candles, or all.", style="yellow")
    say(result.verdict)
    for one in result.failures:
        say(f"left out: {one.symbol}: {one.error}", style="yellow")
    for sentence in result.notes:
        say(f"note: {sentence}")
    _say_report(report)


def _say_report(folder: Path | None) -> None:
    if folder is not None:
        say(f"report: {(folder / 'report.html').absolute()}", copied=True)
