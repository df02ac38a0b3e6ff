"""Where a strategy stands in one of the feeds it trades."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from lstm_strategies.indicator import LSTMForecast

__all__ = ["Standing"]

# Lots added and subtracted in binary do not cancel to the last bit.
_RESIDUE: Final = 1e-9


@dataclass(eq=False)
class Standing:
    """What a strategy holds of a feed, what it has ordered, and how far it has looked.

    Parameters
    ----------
    data
        The feed.
    forecast
        Its forecasts.
    first_bar
        Number of the first bar that can have a forecast, from 1.
    bracket
        Entry, stop and target of the last entry.
    exit
        The last order that closed a position against a signal.
    held
        Signed size, base currency, of this strategy alone: backtrader's position is that of all
        strategies together.
    bar
        Number of the last bar that was looked at.
    verdicts
        On every bar, where all were forecast at once.
    """

    data: Any
    forecast: LSTMForecast
    first_bar: int
    bracket: list[Any] = field(default_factory=list)
    exit: Any = None
    held: float = 0.0
    bar: int = 0
    verdicts: list[str] = field(default_factory=list)

    @property
    def leaves(self) -> bool:
        """Whether an exit waits to be filled, as a volume filler may make it."""
        return self.exit is not None and self.exit.alive()

    @property
    def direction(self) -> int:
        """+1, -1 or 0: of what is held, or of an entry that waits to be filled."""
        if self.bracket and self.bracket[0].alive():
            return 1 if self.bracket[0].isbuy() else -1
        return (self.held > 0) - (self.held < 0)

    def add_fill(self, size: float) -> None:
        """Count a fill of one of the strategy's own orders.

        Parameters
        ----------
        size
            Signed, base currency.
        """
        self.held += size
        if abs(self.held) <= _RESIDUE * abs(size):
            self.held = 0.0
