"""A registered model as one to go on from: its bundle, its run and what it was trained with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.exceptions import MlflowException
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from lightning_models.bundle import Bundle
from lightning_models.errors import ConfigError
from lightning_models.forecasters import FORECASTERS
from lightning_models.loading import UNTRAINED, load_predictor_from
from lightning_models.predictor import Predictor
from lightning_models.series_folder import is_series
from lightning_models.training import TrainingConfig

if TYPE_CHECKING:
    from lightning_models.registry import Registry

__all__ = ["Parent", "load_parent"]


@dataclass(frozen=True)
class Parent:
    """A model to go on from.

    Parameters
    ----------
    model
        Its fixed name, such as ``models:/btc-6h/3``.
    name
        That it is registered under.
    run_id
        Of the run that made it.
    folder
        Of its bundle.
    predictor
        The model itself.
    preset
        What it was trained by; ``custom`` where its run does not say.
    training
        What it was trained with; None where its run is gone or does not say.
    chunks
        ``chunk`` and ``burn_in`` of sequence mode, as far as its run says.
    """

    model: str
    name: str
    run_id: str
    folder: Path
    predictor: Predictor
    preset: str
    training: TrainingConfig | None
    chunks: dict[str, Any]

    @property
    def bundle(self) -> Bundle:
        """What it says of itself."""
        return self.predictor.bundle


def load_parent(model: str, registry: Registry) -> Parent:
    """Return a registered model to go on from.

    Parameters
    ----------
    model
        ``models:/name@alias`` or ``models:/name/3``.
    registry
        Where it is.

    Raises
    ------
    ConfigError
        If it is not registered under a name, or nothing in it was trained by gradients.
    ModelNotFoundError, BundleError, StorageError
        If there is no such model, it is damaged, or the registry cannot be used.
    """
    if not model.startswith("models:/"):
        if model.partition(":")[0] == UNTRAINED:
            _refuse(model, "was never trained", "train a model: lstm-strategies train")
        raise ConfigError(
            f"{model!r} is not a registered model, whose next version could be made: name it "
            "models:/NAME@champion or models:/NAME/3; `lstm-strategies models` lists them"
        )
    folder, fixed = registry.resolve(model)
    if is_series(folder):
        _refuse(
            fixed,
            "is a series of models that follow one another",
            "continue it by walking on: lstm-strategies walk-forward",
        )
    found = load_predictor_from(folder, fixed)
    kind = found.bundle.network.kind
    if kind in FORECASTERS:
        _refuse(
            fixed,
            f"is a {kind} forecaster, which is fitted in one step and learns no further",
            "train it anew on the newer candles: lstm-strategies train",
        )
    if kind == "ensemble":
        _refuse(
            fixed,
            "is an ensemble",
            "fine-tune its members and join them again: lstm-strategies ensemble --member …",
        )
    name, _, version = fixed.removeprefix("models:/").rpartition("/")
    try:
        run_id = str(registry.client.get_model_version(name, version).run_id or "")
        run = registry.client.get_run(run_id).data if run_id else None
    except (MlflowException, SQLAlchemyError):
        # The registry answered just now: its run was deleted.
        run = None
    parameters: dict[str, str] = {} if run is None else run.params
    chunks = {
        key: int(parameters[f"data.{key}"])
        for key in ("chunk", "burn_in")
        if re.fullmatch(r"\d+", parameters.get(f"data.{key}", ""))
    }
    return Parent(
        model=fixed,
        name=name,
        run_id=run_id,
        folder=folder,
        predictor=found,
        preset=parameters.get("preset", "custom"),
        training=_training_of(parameters),
        chunks=chunks,
    )


def _training_of(parameters: dict[str, str]) -> TrainingConfig | None:
    given = {
        key: parameters[f"training.{key}"]
        for key in TrainingConfig.model_fields
        if f"training.{key}" in parameters
    }
    if "learning_rate" not in given:
        return None
    try:
        return TrainingConfig.model_validate(given)
    except ValidationError:
        return None


def _refuse(model: str, why: str, instead: str) -> None:
    raise ConfigError(f"{model} cannot be fine-tuned: it {why}. In its place, {instead}")
