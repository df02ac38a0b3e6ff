"""Fit again on the newest candles, for as many epochs as evaluation found right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from experiments.tracking import parameter_text
from lightning_models.bundle import Bundle
from lightning_models.data import SliceConfig, resolve_horizons
from lightning_models.errors import ConfigError, ModelNotFoundError, TrainingError
from lightning_models.series_folder import describe_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiments.config import TrainConfig
    from lightning_models.candles import Candles
    from lightning_models.registry import Registry

__all__ = ["REFIT_SLICES", "refit_config"]

# What may be another without another model coming of it.
WITHOUT_EFFECT = ("threads", "accelerator", "checkpoint_seconds")

# No validation, because the number of epochs is fixed; no test, because nothing is later.
REFIT_SLICES = SliceConfig(train=0.95, validation=0.0, calibration=0.05, test=0.0)


def refit_config(
    config: TrainConfig, registry: Registry, name: str, candles: Sequence[Candles]
) -> tuple[TrainConfig, str]:
    """Return the configuration of a refit and the run whose evaluation it rests on.

    Parameters
    ----------
    config
        Must be an evaluated version's, but for its slices.
    registry
        Where the evaluated version is.
    name
        Of the model.
    candles
        What the refit will see.

    Returns
    -------
    tuple
        The configuration with `REFIT_SLICES`, the evaluated number of epochs and no early
        stopping; and the evaluation's run.

    Raises
    ------
    ConfigError
        If there are no candles.
    ModelNotFoundError
        If no version of the name was evaluated.
    TrainingError
        If every evaluated version was another network, saw other features or was trained
        otherwise; the message names in what the newest differs.
    """
    if not candles:
        raise ConfigError("no candles were given: name at least one file or frame")
    bundle = _evaluated_alike(config, registry, name, candles)
    epochs = int(bundle.metrics["best_epoch"] or 1)
    fixed = config.training.model_copy(update={"epochs": epochs, "patience": 0})
    data = config.data.model_copy(update={"slices": REFIT_SLICES})
    assert bundle.evaluated_by is not None
    return config.model_copy(update={"training": fixed, "data": data}), bundle.evaluated_by


def _evaluated_alike(
    config: TrainConfig, registry: Registry, name: str, candles: Sequence[Candles]
) -> Bundle:
    # The newest version that this very configuration was evaluated by.
    newest: list[str] = []
    for version in registry.versions(name):
        folder, _ = registry.resolve(f"models:/{name}/{version.version}")
        bundle = describe_model(folder)
        if bundle.metrics.get("best_epoch"):
            differing = [*_differing(config, bundle, candles), *_trained_otherwise(config, bundle)]
            if not differing:
                return bundle
            newest = newest or differing
    if newest:
        raise TrainingError(
            f"a refit of {name!r} must be the model that was evaluated, and differs in "
            f"{', '.join(newest)}: give the same preset and settings, or evaluate the new ones "
            "by training without --refit"
        )
    raise ModelNotFoundError(
        f"no evaluated version of {name!r} to refit: train it without --refit first, so that "
        "its metrics and its number of epochs come from candles it had not seen"
    )


def _differing(config: TrainConfig, bundle: Bundle, candles: Sequence[Candles]) -> list[str]:
    timeframe = candles[0].timeframe
    return [
        what
        for what, now, then in (
            ("network", config.network, bundle.network),
            ("features", config.data.features, bundle.features),
            ("lookback", config.data.lookback, bundle.lookback),
            ("bridged_share", config.data.bridged_share, bundle.bridged_share),
            ("mode", config.data.mode, bundle.mode),
            ("timeframe", timeframe, bundle.timeframe),
            ("market", candles[0].market, bundle.market),
            ("target", config.data.target, bundle.target),
            ("horizons", resolve_horizons(config.data.horizons, timeframe), bundle.horizons),
        )
        if now != then
    ]


def _trained_otherwise(config: TrainConfig, bundle: Bundle) -> list[str]:
    # How it was trained stands with the run; where that was deleted, nothing can be compared.
    try:
        then = MlflowClient().get_run(str(bundle.evaluated_by)).data.params
    except MlflowException:
        return []
    now = config.training.model_dump(mode="json", exclude=set(WITHOUT_EFFECT))
    told = {f"training.{key}": parameter_text(value) for key, value in now.items()}
    return [
        f"{key} ({then[key]} then, {text} now)"
        for key, text in told.items()
        if key in then and then[key] != text
    ]
