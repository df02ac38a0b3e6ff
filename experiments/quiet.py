"""Hold back warnings of the trading floor where they would only repeat themselves."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["without_warnings"]


@contextmanager
def without_warnings() -> Iterator[None]:
    """Log nothing of `lstm_strategies` but errors inside the ``with`` block."""
    logger = logging.getLogger("lstm_strategies")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
