"""Where a user's models, runs and reports live."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from shutil import which

import platformdirs

from lightning_models.errors import StorageError
from lightning_models.redaction import redacted

__all__ = ["HOME_VARIABLE", "Home", "find_home"]

HOME_VARIABLE = "LSTM_HOME"


@dataclass(frozen=True)
class Home:
    """A folder with a tracking database, model artifacts, checkpoints, caches and reports.

    Parameters
    ----------
    path
        Absolute.
    """

    path: Path

    @property
    def tracking_uri(self) -> str:
        """``$MLFLOW_TRACKING_URI`` where it is set, otherwise SQLite in this folder."""
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.path / 'mlflow.db'}"

    @property
    def has_registry(self) -> bool:
        """Whether there can be a model: a server that was named, or a database that exists."""
        own = f"sqlite:///{self.path / 'mlflow.db'}"
        return self.tracking_uri != own or (self.path / "mlflow.db").exists()

    @property
    def artifacts(self) -> Path:
        """Where runs of the database in this folder keep their files."""
        return self.path / "artifacts"

    @property
    def cache(self) -> Path:
        """Forecasts that need not be computed twice; may be deleted at any time."""
        return self.path / "cache"

    @property
    def reports(self) -> Path:
        """Reports that were not sent elsewhere."""
        return self.path / "reports"

    @property
    def ui_command(self) -> str:
        """The command that opens the tracking server's pages in a browser, passwords as ``***``."""
        uri = redacted(self.tracking_uri)
        if uri.startswith(("http:", "https:")):
            return f"open {uri}"
        return f"{_mlflow_command()} ui --backend-store-uri {uri}"

    def checkpoints(self, run_id: str) -> Path:
        """Where a training run keeps ``last.ckpt`` and ``best.ckpt``."""
        return self.path / "checkpoints" / run_id

    def create(self) -> Home:
        """Make the folder.

        Raises
        ------
        StorageError
            If it cannot be made or written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"the home folder {self.path} cannot be made: {error.strerror or error}. "
                f"Choose another with --home or ${HOME_VARIABLE}"
            ) from error
        if not os.access(self.path, os.W_OK):
            raise StorageError(
                f"the home folder {self.path} cannot be written. "
                f"Choose another with --home or ${HOME_VARIABLE}"
            )
        return self


def find_home(home: str | os.PathLike[str] | Home | None = None) -> Home:
    """Return the home folder: the one given, ``$LSTM_HOME``, or the user's data folder.

    Raises
    ------
    StorageError
        If there is a file in its place.
    """
    if isinstance(home, Home):
        return home
    chosen = home or os.environ.get(HOME_VARIABLE)
    path = Path(chosen) if chosen else Path(platformdirs.user_data_dir("lstm-strategies"))
    path = path.expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise StorageError(
            f"the home folder {path} is a file: choose another with --home or ${HOME_VARIABLE}"
        )
    return Home(path)


def _mlflow_command() -> str:
    # In an environment that is not activated, the command lies beside its interpreter.
    beside = Path(sys.executable).with_name("mlflow")
    return str(beside) if which("mlflow") is None and beside.exists() else "mlflow"
