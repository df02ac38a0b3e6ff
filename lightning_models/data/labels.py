"""Labels that start where a trade can: from the next bar's open to the horizon's close."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_models.candles.candles import Market
    from lightning_models.data.horizons import Horizon

__all__ = ["Labels", "label_returns"]


@dataclass(frozen=True, eq=False)
class Labels:
    """What happened after each row.

    Parameters
    ----------
    returns
        ``float64 [B, H]``: close at the horizon / open of the next bar - 1, a fraction; NaN
        where there is no such label.
    end
        ``int64 [B]``, when the furthest label is known, in milliseconds; 0 where none is.
    """

    returns: npt.NDArray[np.float64]
    end: npt.NDArray[np.int64]


def label_returns(
    time: npt.NDArray[np.int64],
    open_price: npt.NDArray[np.float64],
    close_price: npt.NDArray[np.float64],
    real: npt.NDArray[np.bool_],
    *,
    horizons: Sequence[Horizon],
    period: int,
    market: Market = "continuous",
) -> Labels:
    """Return each row's labels.

    Parameters
    ----------
    time
        ``int64 [B]``, open times on the bridged grid, milliseconds.
    open_price, close_price
        ``float64 [B]``, quote currency.
    real
        ``bool [B]``. A label neither starts nor ends on a bridged row: nothing trades there.
    horizons
        The label axis.
    period
        Length of a candle in milliseconds.
    market
        In a market with sessions the next bar may open days later; a label ends when the
        candle that it ends on closes.

    Returns
    -------
    Labels
        Rows that lack any one of the horizons have none at all.

    Examples
    --------
    >>> from lightning_models.data.horizons import Horizon
    >>> prices = np.array([100.0, 100.0, 110.0])
    >>> labels = label_returns(
    ...     np.array([0, 60_000, 120_000]), prices, prices * 1.1, np.ones(3, dtype=bool),
    ...     horizons=[Horizon(name="1m", candles=1)], period=60_000)
    >>> labels.returns[:, 0].round(3).tolist()
    [0.1, 0.1, nan]
    """
    count = len(time)
    returns = np.full((count, len(horizons)), np.nan)
    end = np.zeros(count, dtype=np.int64)
    furthest = max(horizon.candles for horizon in horizons)
    for column, horizon in enumerate(horizons):
        labelled = count - horizon.candles
        if labelled <= 0:
            continue
        entry = np.arange(labelled) + 1
        leave = np.arange(labelled) + horizon.candles
        tradable = real[entry] & real[leave]
        moves = close_price[leave] / open_price[entry] - 1.0
        returns[:labelled, column] = np.where(tradable, moves, np.nan)
    complete = np.isfinite(returns).all(axis=1)
    returns[~complete] = np.nan
    labelled_rows = np.flatnonzero(complete)
    if market == "continuous":
        end[labelled_rows] = time[labelled_rows] + (furthest + 1) * period
    else:
        end[labelled_rows] = time[labelled_rows + furthest] + period
    return Labels(returns, end)
