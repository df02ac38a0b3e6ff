"""What a parameter may be: a range of numbers, or a choice, perhaps only where another one fits."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeAlias

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    model_validator,
)

from lightning_models.spelling import nearest_names

__all__ = ["Choice", "Conditions", "Parameter", "Range", "Scalar", "refuse_nested"]

# Samplers and databases keep numbers as doubles, which hold no larger whole number exactly.
_LARGEST: Final = 2**53

# MLflow's parameters hold little more, and tables and plots far less.
_LONGEST_NAME: Final = 200

Scalar: TypeAlias = bool | int | float | str | None
"""What Optuna keeps of a chosen value."""


def _listed(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {
        name: tuple(wanted) if isinstance(wanted, list | tuple) else (wanted,)
        for name, wanted in value.items()
    }


Conditions = Annotated[dict[str, tuple[JsonValue, ...]], BeforeValidator(_listed)]
"""From another parameter's name to the values it must have; one value may stand by itself."""


def _number(value: Any) -> Any:
    # Whoever writes yes and no means a choice.
    if isinstance(value, bool):
        raise ValueError(f"give a number, or choices: [{str(value).lower()}, …]")
    return value


class Range(BaseModel):
    """Numbers from a lowest to a highest one, both included.

    Whole numbers where the configuration's own value is one.

    Parameters
    ----------
    low, high
        The ends, of a magnitude up to 2**53.
    step
        Distance of the values that are tried, counted from `low`.
    log
        Whether each order of magnitude gets the same share of the trials.
    when
        Values of choices that this parameter needs to matter at all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    low: Annotated[int | float, BeforeValidator(_number)]
    high: Annotated[int | float, BeforeValidator(_number)]
    step: Annotated[int | float, Field(gt=0), BeforeValidator(_number)] | None = None
    log: bool = False
    when: Conditions = Field(default_factory=dict)

    @model_validator(mode="after")
    def _holds_numbers(self) -> Range:
        for name, end in (("low", self.low), ("high", self.high), ("step", self.step or 0)):
            if abs(end) > _LARGEST:
                raise ValueError(f"{name} is beyond 2**53 = {_LARGEST}: give a smaller number")
        if self.step is not None and (self.high - self.low) / _LARGEST > self.step:
            raise ValueError(f"step={self.step:g} is too fine for its range: give a larger one")
        if self.low > self.high:
            raise ValueError(f"low={self.low:g} is above high={self.high:g}: exchange the two")
        if self.log and self.low <= 0:
            raise ValueError(
                f"low={self.low:g} has no logarithm: give a lowest value above 0, or leave out log"
            )
        if self.log and self.step is not None:
            raise ValueError("it has both log and step: leave out one")
        return self

    def distribution(self, value: Any) -> BaseDistribution:
        """Return what Optuna draws from.

        Parameters
        ----------
        value
            The configuration's own, which tells whether the numbers are whole.

        Raises
        ------
        ValueError
            If whole numbers are needed and an end or the step is none.
        """
        ends = (self.low, self.high, *(() if self.step is None else (self.step,)))
        written = all(isinstance(end, int) for end in ends)
        whole = written if not _is_number(value) else isinstance(value, int)
        # Optuna would lower an end between two steps by itself, and warn in each trial.
        if not whole:
            low, high = float(self.low), float(self.high)
            if self.step is None:
                return FloatDistribution(low, high, log=self.log)
            high = low + math.floor((high - low) / self.step + 1e-9) * self.step
            return FloatDistribution(low, high, step=float(self.step))
        broken = [end for end in ends if int(end) != end]
        if broken:
            raise ValueError(f"{broken[0]:g} is no whole number, and {value} is one: give those")
        step = 1 if self.step is None else int(self.step)
        high = int(self.low) + (int(self.high) - int(self.low)) // step * step
        return IntDistribution(int(self.low), high, log=self.log, step=step)

    def tried(self) -> tuple[JsonValue, ...]:
        """Return the values that a check of the configuration tries."""
        return (self.low, self.high)

    def value_of(self, drawn: Scalar) -> JsonValue:
        """Return what the configuration is given for what Optuna drew."""
        return drawn

    def drawn_for(self, value: JsonValue) -> Scalar:
        """Return what Optuna would have drawn for a value.

        Raises
        ------
        ValueError
            If the value is outside the range.
        """
        if not _is_number(value) or not self.low <= value <= self.high:  # type: ignore[operator]
            raise ValueError(f"{value} is outside {self.low:g} … {self.high:g}")
        if self.step is not None:
            steps = (value - self.low) / self.step  # type: ignore[operator]
            if not math.isclose(steps, round(steps), abs_tol=1e-9):
                raise ValueError(
                    f"{value} is not {self.low:g} plus a multiple of the step {self.step:g}"
                )
        return value  # type: ignore[return-value]


class Choice(BaseModel):
    """One of several values, of whatever kind the configuration takes.

    Parameters
    ----------
    choices
        The values; as a mapping, each with the name that plots and tables call it by: up to 200
        characters that can be printed. Without names texts and lists are called by themselves.
    when
        Values of other choices that this parameter needs to matter at all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    choices: tuple[JsonValue, ...] | dict[str, JsonValue] = Field(min_length=1)
    when: Conditions = Field(default_factory=dict)

    @model_validator(mode="after")
    def _tells_them_apart(self) -> Choice:
        for name in filter(lambda one: isinstance(one, str), self._named):
            _check_name(str(name))
        names = [repr(name) for name in self._named]
        if len(self._named) < len(self.choices):
            raise ValueError(f"a value is there twice among {', '.join(names)}: name each once")
        return self

    @property
    def _named(self) -> dict[Scalar, JsonValue]:
        if isinstance(self.choices, dict):
            return {str(name): value for name, value in self.choices.items()}
        # In Python True is 1 and would take its place.
        told = {(type(value).__name__, _name_of(value)): value for value in self.choices}
        return {name: value for (_, name), value in told.items()}

    def distribution(self, value: Any) -> BaseDistribution:
        """Return what Optuna draws from; takes what `Range.distribution` does."""
        del value
        return CategoricalDistribution(tuple(self._named))

    def tried(self) -> tuple[JsonValue, ...]:
        """Return the values that a check of the configuration tries: all."""
        return tuple(self._named.values())

    def value_of(self, drawn: Scalar) -> JsonValue:
        """Return what the configuration is given for what Optuna drew."""
        return self._named[drawn]

    def called(self, wanted: JsonValue) -> Scalar:
        """Return what Optuna would have drawn for a value, or for the name of one.

        Raises
        ------
        ValueError
            If it is none of the choices.
        """
        if isinstance(self.choices, dict) and isinstance(wanted, str) and wanted in self.choices:
            return wanted
        return self.drawn_for(wanted)

    def drawn_for(self, value: JsonValue) -> Scalar:
        """Return what Optuna would have drawn for a value.

        Raises
        ------
        ValueError
            If it is none of the choices.
        """
        for name, one in self._named.items():
            if _alike(one, value):
                return name
        shown = ", ".join(str(name) for name in self._named)
        raise ValueError(f"{_name_of(value)} is none of {shown}")


