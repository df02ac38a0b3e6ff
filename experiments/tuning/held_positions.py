"""Which positions a trial held, to ask whether it mattered when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["HeldPositions", "together"]

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class HeldPositions:
    """The positions in one symbol over one fold.

    Parameters
    ----------
    symbol
        Whose.
    time
        ``int64 [T]``, stamps of the bars, milliseconds, rising.
    weights
        ``float64 [T]``, signed notional over the symbol's account, held from each bar's open on.
        What a stop did within the bar is not in it.
    market
        ``float64 [T]``, what the symbol returns while the position is held (fraction).
    """

    symbol: str
    time: Times
    weights: Floats
    market: Floats


def together(held: Sequence[HeldPositions]) -> tuple[Floats, Floats]:
    """Return positions of several symbols, seeds or folds on one axis of time.

    Parameters
    ----------
    held
        Of a symbol several may have the same bars, as those of several seeds do: they are
        averaged.

    Returns
    -------
    tuple
        Weights and market returns, each ``float64 [T, N]``, symbols sorted by name. Weights are
        shares of the whole, of which each symbol with a bar has the same part; where a symbol
        has no bar both are 0.

    Examples
    --------
    >>> one = HeldPositions("A", np.array([1, 2]), np.array([1.0, 0.5]), np.array([0.0, 0.1]))
    >>> two = HeldPositions("B", np.array([2]), np.array([-1.0]), np.array([0.2]))
    >>> [part.tolist() for part in together([one, two])]
    [[[1.0, 0.0], [0.25, -0.5]], [[0.0, 0.0], [0.1, 0.2]]]
    """
    names = sorted({one.symbol for one in held})
    time = np.unique(np.concatenate([one.time for one in held])) if held else np.zeros(0)
    shape = (len(time), len(names))
    weights, market, count = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for one in held:
        rows, column = np.searchsorted(time, one.time), names.index(one.symbol)
        weights[rows, column] += one.weights
        market[rows, column] += one.market
        count[rows, column] += 1.0
    several = np.maximum(count, 1.0)
    symbols = np.maximum((count > 0.0).sum(axis=1, keepdims=True), 1)
    return weights / several / symbols, market / several
