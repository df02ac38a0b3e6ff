"""A search space: a study's parameters, checked against the configuration they change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import BaseTrial

from experiments.settings import TAG_KEYS
from experiments.tuning.candidate import Candidate, StartingPoint, value_at
from experiments.tuning.parameters import Choice, Parameter, Scalar
from lightning_models.errors import ConfigError
from lightning_models.spelling import nearest_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import JsonValue

    from lightning_models.features import FeatureSpec

__all__ = ["SearchSpace"]

# Fields that decide which other fields a section has.
SECTION_KEYS: Final = (*TAG_KEYS, "strategy")


class SearchSpace:
    """The parameters of a study, in an order in which conditions come first.

    Every end of a range and every choice is tried on the configuration here, so that a space
    that cannot work is refused before the first trial.

    Parameters
    ----------
    parameters
        From dotted fields.
    start
        What the values are laid over.
    origin
        The study, for messages.

    Raises
    ------
    ConfigError
        If a field is unknown, a value does not fit it, or a condition can never hold.

    Examples
    --------
    >>> from experiments.presets import load_train_config
    >>> from experiments.tuning.parameters import Range
    >>> start = StartingPoint(load_train_config("quickstart"), None)
    >>> space = SearchSpace({"data.lookback": Range(low=16, high=64)}, start, origin="a study")
    >>> space.names
    ('data.lookback',)
    >>> space.distributions["data.lookback"]
    IntDistribution(high=64, log=False, low=16, step=1)
    """

    def __init__(
        self, parameters: Mapping[str, Parameter], start: StartingPoint, *, origin: str
    ) -> None:
        self._parameters = dict(_in_order(parameters, origin))
        self._start = start
        self._origin = origin
        self.distributions: dict[str, BaseDistribution] = {
            name: self._checked(name, parameter) for name, parameter in self._parameters.items()
        }
        for name, parameter in self._parameters.items():
            if name.rpartition(".")[2] in SECTION_KEYS:
                self._check_beside_others(name, parameter)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters, each after those its condition names."""
        return tuple(self._parameters)

    @property
    def features(self) -> tuple[FeatureSpec, ...]:
        """All features that a trial may ask for, the starting point's among them."""
        found = list(self._start.train.data.features)
        for name, parameter in self._parameters.items():
            if name.startswith("data.features"):
                for value in parameter.tried():
                    told = {**self._values_that_fit(parameter), name: value}
                    found += self.configure(told).train.data.features
        return tuple({one.model_dump_json(): one for one in found}.values())

    def suggest(self, trial: BaseTrial) -> dict[str, JsonValue]:
        """Return the values that a trial tries; those whose conditions don't hold are left out.

        Parameters
        ----------
        trial
            That draws them.
        """
        drawn: dict[str, Scalar] = {}
        values: dict[str, JsonValue] = {}
        for name, parameter in self._parameters.items():
            if self._matters(parameter, drawn):
                drawn[name] = _draw(trial, name, self.distributions[name])
                values[name] = parameter.value_of(drawn[name])
        return values

    def values_of(self, drawn: Mapping[str, Scalar]) -> dict[str, JsonValue]:
        """Return what the configuration is given for what Optuna keeps of a trial."""
        return {
            name: parameter.value_of(drawn[name])
            for name, parameter in self._parameters.items()
            if name in drawn
        }

    def configure(self, values: Mapping[str, JsonValue]) -> Candidate:
        """Return the configuration with a trial's values.

        Raises
        ------
        ConfigError
            If they do not fit together.
        """
        return self._start.with_values(values, origin=self._origin)

    def own_values(self) -> dict[str, Scalar]:
        """Return the starting point's own values, as Optuna would have drawn them.

        Raises
        ------
        ConfigError
            If one of them lies outside the space.
        """
        own = self.configure({})
        drawn: dict[str, Scalar] = {}
        for name, parameter in self._parameters.items():
            if not self._matters(parameter, drawn):
                continue
            try:
                drawn[name] = self._drawn_for(name, parameter, value_at(own, name))
            except (KeyError, IndexError, TypeError):
                raise ConfigError(
                    f"{self._origin}: space.{name}: the preset has none of its own to begin with: "
                    "give it in settings or backtest, or preset_first: false"
                ) from None
            except ValueError as error:
                raise ConfigError(
                    f"{self._origin}: space.{name}: the preset's own {error}: widen the space, "
                    "give another value in settings or backtest, or preset_first: false"
                ) from None
        return drawn

    def _drawn_for(self, name: str, parameter: Parameter, own: JsonValue) -> Scalar:
        if isinstance(parameter, Choice):
            for value in parameter.tried():
                # A choice may be written shorter than the configuration says it.
                written = self._start.with_values({name: value}, origin=self._origin)
                if value_at(written, name) == own:
                    return parameter.drawn_for(value)
        return parameter.drawn_for(own)

    def _matters(self, parameter: Parameter, drawn: Mapping[str, Scalar]) -> bool:
        return all(
            other in drawn and drawn[other] in self._wanted(other, wanted)
            for other, wanted in parameter.when.items()
        )

    def _wanted(self, other: str, wanted: tuple[JsonValue, ...]) -> list[Scalar]:
        choice = self._parameters[other]
        assert isinstance(choice, Choice)
        return [choice.called(value) for value in wanted]

    def _checked(self, name: str, parameter: Parameter) -> BaseDistribution:
        place = f"{self._origin}: space.{name}"
        where = self._values_that_fit(parameter)
        for value in parameter.tried():
            candidate = self._start.with_values({**where, name: value}, origin=place)
        try:
            return parameter.distribution(value_at(candidate, name))
        except ValueError as error:
            raise ConfigError(f"{place}: {error}") from None
        except (KeyError, IndexError, TypeError):
            raise ConfigError(f"{place}: there is no such field") from None

    def _check_beside_others(self, name: str, parameter: Parameter) -> None:
        # A section of another kind has other fields: those that it lacks need a condition.
        for value in parameter.tried():
            fixed = {**self._values_that_fit(parameter), name: value}
            drawn: dict[str, Scalar] = {}
            values: dict[str, JsonValue] = {}
            for other, one in self._parameters.items():
                if self._matters(one, drawn):
                    values[other] = fixed.get(other, one.tried()[0])
                    drawn[other] = one.drawn_for(values[other])
            place = f"{self._origin}: space with {name}={value}"
            try:
                self._start.with_values(values, origin=place)
            except ConfigError as error:
                raise ConfigError(
                    f"{error}. A parameter that matters to some of the choices only needs "
                    f"when: {{{name}: …}}"
                ) from None

    def _values_that_fit(self, parameter: Parameter) -> dict[str, JsonValue]:
        # Values of other parameters with which this one matters.
        found: dict[str, JsonValue] = {}
        for other, wanted in parameter.when.items():
            above = self._parameters[other]
            found |= self._values_that_fit(above)
            found[other] = above.value_of(self._wanted(other, wanted)[0])
        return found


