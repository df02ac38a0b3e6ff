"""In what order the orders of a bar have their turn."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

from lstm_strategies.intrabar import Prices, crossed_at_open, level_of, rests_at_limit
from lstm_strategies.liquidation import is_liquidation

__all__ = ["AT_OPEN", "Turn", "turn_of"]

AT_OPEN: Final = 0
"""The last stage of what happens at a bar's open."""

_LIQUIDATED_AT_OPEN: Final = -1
_ADVERSE: Final = 1
_FAVOURABLE: Final = 2
_AT_CLOSE: Final = 3
_INACTIVE: Final = 4


class Turn(NamedTuple):
    """What orders are sorted by.

    Parameters
    ----------
    stage
        -1: liquidations that the open lies beyond; 0: market orders, and orders that the open
        has jumped over; 1: the adverse side; 2: the favourable side; 3: orders for the close;
        4: children whose parent isn't filled.
    distance
        Of the level from the open, quote currency; the nearer one is reached first.
    child
        Whether it is a bracket's stop or target; others come first.
    ref
        Number of the order: whatever was made first.
    """

    stage: int
    distance: float
    child: bool
    ref: int


def turn_of(order: Any, prices: Prices, held: float) -> Turn:
    """Return when an order has its turn within a bar.

    Parameters
    ----------
    order
        Any order.
    prices
        Of the bar, or of what is left of it for this order.
    held
        Position of its feed. Adverse to a long is what lies below the open, to a short what
        lies above; without a position stops count as adverse, limits as favourable.
    """
    child = order.parent is not None
    if order.exectype in (order.Market, order.Historical):
        return Turn(AT_OPEN, 0.0, child, order.ref)
    if order.exectype == order.Close:
        return Turn(_AT_CLOSE, 0.0, child, order.ref)
    if not order.active():
        return Turn(_INACTIVE, 0.0, child, order.ref)
    if crossed_at_open(order, prices):
        stage = _LIQUIDATED_AT_OPEN if is_liquidation(order) else AT_OPEN
        return Turn(stage, 0.0, child, order.ref)
    distance = abs(level_of(order) - prices.open)
    limit = rests_at_limit(order)
    adverse = (order.isbuy() == limit) == (held > 0.0) if held else not limit
    return Turn(
        _ADVERSE if adverse else _FAVOURABLE,
        math.inf if math.isnan(distance) else distance,
        child,
        order.ref,
    )
