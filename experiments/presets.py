"""Presets: YAML files by name, shipped in the wheel, or a user's own."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from experiments.settings import validated
from lightning_models.errors import ConfigError
from lightning_models.spelling import nearest_names

if TYPE_CHECKING:
    from experiments.config import TrainConfig

__all__ = [
    "STUDY_PREFIX",
    "load_train_config",
    "preset_names",
    "read_preset",
    "read_yaml",
    "study_names",
]

STUDY_PREFIX = "study-"
"""What the names of shipped studies begin with; all others are presets."""

# Of the key << that lays a mapping under another one.
_MERGE = "tag:yaml.org,2002:merge"


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
    name, content = read_preset(preset)
    # Whether there is such a file is told without it: torch and Lightning take ten seconds.
    from experiments.config import TrainConfig

    return validated(TrainConfig, {"preset": name, **content}, settings, origin=f"preset {preset}")


def read_preset(preset: str) -> tuple[str, dict[str, Any]]:
    """Return what a preset is called, and what its file holds, its fields unchecked.

    Parameters
    ----------
    preset
        A shipped name, or the path of a YAML file.

    Raises
    ------
    ConfigError
        If there is no such preset or file, or it is a study.
    """
    if preset in study_names():
        raise ConfigError(_is_a_study(preset))
    name, content = read_yaml(preset, preset_names(), what="preset")
    if "space" in content:
        raise ConfigError(_is_a_study(preset))
    return name, content


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
        If there is none of that name, it holds no mapping, or a key is in it twice.
    """
    own, text = _read(name, list(shipped), what)
    try:
        content: Any = _OnceLoader(text).get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{name} is no readable YAML: {_where(error)}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{name} holds no mapping: see a shipped {what} for what it looks like")
    return own, content


class _OnceLoader(yaml.SafeLoader):
    # By itself YAML takes the last of two equal keys, and says nothing of the first.
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            if (key.tag, key.value) in first:
                raise yaml.composer.ComposerError(
                    None,
                    None,
                    f"{key.value} is there twice, first on line {first[key.tag, key.value]}: "
                    "leave out one of the two",
                    key.start_mark,
                )
            first[key.tag, key.value] = key.start_mark.line + 1
        return node


def _is_a_study(name: str) -> str:
    return f"{name} is a study, not a preset: lstm-strategies tune --study {name} --data FILE"


def _shipped() -> list[str]:
    entries = files("configs").iterdir()
    return sorted(entry.name[:-5] for entry in entries if entry.name.endswith(".yaml"))


def _where(error: Exception) -> str:
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
