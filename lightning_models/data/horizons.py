"""Horizons: how far ahead a forecast looks, by name and in candles."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, PositiveInt

from lightning_models.errors import ConfigError
from lightning_models.timeframes import DAY_MS, period_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Horizon", "resolve_horizons"]

UNITS_MS = {"d": DAY_MS, "h": DAY_MS // 24, "m": DAY_MS // 1440}
DURATION = re.compile(r"(\d+)([mhdw])")


class Horizon(BaseModel):
    """A forecast's reach.

    Parameters
    ----------
    name
        The reach in time, such as ``6h`` or ``7d``.
    candles
        The same in candles of the model's timeframe.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    candles: PositiveInt


def resolve_horizons(horizons: Sequence[int | str], timeframe: str) -> tuple[Horizon, ...]:
    """Return horizons in candles of a timeframe.

    Parameters
    ----------
    horizons
        Numbers of candles, or durations such as ``4h``, ``1d``, ``7d``.
    timeframe
        Of the candles.

    Returns
    -------
    tuple of Horizon
        In the order given.

    Raises
    ------
    ConfigError
        If a duration is unreadable, no multiple of the timeframe, or doubled.

    Examples
    --------
    >>> [(h.name, h.candles) for h in resolve_horizons([1, "1d"], "6h")]
    [('6h', 1), ('1d', 4)]
    """
    period = period_ms(timeframe)
    resolved = []
    for horizon in horizons:
        if isinstance(horizon, int):
            resolved.append(Horizon(name=_name(horizon * period), candles=horizon))
            continue
        match = DURATION.fullmatch(horizon)
        if match is None:
            raise ConfigError(
                f"unreadable horizon {horizon!r}: give a number of candles, or a duration "
                "such as 4h, 1d, 7d"
            )
        units = {**UNITS_MS, "w": 7 * DAY_MS}
        length = int(match[1]) * units[match[2]]
        if length == 0 or length % period:
            nearest = max(1, round(length / period))
            raise ConfigError(
                f"horizon {horizon!r} is no multiple of the {timeframe} timeframe: give one, such "
                f"as {_name(nearest * period)}, or a number of candles"
            )
        resolved.append(Horizon(name=horizon, candles=length // period))
    reaches = [horizon.candles for horizon in resolved]
    if not reaches or len(set(reaches)) != len(reaches):
        raise ConfigError(f"horizons must be given once each, got {list(horizons)}")
    return tuple(resolved)


def _name(milliseconds: int) -> str:
    for unit, length in UNITS_MS.items():
        if milliseconds % length == 0:
            return f"{milliseconds // length}{unit}"
    raise ConfigError(f"a horizon of {milliseconds} ms has no name in whole minutes")
