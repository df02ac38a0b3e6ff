"""How far an order of some size moves the market against itself."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["LARGEST_IMPACT", "impact_of"]

LARGEST_IMPACT: Final = 0.1
"""The largest fraction of the price by which an order moves it."""


def impact_of(size: float, volume: float, slip_impact: float) -> float:
    """Return the fraction of the price by which an order moves it against itself.

    Parameters
    ----------
    size
        Base currency, without sign.
    volume
        Of the bar, base currency; a bar that states none is moved by `LARGEST_IMPACT`.
    slip_impact
        What an order as large as the bar's volume would move.

    Notes
    -----
    The square of the share of the volume, as in Zipline's ``VolumeShareSlippage``; at most
    `LARGEST_IMPACT`.

    Examples
    --------
    >>> impact_of(500.0, 1000.0, 0.1), impact_of(50.0, 0.0, 0.1), impact_of(5e3, 1e3, 0.1)
    (0.025, 0.1, 0.1)
    """
    if not slip_impact or not size:
        return 0.0
    if math.isnan(volume) or volume <= 0.0:
        return LARGEST_IMPACT
    share = size / volume
    return min(LARGEST_IMPACT, slip_impact * share * share)