def _check_name(name: str) -> None:
    advice = "name the values, as in choices: {short: …}"
    if len(name) > _LONGEST_NAME:
        raise ValueError(
            f"{name[:30] + '…'!r} has {len(name)} characters, of {_LONGEST_NAME} at most: {advice}"
        )
    if not name.isprintable() or name != name.strip():
        raise ValueError(
            f"{name!r} has blanks around it or characters that cannot be printed: {advice}"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _name_of(value: JsonValue) -> Scalar:
    # Optuna keeps scalars alone; anything else goes by its text.
    return value if isinstance(value, Scalar) else json.dumps(value)


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_alike, one, other))
    return bool(one == other)


RANGE_KEYS: Final = ("low", "high", "step", "log")
_KEYS: Final = (*RANGE_KEYS, "choices", "when")


def _kind_of(content: Any) -> str:
    if isinstance(content, Range | Choice):
        return "range" if isinstance(content, Range) else "choice"
    if isinstance(content, Mapping) and any(key in content for key in RANGE_KEYS):
        return "range"
    return "choice"


def _from_list(content: Any) -> Any:
    return {"choices": content} if isinstance(content, list | tuple) else content


def refuse_nested(space: Mapping[str, Any]) -> None:
    """Refuse fields of a space that are nested instead of dotted.

    Parameters
    ----------
    space
        As it is written.

    Raises
    ------
    ValueError
        Naming the first such field as it should be written.

    Examples
    --------
    >>> refuse_nested({"network.l2": {"low": 0.1, "high": 1.0}})
    >>> refuse_nested({"network": {"l2": {"low": 0.1, "high": 1.0}}})
    Traceback (most recent call last):
    ...
    ValueError: network holds fields of its own: write them with dots, as network.l2: {…}
    """
    for name, content in space.items():
        path, inner = str(name), content
        while (key := _section_key(inner)) is not None:
            path, inner = f"{path}.{key}", inner[key]
        if inner is not content:
            written = "{…}" if isinstance(inner, Mapping) else "[…]"
            raise ValueError(
                f"{name} holds fields of its own: write them with dots, as {path}: {written}"
            )


def _section_key(content: Any) -> str | None:
    # The first key that holds what a parameter might be, where none of them is a parameter's own
    # or near one that is: `choises` is no field.
    if not isinstance(content, Mapping) or any(key in _KEYS for key in content):
        return None
    for key, value in content.items():
        near = nearest_names(str(key), _KEYS, likeness=0.8).endswith("?")
        if isinstance(value, Mapping | list | tuple) and not near:
            return str(key)
    return None


Parameter = Annotated[
    Annotated[Range, Tag("range")] | Annotated[Choice, Tag("choice")],
    Discriminator(_kind_of),
    BeforeValidator(_from_list),
]
"""A `Range`, a `Choice`, or a plain list of choices."""
