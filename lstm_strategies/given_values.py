"""Values given for parameters: a number must be one, in its range, and a name a known one."""

from __future__ import annotations

import math
import os
from numbers import Real
from typing import TYPE_CHECKING, Any

from lightning_models.spelling import nearest_names
from lstm_strategies.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["check_choice", "check_count", "check_fraction", "check_model", "check_positive"]


def check_fraction(name: str, value: Any) -> None:
    """Refuse a parameter's value that is no number from 0 to 1.

    Raises
    ------
    ParameterError
        If it is of another type (True and False are no numbers here) or out of the range; what
        may be a percentage is named as the fraction it makes.

    Examples
    --------
    >>> check_fraction("min_confidence", 60)
    Traceback (most recent call last):
    lstm_strategies.errors.ParameterError: min_confidence=60: give a fraction from 0 to 1; for \
60 % write min_confidence=0.6
    >>> check_fraction("min_confidence", "0.55")
    Traceback (most recent call last):
    lstm_strategies.errors.ParameterError: min_confidence='0.55' is a str and no number: give a \
fraction from 0 to 1, such as min_confidence=0.55
    """
    wanted = "a fraction from 0 to 1"
    percent = value if _is_number(value) else _number_in(value)
    if percent is not None and 1.0 < percent <= 100.0:
        wanted += f"; for {float(percent):.10g} % write {name}={float(percent) / 100.0:.10g}"
    _check(name, value, wanted, lambda number: 0.0 <= number <= 1.0)


def check_positive(name: str, value: Any, *, or_zero: bool = False) -> None:
    """Refuse a parameter's value that is no finite number above 0.

    Parameters
    ----------
    name
        Of the parameter.
    value
        As it was given.
    or_zero
        Whether 0 will do too.

    Raises
    ------
    ParameterError
        If it is of another type (True and False are no numbers here) or out of the range.
    """
    wanted = "a number from 0 up" if or_zero else "a number above 0"
    lowest = 0.0 if or_zero else math.nextafter(0.0, 1.0)
    _check(name, value, wanted, lambda number: lowest <= number < math.inf)


def check_count(name: str, value: Any, *, or_zero: bool = False) -> None:
    """Refuse a parameter's value that is no whole number of bars above 0.

    Parameters
    ----------
    name
        Of the parameter.
    value
        As it was given; 14.0 is as good as 14.
    or_zero
        Whether 0 will do too.

    Raises
    ------
    ParameterError
        If it is of another type (True and False are no numbers here), no whole number or out of
        the range.

    Examples
    --------
    >>> check_count("atr_period", 2.5)
    Traceback (most recent call last):
    lstm_strategies.errors.ParameterError: atr_period=2.5: give a whole number of bars, 1 or more
    """
    least = 0.0 if or_zero else 1.0
    wanted = f"a whole number of bars, {least:g} or more"
    _check(name, value, wanted, lambda number: number >= least and number.is_integer())


def check_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Refuse a parameter's value that is none of the names it may have.

    Parameters
    ----------
    name
        Of the parameter.
    value
        As it was given.
    choices
        Every name that is known, in the order in which to list them.

    Raises
    ------
    ParameterError
        If it is none of them.

    Examples
    --------
    >>> check_choice("direction", "lnog", ["both", "long", "short"])
    Traceback (most recent call last):
    lstm_strategies.errors.ParameterError: direction='lnog': did you mean 'long'?
    """
    known = list(choices)
    if not isinstance(value, str):
        listed = ", ".join(known)
        raise ParameterError(
            f"{name}={value!r} is a {type(value).__name__} and no text: give one of {listed}"
        )
    if value not in known:
        raise ParameterError(f"{name}={value!r}: {nearest_names(value, known, in_order=True)}")


def check_model(owner: str, model: Any) -> None:
    """Refuse what names no model.

    Parameters
    ----------
    owner
        The class whose parameter it is.
    model
        As it was given.

    Raises
    ------
    ParameterError
        If it is empty, or neither a text nor a path.
    """
    if not model or not isinstance(model, str | os.PathLike):
        given = f", not model={model!r}" if model else ""
        raise ParameterError(
            f"{owner} needs model: models:/NAME@champion, or the folder of a bundle{given}"
        )


def _check(name: str, value: Any, wanted: str, is_fit: Callable[[float], bool]) -> None:
    if not _is_number(value):
        number = _number_in(value)
        such_as = "" if number is None or not is_fit(number) else f", such as {name}={number:g}"
        raise ParameterError(
            f"{name}={value!r} is a {type(value).__name__} and no number: give {wanted}{such_as}"
        )
    if not is_fit(float(value)):
        raise ParameterError(f"{name}={value!r}: give {wanted}")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _number_in(value: Any) -> float | None:
    # Numbers in quotes come from settings that were read as text.
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None
