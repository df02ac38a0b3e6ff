"""The model registry: versions of a name in MLflow, found by alias or number."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import mlflow
import pandas as pd
from filelock import FileLock, Timeout
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType
from sqlalchemy.exc import SQLAlchemyError

from lightning_models.bundle import MANIFEST_FILE
from lightning_models.candles.candles import COLUMNS
from lightning_models.candles.timestamps import iso_utc
from lightning_models.errors import (
    BundleError,
    ConfigError,
    LSTMStrategiesError,
    ModelNotFoundError,
    StorageError,
)
from lightning_models.forecast import LINE_NAMES
from lightning_models.redaction import redacted
from lightning_models.series_folder import describe_model, find_model, model_sha256
from lightning_models.spelling import nearest_names

if TYPE_CHECKING:
    from datetime import datetime

    from mlflow.entities.model_registry import ModelVersion

    from lightning_models.home import Home

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "ModelEntry",
    "RegisteredModel",
    "Registry",
    "check_name",
    "storage_error",
    "use_tracking_server",
]

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
BUNDLE_TAG: Final = "lstm.bundle_sha256"
PARENT_TAG: Final = "lstm.parent"
MODEL_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))?")
NAME = re.compile(r"[\w][\w.\- ]*")

_log = logging.getLogger(__name__)

# Databases that this process has seen in their newest form.
_prepared: set[Path] = set()
_PREPARING_SECONDS: Final = 120.0


@dataclass(frozen=True)
class RegisteredModel:
    """A version that was registered.

    Parameters
    ----------
    name, version
        In the registry.
    alias
        ``champion`` or ``challenger``.
    run_id
        Of the MLflow run that trained it.
    path
        Its bundle's folder.
    metrics
        Of its test slice; empty in a refit.
    verdict
        In words: whether it was better than the majority class.
    """

    name: str
    version: int
    alias: str
    run_id: str
    path: Path
    metrics: dict[str, float | None]
    verdict: str = ""

    @property
    def uri(self) -> str:
        """Such as ``models:/btc-6h/3``: this version, whatever its aliases become."""
        return f"models:/{self.name}/{self.version}"


@dataclass(frozen=True)
class ModelEntry:
    """A row of the registry's table."""

    name: str
    version: int
    aliases: tuple[str, ...]
    symbols: tuple[str, ...]
    timeframe: str
    created_at: datetime
    metrics: dict[str, float | None]


