"""Studies: YAML files by name, shipped in the wheel, or a user's own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from experiments.presets import STUDY_PREFIX, load_train_config, read_yaml, study_names
from experiments.settings import validated
from experiments.tuning.candidate import BACKTEST, MODEL, StartingPoint
from experiments.tuning.config import StudyConfig
from experiments.tuning.space import SearchSpace
from experiments.tuning.study_settings import study_settings
from lightning_models.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from experiments.config import TrainConfig

__all__ = ["load_study", "space_of", "starting_point"]


def load_study(
    study: str | os.PathLike[str] | StudyConfig,
    settings: Iterable[str] = (),
    *,
    name: str | None = None,
) -> StudyConfig:
    """Return a study's configuration.

    Parameters
    ----------
    study
        A shipped name, the path of a YAML file, or the configuration itself.
    settings
        ``a.b=value`` options laid over it, such as ``space.data.lookback.high=90``.
    name
        In place of its own.

    Raises
    ------
    ConfigError
        If there is no such study or file, or a key or value in it is wrong.
    """
    named = {} if name is None else {"name": name}
    if isinstance(study, StudyConfig):
        content: dict[str, Any] = study.model_dump(mode="json", exclude_unset=True)
        own = study.name
    else:
        own, content = read_yaml(os.fspath(study), study_names(), what="study")
    origin = f"study {own}"
    whole = {"name": own.removeprefix(STUDY_PREFIX), **content, **named}
    return validated(StudyConfig, whole, study_settings(list(settings)), origin=origin)


def starting_point(study: StudyConfig, *, found: TrainConfig | None = None) -> StartingPoint:
    """Return what a study searches from.

    Parameters
    ----------
    study
        Which names a preset, unless `found` is given.
    found
        The best configuration of the study that this one comes after.

    Raises
    ------
    ConfigError
        If the preset or a setting of it is wrong.
    """
    origin = f"study {study.name}"
    if found is None:
        if study.preset is None:
            raise ConfigError(f"{origin}: it comes after {study.after}, which is not there yet")
        found = load_train_config(study.preset)
    for path in study.settings:
        if path.startswith(BACKTEST):
            raise ConfigError(
                f"{origin}: settings.{path}: give what trades under backtest, not under settings"
            )
    start = StartingPoint(found, None).with_values(study.settings, origin=f"{origin}: settings")
    if not study.trades:
        if study.backtest:
            raise ConfigError(
                f"{origin}: backtest.{next(iter(study.backtest))} matters to no forecast: add an "
                "objective of kind trading, or leave backtest out"
            )
        return StartingPoint(start.train, None)
    from experiments.config import BacktestConfig  # torch and Lightning, ten seconds

    content = {"model": MODEL, **study.backtest}
    validated(BacktestConfig, content, origin=f"{origin}: backtest")
    return StartingPoint(start.train, dict(study.backtest))


def space_of(study: StudyConfig, start: StartingPoint) -> SearchSpace:
    """Return a study's search space, checked against what it changes.

    Raises
    ------
    ConfigError
        If it cannot work.
    """
    return SearchSpace(study.space, start, origin=f"study {study.name}")
