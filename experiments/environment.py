"""Variables of this process's environment, set for as long as somebody needs them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from threading import Lock
from types import TracebackType

__all__ = ["Environment"]


class Environment:
    """Variables that are set within a ``with`` statement, in any number of threads at a time.

    The first that enters sets them, and the last that leaves puts back what was there: were each
    to put back what it had found, one that came second would leave the first one's values behind.

    Parameters
    ----------
    variables
        Names and values.

    Examples
    --------
    >>> quiet = Environment({"LOUDNESS": "0"})
    >>> with quiet, quiet:
    ...     os.environ["LOUDNESS"]
    '0'
    >>> "LOUDNESS" in os.environ
    False
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = dict(variables)
        self._lock = Lock()
        self._within = 0
        self._before: dict[str, str | None] = {}

    def __enter__(self) -> None:
        """Set the variables, unless somebody has."""
        with self._lock:
            if not self._within:
                self._before = {name: os.environ.get(name) for name in self._variables}
                os.environ.update(self._variables)
            self._within += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Put back what was there, unless somebody is still within."""
        with self._lock:
            self._within -= 1
            if self._within:
                return
            for name, value in self._before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
