"""`lstm-strategies audit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.cli.console import (
    DataOption,
    DebugOption,
    FeaturesOption,
    HomeOption,
    JsonOption,
    SetOption,
    TimeframeOption,
    errors,
    print_json,
    say,
    show_table,
)
from experiments.cli.logs import quiet_mlflow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from lightning_models.audit import AuditReport, Finding

__all__ = ["audit_command", "audit_table"]

MARKS = {"passed": "✓", "failed": "✗", "not run": "–"}


def audit_command(
    data: DataOption,
    preset: Annotated[
        str | None,
        typer.Option("--preset", metavar="NAME|FILE", help="Features, labels and slices of it."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="models:/NAME@champion, models:/NAME/3 or a folder."),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy", metavar="MODULE:CLASS", help="Of backtrader; also FILE.py:CLASS."
        ),
    ] = None,
    features: FeaturesOption = None,
    timeframe: TimeframeOption = None,
    market: Annotated[
        str | None, typer.Option("--market", help="continuous, or sessions that close.")
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    debug: DebugOption = False,
    settings: SetOption = None,
) -> None:
    """Look for look-ahead in features, a model or a strategy; end with 1 where there is any."""
    from lightning_models.errors import ConfigError  # its package takes a second

    if preset is not None and model is not None:
        raise ConfigError("audit takes --preset or --model, not both: run it twice")
    if preset is not None and strategy is not None:
        raise ConfigError(
            "audit runs a strategy with a model: give --model in place of --preset, or neither"
        )
    if preset is None and model is None and strategy is None:
        raise ConfigError("audit needs --preset NAME, --model MODEL or --strategy MODULE:CLASS")
    if settings and preset is None and strategy is None:
        raise ConfigError(f"a model is audited as it is: leave out --set {settings[0]}")
    report = _audit(data, preset, model, strategy, timeframe, market, home, settings or ())
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        show_table(audit_table(report))
        for finding in report.findings:
            say(_sentence(finding), style="red")
        for check in report.checks:
            if check.status == "not run" or check.reason:
                say(f"note: {check.name}: {check.reason}")
        say(report.verdict)
    if not report.clean:
        raise typer.Exit(1)


def _audit(
    data: Sequence[str],
    preset: str | None,
    model: str | None,
    strategy: str | None,
    timeframe: str | None,
    market: str | None,
    home: Any,
    settings: Sequence[str],
) -> AuditReport:
    with errors.status("loading"):
        from experiments.auditing import audit
        from experiments.cli.sources import closed_by_now, read_sources
        from experiments.presets import load_train_config
        from experiments.settings import parse_settings
        from experiments.user_code import load_strategy
        from lightning_models.errors import ConfigError
        from lightning_models.loading import load_predictor

        subject: Any = None
        if preset is not None:
            subject = load_train_config(preset, settings)
        elif model is not None:
            with quiet_mlflow():
                subject = load_predictor(model, home=home)
            if market not in (None, subject.bundle.market):
                raise ConfigError(
                    f"{subject.model} was trained on a {subject.bundle.market} market: leave out "
                    f"--market {market}"
                )
            market = subject.bundle.market
        chosen = None if strategy is None else load_strategy(strategy)
    candles = [closed_by_now(one) for one in read_sources(data, market=market or "continuous")]
    with errors.status("looking ahead"), quiet_mlflow():
        return audit(
            subject,
            candles,
            timeframe=timeframe,
            strategy=chosen,
            settings=parse_settings(settings) if chosen is not None else None,
            home=home,
        )


def audit_table(report: AuditReport) -> Table:
    """Return the checks of an audit, a row for each."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    symbols = ", ".join(report.symbols)
    table = Table(
        title=Text(f"Audit of {report.subject} on {symbols} {report.timeframe}"),
        box=box.SIMPLE_HEAD,
        title_justify="left",
    )
    table.add_column("")
    table.add_column("check", no_wrap=True)
    table.add_column("compared", justify="right")
    table.add_column("what must be equal", overflow="fold")
    for check in report.checks:
        table.add_row(
            MARKS[check.status],
            check.name,
            f"{check.compared:,}" if check.compared else "–",
            check.what,
            style="red" if check.status == "failed" else None,
        )
    return table


def _sentence(finding: Finding) -> str:
    where = f" of {finding.symbol}" if finding.symbol else ""
    when = "" if finding.time is None else f" at {finding.time:%Y-%m-%d %H:%M}Z"
    size = "" if finding.size is None else f", by {finding.size:.3g} {finding.unit}"
    return f"✗ {finding.subject}{where}{when}: {finding.detail}{size}. Usually: {finding.cause}."
