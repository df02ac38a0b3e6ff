"""Bridge the holes of a market that never closes, inside the feature function only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lightning_models.errors import CandleError
from lightning_models.timeframes import floor_to_open, period_ms

if TYPE_CHECKING:
    from lightning_models.candles.candles import Market

__all__ = ["BridgedCandles", "bridge"]

# A stamp far off (the year 2200, say) would otherwise ask for gigabytes of flat rows.
MAX_BRIDGED_PER_CANDLE = 20
MIN_BRIDGED_ALLOWANCE = 100_000


@dataclass(frozen=True, eq=False)
class BridgedCandles:
    """Candles on a grid without holes, with what is real and what is not.

    Parameters
    ----------
    time
        ``int64 [B]``, open times in milliseconds, one for each row of the grid.
    ohlcv
        ``float64 [B, 5]``. A bridged row is flat at the last close, with volume 0.
    real
        ``bool [B]``, false on bridged rows.
    rows
        ``int64 [T]``, the grid's row of each candle that came in.
    """

    time: npt.NDArray[np.int64]
    ohlcv: npt.NDArray[np.float64]
    real: npt.NDArray[np.bool_]
    rows: npt.NDArray[np.int64]


def bridge(
    time: npt.NDArray[np.int64],
    ohlcv: npt.NDArray[np.float64],
    timeframe: str,
    market: Market = "continuous",
) -> BridgedCandles:
    """Fill holes by timestamp with flat candles of zero volume.

    Bridged rows are never stored, shown to backtrader, traded on or ended on by a label:
    they only let recursive indicators and windows keep step with the clock.

    Parameters
    ----------
    time
        ``int64 [T]``, open times or bar stamps in milliseconds, strictly increasing.
    ohlcv
        ``float64 [T, 5]``.
    timeframe
        Of the candles; the grid has one row each period.
    market
        ``sessions`` leaves the rows as they are: closing hours are no holes.

    Returns
    -------
    BridgedCandles
        The grid. A row after a hole keeps its own prices.

    Raises
    ------
    CandleError
        If two candles fall into one period, candles are out of order, or the holes
        outnumber the candles so far that a stamp must be wrong.

    Examples
    --------
    >>> hour = 3_600_000
    >>> candles = np.array([[1.0, 2.0, 1.0, 2.0, 5.0], [3.0, 3.0, 3.0, 3.0, 7.0]])
    >>> bridged = bridge(np.array([0, 2 * hour]), candles, "1h")
    >>> bridged.ohlcv[1].tolist(), bridged.real.tolist()
    ([2.0, 2.0, 2.0, 2.0, 0.0], [True, False, True])
    """
    opens = floor_to_open(np.asarray(time, dtype=np.int64), timeframe)
    _check_order(opens, np.asarray(time), timeframe)
    count = len(opens)
    if count == 0 or market == "sessions":
        return BridgedCandles(opens, ohlcv, np.ones(count, dtype=np.bool_), np.arange(count))
    rows = (opens - opens[0]) // period_ms(timeframe)
    length = int(rows[-1]) + 1
    if length == count:
        return BridgedCandles(opens, ohlcv, np.ones(count, dtype=np.bool_), rows)
    if length - count > max(MIN_BRIDGED_ALLOWANCE, MAX_BRIDGED_PER_CANDLE * count):
        worst = int(np.argmax(np.diff(opens)))
        raise CandleError(
            f"{length - count} of {length} {timeframe} candles are missing, most of them after "
            f"row {worst} ({_utc(opens[worst])}) before {_utc(opens[worst + 1])}: a time stamp "
            "must be wrong, or the candles are of a coarser timeframe; check those rows"
        )
    real = np.zeros(length, dtype=np.bool_)
    real[rows] = True
    last_real = np.searchsorted(rows, np.arange(length), side="right") - 1
    grid = ohlcv[last_real]
    grid[~real] = np.repeat(grid[~real, 3:4], 5, axis=1)
    grid[~real, 4] = 0.0
    time_grid = opens[0] + np.arange(length, dtype=np.int64) * period_ms(timeframe)
    return BridgedCandles(time_grid, grid, real, rows)


def _check_order(
    opens: npt.NDArray[np.int64], stamps: npt.NDArray[np.int64], timeframe: str
) -> None:
    steps = np.diff(opens)
    if not len(steps) or steps.min() > 0:
        return
    row = int(np.argmax(steps <= 0))
    rows, first, second = f"rows {row} and {row + 1}", stamps[row], stamps[row + 1]
    if second < first:
        raise CandleError(
            f"{rows} ({_utc(first)}, {_utc(second)}) are out of order: sort the candles, oldest "
            "first"
        )
    raise CandleError(
        f"{rows} ({_utc(first)}, {_utc(second)}) lie in the same {timeframe} candle: it is there "
        f"twice, or the candles are of a finer timeframe than {timeframe}; drop doubles, or "
        f"resample to {timeframe}"
    )


def _utc(milliseconds: np.int64) -> str:
    return f"{np.datetime64(int(milliseconds), 'ms')}Z"