class Registry:
    """Registered models of one home.

    Parameters
    ----------
    home
        Whose tracking server holds the registry.

    Raises
    ------
    StorageError
        If the tracking server or its database cannot be reached or written.
    """

    def __init__(self, home: Home) -> None:
        # A registry that this project writes never needs a pickle, so none is let in.
        os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
        self.home = home
        if home.tracking_uri.startswith("sqlite:///"):
            home.create()
        use_tracking_server(home)
        try:
            self.client = MlflowClient(home.tracking_uri, home.tracking_uri)
        except (MlflowException, OSError, SQLAlchemyError) as error:
            raise storage_error(home, error) from error

    def resolve(self, model: str) -> tuple[Path, str]:
        """Return a model's bundle folder and its fixed name.

        Parameters
        ----------
        model
            ``models:/name@alias``, ``models:/name/3``; ``models:/name`` is its champion.

        Returns
        -------
        tuple
            The folder, and ``models:/name/version``.

        Raises
        ------
        ModelNotFoundError
            If there is no such name, version or alias; the message lists what there is.
        """
        match = MODEL_URI.fullmatch(model)
        if match is None:
            raise ConfigError(
                f"unreadable model {model!r}: give models:/NAME@champion, models:/NAME/3 or the "
                "folder of a bundle"
            )
        name, alias, number = match["name"], match["alias"], match["version"]
        try:
            if number is not None:
                version = self.client.get_model_version(name, number)
            else:
                version = self.client.get_model_version_by_alias(name, alias or CHAMPION)
        except MlflowException as error:
            raise self._not_found(model, name, error) from error
        except SQLAlchemyError as error:
            raise storage_error(self.home, error) from error
        return self._folder(version), f"models:/{name}/{version.version}"

    def entries(self) -> list[ModelEntry]:
        """Return every version of every model of this project, by name, newest first.

        A version whose files are damaged or gone is left out with a warning.
        """
        rows = []
        for name in self.names():
            aliases = self._aliases(name)
            for version in self.versions(name):
                if BUNDLE_TAG not in version.tags:
                    continue  # a shared server holds models of others too
                number = str(version.version)
                try:
                    bundle = describe_model(self._folder(version))
                except (BundleError, ModelNotFoundError) as error:
                    _log.warning("models:/%s/%s is left out: %s", name, number, error)
                    continue
                rows.append(
                    ModelEntry(
                        name=name,
                        version=int(number),
                        aliases=tuple(sorted(each for each, to in aliases.items() if to == number)),
                        symbols=bundle.symbols,
                        timeframe=bundle.timeframe,
                        created_at=bundle.created_at,
                        metrics=bundle.metrics,
                    )
                )
        return rows

    def names(self) -> list[str]:
        """Return the names of all registered models, sorted."""
        try:
            page = self.client.search_registered_models()
            found = [str(model.name) for model in page]
            while page.token:
                page = self.client.search_registered_models(page_token=page.token)
                found += [str(model.name) for model in page]
            return sorted(found)
        except (MlflowException, SQLAlchemyError) as error:
            raise storage_error(self.home, error) from error

    def versions(self, name: str) -> list[ModelVersion]:
        """Return the versions of a name, newest first; none if there is no such name."""
        try:
            found = self.client.search_model_versions(f"name = '{name}'")
        except (MlflowException, SQLAlchemyError) as error:
            raise storage_error(self.home, error) from error
        return sorted(found, key=lambda version: int(version.version), reverse=True)

    def promote(self, name: str, version: int) -> None:
        """Make a version the champion of its name.

        Raises
        ------
        ModelNotFoundError
            If there is no such version.
        """
        self.resolve(f"models:/{name}/{version}")
        try:
            self.client.set_registered_model_alias(name, CHAMPION, str(version))
            if self._aliases(name).get(CHALLENGER) == str(version):
                self.client.delete_registered_model_alias(name, CHALLENGER)
        except (MlflowException, SQLAlchemyError) as error:
            raise storage_error(self.home, error) from error

    def register(self, folder: Path, *, name: str, run_id: str, promote: bool) -> RegisteredModel:
        """Log a bundle to a run as the model ``model`` and register it under a name.

        Parameters
        ----------
        folder
            Of the bundle, or of a series of them.
        name
            To register under. A version becomes the champion where there is none yet, and the
            challenger otherwise, unless `promote`.
        run_id
            An MLflow run that is active now.
        promote
            Whether to make it the champion.

        Returns
        -------
        RegisteredModel
        """
        check_name(name)
        use_tracking_server(self.home)
        try:
            logged = mlflow.pyfunc.log_model(
                name="model",
                loader_module="lightning_models.pyfunc",
                data_path=str(folder),
                signature=_signature(),
                input_example=_example(folder),
                pip_requirements=["lstm-strategies"],
                registered_model_name=name,
            )
            version = str(logged.registered_model_version)
            self.client.set_model_version_tag(name, version, BUNDLE_TAG, model_sha256(folder))
            parent = describe_model(folder).parent
            if parent is not None:
                self.client.set_model_version_tag(name, version, PARENT_TAG, parent.model)
            alias = CHAMPION if promote or CHAMPION not in self._aliases(name) else CHALLENGER
            if alias == CHALLENGER:
                self.client.set_registered_model_alias(name, CHALLENGER, version)
            entry = self.client.get_model_version(name, version)
        except (MlflowException, OSError, SQLAlchemyError) as error:
            raise storage_error(self.home, error) from error
        if alias == CHAMPION:
            self.promote(name, int(version))
        return RegisteredModel(
            name=name,
            version=int(version),
            alias=alias,
            run_id=run_id,
            path=self._folder(entry),
            metrics=describe_model(folder).metrics,
        )

    def _aliases(self, name: str) -> dict[str, str]:
        try:
            aliases = self.client.get_registered_model(name).aliases
        except (MlflowException, SQLAlchemyError) as error:
            raise storage_error(self.home, error) from error
        return {str(alias): str(version) for alias, version in aliases.items()}

    def _folder(self, version: ModelVersion) -> Path:
        server = self.home.tracking_uri
        try:
            uri = self.client.get_model_version_download_uri(version.name, version.version)
            local = Path(
                mlflow.artifacts.download_artifacts(
                    artifact_uri=uri, tracking_uri=server, registry_uri=server
                )
            )
        except (MlflowException, OSError, SQLAlchemyError) as error:
            raise storage_error(self.home, error) from error
        found = find_model(local)
        if found is None:
            raise ModelNotFoundError(
                f"models:/{version.name}/{version.version} holds no {MANIFEST_FILE}: it was not "
                "registered by lstm-strategies. Name one of: "
                + ", ".join(self._described() or ["(none)"])
            )
        return found

    def _described(self) -> list[str]:
        described = []
        for name in self.names():
            aliases = self._aliases(name)
            numbers = sorted(int(version.version) for version in self.versions(name))
            described += [f"models:/{name}@{alias}" for alias in sorted(aliases)]
            described += [f"models:/{name}/{number}" for number in numbers]
        return described

    def _not_found(self, model: str, name: str, error: MlflowException) -> LSTMStrategiesError:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return storage_error(self.home, error)
        there = self._described()
        train = f"lstm-strategies train --preset price-predictor --data FILE --name {name}"
        if not there:
            return ModelNotFoundError(
                f"no model {model!r}: {redacted(self.home.tracking_uri)} holds none yet. "
                f"Train one: {train}"
            )
        own = [one for one in there if one.startswith((f"models:/{name}@", f"models:/{name}/"))]
        if own:
            near = nearest_names(model, own)
            meant = f"{near} " if near.endswith("?") else ""
            return ModelNotFoundError(f"no model {model!r}: {meant}There is {', '.join(own)}")
        names = self.names()
        # Names are short, and two letters that changed places are half of many.
        near = nearest_names(name, names, likeness=0.5)
        meant = f"{near} " if near.endswith("?") else ""
        return ModelNotFoundError(
            f"no model {model!r}: {meant}Registered: {', '.join(names)}; `lstm-strategies models` "
            f"lists their versions. To train it: {train}"
        )


