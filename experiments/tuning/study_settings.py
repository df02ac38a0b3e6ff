"""`--set` of a study, whose keys have dots of their own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

__all__ = ["study_settings"]

# Keys of a parameter of the space, which are no part of the field that it changes.
_PARAMETER_KEYS: Final = ("low", "high", "step", "log", "choices", "when")


def study_settings(settings: Sequence[str]) -> list[str]:
    """Return ``--set`` options as `load_study` takes them.

    The keys of a study's ``space`` and ``settings`` have dots themselves, and what follows them
    would be taken for nested keys.

    Examples
    --------
    >>> study_settings(["holdout=0.2", "space.data.lookback.high=90"])
    ['holdout=0.2', 'space={"data.lookback": {"high": 90}}']
    >>> study_settings(["settings.training.epochs=5", "space.network.layers=[1, 2]"])
    ['space={"network.layers": [1, 2]}', 'settings={"training.epochs": 5}']
    """
    kept: list[str] = []
    merged: dict[str, dict[str, Any]] = {"space": {}, "settings": {}}
    for setting in settings:
        path, separator, text = setting.partition("=")
        branch, _, field = path.strip().partition(".")
        value = _yaml_or_none(text) if separator and branch in merged else None
        if field and value is not None:
            _lay(merged[branch], field, value, keyed=branch == "space")
        elif isinstance(value, dict):
            for name, one in value.items():
                _lay(merged[branch], str(name), one, keyed=False)
        else:
            kept.append(setting)
    return kept + [
        f"{branch}={json.dumps(content, default=str)}"
        for branch, content in merged.items()
        if content
    ]


def _lay(place: dict[str, Any], field: str, value: Any, *, keyed: bool) -> None:
    parameter, _, key = field.rpartition(".")
    if keyed and parameter and key in _PARAMETER_KEYS:
        field, value = parameter, {key: value}
    held = place.get(field)
    both = isinstance(held, dict) and isinstance(value, dict)
    place[field] = {**held, **value} if both else value  # type: ignore[dict-item]


def _yaml_or_none(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return None  # whoever reads the settings says what is wrong with it
