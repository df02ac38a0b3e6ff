"""Settings from a file and from ``--set``, validated, with every problem named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, Tag
from pydantic import ValidationError as PydanticError

from lightning_models.errors import ConfigError
from lightning_models.spelling import nearest_names

__all__ = ["TAG_KEYS", "flatten", "in_our_words", "parse_settings", "validated"]

Config = TypeVar("Config", bound=BaseModel)

# What pydantic says of a value is put as advice to whoever wrote it.
_WORDS = {
    "greater_than": "give more than {gt}",
    "greater_than_equal": "give at least {ge}",
    "less_than": "give less than {lt}",
    "less_than_equal": "give at most {le}",
    "int_parsing": "give a whole number",
    "int_type": "give a whole number",
    "int_from_float": "give a whole number",
    "float_parsing": "give a number",
    "float_type": "give a number",
    "finite_number": "give a number that is finite",
    "bool_parsing": "give true or false",
    "bool_type": "give true or false",
    "string_type": "give a text, in quotes if it reads as a number",
    "literal_error": "give {expected}",
    "model_type": "give its keys and values",
    "model_attributes_type": "give its keys and values",
    "tuple_type": "give a list",
    "list_type": "give a list",
}

TAG_KEYS = ("kind", "name")
"""Fields that say which member of a union is meant."""


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Return ``--set a.b=value`` options as a nested dictionary; values are YAML.

    Raises
    ------
    ConfigError
        If an option has no ``=`` or an empty part, or sets both a branch and a leaf of it.

    Examples
    --------
    >>> parse_settings(["training.epochs=3", "data.horizons=[1, 1d]"])
    {'training': {'epochs': 3}, 'data': {'horizons': [1, '1d']}}
    """
    nested: dict[str, Any] = {}
    leaves: set[tuple[str, ...]] = set()
    for setting in settings:
        path, separator, text = setting.partition("=")
        parts = tuple(part.strip() for part in path.split("."))
        if not separator or not all(parts):
            raise ConfigError(f"unreadable --set {setting!r}: write it as training.epochs=3")
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError) as error:
            problem = getattr(error, "problem", None) or " ".join(str(error).split())
            raise ConfigError(f"--set {path}: {text!r} is no YAML value: {problem}") from error
        _check_branches(parts, leaves)
        leaves.add(parts)
        place = nested
        for branch in parts[:-1]:
            place = place.setdefault(branch, {})
        place[parts[-1]] = value
    return nested


