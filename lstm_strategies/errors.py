"""Errors of the trading floor: each says what was wrong, with the value, and what to do next."""

from __future__ import annotations

from lightning_models.errors import LSTMStrategiesError

__all__ = ["ParameterError"]


class ParameterError(LSTMStrategiesError, TypeError):
    """A parameter of a backtrader class that doesn't exist or cannot have that value.

    It is a `TypeError` too, because that is what backtrader raises for a name it doesn't know.
    """

    exit_code = 2
