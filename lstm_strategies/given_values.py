"""Values given for parameters: a number must be one, and lie in its range."""

from __future__ import annotations

import math
import os
from numbers import Real
from typing import TYPE_CHECKING, Any

from lstm_strategies.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check_fraction", "check_model", "check_positive"]


def check_fraction(name: str, value: Any) -> None:
    """Refuse a parameter's value that is no number from 0 to 1.

    Raises
    ------
    ParameterError
        If it is of another type (True and False are no numbers here) or out of the range.

    Examples
    --------
    >>> check_fraction("min_confidence", "0.55")
    Traceback (most recent call last):
    lstm_strategies.errors.ParameterError: min_confidence='0.55' is a str and no number: give a \
fraction from 0 to 1, such as min_confidence=0.55
    """
    _check(name, value, "a fraction from 0 to 1", lambda number: 0.0 <= number <= 1.0)


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
    if isinstance(value, bool) or not isinstance(value, Real):
        number = _number_in(value)
        such_as = "" if number is None or not is_fit(number) else f", such as {name}={number:g}"
        raise ParameterError(
            f"{name}={value!r} is a {type(value).__name__} and no number: give {wanted}{such_as}"
        )
    if not is_fit(float(value)):
        raise ParameterError(f"{name}={value!r}: give {wanted}")


def _number_in(value: Any) -> float | None:
    # Numbers in quotes come from settings that were read as text.
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None
