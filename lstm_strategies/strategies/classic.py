"""What the classic strategies share: indicators of each feed, and no model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lstm_strategies.signals import Reading
from lstm_strategies.trading import TradingStrategy

__all__ = ["ClassicStrategy"]


class ClassicStrategy(TradingStrategy):
    """Decide by indicators alone, on every feed of the cerebro.

    A subclass says in `attach_indicators` what it reads of a feed, in `decide` what follows
    from it, and in `readings` what it read, in words.

    Attributes
    ----------
    periods : tuple of str
        Names of the parameters that count its indicators' bars.
    indicators : dict
        From each feed to its indicators by name.
    """

    # A recursive average has forgotten all but a thousandth of what is this many periods old.
    forgetting: ClassVar[int] = 8
    periods: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        self.indicators = {data: self.attach_indicators(data) for data in self.datas}
        for data, indicators in self.indicators.items():
            first = max((one._minperiod for one in indicators.values()), default=1)
            self.trade(data, first_bar=first)

    @classmethod
    def bars_needed(cls, parameters: Mapping[str, Any]) -> int:
        """Return after how many bars where its indicators began no longer matters."""
        longest = max((int(parameters[name]) for name in cls.periods), default=0)
        return max(super().bars_needed(parameters), cls.forgetting * longest)

    def attach_indicators(self, data: Any) -> dict[str, Any]:
        """Return the indicators of a feed by name; none by default."""
        del data
        return {}

    def readings(self, data: Any) -> tuple[Reading, ...]:
        """Return what the indicators read at the present bar; nothing by default."""
        del data
        return ()
