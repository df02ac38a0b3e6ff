"""Presets: YAML files by name, shipped in the wheel, or a user's own."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from experiments.config import TrainConfig, validated
from lightning_models.errors import ConfigError
from lightning_models.spelling import nearest_names

__all__ = ["load_train_config", "preset_names"]


def preset_names() -> list[str]:
    """Return the names of the presets that are shipped, sorted."""
    shipped = files("configs").iterdir()
    return sorted(entry.name[:-5] for entry in shipped if entry.name.endswith(".yaml"))


def load_train_config(preset: str, settings: Iterable[str] = ()) -> TrainConfig:
    """Return a training configuration.

    Parameters
    ----------
    preset
        A shipped name, or the path of a YAML file.
    settings
        ``a.b=value`` options laid over it.

    Raises
    ------
    ConfigError
        If there is no such preset or file, or a key or value in it is wrong.
    """
    name, text = _read(preset)
    try:
        content: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{preset} is no readable YAML: {_where(error)}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{preset} holds no mapping: see a shipped preset for what it looks like")
    return validated(TrainConfig, {"preset": name, **content}, settings, origin=f"preset {preset}")


def _where(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())


def _read(preset: str) -> tuple[str, str]:
    shipped = preset_names()
    if preset in shipped:
        return preset, files("configs").joinpath(f"{preset}.yaml").read_text(encoding="utf-8")
    path = Path(preset).expanduser()
    if not path.is_file():
        near = nearest_names(preset, shipped)
        end = "" if near.endswith("?") else "."
        raise ConfigError(
            f"no preset {preset!r}: {near}{end} A file of your own is named by its path"
        )
    try:
        return path.stem, path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the preset {path} cannot be read: {error}") from error
