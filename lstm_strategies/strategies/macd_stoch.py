"""MACD and the stochastic oscillator agreeing."""

from __future__ import annotations

from typing import Any, ClassVar

import backtrader as bt

from lstm_strategies.errors import ParameterError
from lstm_strategies.given_values import check_count
from lstm_strategies.signals import Reading
from lstm_strategies.standing import Standing
from lstm_strategies.strategies.classic import ClassicStrategy
from lstm_strategies.trading import DOWN, STAY, UP

__all__ = ["MACDWithStochastic"]


class MACDWithStochastic(ClassicStrategy):
    """Be long where MACD and stochastic oscillator both turned up, short where both down.

    Long where the MACD lies above its signal line, %K above %D and %K under ``overbought``;
    short in the mirror; otherwise nothing changes.

    Params: those of `lstm_strategies.trading.TradingStrategy`, and
      - ``macd_fast`` (12), ``macd_slow`` (26), ``macd_signal`` (9): bars of the exponential
        averages.
      - ``stoch_period`` (14), ``stoch_smoothing`` (3): bars of %K and of both its averages.
      - ``overbought`` (80.0), ``oversold`` (20.0): of %K, 0 to 100.

    References
    ----------
    Appel, Technical Analysis: Power Tools for Active Investors, 2005 (MACD); Lane, Lane's
    Stochastics, 1984.
    """

    periods: ClassVar[tuple[str, ...]] = ("macd_slow", "macd_signal", "stoch_period")

    params: Any = (
        ("macd_fast", 12),
        ("macd_slow", 26),
        ("macd_signal", 9),
        ("stoch_period", 14),
        ("stoch_smoothing", 3),
        ("overbought", 80.0),
        ("oversold", 20.0),
    )

    def attach_indicators(self, data: Any) -> dict[str, Any]:
        """Return MACD and stochastic oscillator of a feed."""
        return {
            "macd": bt.indicators.MACD(
                data.close,
                period_me1=int(self.p.macd_fast),
                period_me2=int(self.p.macd_slow),
                period_signal=int(self.p.macd_signal),
            ),
            "stoch": bt.indicators.Stochastic(
                data,
                period=int(self.p.stoch_period),
                period_dfast=int(self.p.stoch_smoothing),
                period_dslow=int(self.p.stoch_smoothing),
                # The plain one divides by zero where no bar moved.
                safediv=True,
                safezero=50.0,
            ),
        }

    def decide(self, feed: Standing) -> int:
        """Return the direction that both agree on."""
        own = self.indicators[feed.data]
        macd, stoch = own["macd"].lines, own["stoch"].lines
        level = stoch.percK[0]
        apart, slope = macd.macd[0] - macd.signal[0], level - stoch.percD[0]
        if apart > 0 and slope > 0 and level < self.p.overbought:
            return UP
        if apart < 0 and slope < 0 and level > self.p.oversold:
            return DOWN
        return STAY

    def readings(self, data: Any) -> tuple[Reading, ...]:
        """Return the MACD's distance from its signal line, and %K."""
        own = self.indicators[data]
        macd, stoch = own["macd"].lines, own["stoch"].lines
        apart = 100.0 * float((macd.macd[0] - macd.signal[0]) / data.close[0])
        level, slope = float(stoch.percK[0]), float(stoch.percK[0] - stoch.percD[0])
        word = "overbought" if level >= self.p.overbought else "rising" if slope > 0 else "falling"
        return (
            Reading(
                name="macd",
                value=apart,
                score=1.0 if apart > 0 else -1.0 if apart < 0 else 0.0,
                reading="bullish" if apart > 0 else "bearish" if apart < 0 else "flat",
            ),
            Reading(
                name="stochastic",
                value=level,
                score=1.0 if slope > 0 else -1.0 if slope < 0 else 0.0,
                reading="oversold" if level <= self.p.oversold else word,
            ),
        )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        for name in ("macd_fast", "macd_slow", "macd_signal", "stoch_period", "stoch_smoothing"):
            check_count(name, getattr(self.p, name))
        if self.p.macd_fast >= self.p.macd_slow:
            raise ParameterError(
                f"macd_fast={self.p.macd_fast!r} is not under macd_slow={self.p.macd_slow!r}: "
                "give the fast average fewer bars, such as 12 and 26"
            )
        if not 0 <= self.p.oversold < self.p.overbought <= 100:
            raise ParameterError(
                f"oversold={self.p.oversold!r}, overbought={self.p.overbought!r}: %K runs from 0 "
                "to 100; give the lower level first, such as 20 and 80"
            )
