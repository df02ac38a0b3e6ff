"""What a user configures: one frozen class for YAML, options, bundle and MLflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
)
from pydantic import ValidationError as PydanticError

from lightning_models.data import DataConfig
from lightning_models.errors import ConfigError
from lightning_models.networks import NetworkConfig
from lightning_models.spelling import nearest_names
from lightning_models.training import TrainingConfig

__all__ = ["BacktestConfig", "Moment", "TrainConfig", "flatten", "parse_settings", "validated"]

Config = TypeVar("Config", bound=BaseModel)


def _in_utc(moment: datetime) -> datetime:
    # A time without a zone is UTC, as everywhere in this project.
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


Moment = Annotated[datetime, AfterValidator(_in_utc)]


class TrainConfig(BaseModel):
    """A model to train.

    Parameters
    ----------
    preset
        What a user calls it.
    network
        Which one, and its widths.
    data
        What it sees and what it is asked.
    training
        How it is fitted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str
    network: NetworkConfig
    data: DataConfig
    training: TrainingConfig = TrainingConfig()


class BacktestConfig(BaseModel):
    """How a model trades in a backtest.

    Parameters
    ----------
    model
        ``models:/name@champion``, ``models:/name/3`` or the folder of a bundle.
    start, end
        First and last moment, UTC; by default from the model's `unseen_from` to the last
        candle.
    cash
        Quote currency at the start.
    min_confidence
        Calibrated probability that an entry needs.
    min_edge
        Expected move over the cost of a round trip that an entry needs; 0 asks for none.
    top_share
        Share of the calibration slice's bars that may trade, in place of `min_confidence`;
        0 is off.
    long_only
        Whether a forecast of a fall closes a position without going short.
    risk_per_trade
        Fraction of equity that is lost where the stop is hit.
    atr_period, atr_stop, atr_target
        Bars of the average true range; distance of stop and target in multiples of it.
    maker_fee, taker_fee
        Fractions of notional.
    slippage
        Fraction of the price that market orders are filled worse by.
    in_sample
        Whether to trade before the model's `unseen_from` too; such results are shaded.
    replications
        Of the bootstrap that the intervals come from.
    seed
        Of the bootstrap.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    start: Moment | None = None
    end: Moment | None = None
    cash: PositiveFloat = 10_000.0
    min_confidence: float = Field(default=0.6, ge=0, le=1)
    min_edge: NonNegativeFloat = 0.0
    top_share: float = Field(default=0.0, ge=0, le=1)
    long_only: bool = False
    risk_per_trade: float = Field(default=0.02, gt=0, le=1)
    atr_period: PositiveInt = 14
    atr_stop: PositiveFloat = 2.0
    atr_target: PositiveFloat = 3.0
    maker_fee: float = Field(default=0.0002, ge=0, lt=1)
    taker_fee: float = Field(default=0.0004, ge=0, lt=1)
    slippage: float = Field(default=0.0, ge=0, lt=1)
    in_sample: bool = False
    replications: PositiveInt = Field(default=1000, ge=100)
    seed: int = Field(default=0, ge=0)


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Return ``--set a.b=value`` options as a nested dictionary; values are YAML.

    Raises
    ------
    ConfigError
        If an option has no ``=``, or sets both a branch and a leaf of it.

    Examples
    --------
    >>> parse_settings(["training.epochs=3", "data.horizons=[1, 1d]"])
    {'training': {'epochs': 3}, 'data': {'horizons': [1, '1d']}}
    """
    nested: dict[str, Any] = {}
    for setting in settings:
        path, separator, text = setting.partition("=")
        if not separator or not path.strip():
            raise ConfigError(f"unreadable --set {setting!r}: write it as training.epochs=3")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {path}: {text!r} is no YAML value: {error}") from error
        *branches, leaf = path.strip().split(".")
        place = nested
        for branch in branches:
            place = place.setdefault(branch, {})
            if not isinstance(place, dict):
                raise ConfigError(f"--set {path}: {branch} was already set to a value")
        place[leaf] = value
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
        problems = [_problem(kind, merged, problem) for problem in error.errors()]
        raise ConfigError(f"{origin}: " + "; ".join(problems)) from error


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


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        held = merged.get(key)
        both = isinstance(held, Mapping) and isinstance(value, Mapping)
        merged[key] = _merge(dict(held or {}), value) if both else value
    return merged


def _problem(kind: type[BaseModel], content: Mapping[str, Any], problem: Any) -> str:
    # The discriminator's tag stands in pydantic's path of a union, but in no file.
    location = [part for part in problem["loc"] if part not in _tags(content)]
    path = ".".join(str(part) for part in location)
    if problem["type"] == "extra_forbidden":
        known = _fields_at(kind, content, location[:-1])
        return f"unknown key {path!r}: {nearest_names(str(location[-1]), known)}"
    if problem["type"] == "missing":
        return f"{path} is missing"
    if problem["type"] == "union_tag_invalid":
        return f"{path}.kind: {problem['msg']}"
    given = "" if isinstance(problem["input"], Mapping) else f", not {problem['input']!r}"
    return f"{path}: {problem['msg'].removeprefix('Value error, ')}{given}"


def _tags(content: Mapping[str, Any]) -> set[Any]:
    network = content.get("network")
    return {network.get("kind")} if isinstance(network, Mapping) else set()


def _fields_at(kind: type[BaseModel], content: Mapping[str, Any], path: list[Any]) -> list[str]:
    # The fields that the model at a path of the content has.
    from lightning_models.features import FeatureSpec
    from lightning_models.networks import table

    current: type[BaseModel] = kind
    for part in path:
        if isinstance(part, int):
            continue
        if part == "network":
            tag = content["network"].get("kind")
            current = next(
                each for each in table.NETWORK_CONFIGS if each.model_fields["kind"].default == tag
            )
        elif part == "features":
            current = FeatureSpec
        else:
            field = current.model_fields.get(str(part))
            if field is None or not isinstance(field.annotation, type):
                break
            current = field.annotation
    return list(current.model_fields)
