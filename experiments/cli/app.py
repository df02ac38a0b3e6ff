"""`lstm-strategies`: the commands, and how errors end them."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Annotated, Any

import typer

from experiments.cli.audit import audit_command
from experiments.cli.backtest import backtest_command
from experiments.cli.benchmark import benchmark_command
from experiments.cli.compare import (
    compare_command,
    multi_symbol_command,
    portfolio_command,
    strategies_command,
)
from experiments.cli.console import errors, say
from experiments.cli.ensemble import ensemble_command
from experiments.cli.experiment import experiment_app
from experiments.cli.fine_tune import fine_tune_command
from experiments.cli.logs import debugging, set_up_logging
from experiments.cli.models import models_app
from experiments.cli.predict import predict_command
from experiments.cli.quickstart import quickstart_command
from experiments.cli.secrets import redacted
from experiments.cli.signal import signal_command
from experiments.cli.train import train_command
from experiments.cli.tune import tune_app
from experiments.cli.walk_forward import walk_forward_command

__all__ = ["app", "main", "run"]

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130
STOPPED = "stopped before there was anything to keep: run the command again"

# Newer releases of Typer bring their own copy of click, whose errors are none of click's.
UsageError: type[Exception] = next(
    one for one in typer.BadParameter.__mro__ if one.__name__ == "UsageError"
)

# What SQLAlchemy imports for a database, and how that is installed.
DRIVERS = {
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "pymysql": "pymysql",
    "pyodbc": "pyodbc",
}

app = typer.Typer(
    name="lstm-strategies",
    help="LSTM forecasts for backtrader: train, register, predict, backtest.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _say_version(asked: bool) -> None:
    if asked:
        say(f"lstm-strategies {version('lstm-strategies')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_say_version, is_eager=True),
    ] = False,
) -> None:
    """LSTM forecasts for backtrader: train, register, predict, backtest."""


app.command("quickstart")(quickstart_command)
app.command("train")(train_command)
app.add_typer(models_app, name="models")
app.command("predict")(predict_command)
app.command("backtest")(backtest_command)
app.command("strategies")(strategies_command)
app.command("signal")(signal_command)
app.command("compare")(compare_command)
app.command("multi-symbol")(multi_symbol_command)
app.command("portfolio")(portfolio_command)
app.command("walk-forward")(walk_forward_command)
app.add_typer(tune_app, name="tune")
app.command("fine-tune")(fine_tune_command)
app.command("audit")(audit_command)
app.command("ensemble")(ensemble_command)
app.add_typer(experiment_app, name="experiment")
app.command("benchmark")(benchmark_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        Without the program's name; by default those of the process.

    Returns
    -------
    int
        0 done, 1 failed, 2 wrong use.
    """
    set_up_logging()
    command = typer.main.get_command(app)
    try:
        answer = command.main(
            args=list(sys.argv[1:] if arguments is None else arguments),
            prog_name="lstm-strategies",
            standalone_mode=False,
        )
        sys.stdout.flush()
    except UsageError as error:
        return _misused(error)
    except (KeyboardInterrupt, typer.Abort):
        return _ended(STOPPED)
    except BrokenPipeError:
        _drop_unwritten()  # whoever read standard output has left
        return FAILED
    except OSError as error:
        _drop_unwritten()
        return _ended(_disk_problem(error))
    except MemoryError:
        return _ended("out of memory: use fewer symbols, a coarser timeframe or a smaller network")
    except Exception as error:
        return _error(error)
    # What typer answers where Ctrl-C came before a command could say anything of its own.
    return _ended(STOPPED) if answer == INTERRUPTED else int(answer or 0)


def run() -> None:
    """End the process with the exit code of `main`."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a character shows a question mark in its place.
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    sys.exit(main())


def _misused(error: Any) -> int:
    message = error.format_message().rstrip(". ")
    if not message:
        return WRONG_USE  # nothing was asked, and the help has been printed
    if callable(problems := getattr(error.__cause__, "errors", None)):
        from experiments.settings import in_our_words  # its package takes a second

        place = message.partition(": ")[0]
        wrong = [f"{in_our_words(one)}, not {one['input']!r}" for one in problems()]
        message = f"{place}: {'; '.join(wrong)}"
    if message.startswith("No such option: --timeframe"):
        message += ": candles are resampled to the model's own"
    command = "lstm-strategies" if error.ctx is None else error.ctx.command_path
    stop = "" if message.endswith("?") else "."
    return _ended(f"{message}{stop} `{command} --help` lists what there is", WRONG_USE)


def _error(error: Exception) -> int:
    from lightning_models.errors import LSTMStrategiesError  # its package takes a second

    if isinstance(error, LSTMStrategiesError):
        return _ended(str(error), error.exit_code)
    if isinstance(error, ModuleNotFoundError) and error.name in DRIVERS:
        return _ended(
            f"the tracking server of MLFLOW_TRACKING_URI needs the package {error.name}, which is "
            f"not installed: pip install '{DRIVERS[error.name]}', or choose another server"
        )
    return _ended(
        f"unexpected {type(error).__name__}: {error}. This is a defect of lstm-strategies: "
        "run the command again with --debug and report what it prints"
    )


def _ended(message: str, code: int = FAILED) -> int:
    if debugging():
        sys.stderr.write(redacted(traceback.format_exc()))
    errors.print("error:", style="bold red", end=" ")
    errors.print(redacted(message), markup=False, highlight=False, emoji=False, soft_wrap=True)
    return code


def _drop_unwritten() -> None:
    # What standard output did not take the interpreter would try again as it ends, and fail.
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _disk_problem(error: OSError) -> str:
    place = f" {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"the disk is full{place}: make room, or choose another --home"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"cannot write{place}: {error.strerror}; choose another --home"
    return f"{error.strerror or error}{place}"