def _draw(trial: BaseTrial, name: str, of: BaseDistribution) -> Scalar:
    if isinstance(of, FloatDistribution):
        return trial.suggest_float(name, of.low, of.high, step=of.step, log=of.log)
    if isinstance(of, IntDistribution):
        return trial.suggest_int(name, of.low, of.high, step=of.step, log=of.log)
    assert isinstance(of, CategoricalDistribution)
    return trial.suggest_categorical(name, of.choices)


def _in_order(parameters: Mapping[str, Parameter], origin: str) -> Iterator[tuple[str, Parameter]]:
    waiting = dict(parameters)
    placed: set[str] = set()
    for name, parameter in parameters.items():
        _check_conditions(name, parameter, parameters, origin)
    while waiting:
        ready = [name for name, one in waiting.items() if placed >= one.when.keys()]
        if not ready:
            raise ConfigError(
                f"{origin}: the conditions of {', '.join(waiting)} depend on each other: leave one "
                "of them out"
            )
        for name in ready:
            placed.add(name)
            yield name, waiting.pop(name)


def _check_conditions(
    name: str, parameter: Parameter, parameters: Mapping[str, Parameter], origin: str
) -> None:
    for other, wanted in parameter.when.items():
        place = f"{origin}: space.{name}.when.{other}"
        choice = parameters.get(other)
        if choice is None:
            raise ConfigError(
                f"{place}: no such parameter in the space: {nearest_names(other, parameters)}"
            )
        if not isinstance(choice, Choice):
            raise ConfigError(f"{place}: a range has no values to name: make it choices")
        for value in wanted:
            try:
                choice.called(value)
            except ValueError as error:
                raise ConfigError(f"{place}: {error}: the condition can never hold") from None
