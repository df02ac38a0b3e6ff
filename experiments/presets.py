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

__all__ = ["STUDY_PREFIX", "load_train_config", "preset_names", "read_yaml", "study_names"]

STUDY_PREFIX = "study-"
"""What the names of shipped studies begin with; all others are presets."""


def preset_names() -> list[str]:
    """Return the names of the presets that are shipped, sorted."""
    return [name for name in _shipped() if not name.startswith(STUDY_PREFIX)]


def study_names() -> list[str]:
    """Return the names of the studies that are shipped, sorted."""
    return [name for name in _shipped() if name.startswith(STUDY_PREFIX)]


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
    if preset in study_names():
        raise ConfigError(_is_a_study(preset))
    name, content = read_yaml(preset, preset_names(), what="preset")
    if "space" in content:
        raise ConfigError(_is_a_study(preset))
    return validated(TrainConfig, {"preset": name, **content}, settings, origin=f"preset {preset}")


def read_yaml(name: str, shipped: Iterable[str], *, what: str) -> tuple[str, dict[str, Any]]:
    """Return what a shipped file or a user's own is called, and the mapping in it.

    Parameters
    ----------
    name
        One of `shipped`, or the path of a YAML file.
    shipped
        Names that there are.
    what
        Such a file is called, for messages.

    Raises
    ------
    ConfigError
        If there is none of that name, or it holds no mapping.
    """
    own, text = _read(name, list(shipped), what)
    try:
        content: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name} is no readable YAML: {_where(error)}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{name} holds no mapping: see a shipped {what} for what it looks like")
    return own, content


def _is_a_study(name: str) -> str:
    return f"{name} is a study, not a preset: lstm-strategies tune --study {name} --data FILE"


def _shipped() -> list[str]:
    entries = files("configs").iterdir()
    return sorted(entry.name[:-5] for entry in entries if entry.name.endswith(".yaml"))


def _where(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())


def _read(name: str, shipped: list[str], what: str) -> tuple[str, str]:
    if name in shipped:
        return name, files("configs").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    path = Path(name).expanduser()
    if not path.is_file():
        near = nearest_names(name, shipped)
        end = "" if near.endswith("?") else "."
        raise ConfigError(
            f"no {what} {name!r}: {near}{end} A file of your own is named by its path"
        )
    try:
        return path.stem, path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the {what} {path} cannot be read: {error}") from error
