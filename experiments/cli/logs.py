"""What may appear on standard error besides the commands' own words."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from experiments.cli.secrets import redacted

__all__ = ["debugging", "quiet_mlflow", "set_debug", "set_up_logging"]

OURS = ("lightning_models", "lstm_strategies", "experiments")

# Defaults of this process; what the user has set stays.
ENVIRONMENT = {
    # A server that is down is named within seconds, not after minutes of retries.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    # Standard output holds results, and nothing but JSON where JSON was asked for.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}

_state = {"debug": False}


class _StandardError(logging.Handler):
    # Writes to what sys.stderr is when a record comes, and never a password.
    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = f"{record.levelname.lower()}: {self.format(record)}"
            sys.stderr.write(redacted(text) + "\n")
        except Exception:
            self.handleError(record)


def debugging() -> bool:
    """Return whether ``--debug`` was given."""
    return _state["debug"]


def set_debug(value: bool) -> None:
    """Remember ``--debug``, and log in detail where it was given."""
    _state["debug"] = value
    logging.getLogger().setLevel(logging.INFO if value else logging.ERROR)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.DEBUG if value else logging.WARNING)
    # Each refused order and the lack of any trade are in the result's notes already.
    told = logging.getLogger("lstm_strategies.trading")
    told.setLevel(logging.NOTSET if value else logging.ERROR)


def set_up_logging() -> None:
    """Send warnings to standard error, ours in full, those of libraries from errors up."""
    handler = _StandardError()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(handlers=[handler], force=True)
    set_debug(False)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@contextmanager
def quiet_mlflow() -> Iterator[None]:
    """Silence MLflow, which prints about each model that it registers.

    Its failures reach the user as errors of this project. Under ``--debug`` it may speak.
    """
    from mlflow.utils.logging_utils import MLFLOW_LOGGING_STREAM

    if debugging():
        yield
        return
    # Its own switch is turned on again by MLflow itself whenever it loads a model.
    vars(MLFLOW_LOGGING_STREAM)["write"] = _swallow
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(mlflow|alembic|sqlalchemy)(\..*)?")
            yield
    finally:
        vars(MLFLOW_LOGGING_STREAM).pop("write", None)


def _swallow(text: str) -> int:
    return len(text)
