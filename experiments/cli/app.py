"""`lstm-strategies`: the commands, and how errors end them."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Sequence

import click
import typer

from experiments.cli.backtest import backtest_command
from experiments.cli.benchmark import benchmark_command
from experiments.cli.console import debugging, errors, set_up_logging
from experiments.cli.models import models_app
from experiments.cli.predict import predict_command
from experiments.cli.quickstart import quickstart_command
from experiments.cli.train import train_command
from lightning_models.errors import LSTMStrategiesError

__all__ = ["app", "main", "run"]

FAILED, WRONG_USE = 1, 2

app = typer.Typer(
    name="lstm-strategies",
    help="LSTM forecasts for backtrader: train, register, predict, backtest.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("quickstart")(quickstart_command)
app.command("train")(train_command)
app.add_typer(models_app, name="models")
app.command("predict")(predict_command)
app.command("backtest")(backtest_command)
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
    except click.ClickException as error:
        error.show()
        return WRONG_USE if isinstance(error, click.UsageError) else FAILED
    except (KeyboardInterrupt, click.Abort):
        _say("stopped")
        return FAILED
    except LSTMStrategiesError as error:
        _say(str(error))
        return error.exit_code
    except OSError as error:
        _say(_disk_problem(error))
        return FAILED
    except MemoryError:
        _say("out of memory: use fewer symbols, a coarser timeframe or a smaller network")
        return FAILED
    except Exception as error:
        _say(
            f"unexpected {type(error).__name__}: {error}. This is a defect of lstm-strategies: "
            "run the command again with --debug and report what it prints"
        )
        return FAILED
    return int(answer) if isinstance(answer, int) else 0


def run() -> None:
    """End the process with the exit code of `main`."""
    sys.exit(main())


def _say(message: str) -> None:
    if debugging():
        traceback.print_exc()
    errors.print("error:", style="bold red", end=" ")
    errors.print(message, markup=False, highlight=False, soft_wrap=True)


def _disk_problem(error: OSError) -> str:
    place = f" {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"the disk is full{place}: make room, or choose another --home"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"cannot write{place}: {error.strerror}; choose another --home"
    return f"{error.strerror or error}{place}"