def use_tracking_server(home: Home) -> None:
    """Point MLflow at a home's tracking server, in this process only.

    MLflow writes the address it is given into the environment too, where the next home
    would take it for the user's own choice. The database of a home is made, or brought to its
    newest form, by one process at a time: MLflow's own steps fail where two take them at once.
    """
    _prepare_database(home)
    chosen = {name: os.environ.get(name) for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")}
    uri = home.tracking_uri
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    for name, value in chosen.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _prepare_database(home: Home) -> None:
    path = home.path / "mlflow.db"
    if home.tracking_uri != f"sqlite:///{path}" or path in _prepared or not home.path.is_dir():
        return
    try:
        with FileLock(f"{path}.lock", timeout=_PREPARING_SECONDS):
            MlflowClient(home.tracking_uri, home.tracking_uri).search_experiments(max_results=1)
    except (MlflowException, OSError, SQLAlchemyError, Timeout):
        # Whoever uses it next says what is wrong with it, in the words of that use.
        return
    _prepared.add(path)


def check_name(name: str) -> str:
    """Return a model's name if MLflow and aliases can carry it.

    Raises
    ------
    ConfigError
        If it is empty or has a slash, a colon or an at sign.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot name a model: use letters, digits, dots, dashes and underscores, "
            "such as btc-6h"
        )
    return name


def _signature() -> ModelSignature:
    # Candles in, lines out. Time stamps come with and without a zone and in several units,
    # which MLflow's own datetime type would refuse; the model reads them all.
    anything = AnyType()  # type: ignore[no-untyped-call]
    prices = [ColSpec(DataType.double, column) for column in COLUMNS]
    return ModelSignature(
        inputs=Schema([ColSpec(anything, "timestamp"), *prices]),
        outputs=Schema([ColSpec(DataType.double, name) for name in LINE_NAMES]),
    )


def _example(folder: Path) -> pd.DataFrame:
    # The golden candles: just enough for one forecast. Times as text, as a request has them.
    golden = describe_model(folder).golden
    frame = pd.DataFrame(golden.ohlcv, columns=list(COLUMNS))
    frame.insert(0, "timestamp", [iso_utc(time) for time in golden.time])
    return frame


def storage_error(home: Home, error: Exception) -> StorageError:
    """Return what to tell a user when a tracking server cannot be used.

    Parameters
    ----------
    home
        Whose server it is.
    error
        As MLflow, its database or the disk raised it.
    """
    cause = error
    while cause.__cause__ is not None and isinstance(cause.__cause__, Exception):
        cause = cause.__cause__
    first_line = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
    # Servers repeat the address they were given; its password belongs in no message.
    return StorageError(
        redacted(f"MLflow at {home.tracking_uri} cannot be used: {first_line}. ")
        + "Check that it can be reached and written, or choose another --home or "
        "MLFLOW_TRACKING_URI"
    )
