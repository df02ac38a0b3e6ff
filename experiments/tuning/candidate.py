"""A configuration to try: a study's starting point with a trial's values laid over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from experiments.settings import TAG_KEYS, flatten, validated
from lightning_models.errors import ConfigError

if TYPE_CHECKING:
    from experiments.config import BacktestConfig, TrainConfig

__all__ = ["BACKTEST", "MODEL", "Candidate", "StartingPoint", "value_at"]

BACKTEST: Final = "backtest."
"""What stands before the fields of the strategy and its account."""

MODEL: Final = "the fold's own"
"""In place of a model that a strategy needs before there is one."""


@dataclass(frozen=True)
class Candidate:
    """A configuration to try.

    Parameters
    ----------
    train
        How each fold's model is fitted.
    backtest
        How it is traded; None where the study only forecasts.
    """

    train: TrainConfig
    backtest: BacktestConfig | None

    def parameters(self) -> dict[str, Any]:
        """Return it as dotted names, as MLflow's parameters are."""
        found = flatten(self.train.model_dump(mode="json"))
        if self.backtest is not None:
            content = self.backtest.model_dump(mode="json", exclude={"model"})
            found |= flatten({BACKTEST.removesuffix("."): content})
        return found


@dataclass(frozen=True)
class StartingPoint:
    """What a study searches from.

    Parameters
    ----------
    train
        Of the preset, or of an earlier study's best trial.
    backtest
        Fields of the backtest that are given; None where the study only forecasts.
    """

    train: TrainConfig
    backtest: dict[str, Any] | None

    def with_values(self, values: Mapping[str, Any], *, origin: str) -> Candidate:
        """Return the configuration with other values in some places.

        Parameters
        ----------
        values
            From dotted fields. Where one changes what a section is, such as ``network.kind``,
            the section's other fields begin from their own defaults.
        origin
            Where the values come from, for messages.

        Raises
        ------
        ConfigError
            Naming every problem with its dotted path.
        """
        # A study's own file is checked without it: torch and Lightning take ten seconds.
        from experiments.config import BacktestConfig, TrainConfig

        traded = {
            path.removeprefix(BACKTEST): value
            for path, value in values.items()
            if path.startswith(BACKTEST)
        }
        fitted = {path: value for path, value in values.items() if not path.startswith(BACKTEST)}
        if traded and self.backtest is None:
            raise ConfigError(
                f"{origin}: {BACKTEST}{next(iter(traded))} matters to no forecast: add an "
                "objective of kind trading, or leave it out"
            )
        train = _laid_over(self.train.model_dump(mode="json"), fitted, origin)
        backtest = None
        if self.backtest is not None:
            content = {"model": MODEL, **_laid_over(self.backtest, traded, origin)}
            backtest = validated(BacktestConfig, content, origin=f"{origin}: backtest")
        return Candidate(validated(TrainConfig, train, origin=origin), backtest)


def value_at(candidate: Candidate, path: str) -> Any:
    """Return the value of a dotted field as JSON has it.

    Raises
    ------
    KeyError
        If there is no such field.
    """
    content: Any = candidate.train.model_dump(mode="json")
    # The usual target is left unsaid there.
    content["data"].setdefault("target", candidate.train.data.target.model_dump(mode="json"))
    if path.startswith(BACKTEST):
        if candidate.backtest is None:
            raise KeyError(path)
        content = candidate.backtest.model_dump(mode="json")
        path = path.removeprefix(BACKTEST)
    for part in path.split("."):
        content = content[int(part)] if isinstance(content, list) else content[part]
    return content


def _laid_over(
    content: Mapping[str, Any], values: Mapping[str, Any], origin: str
) -> dict[str, Any]:
    merged: dict[str, Any] = _copied(content)
    # What a section is comes first: it decides which other fields there are.
    for path, value in sorted(values.items(), key=lambda one: not _is_tag(one[0])):
        *branches, leaf = path.split(".")
        place: Any = merged
        for depth, branch in enumerate(branches):
            place = _step(place, branch, ".".join(branches[: depth + 1]), origin)
        if isinstance(place, list):
            place[_position(place, leaf, path, origin)] = value
        elif isinstance(place, dict):
            if leaf in TAG_KEYS and leaf in place and place[leaf] != value:
                place.clear()
            place[leaf] = value
        else:
            raise ConfigError(f"{origin}: {'.'.join(branches)} is a value and has no {leaf!r}")
    return merged


def _is_tag(path: str) -> bool:
    return path.rpartition(".")[2] in TAG_KEYS


def _step(place: Any, branch: str, path: str, origin: str) -> Any:
    if isinstance(place, list):
        return place[_position(place, branch, path, origin)]
    if not isinstance(place, dict):
        raise ConfigError(f"{origin}: {path.rpartition('.')[0]} is a value and has no {branch!r}")
    if place.get(branch) is None:
        place[branch] = {}
    return place[branch]


def _position(place: list[Any], branch: str, path: str, origin: str) -> int:
    if not branch.isdecimal() or int(branch) >= len(place):
        raise ConfigError(
            f"{origin}: {path} is no entry of a list of {len(place)}: give a number from 0 to "
            f"{len(place) - 1}"
        )
    return int(branch)


def _copied(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _copied(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_copied(value) for value in content]
    return content
