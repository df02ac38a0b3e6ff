"""What is kept of the error that a trial failed with."""

from __future__ import annotations

import traceback
from typing import Final

from lightning_models.errors import LSTMStrategiesError
from lightning_models.redaction import redacted

__all__ = ["words_of"]

_LONGEST: Final = 400


def words_of(error: Exception) -> str:
    r"""Return an error in one line that can be printed, without a password.

    Parameters
    ----------
    error
        As it was raised. One that is none of the project's own is told with its kind, and with
        the function and the line that it comes from.

    Examples
    --------
    >>> words_of(MemoryError())
    'out of memory: a smaller network or batch would fit'
    >>> words_of(LSTMStrategiesError("no\nluck"))
    'no luck'
    """
    if isinstance(error, MemoryError):
        return "out of memory: a smaller network or batch would fit"
    text, end = str(error), ""
    if not isinstance(error, LSTMStrategiesError):
        where = traceback.extract_tb(error.__traceback__)[-1]
        text, end = f"{type(error).__name__}: {text}", f" (in {where.name}, line {where.lineno})"
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    # A password that is cut in two would no longer be known for one.
    line = redacted(line)
    room = _LONGEST - len(end)
    return (line if len(line) <= room else f"{line[: room - 1]}…") + end
