"""RSI in the direction of two exponential averages."""

from __future__ import annotations

from typing import Any, ClassVar

import backtrader as bt

from lstm_strategies.errors import ParameterError
from lstm_strategies.given_values import check_count
from lstm_strategies.signals import Reading
from lstm_strategies.standing import Standing
from lstm_strategies.strategies.classic import ClassicStrategy
from lstm_strategies.trading import DOWN, STAY, UP

__all__ = ["RSIWithEMA"]


class RSIWithEMA(ClassicStrategy):
    """Be long in a rising trend with momentum that isn't overbought yet, short in the mirror.

    Long where the fast exponential average lies above the slow one and the RSI between 50 and
    ``overbought``; short where it lies below and the RSI between ``oversold`` and 50. Otherwise
    nothing changes.

    Params: those of `lstm_strategies.trading.TradingStrategy`, and
      - ``rsi_period`` (14), ``ema_fast`` (12), ``ema_slow`` (26): bars.
      - ``overbought`` (70.0), ``oversold`` (30.0): of the RSI, 0 to 100.

    References
    ----------
    Wilder, New Concepts in Technical Trading Systems, 1978 (RSI).
    """

    periods: ClassVar[tuple[str, ...]] = ("rsi_period", "ema_slow")

    params: Any = (
        ("rsi_period", 14),
        ("ema_fast", 12),
        ("ema_slow", 26),
        ("overbought", 70.0),
        ("oversold", 30.0),
    )

    def attach_indicators(self, data: Any) -> dict[str, Any]:
        """Return RSI and both averages of a feed's closes."""
        return {
            # The plain one divides by zero where no bar fell.
            "rsi": bt.indicators.RSI_Safe(data.close, period=int(self.p.rsi_period)),
            "fast": bt.indicators.ExponentialMovingAverage(data.close, period=int(self.p.ema_fast)),
            "slow": bt.indicators.ExponentialMovingAverage(data.close, period=int(self.p.ema_slow)),
        }

    def decide(self, feed: Standing) -> int:
        """Return the trend's direction where the momentum goes along."""
        own = self.indicators[feed.data]
        rsi, fast, slow = own["rsi"][0], own["fast"][0], own["slow"][0]
        if fast > slow and 50.0 < rsi < self.p.overbought:
            return UP
        if fast < slow and self.p.oversold < rsi < 50.0:
            return DOWN
        return STAY

    def readings(self, data: Any) -> tuple[Reading, ...]:
        """Return the RSI and the distance of the averages."""
        own = self.indicators[data]
        rsi = float(own["rsi"][0])
        apart = 100.0 * float(own["fast"][0] / own["slow"][0] - 1.0)
        word = "overbought" if rsi >= self.p.overbought else "neutral"
        return (
            Reading(
                name="rsi",
                value=rsi,
                score=max(-1.0, min(1.0, (rsi - 50.0) / 50.0)),
                reading="oversold" if rsi <= self.p.oversold else word,
            ),
            Reading(
                name="trend",
                value=apart,
                score=1.0 if apart > 0 else -1.0 if apart < 0 else 0.0,
                reading="uptrend" if apart > 0 else "downtrend" if apart < 0 else "flat",
            ),
        )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        for name in ("rsi_period", "ema_fast", "ema_slow"):
            check_count(name, getattr(self.p, name))
        if self.p.ema_fast >= self.p.ema_slow:
            raise ParameterError(
                f"ema_fast={self.p.ema_fast!r} is not under ema_slow={self.p.ema_slow!r}: give "
                "the fast average fewer bars, such as 12 and 26"
            )
        if not 0 <= self.p.oversold < 50 < self.p.overbought <= 100:
            raise ParameterError(
                f"oversold={self.p.oversold!r}, overbought={self.p.overbought!r}: the RSI runs "
                "from 0 to 100; give one level on each side of 50, such as 30 and 70"
            )
