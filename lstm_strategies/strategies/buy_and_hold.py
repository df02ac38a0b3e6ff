"""Buy once and hold: what every other strategy has to be compared with."""

from __future__ import annotations

from typing import Any, ClassVar

from lstm_strategies.sizer import RiskSizer
from lstm_strategies.standing import Standing
from lstm_strategies.strategies.classic import ClassicStrategy
from lstm_strategies.trading import STAY, UP, TradingStrategy

__all__ = ["BuyAndHold"]


class BuyAndHold(ClassicStrategy):
    """Put the equity into the feeds in equal parts at the first bar, and hold them.

    Never with leverage, whatever the commission scheme allows, because that would be another
    strategy: one that can be liquidated.

    Params: none that matter. Those of `lstm_strategies.trading.TradingStrategy` are there, with
    neither stop nor target, and would make another strategy of it.
    """

    fixed_parameters: ClassVar[frozenset[str]] = frozenset(TradingStrategy.params._getkeys()) - {
        "trade_from",
        "history",
    }

    params: Any = (("atr_stop", 0.0), ("atr_target", 0.0))

    def start(self) -> None:
        """Size each feed's position by its share of the equity, unless the user chose a sizer."""
        own = self._sizer is self._first_sizer
        super().start()
        if own:
            scheme = self.broker.getcommissioninfo(self.data)
            share = 1.0 / (scheme.get_leverage() * len(self.traded))
            self.setsizer(RiskSizer(position_size=share))

    def decide(self, feed: Standing) -> int:
        """Return `UP` until something was bought, and nothing more."""
        return STAY if feed.entry_bar else UP
