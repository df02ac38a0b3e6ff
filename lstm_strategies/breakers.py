"""Breakers that stop new entries after a day's loss or a drawdown of the account."""

from __future__ import annotations

import math
from typing import Final

from lightning_models.timeframes import DAY_MS
from lstm_strategies.given_values import check_fraction

__all__ = ["DAILY_LOSS", "DRAWDOWN", "Breakers"]

DAILY_LOSS: Final = "daily_loss"
DRAWDOWN: Final = "drawdown"


class Breakers:
    """Watch an account's equity and say when to open nothing more.

    The day's loss counts from the equity last seen on an earlier UTC day, on the first day from
    the first one seen; it blocks until the next UTC day, also where the loss was made good. The
    drawdown counts from the highest equity so far; it blocks for good. A loss right on its limit
    blocks.

    Parameters
    ----------
    max_daily_loss
        Fraction of the equity at the day's start, from 0 to 1; 0 is off.
    max_drawdown
        Fraction of the highest equity, from 0 to 1; 0 is off.

    Raises
    ------
    ParameterError
        If one of them is no fraction.

    Notes
    -----
    A breaker closes nothing. Only what is observed counts: stamps of bars at their open time +
    their period - 1 ms put the last bar of a day into that day.

    Examples
    --------
    >>> hour = 3_600_000
    >>> breakers = Breakers(max_daily_loss=0.05)
    >>> [breakers.observe(bar * hour, equity) for bar, equity in enumerate([1000.0, 960.0, 950.0])]
    ['', '', 'daily_loss']
    >>> breakers.observe(23 * hour, 990.0), breakers.observe(24 * hour, 990.0)
    ('daily_loss', '')
    """

    def __init__(self, max_daily_loss: float = 0.0, max_drawdown: float = 0.0) -> None:
        check_fraction("max_daily_loss", max_daily_loss)
        check_fraction("max_drawdown", max_drawdown)
        self.max_daily_loss = float(max_daily_loss)
        self.max_drawdown = float(max_drawdown)
        self._blocked = ""
        self._time: int | None = None
        self._day_start = math.nan
        self._latest = math.nan
        self._highest = -math.inf

    @property
    def blocked(self) -> str:
        """What blocks since the last observation: ``daily_loss``, ``drawdown`` or nothing, ""."""
        return self._blocked

    def observe(self, time_ms: int, equity: float) -> str:
        """Take note of the equity at a moment.

        Parameters
        ----------
        time_ms
            Milliseconds since the epoch. What is older than the last observation is ignored.
        equity
            Quote currency, open positions included. NaN and infinity are ignored.

        Returns
        -------
        str
            As `blocked`. The same observation made again changes nothing.
        """
        if not math.isfinite(equity) or (self._time is not None and time_ms < self._time):
            return self._blocked
        if self._time is None:
            self._day_start = equity
        elif time_ms // DAY_MS > self._time // DAY_MS:
            self._day_start = self._latest
            if self._blocked == DAILY_LOSS:
                self._blocked = ""
        self._time, self._latest = time_ms, equity
        self._highest = max(self._highest, equity)
        if _has_lost(self.max_drawdown, self._highest, equity):
            self._blocked = DRAWDOWN
        elif not self._blocked and _has_lost(self.max_daily_loss, self._day_start, equity):
            self._blocked = DAILY_LOSS
        return self._blocked


def _has_lost(limit: float, start: float, equity: float) -> bool:
    # An account that starts with nothing has no fraction to lose.
    return limit > 0.0 and start > 0.0 and start - equity >= limit * start