def validated(
    kind: type[Config], content: Mapping[str, Any], settings: Iterable[str] = (), *, origin: str
) -> Config:
    """Build a configuration from a file's content with options laid over it.

    Parameters
    ----------
    kind
        The configuration's class.
    content
        Of a YAML file, nested.
    settings
        ``a.b=value`` options.
    origin
        Where the content comes from, for messages.

    Raises
    ------
    ConfigError
        Naming every problem with its dotted path, and the nearest names of a misspelt key.
    """
    merged = _merge(content, parse_settings(settings))
    try:
        return kind.model_validate(merged)
    except PydanticError as error:
        problems = "; ".join(_problems(kind, error.errors()))
        raise ConfigError(f"{origin}: {problems}") from error


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested dictionary as dotted names, as MLflow's parameters are.

    Examples
    --------
    >>> flatten({"training": {"epochs": 3}, "preset": "quickstart"})
    {'training.epochs': 3, 'preset': 'quickstart'}
    """
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _check_branches(parts: tuple[str, ...], leaves: set[tuple[str, ...]]) -> None:
    for leaf in leaves:
        shorter, longer = sorted((leaf, parts), key=len)
        if shorter != longer and longer[: len(shorter)] == shorter:
            raise ConfigError(
                f"--set gives both {'.'.join(shorter)} and {'.'.join(longer)}: leave out one"
            )


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    if "kind" in below and above.get("kind", below["kind"]) != below["kind"]:
        merged.clear()  # the fields of another kind are others
    for key, value in above.items():
        held = merged.get(key)
        both = isinstance(held, Mapping) and isinstance(value, Mapping)
        merged[key] = _merge(dict(held or {}), value) if both else value
    return merged


def _problems(kind: type[BaseModel], errors: Iterable[Any]) -> Iterator[str]:
    # Each member of a plain union complains of the same value: one sentence says it all.
    messages: dict[str, list[str]] = {}
    errors = list(errors)
    for error in errors:
        if error["type"] == "too_short" and any(_lies_in(error, other) for other in errors):
            continue  # entries that were refused were given all the same
        walked = _fields_along(kind, error["loc"])
        path = ".".join(str(part) for _, part in walked)
        owner, name = walked[-1] if walked else (None, "")
        sort, context = error["type"], error.get("ctx", {})
        message = in_our_words(error)
        if sort == "extra_forbidden":
            yield f"unknown key {path!r}: {_nearest_keys(kind, owner, path, str(name))}"
        elif sort == "missing":
            yield f"{path} is missing"
        elif sort == "union_tag_not_found":
            yield f"{path}.{_key_of_tags(context)} is missing"
        elif sort == "union_tag_invalid":
            known = [tag.strip().strip("'") for tag in context["expected_tags"].split(",")]
            place = f"{path}.{_key_of_tags(context)}"
            yield f"{place}: no {context['tag']!r}: {nearest_names(context['tag'], known)}"
        elif not path:
            yield message
        else:
            scalar = not isinstance(error["input"], Mapping | list | tuple)
            said = f"{path}={error['input']!r}" if scalar else path
            messages.setdefault(said, []).append(message)
    for place, reasons in messages.items():
        yield f"{place}: {', or '.join(reasons)}"


def in_our_words(error: Any) -> str:
    """Return what one of pydantic's errors asks of the user, in this project's words."""
    context = error.get("ctx", {})
    if (words := _WORDS.get(error["type"])) is not None:
        return words.format(**context)
    said: str = error["msg"].removeprefix("Value error, ")
    return said


def _nearest_keys(
    kind: type[BaseModel], owner: type[BaseModel] | None, path: str, name: str
) -> str:
    # A key of the same section first; then one of that very name in any other.
    known = [] if owner is None else list(owner.model_fields)
    near = nearest_names(name, known)
    section = path.removesuffix(name)
    if near.endswith("?"):
        return near.replace(" '", f" '{section}")
    elsewhere = [one for one in _keys(kind) if one.rpartition(".")[2] == name]
    return f"did you mean {' or '.join(map(repr, elsewhere))}?" if elsewhere else near


def _keys(kind: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in kind.model_fields.items():
        yield f"{prefix}{name}"
        members = _members(field.annotation)
        if len(members) == 1 and isinstance(members[0], type) and issubclass(members[0], BaseModel):
            yield from _keys(members[0], f"{prefix}{name}.")


def _lies_in(outer: Any, inner: Any) -> bool:
    depth = len(outer["loc"])
    return len(inner["loc"]) > depth and inner["loc"][:depth] == outer["loc"]


def _fields_along(
    kind: type[BaseModel], location: Iterable[int | str]
) -> list[tuple[type[BaseModel] | None, int | str]]:
    # Each part of a path with the class whose field it is. What pydantic adds to a path
    # within a union, a tag or the name of a type, stands in no file and is left out.
    walked: list[tuple[type[BaseModel] | None, int | str]] = []
    at: Any = kind
    for part in location:
        members = _members(at)
        if len(members) > 1:
            at = next((one for one in members if part in _tags_of(one)), None)
            continue
        at = members[0]
        if isinstance(at, type) and issubclass(at, BaseModel):
            walked.append((at, part))
            field = at.model_fields.get(str(part))
            at = None if field is None else field.annotation
        else:
            walked.append((None, part))
            within = [one for one in get_args(at) if one is not Ellipsis]
            at = within[-1] if within else None
    return walked


def _members(annotation: Any) -> list[Any]:
    # Of a union, without None; of anything else, itself.
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [one for one in get_args(annotation) if one is not type(None)]
    return [annotation]


def _tags_of(member: Any) -> tuple[Any, ...]:
    if get_origin(member) is Annotated:
        kind, *further = get_args(member)
        return (*_tags_of(kind), *(one.tag for one in further if isinstance(one, Tag)))
    if isinstance(member, type) and issubclass(member, BaseModel):
        fields = (member.model_fields.get(key) for key in TAG_KEYS)
        return tuple(tag for field in fields if field for tag in get_args(field.annotation))
    return ()


def _key_of_tags(context: Mapping[str, Any]) -> str:
    return str(context["discriminator"]).strip("'")
