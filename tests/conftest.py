"""Isolation of every test: its own home, no network, no leftovers of MLflow."""

from __future__ import annotations

import ipaddress
import os
import shutil
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from experiments.config import TrainConfig
    from lightning_models.candles import Candles
    from lightning_models.home import Home
    from lightning_models.predictor import Predictor
    from lightning_models.registry import RegisteredModel

mpl.use("Agg")

# A shell starts what it runs in the background with Ctrl-C ignored, and whoever is started from
# there inherits it: the tests that press Ctrl-C would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Deadlines measure the machine, not the code. Function-scoped fixtures here only isolate.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}
settings.register_profile("local", max_examples=30, **_COMMON)
settings.register_profile("ci", max_examples=30, derandomize=True, **_COMMON)
settings.load_profile("ci" if os.environ.get("CI") else "local")


class NetworkRefusedError(RuntimeError):
    """A test reached for a machine other than this one.

    Not an OSError, which libraries take for a passing fault and retry.
    """


def _is_local(family: int, address: Any) -> bool:
    if family == getattr(socket, "AF_UNIX", None):
        return True
    if not isinstance(address, tuple):
        return False
    host = str(address[0]).partition("%")[0]
    if host in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refuse_far(method: str) -> Any:
    original = getattr(socket.socket, method)

    def guarded(self: socket.socket, *arguments: Any) -> Any:
        if not _is_local(self.family, arguments[-1]):
            self.close()  # callers that expect an OSError would leave it open
            raise NetworkRefusedError(
                f"{method} to {arguments[-1]!r}: tests reach no machine but this one"
            )
        return original(self, *arguments)

    return guarded


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for method in ("connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, method, _refuse_far(method))
        yield


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID"):
            patch.delenv(name, raising=False)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        # As in an activated environment: without one, commands are printed with their folder.
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        patch.setenv("LSTM_HOME", str(tmp_path_factory.mktemp("session-home")))
        yield


@pytest.fixture(autouse=True)
def _isolated(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
) -> Iterator[None]:
    """Give the test its own home, and forget what it told MLflow."""
    monkeypatch.setenv("LSTM_HOME", str(tmp_path_factory.mktemp("home", numbered=True)))
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        # Set first, so that what the test itself puts there is undone too.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    before = _strays(pytestconfig.rootpath)
    yield
    forget_mlflow()
    new = _strays(pytestconfig.rootpath) - before
    assert not new, f"MLflow was used without a home and left {', '.join(sorted(new))} behind"


def _strays(folder: Path) -> set[str]:
    # Where MLflow writes if it is not told where to.
    return {name for name in ("mlflow.db", "mlruns") if (folder / name).exists()}


def forget_mlflow() -> None:
    """End active runs and forget the tracking server, if MLflow was imported at all."""
    if "mlflow" not in sys.modules:
        return
    import mlflow

    while mlflow.active_run() is not None:
        mlflow.end_run()
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database of the current schema, made once for all workers."""
    root = tmp_path_factory.getbasetemp()
    shared = root.parent if os.environ.get("PYTEST_XDIST_WORKER") else root
    database = shared / "migrated.db"
    with FileLock(str(database) + ".lock"):
        if not database.exists():
            from mlflow.tracking import MlflowClient

            scratch = shared / "migrating.db"
            MlflowClient(f"sqlite:///{scratch}").search_experiments()
            scratch.rename(database)
    return database


@pytest.fixture
def home(migrated_database: Path, tmp_path: Path) -> Home:
    """An empty home whose database needs no migration."""
    return make_home(migrated_database, tmp_path / "own-home")


@pytest.fixture
def other_home(migrated_database: Path, tmp_path: Path) -> Home:
    """A second empty home."""
    return make_home(migrated_database, tmp_path / "other-home")


def make_home(database: Path, folder: Path) -> Home:
    from lightning_models.home import Home

    folder.mkdir(parents=True)
    shutil.copy(database, folder / "mlflow.db")
    return Home(folder)


@pytest.fixture(autouse=True)
def _ctrl_c_is_heard() -> Iterator[None]:
    yield
    # A fold or a trial that is fitted here for another process leaves Ctrl-C to that one.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def empty_home(
    migrated_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Home]:
    """Make an empty home, for fixtures that several tests share."""
    return lambda: make_home(migrated_database, tmp_path_factory.mktemp("shared") / "home")


@dataclass(frozen=True)
class Trained:
    """A tiny model, trained for real on a market with a planted signal, and its home.

    Shared by all tests: whoever changes its home or folder takes a copy first.
    """

    home: Home
    candles: list[Candles]
    config: TrainConfig
    model: RegisteredModel

    @property
    def champion(self) -> str:
        return f"models:/{self.model.name}@champion"

    def predictor(self) -> Predictor:
        from lightning_models import load_predictor

        return load_predictor(self.model.path)


@pytest.fixture(scope="session")
def tiny_config() -> TrainConfig:
    """A configuration that trains in a second or two."""
    from experiments.presets import load_train_config

    return load_train_config(
        "quickstart",
        [
            "network.hidden_size=8",
            "network.dropout=0.1",
            "data.features=[close, volume, high, low]",
            "data.lookback=8",
            "training.epochs=2",
        ],
    )


@pytest.fixture(scope="session")
def trained(
    tiny_config: TrainConfig,
    migrated_database: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Trained:
    """The model ``tiny``, champion of its home, of 3,000 hourly candles of SIM/USDT."""
    from experiments import train
    from lightning_models import simulate_market

    home = make_home(migrated_database, tmp_path_factory.mktemp("trained") / "home")
    candles = simulate_market(candles=3000, seed=1, signal=0.5)
    model = train(tiny_config, candles, name="tiny", home=home)
    forget_mlflow()
    return Trained(home, candles, tiny_config, model)


@pytest.fixture(scope="session")
def trained_stream(
    tiny_config: TrainConfig,
    migrated_database: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Trained:
    """The same in sequence mode, a model that carries its state from bar to bar."""
    from experiments import train
    from experiments.config import TrainConfig
    from lightning_models import simulate_market

    settings = tiny_config.model_dump()
    settings["data"] |= {"mode": "sequence", "chunk": 128, "burn_in": 32}
    settings["training"] |= {"batch_size": 8}
    config = TrainConfig.model_validate(settings)
    home = make_home(migrated_database, tmp_path_factory.mktemp("stream") / "home")
    candles = simulate_market(candles=3000, seed=1, signal=0.5)
    model = train(config, candles, name="tiny", home=home)
    forget_mlflow()
    return Trained(home, candles, config, model)
