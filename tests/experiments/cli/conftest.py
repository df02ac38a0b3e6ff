"""The command line run in process, two symbols in files, and a home with a model trained by it."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from experiments.cli.app import main
from lightning_models import simulate_market

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lightning_models.candles import Candles

# Settings that train in a second or two.
TINY = (
    "network.hidden_size=8",
    "data.lookback=8",
    "data.features=[close, volume, high, low]",
    "training.epochs=2",
)
TINY_OPTIONS = [part for setting in TINY for part in ("--set", setting)]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The whole of standard output, which must be one document."""
        return json.loads(self.out)

    def failed(self, *words: str, code: int = 1) -> Ended:
        """Check that it failed in one readable message that holds the words."""
        assert self.code == code, self
        assert self.out == ""
        assert "Traceback" not in self.err
        told = " ".join(self.err.split())
        for word in words:
            assert word in told, f"{word!r} is not in {told!r}"
        return self

    def done(self) -> Ended:
        """Check that it succeeded without a word of complaint."""
        assert self.code == 0, self
        assert "Traceback" not in self.err
        assert "warning" not in self.err.lower()
        return self


@contextmanager
def _as_it_was() -> Iterator[None]:
    # The command line sets up logging and the environment of its process for good.
    root = logging.getLogger()
    names = ["", "lightning_models", "lstm_strategies", "lstm_strategies.trading", "experiments"]
    levels = {name: logging.getLogger(name).level for name in names}
    handlers, environment = list(root.handlers), dict(os.environ)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        os.environ.clear()
        os.environ.update(environment)


def run_cli(*arguments: object) -> Ended:
    out, err = io.StringIO(), io.StringIO()
    with _as_it_was(), redirect_stdout(out), redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Ended(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def cli() -> Callable[..., Ended]:
    """Run a command in this process."""
    return run_cli


@dataclass(frozen=True)
class Market:
    """Two symbols, 3,000 hours each, and their files."""

    folder: Path
    sim: Candles
    alt: Candles

    @property
    def sim_file(self) -> Path:
        return self.folder / "SIM_USDT.parquet"

    @property
    def alt_file(self) -> Path:
        return self.folder / "ALT_USDT.parquet"


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    sim, alt = simulate_market(candles=3000, symbols=("SIM/USDT", "ALT/USDT"), seed=1, signal=0.5)
    found = Market(tmp_path_factory.mktemp("market"), sim, alt)
    for candles, file in ((sim, found.sim_file), (alt, found.alt_file)):
        candles.to_frame().to_parquet(file)
    return found


@dataclass(frozen=True)
class Shop:
    """A home with version 1 of ``tiny``, its champion, and how the training of it ended."""

    home: Path
    ended: Ended

    @property
    def champion(self) -> str:
        return "models:/tiny@champion"

    @property
    def bundle(self) -> Path:
        """The folder of the bundle."""
        manifests = self.home.glob("artifacts/**/bundle.json")
        # The first of the home: tests may have registered others since.
        return min(manifests, key=lambda path: path.stat().st_mtime).parent


@pytest.fixture(scope="session")
def shop(market: Market, migrated_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Shared: tests may add backtests to it, and register only under names of their own."""
    home = tmp_path_factory.mktemp("shop")
    shutil.copy(migrated_database, home / "mlflow.db")
    ended = run_cli(
        "train", "--preset", "quickstart", "--data", market.sim_file, "--name", "tiny",
        "--home", home, *TINY_OPTIONS,
    )  # fmt: skip
    _forget()
    return Shop(home, ended)


@pytest.fixture(scope="session")
def bundle(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the model's folder, outside any home."""
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    shutil.copytree(shop.bundle, folder)
    return folder


@pytest.fixture(scope="session")
def tiny_options() -> list[str]:
    """Settings that train in a second or two."""
    return list(TINY_OPTIONS)


def _forget() -> None:
    import mlflow

    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        os.environ.pop(name, None)
