"""Finer candles of a feed, which say in what order the prices of a bar came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from lightning_models.candles import Candles, iso_utc
from lightning_models.errors import CandleError
from lightning_models.timeframes import period_ms
from lstm_strategies.errors import ParameterError
from lstm_strategies.intrabar import Prices

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Detail", "Step", "merged"]

# Fraction of the price by which a bar's extremes may differ from those of its finer candles.
_ROUNDING: Final = 1e-6


class Step(NamedTuple):
    """One finer candle: when it opened, in milliseconds since the epoch, and its prices."""

    time: int
    prices: Prices


class Detail:
    """Finer candles of one feed, handed out bar by bar.

    Parameters
    ----------
    candles
        Of a timeframe that divides the feed's.
    name
        Of the feed, for messages.
    timeframe
        Of the feed.

    Raises
    ------
    ParameterError
        If they are no `Candles`, or their timeframe is not finer or does not divide the feed's.
    """

    def __init__(self, candles: Candles, *, name: str, timeframe: str) -> None:
        if not isinstance(candles, Candles):
            raise ParameterError(
                f"the detail of {name} is a {type(candles).__name__}: give Candles, such as "
                "read_candles returns"
            )
        period = period_ms(timeframe)
        if candles.period_ms >= period or period % candles.period_ms:
            raise ParameterError(
                f"the detail of {name} has {candles.timeframe} candles, which do not divide its "
                f"bars of {timeframe}: give finer ones, such as 1m"
            )
        self.step_ms = candles.period_ms
        self._name = name
        self._period = period
        self._time = candles.time
        self._ohlc = candles.ohlcv[:, :4]

    def of_bar(self, opened: int, bar: Prices) -> Sequence[Step]:
        """Return the finer candles of a bar in order of time.

        Parameters
        ----------
        opened
            When the bar opened, milliseconds since the epoch.
        bar
            Its prices.

        Returns
        -------
        sequence of Step
            Empty where there are none, or where they don't reach the bar's high and low, so
            that some must be missing.

        Raises
        ------
        CandleError
            If a finer candle lies outside the bar's high or low by more than rounding.
        """
        first, last = np.searchsorted(self._time, (opened, opened + self._period)).tolist()
        if first == last:
            return ()
        rows = self._ohlc[first:last]
        high, low = float(rows[:, 1].max()), float(rows[:, 2].min())
        slack = _ROUNDING * abs(bar.high)
        if high > bar.high + slack or low < bar.low - slack:
            raise CandleError(
                f"the finer candles of {self._name} contradict its bar of {iso_utc(opened)}: they "
                f"span {low:.10g} to {high:.10g} and the bar {bar.low:.10g} to {bar.high:.10g}; "
                "give candles of the same symbol and the same exchange"
            )
        if high < bar.high - slack or low > bar.low + slack:
            return ()
        return [
            Step(time, Prices(*prices))
            for time, prices in zip(self._time[first:last].tolist(), rows.tolist(), strict=True)
        ]


def merged(steps: dict[Any, Sequence[Step]]) -> list[tuple[Step, Any]]:
    """Return the steps of several feeds in order of time; at one time, in the feeds' order."""
    pairs = [(step, data) for data, own in steps.items() for step in own]
    return sorted(pairs, key=lambda pair: pair[0].time)
