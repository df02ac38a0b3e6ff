"""SuperTrend: a band of true ranges that the close breaks through."""

from __future__ import annotations

from typing import Any, ClassVar

import backtrader as bt

from lstm_strategies.given_values import check_count, check_positive
from lstm_strategies.parameters import CheckedParameters, attach
from lstm_strategies.signals import Reading
from lstm_strategies.standing import Standing
from lstm_strategies.strategies.classic import ClassicStrategy
from lstm_strategies.trading import DOWN, STAY, UP

__all__ = ["SuperTrend", "SuperTrendLine"]


class SuperTrendLine(bt.Indicator, CheckedParameters):
    """The band that follows the price until the close breaks through it.

    Around the middle of each bar lie two levels, ``multiplier`` mean true ranges away. The
    upper one only falls and the lower one only rises, until a close breaks through; then the
    trend turns.

    Lines:
      - ``direction``: +1 in a rising trend, -1 in a falling one.
      - ``level``: the band that would turn it, quote currency.
      - ``upper``, ``lower``: both bands.

    Params:
      - ``period`` (10): bars of the mean true range (Wilder's).
      - ``multiplier`` (3.0): of the mean true range.

    References
    ----------
    Olivier Seban's SuperTrend, with Wilder's average true range (New Concepts in Technical
    Trading Systems, 1978).
    """

    lines: Any = ("direction", "level", "upper", "lower")
    params: Any = (("period", 10), ("multiplier", 3.0))
    plotinfo: Any = {"subplot": False}
    plotlines: Any = {
        "direction": {"_plotskip": True},
        "upper": {"_plotskip": True},
        "lower": {"_plotskip": True},
        "level": {"color": "tab:purple"},
    }

    def __init__(self) -> None:
        super().__init__()
        self._range = bt.indicators.AverageTrueRange(self.data, period=self.p.period)
        self.addminperiod(2)

    def nextstart(self) -> None:
        """Begin with the trend that the first close lies in."""
        upper, lower = self._bands()
        middle = (upper + lower) / 2.0
        self._put(upper, lower, 1.0 if self.data.close[0] >= middle else -1.0)

    def next(self) -> None:
        """Move the bands; asked twice of one bar, answer the same."""
        upper, lower = self._bands()
        before = self.data.close[-1]
        last_upper, last_lower = self.lines.upper[-1], self.lines.lower[-1]
        if not (upper < last_upper or before > last_upper):
            upper = last_upper
        if not (lower > last_lower or before < last_lower):
            lower = last_lower
        close, direction = self.data.close[0], self.lines.direction[-1]
        if direction > 0 and close < lower:
            direction = -1.0
        elif direction < 0 and close > upper:
            direction = 1.0
        self._put(upper, lower, direction)

    def _bands(self) -> tuple[float, float]:
        middle = (self.data.high[0] + self.data.low[0]) / 2.0
        width = self.p.multiplier * self._range[0]
        return middle + width, middle - width

    def _put(self, upper: float, lower: float, direction: float) -> None:
        self.lines.upper[0], self.lines.lower[0] = upper, lower
        self.lines.direction[0] = direction
        self.lines.level[0] = lower if direction > 0 else upper


class SuperTrend(ClassicStrategy):
    """Be long above the SuperTrend line and short below it.

    Params: those of `lstm_strategies.trading.TradingStrategy`, and
      - ``supertrend_period`` (10): bars of the mean true range.
      - ``supertrend_multiplier`` (3.0): of it, how far the line lies away.
      - ``atr_stop``, ``atr_target`` (0.0): the line itself is the stop.
      - ``position_size`` (1.0): all of the equity, since no stop bounds the risk.
    """

    periods: ClassVar[tuple[str, ...]] = ("supertrend_period",)

    params: Any = (
        ("supertrend_period", 10),
        ("supertrend_multiplier", 3.0),
        ("atr_stop", 0.0),
        ("atr_target", 0.0),
        ("position_size", 1.0),
    )

    def attach_indicators(self, data: Any) -> dict[str, Any]:
        """Return the SuperTrend line of a feed."""
        return {
            "supertrend": attach(
                SuperTrendLine,
                data,
                period=int(self.p.supertrend_period),
                multiplier=self.p.supertrend_multiplier,
            )
        }

    def decide(self, feed: Standing) -> int:
        """Return the trend's direction."""
        direction = self.indicators[feed.data]["supertrend"].lines.direction[0]
        return UP if direction > 0 else DOWN if direction < 0 else STAY

    def readings(self, data: Any) -> tuple[Reading, ...]:
        """Return the line and the side of it that the close lies on."""
        line = self.indicators[data]["supertrend"].lines
        rising = line.direction[0] > 0
        return (
            Reading(
                name="supertrend",
                value=float(line.level[0]),
                score=1.0 if rising else -1.0,
                reading="above the line" if rising else "below the line",
            ),
        )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_count("supertrend_period", self.p.supertrend_period)
        check_positive("supertrend_multiplier", self.p.supertrend_multiplier)
