"""What a user's own objective returned, checked before anything is kept of it."""

from __future__ import annotations

import posixpath
import re
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from experiments.tuning.score import FoldScore, TrialScore
from lightning_models.errors import TrainingError

__all__ = ["own_score"]

_LONGEST_NAME: Final = 200
_NAME: Final = re.compile(r"[\w .:/-]+")


def own_score(found: Any, *, objectives: int) -> TrialScore:
    """Return what a user's own objective came to, as a score whose every number is one.

    Parameters
    ----------
    found
        What it returned: a number for each of the study's objectives, or a `TrialScore`.
    objectives
        How many the study has.

    Raises
    ------
    TrainingError
        If it is something else, a number too many or too few, or one that is not finite.

    Examples
    --------
    >>> own_score(0.5, objectives=1).values
    (0.5,)
    >>> own_score([0.5, 1.0], objectives=1)
    Traceback (most recent call last):
    ...
    lightning_models.errors.TrainingError: the objective returned 2 values, and the study has 1 \
objective: return a number for each, or a TrialScore
    """
    if not isinstance(found, TrialScore):
        return TrialScore(_values(found, objectives), ())
    for one in found.folds:
        _check_fold(one)
    return replace(found, values=_values(found.values, objectives))


def _values(found: Any, objectives: int) -> tuple[float, ...]:
    advice = "return a number for each, or a TrialScore"
    if found is None:
        raise TrainingError(f"the objective returned nothing: {advice}")
    values = None if isinstance(found, str | bytes) else _numbers(found)
    if values is None:
        raise TrainingError(
            f"the objective returned {type(found).__name__} {str(found)[:40]!r}, which is no "
            f"number: {advice}"
        )
    if len(values) != objectives:
        raise TrainingError(
            f"the objective returned {len(values)} value{'' if len(values) == 1 else 's'}, and "
            f"the study has {objectives} objective{'' if objectives == 1 else 's'}: {advice}"
        )
    for value in values:
        if not np.isfinite(value):
            raise TrainingError(f"the objective is {value}, which is no number to compare")
    return tuple(values)


def _check_fold(fold: FoldScore) -> None:
    # What is kept of it is read by the report on luck, which a single NaN would make silent.
    place = f"fold {fold.fold} of the objective's TrialScore"
    lengths = {np.shape(one) for one in (fold.time, fold.returns, fold.market)}
    if len(lengths) > 1 or len(next(iter(lengths))) != 1:
        raise TrainingError(
            f"{place} has {np.size(fold.time)} stamps, {np.size(fold.returns)} returns and "
            f"{np.size(fold.market)} of the market: give one of each for every bar"
        )
    for name in ("returns", "market"):
        numbers = _array(getattr(fold, name))
        if numbers is None or not np.isfinite(numbers).all():
            raise TrainingError(
                f"{place} has {name} that are no finite numbers: 0.0 stands where nothing was held"
            )
    for name, told in (("values", fold.values), ("metrics", list(fold.metrics.values()))):
        if _numbers(told) is None:
            raise TrainingError(f"{place} has {name} that are no numbers: give numbers alone")
    for metric in fold.metrics:
        if not _can_be_logged(metric):
            raise TrainingError(
                f"{place} has a metric {str(metric)[:40]!r}, and MLflow takes no such name: give "
                "one of letters, digits, blanks and _ - . : / alone, not longer than "
                f"{_LONGEST_NAME}"
            )


def _can_be_logged(name: Any) -> bool:
    # As a part of an address of its own, which it must not leave.
    return (
        isinstance(name, str)
        and len(name) <= _LONGEST_NAME
        and _NAME.fullmatch(name) is not None
        and posixpath.normpath(name) == name
        and not name.startswith(("/", ".."))
    )


def _numbers(found: Any) -> list[float] | None:
    array = _array(found)
    return None if array is None else array.tolist()


def _array(found: Any) -> npt.NDArray[np.float64] | None:
    try:
        array = np.atleast_1d(np.asarray(found, dtype=np.float64))
    except (TypeError, ValueError):
        return None
    return array if array.ndim == 1 else None
