"""Triple-barrier labels: which comes first, a rise, a fall or the end of the horizon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from lightning_models.data.labels import Labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_models.data.horizons import Horizon

__all__ = ["BarrierLabels", "label_barriers"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]

_OPEN, _HIGH, _LOW, _CLOSE = range(4)


@dataclass(frozen=True, eq=False)
class BarrierLabels(Labels):
    """What happened after each row, up to the first barrier.

    Parameters
    ----------
    returns
        ``float64 [B, H]``: price at the exit / open of the next bar - 1, a fraction; NaN where
        there is no label.
    end
        ``int64 [B]``, when the last of the row's labels is known: the close of the candle on
        which it ended, in milliseconds; 0 where there is none.
    outcome
        ``int8 [B, H]``: 1 the upper barrier, -1 the lower, 0 a time-out, or no label.
    exit
        ``int64 [B, H]``, the row on which the label ended; -1 where there is none.
    ambiguous
        Rows that have no label because a candle reached both barriers.
    """

    outcome: npt.NDArray[np.int8]
    exit: Rows
    ambiguous: int


def label_barriers(
    time: Rows,
    prices: Floats,
    real: Flags,
    volatility: Floats,
    *,
    horizons: Sequence[Horizon],
    period: int,
    upper: float = 1.0,
    lower: float = 1.0,
    both: Literal["drop", "lower", "upper"] = "drop",
) -> BarrierLabels:
    r"""Return each row's triple-barrier labels (López de Prado, 2018, chapter 3).

    With the next bar's open :math:`o`, the volatility :math:`\sigma` at the row's close and a
    horizon of :math:`h` candles, the barriers are the prices
    :math:`o (1 + u \sigma \sqrt{h})` and :math:`o (1 - l \sigma \sqrt{h})`, and the close of the
    :math:`h`-th candle. A candle that reaches a price ends the label at that price; one that
    opens at or beyond it ends it at its open. Where neither is reached, the label ends at the
    horizon's close.

    Parameters
    ----------
    time
        ``int64 [B]``, open times on the bridged grid, milliseconds.
    prices
        ``float64 [B, 4]``: open, high, low and close, quote currency.
    real
        ``bool [B]``. Nothing trades on a bridged row: none is entered, reaches a barrier or ends
        a label; the next real candle may open beyond a barrier.
    volatility
        ``float64 [B]``, a candle, a fraction.
    horizons
        The label axis.
    period
        Length of a candle in milliseconds.
    upper, lower
        Distances :math:`u` and :math:`l`. A lower barrier at or under a price of 0 is never
        reached.
    both
        What a candle counts as that reaches both barriers without opening beyond either:
        ``upper``, ``lower``, or ``drop`` for no label.

    Returns
    -------
    BarrierLabels
        Rows that lack any one of the horizons have none at all. Near the end of the candles, and
        in front of a candle whose prices are not numbers, only labels have one whose barrier
        was reached before: those that are known.

    Examples
    --------
    Entered at 100 with barriers at 102 and 98: the third candle's high reaches the upper one.

    >>> from lightning_models.data.horizons import Horizon
    >>> prices = np.array([[100, 101, 99, 100], [100, 101, 99, 101], [101, 103, 100, 101.0]])
    >>> labels = label_barriers(
    ...     np.array([0, 60_000, 120_000]), prices, np.ones(3, dtype=bool), np.full(3, 0.01),
    ...     horizons=[Horizon(name="4m", candles=4)], period=60_000)
    >>> labels.returns[:, 0].round(3).tolist(), labels.end.tolist()
    ([0.02, nan, nan], [180000, 0, 0])
    """
    count, width = len(time), len(horizons)
    returns = np.full((count, width), np.nan)
    outcome = np.zeros((count, width), dtype=np.int8)
    leave = np.full((count, width), -1, dtype=np.int64)
    ambiguous = np.zeros(count, dtype=np.bool_)
    entry = np.full(count, np.nan)
    entry[:-1] = np.where(real[1:], prices[1:, _OPEN], np.nan)
    usable: Flags = np.all(np.isfinite(prices) & (prices > 0), axis=1)
    for column, horizon in enumerate(horizons):
        unit = volatility * np.sqrt(horizon.candles)
        price = _follow(
            prices,
            real,
            usable,
            entry * (1.0 + upper * unit),
            entry * (1.0 - lower * unit),
            horizon.candles,
            both,
            outcome[:, column],
            leave[:, column],
            ambiguous,
        )
        returns[:, column] = price / entry - 1.0
    complete = (leave >= 0).all(axis=1)
    returns[~complete], outcome[~complete], leave[~complete] = np.nan, 0, -1
    end = np.where(complete, time[leave.max(axis=1, initial=0)] + period, 0) if count else time
    return BarrierLabels(returns, end.astype(np.int64), outcome, leave, int(ambiguous.sum()))


def _follow(
    prices: Floats,
    real: Flags,
    usable: Flags,
    upper: Floats,
    lower: Floats,
    candles: int,
    both: str,
    outcome: npt.NDArray[np.int8],
    leave: Rows,
    ambiguous: Flags,
) -> Floats:
    # Walks all rows' labels forward together, a candle at a time, and returns the exit prices.
    # `outcome`, `leave` and `ambiguous` are filled in.
    left = np.full(len(prices), np.nan)
    rows = np.flatnonzero(np.isfinite(upper) & np.isfinite(lower))
    for step in range(1, candles + 1):
        rows = rows[rows + step < len(prices)]
        # What a candle without prices would have reached is not known, nor what came after it.
        rows = rows[usable[rows + step] | ~real[rows + step]]
        if not len(rows):
            break
        bar = rows + step
        trades, above, below = real[bar], upper[rows], lower[rows]
        # The first candle's open is the entry itself, which lies between the barriers.
        gap_up = trades & (prices[bar, _OPEN] >= above) & (step > 1)
        gap_down = trades & (prices[bar, _OPEN] <= below) & (step > 1)
        inside = trades & ~gap_up & ~gap_down
        up = inside & (prices[bar, _HIGH] >= above)
        down = inside & (prices[bar, _LOW] <= below)
        unclear = up & down
        if both == "drop":
            ambiguous[rows[unclear]] = True
            up, down = up & ~unclear, down & ~unclear
        elif both == "lower":
            up &= ~unclear
        else:
            down &= ~unclear
        left[rows] = np.select(
            [gap_up | gap_down, up, down], [prices[bar, _OPEN], above, below], np.nan
        )
        outcome[rows] = (gap_up | up).astype(np.int8) - (gap_down | down).astype(np.int8)
        reached = gap_up | gap_down | up | down
        leave[rows[reached]] = bar[reached]
        rows = rows[~(reached | unclear)]
        if step == candles:
            rows = rows[real[rows + step]]
            left[rows], leave[rows] = prices[rows + step, _CLOSE], rows + step
    return left
