"""What the commands share of the terminal: two consoles, options, progress."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from experiments.cli.logs import set_debug
from experiments.cli.secrets import redacted

__all__ = [
    "DataOption",
    "DebugOption",
    "FeaturesOption",
    "HomeOption",
    "JsonOption",
    "MarketOption",
    "SetOption",
    "TimeframeOption",
    "errors",
    "note",
    "print_json",
    "results",
    "say",
    "show_progress",
    "show_table",
]

UNWATCHED_WIDTH = 200

results = Console()
"""Standard output: results, and nothing but JSON where JSON was asked for."""

errors = Console(stderr=True)
"""Standard error: progress, notes, warnings, errors."""


def _remember_debug(value: bool) -> bool:
    set_debug(value)
    return value


def _register_features(source: str | None) -> str | None:
    if source is not None:
        from experiments.user_code import load_features  # its packages take a second

        load_features(source)
    return source


FeaturesOption = Annotated[
    str | None,
    typer.Option(
        "--features",
        metavar="MODULE|FILE",
        help="Your own features: Python code that calls register_feature().",
        callback=_register_features,
    ),
]
HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home", help="Folder of models, runs and reports; $LSTM_HOME or your data folder."
    ),
]
DebugOption = Annotated[
    bool,
    typer.Option(
        "--debug",
        help="Show tracebacks and detailed logs.",
        callback=_remember_debug,
        is_eager=True,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=VALUE", help="Override a setting; repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON alone on standard output.")]
DataOption = Annotated[
    list[str],
    typer.Option(
        "--data",
        metavar="SPEC",
        help="Candles: a file, a 'quoted glob', or SYMBOL=file; repeatable.",
    ),
]


TimeframeOption = Annotated[
    str | None, typer.Option("--timeframe", help="To resample to, such as 6h.")
]
MarketOption = Annotated[str, typer.Option("--market", help="continuous, or sessions that close.")]


def show_progress() -> bool:
    """Return whether anybody watches: progress bars are for terminals."""
    return sys.stderr.isatty() or os.environ.get("LSTM_PROGRESS") == "1"


def say(sentence: str, *, copied: bool = False, style: str | None = None) -> None:
    """Print a sentence on standard output as plain text, without passwords.

    Parameters
    ----------
    sentence
        Its brackets are text, never markup.
    copied
        Whether it holds a path or a command, which must stay in one piece; other sentences are
        wrapped at the width of a terminal.
    style
        Such as ``yellow``.
    """
    _print(results, sentence, copied, style)


def note(sentence: str, *, copied: bool = False) -> None:
    """Print a sentence on standard error as plain text, without passwords."""
    _print(errors, sentence, copied, None)


def show_table(table: Table) -> None:
    """Print a table on standard output, as wide as it needs to be where nobody watches."""
    console = results if results.is_terminal else Console(width=UNWATCHED_WIDTH)
    console.print(table)


def _print(console: Console, sentence: str, copied: bool, style: str | None) -> None:
    whole = copied or not console.is_terminal
    console.print(
        redacted(sentence), style=style, markup=False, highlight=False, soft_wrap=whole, emoji=False
    )


def print_json(content: Any) -> None:
    """Print one JSON document on standard output, with nothing around it."""
    sys.stdout.write(json.dumps(content, allow_nan=False) + "\n")
