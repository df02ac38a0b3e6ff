"""Sizes and notionals that an exchange takes, and the nearest one it would have taken."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING

from lstm_strategies.broker.margined import RESIDUE
from lstm_strategies.sizing import round_down

if TYPE_CHECKING:
    from lstm_strategies.commission import CryptoCommission

__all__ = ["only_reduces", "refusal", "whole_lots"]


def only_reduces(held: float, size: float) -> bool:
    """Return whether an order does nothing but take something off a position."""
    return held * size < 0.0 and abs(size) <= abs(held) * (1.0 + RESIDUE)


def refusal(size: float, price: float, terms: CryptoCommission, *, reduces: bool = False) -> str:
    """Return why an exchange refuses an order's size, or nothing if it takes it.

    Parameters
    ----------
    size
        Of the order, base currency, negative for a sale.
    price
        At which its notional counts, quote currency.
    terms
        With ``lot_step`` and ``min_notional``.
    reduces
        Whether the order only takes something off a position, for which no notional is too
        small.

    Examples
    --------
    >>> from lstm_strategies.commission import CryptoCommission
    >>> terms = CryptoCommission(lot_step=0.01, min_notional=5.0)
    >>> refusal(0.123, 100.0, terms)
    'its size of 0.123 is no multiple of the lot step of 0.01; the nearest allowed size is 0.12'
    >>> refusal(-0.04, 100.0, terms)
    'its notional of 4 is under the least one of 5; the nearest allowed size is 0.05'
    >>> refusal(-0.04, 100.0, terms, reduces=True)
    ''
    """
    lots, step, least = abs(size), terms.p.lot_step, terms.p.min_notional
    smallest = step if reduces else max(step, _least(terms, price))
    if step:
        nearest = _nearest(lots, step)
        if abs(lots - nearest) > RESIDUE * lots:
            return (
                f"its size of {lots:.10g} is no multiple of the lot step of {step:.10g}; the "
                f"nearest allowed size is {max(nearest, smallest):.10g}"
            )
    if not reduces and lots * price < least * (1.0 - RESIDUE):
        return (
            f"its notional of {lots * price:.10g} is under the least one of {least:.10g}; the "
            f"nearest allowed size is {smallest:.10g}"
        )
    return ""


def whole_lots(size: float, step: float) -> float:
    """Return the largest multiple of a lot step in a size, without sign; 0 is no step.

    Examples
    --------
    >>> whole_lots(0.27, 0.1), whole_lots(0.1 + 0.2, 0.1), whole_lots(0.27, 0.0)
    (0.2, 0.3, 0.27)
    """
    if not step:
        return size
    nearest = _nearest(size, step)
    return nearest if abs(size - nearest) <= RESIDUE * size else round_down(size, step)


def _nearest(size: float, step: float) -> float:
    unit = _decimal(step)
    return float((_decimal(size) / unit).to_integral_value(rounding=ROUND_HALF_EVEN) * unit)


def _least(terms: CryptoCommission, price: float) -> float:
    if not terms.p.min_notional or not price > 0.0:
        return float(terms.p.lot_step)
    size = _decimal(terms.p.min_notional) / _decimal(price)
    if not terms.p.lot_step:
        return float(size)
    unit = _decimal(terms.p.lot_step)
    return float((size / unit).to_integral_value(rounding=ROUND_CEILING) * unit)


def _decimal(number: float) -> Decimal:
    return Decimal(repr(float(number)))
