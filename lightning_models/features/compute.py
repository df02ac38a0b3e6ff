"""The one causal feature function that training, backtest and live trading call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lightning_models.features.bridging import bridge
from lightning_models.features.volatility import trailing_volatility

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_models.candles.candles import Market
    from lightning_models.features.definition import Floats
    from lightning_models.features.spec import FeatureSpec

__all__ = ["VOLATILITY_FLOOR", "VOLATILITY_WINDOW", "FeatureTable", "compute_features", "warmup_of"]

VOLATILITY_WINDOW = 60
VOLATILITY_FLOOR = 1e-4


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Features on the bridged grid.

    Parameters
    ----------
    time
        ``int64 [B]``, open time of each row in milliseconds.
    values
        ``float64 [B, F]``, not yet scaled.
    volatility
        ``float64 [B]``, trailing volatility a candle, a fraction.
    real
        ``bool [B]``, false on bridged rows.
    steps
        ``int64 [B]``, how many real candles were seen up to and with this row since the
        start or since the last unusable candle; 0 on an unusable one.
    rows
        ``int64 [T]``, the grid's row of each candle that came in.
    """

    time: npt.NDArray[np.int64]
    values: Floats
    volatility: Floats
    real: npt.NDArray[np.bool_]
    steps: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]

    def ends_window(
        self, lookback: int, warmup: int, bridged_share: float
    ) -> npt.NDArray[np.bool_]:
        """Return which rows may end a window.

        Parameters
        ----------
        lookback
            Rows of the window.
        warmup
            Candles that must lie before the window's first row.
        bridged_share
            Largest share of the window's rows that may be bridged.

        Returns
        -------
        numpy.ndarray
            ``bool [B]``: true on real rows with ``lookback + warmup`` real candles behind
            them, themselves included, and few enough bridged rows in the window.
        """
        ends: npt.NDArray[np.bool_] = self.steps >= lookback + warmup
        return ends & self.has_few_bridged(lookback, bridged_share)

    def has_few_bridged(self, lookback: int, bridged_share: float) -> npt.NDArray[np.bool_]:
        """Return which rows are real and have few enough bridged ones among their last.

        Parameters
        ----------
        lookback
            How many rows are looked at.
        bridged_share
            Largest share of them that may be bridged.

        Returns
        -------
        numpy.ndarray
            ``bool [B]``.
        """
        bridged = np.concatenate([[0], np.cumsum(~self.real)])
        first = np.maximum(np.arange(len(self.real)) + 1 - lookback, 0)
        few: npt.NDArray[np.bool_] = bridged[1:] - bridged[first] <= bridged_share * lookback
        return few & self.real


def warmup_of(features: Sequence[FeatureSpec]) -> int:
    """Return the candles that a set of features needs before its first usable row."""
    return max(VOLATILITY_WINDOW, *(feature.warmup for feature in features))


def compute_features(
    time: npt.NDArray[np.int64],
    ohlcv: Floats,
    *,
    features: Sequence[FeatureSpec],
    timeframe: str,
    market: Market = "continuous",
) -> FeatureTable:
    """Compute features of one symbol's candles from past and present rows only.

    Parameters
    ----------
    time
        ``int64 [T]``, open times or bar stamps in milliseconds, UTC, strictly increasing.
    ohlcv
        ``float64 [T, 5]``. A row that is not finite, or has a price that is not positive,
        is unusable: features restart after it, with their whole warm-up.
    features
        What to compute, in this order.
    timeframe, market
        Of the candles; holes of a ``continuous`` market are bridged first.

    Returns
    -------
    FeatureTable
        On the bridged grid. Rows that lack their warm-up hold NaN or a value that still
        depends on where the data starts: `FeatureTable.ends_window` leaves them out.

    Raises
    ------
    CandleError
        If candles are out of order, doubled or of a finer timeframe.
    """
    if not any(feature.definition.needs_volume for feature in features):
        # A feed without volume gives NaN there; nobody asked for it.
        ohlcv = np.column_stack([ohlcv[:, :4], np.zeros(len(ohlcv))])
    bridged = bridge(time, ohlcv, timeframe, market)
    grid = bridged.ohlcv
    usable = np.isfinite(grid).all(axis=1) & (grid[:, :4] > 0).all(axis=1) & (grid[:, 4] >= 0)
    values = np.full((len(grid), len(features)), np.nan)
    volatility = np.full(len(grid), np.nan)
    steps = np.zeros(len(grid), dtype=np.int64)
    for first, last in _runs(usable):
        part = grid[first:last]
        steps[first:last] = np.cumsum(bridged.real[first:last])
        volatility[first:last] = trailing_volatility(
            part[:, 3], VOLATILITY_WINDOW, VOLATILITY_FLOOR
        )
        for column, feature in enumerate(features):
            values[first:last, column] = feature.definition.compute(part, **feature.parameters)
    return FeatureTable(bridged.time, values, volatility, bridged.real, steps, bridged.rows)


def _runs(usable: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    # First and one-past-last row of each stretch of usable rows.
    edges = np.flatnonzero(np.diff(np.concatenate([[False], usable, [False]]).astype(np.int8)))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]
