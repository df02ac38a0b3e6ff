"""What the commands share of the terminal: two consoles, options, logging."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler

__all__ = [
    "DataOption",
    "DebugOption",
    "HomeOption",
    "JsonOption",
    "SetOption",
    "debugging",
    "errors",
    "print_json",
    "results",
    "set_up_logging",
    "show_progress",
]

results = Console()
"""Standard output: results, and nothing but JSON where JSON was asked for."""

errors = Console(stderr=True)
"""Standard error: progress, notes, warnings, errors."""

_state = {"debug": False}


def _remember_debug(value: bool) -> bool:
    _state["debug"] = value
    if value:
        logging.getLogger().setLevel(logging.INFO)
        for name in ("lightning_models", "lstm_strategies", "experiments"):
            logging.getLogger(name).setLevel(logging.DEBUG)
    return value


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


def debugging() -> bool:
    """Return whether ``--debug`` was given."""
    return _state["debug"]


def show_progress() -> bool:
    """Return whether anybody watches: progress bars are for terminals."""
    return sys.stderr.isatty() or os.environ.get("LSTM_PROGRESS") == "1"


def print_json(content: Any) -> None:
    """Print one JSON document on standard output, with nothing around it."""
    sys.stdout.write(json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n")


def set_up_logging() -> None:
    """Send warnings to standard error, ours in full, those of libraries from errors up."""
    handler = RichHandler(console=errors, show_time=False, show_path=False, markup=False)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(level=logging.ERROR, handlers=[handler], force=True)
    for name in ("lightning_models", "lstm_strategies", "experiments"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Registering prints what the command is about to say itself.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
