"""Where a strategy stands in one of the feeds it trades."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

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
    first_bar
        Number of the first bar that can be decided on, from 1.
    bracket
        Entry, stops and target of the last entry.
    exit
        The last order that closed a position against a signal.
    held
        Signed size, base currency, of this strategy alone: backtrader's position is that of all
        strategies together.
    bar
        Number of the last bar that was looked at.
    entry_bar, exit_bar
        Number of the bar on which the position was opened, and on which the last one ended; 0
        before there was one.
    begun
        Whether bars are decided on by now.
    verdicts
        On every bar, where all were judged at once.
    """

    data: Any
    first_bar: int
    bracket: list[Any] = field(default_factory=list)
    exit: Any = None
    held: float = 0.0
    bar: int = 0
    entry_bar: int = 0
    exit_bar: int = 0
    begun: bool = False
    verdicts: list[Any] = field(default_factory=list)

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

    def add_fill(self, size: float, bar: int) -> None:
        """Count a fill of one of the strategy's own orders.

        Parameters
        ----------
        size
            Signed, base currency.
        bar
            Number of the bar it was filled on.
        """
        before = self.held
        self.held += size
        if abs(self.held) <= _RESIDUE * abs(size):
            self.held = 0.0
        if before and self.held * before <= 0.0:
            self.exit_bar = bar
        if self.held and self.held * before <= 0.0:
            self.entry_bar = bar
