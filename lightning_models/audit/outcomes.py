"""What came after each candle, looked up candle by candle and not as training does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lightning_models.data.targets import HorizonReturn, TripleBarrier
from lightning_models.features import FeatureSpec, compute_features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_models.candles.candles import Candles
    from lightning_models.data.horizons import Horizon

__all__ = ["independent_labels"]

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]


def independent_labels(
    candles: Candles, horizons: Sequence[Horizon], target: HorizonReturn | TripleBarrier
) -> tuple[Floats, Times]:
    """Return each candle's labels, looked up candle by candle from its times alone.

    Parameters
    ----------
    candles
        Of one symbol.
    horizons
        The label axis.
    target
        What is asked of a horizon.

    Returns
    -------
    tuple
        ``float64 [T, H]``: price at the exit / open of the next candle - 1, NaN where one of the
        two is missing; and ``int64 [T]``, when the last of a candle's labels is known, 0 where
        there is none.

    Examples
    --------
    >>> from lightning_models.candles import Candles
    >>> from lightning_models.data.horizons import Horizon
    >>> time = np.arange(3) * 60_000
    >>> ohlcv = np.array([[1, 1, 1, 1, 1], [2, 3, 2, 3, 1], [3, 4, 3, 4, 1.0]])
    >>> two = [Horizon(name="2m", candles=2)]
    >>> labels = independent_labels(
    ...     Candles("X", "1m", "continuous", time, ohlcv), two, HorizonReturn())
    >>> labels[0][:, 0].tolist(), labels[1].tolist()
    ([1.0, nan, nan], [180000, 0, 0])
    """
    period, count = candles.period_ms, len(candles)
    returns = np.full((count, len(horizons)), np.nan)
    end = np.zeros(count, dtype=np.int64)
    row_of = {int(time): row for row, time in enumerate(candles.time)}
    units = _units(candles, horizons)
    prices = candles.ohlcv.tolist()
    furthest = max(horizon.candles for horizon in horizons)
    for row, opened in enumerate(candles.time.tolist()):
        # None where a candle is missing; shorter than the horizon where the data ends.
        if candles.market == "continuous":
            known = min(furthest, (int(candles.time[-1]) - opened) // period)
            later = [row_of.get(opened + step * period) for step in range(1, known + 1)]
        else:
            later = list(range(row + 1, min(count, row + 1 + furthest)))
        exits = [
            _exit(prices, later, horizon.candles, float(units[row, column]), target)
            for column, horizon in enumerate(horizons)
        ]
        found = [one for one in exits if one is not None]
        if later and later[0] is not None and len(found) == len(horizons):
            entry = prices[later[0]][0]
            returns[row] = [price / entry - 1.0 for price, _ in found]
            end[row] = max(int(candles.time[left]) for _, left in found) + period
    return returns, end


def _exit(
    prices: list[list[float]],
    later: list[int | None],
    candles: int,
    unit: float,
    target: HorizonReturn | TripleBarrier,
) -> tuple[float, int] | None:
    # Price and row at which a label ends.
    if not later or later[0] is None:
        return None
    if isinstance(target, TripleBarrier):
        entry = prices[later[0]][0]
        upper, lower = entry * (1.0 + target.upper * unit), entry * (1.0 - target.lower * unit)
        if not np.isfinite(upper):
            return None
        for step, row in enumerate(later[:candles]):
            if row is None:
                continue
            opened, high, low = prices[row][:3]
            if step and not lower < opened < upper:
                return opened, row
            if high >= upper and low <= lower and target.both == "drop":
                return None
            if high >= upper and (low > lower or target.both == "upper"):
                return upper, row
            if low <= lower:
                return lower, row
    last = later[candles - 1] if len(later) >= candles else None
    return None if last is None else (prices[last][3], last)


def _units(candles: Candles, horizons: Sequence[Horizon]) -> Floats:
    # Trailing volatility times the root of the horizon, as the model's own feature function
    # gives it, whose causality is tested by itself.
    table = compute_features(
        candles.time,
        candles.ohlcv,
        features=(FeatureSpec(name="close"),),
        timeframe=candles.timeframe,
        market=candles.market,
    )
    reach = np.sqrt([horizon.candles for horizon in horizons])
    return np.asarray(table.volatility[table.rows, None] * reach)
