"""The limits of a position's size, and which of them decides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Final

__all__ = ["LIMITS", "SizeLimits", "common_step", "round_down", "size_limits"]

# Where two limits are equal, the earlier one is named.
LIMITS: Final = ("risk", "position_size", "volatility_target", "max_exposure", "cash")


@dataclass(frozen=True, slots=True)
class SizeLimits:
    """What each limit allows a position, and the size that is left.

    Attributes
    ----------
    risk, position_size, volatility_target, max_exposure, cash
        Base currency, not rounded, 0 or more; infinite where the limit is off.
    lot_step
        Base currency; the size is a whole multiple of it.
    size
        Base currency, 0 or more.
    binding
        The smallest of the limits by name.
    reason
        Why the size is 0; empty where it isn't.
    """

    risk: float
    position_size: float
    volatility_target: float
    max_exposure: float
    cash: float
    lot_step: float
    size: float
    binding: str
    reason: str


def size_limits(
    *,
    price: float,
    equity: float,
    free_cash: float,
    fee: float = 0.0,
    leverage: float = 1.0,
    cash_buffer: float = 0.0,
    risk: float = 0.02,
    stop_distance: float = math.inf,
    position_size: float = 0.0,
    volatility_target: float = 0.0,
    volatility: float = math.nan,
    exposure_left: float = math.inf,
    lot_step: float = 1e-8,
    min_notional: float = 0.0,
) -> SizeLimits:
    """Return what each limit allows a position, and the size that is left.

    Parameters
    ----------
    price, equity, free_cash
        Quote currency.
    fee
        Fraction of the notional.
    leverage
        Notional over the margin it needs.
    cash_buffer
        Fraction of the notional that stays free.
    risk
        Fraction of the equity that the stop may cost.
    stop_distance
        Quote currency; infinite without a stop, and the risk is then no limit.
    position_size
        Fraction of the equity put up as margin; 0 is off.
    volatility_target
        Fraction of the equity that one standard deviation of the position may move; 0 is off.
    volatility
        Standard deviation of the price, fraction of it; read where there is a target.
    exposure_left
        Notional over equity; infinite is off.
    lot_step
        Smallest change of a size, base currency.
    min_notional
        Smallest notional that is traded, quote currency; 0 is off.

    Returns
    -------
    SizeLimits
        What is unknown (NaN) or not above 0 allows nothing, and the reason names it.

    References
    ----------
    The share of an account that a stop may cost: Tharp, Trade Your Way to Financial Freedom,
    1998. Positions in inverse proportion to volatility: Moreira and Muir, Volatility-Managed
    Portfolios, 2017.

    Examples
    --------
    >>> limits = size_limits(price=100.0, equity=10_000.0, free_cash=10_000.0, stop_distance=4.0)
    >>> limits.size, limits.binding, limits.risk, limits.cash
    (50.0, 'risk', 50.0, 100.0)
    >>> size_limits(price=100.0, equity=10_000.0, free_cash=10_000.0, min_notional=20_000.0).reason
    'a notional of 10000 is under the least one of 20000'
    """
    for name, value in (("price", price), ("equity", equity)):
        if not 0.0 < value < math.inf:
            return _nothing(lot_step, f"the {name} is {value}")
    allowed = dict.fromkeys(LIMITS, math.inf)
    reasons = dict.fromkeys(LIMITS, "")
    if stop_distance != math.inf:
        allowed["risk"] = _share(risk * equity, stop_distance)
        reasons["risk"] = f"the stop distance is {stop_distance}"
    if position_size:
        allowed["position_size"] = _share(position_size * equity * leverage, price)
        reasons["position_size"] = f"the position size is {position_size} of the equity"
    if volatility_target:
        allowed["volatility_target"] = _share(volatility_target * equity, volatility * price)
        reasons["volatility_target"] = f"the expected volatility is {volatility}"
    if exposure_left != math.inf:
        allowed["max_exposure"] = _share(exposure_left * equity, price)
        reasons["max_exposure"] = f"the exposure left is {exposure_left:g} of the equity"
    allowed["cash"] = _share(free_cash, price * (1.0 / leverage + fee + cash_buffer))
    reasons["cash"] = f"the free cash is {free_cash:.2f}"

    binding = min(allowed, key=allowed.__getitem__)
    most = allowed[binding]
    size, reason = round_down(most, lot_step), ""
    if not most:
        reason = reasons[binding]
    elif not size:
        reason = f"{binding} allows {most:g}, which is less than one lot of {lot_step:g}"
    elif _decimal(size) * _decimal(price) < _decimal(min_notional):
        reason = f"a notional of {size * price:g} is under the least one of {min_notional:g}"
        size = 0.0
    return SizeLimits(**allowed, lot_step=lot_step, size=size, binding=binding, reason=reason)


def common_step(first: float, second: float) -> float:
    """Return the smallest lot step whose multiples are multiples of two others.

    Parameters
    ----------
    first, second
        Base currency, taken for the decimal numbers they print as; 0 is none.

    Examples
    --------
    >>> common_step(0.001, 1e-8), common_step(0.1, 0.15), common_step(0.0, 5.0)
    (0.001, 0.3, 5.0)
    """
    if not first or not second:
        return first or second
    steps = [_decimal(step) for step in (first, second)]
    unit = min(Decimal(1).scaleb(_exponent(step)) for step in steps)
    return float(math.lcm(*(int(step / unit) for step in steps)) * unit)


def round_down(size: float, step: float) -> float:
    """Return the largest multiple of a lot step that isn't above a size.

    Parameters
    ----------
    size, step
        Base currency. Both are taken for the decimal number they print as.

    Examples
    --------
    >>> round_down(0.3, 0.1), round_down(0.2999, 0.1), round_down(7.0, 1e-8)
    (0.3, 0.2, 7.0)
    """
    if not math.isfinite(size):
        return 0.0
    unit = _decimal(step)
    lots = (_decimal(size) / unit).to_integral_value(rounding=ROUND_FLOOR)
    return max(0.0, float(lots * unit))


def _share(amount: float, each: float) -> float:
    # What is unknown allows nothing; NaN fails both comparisons.
    if not 0.0 < amount < math.inf or not 0.0 < each < math.inf:
        return 0.0
    return amount / each


def _decimal(number: float) -> Decimal:
    return Decimal(repr(float(number)))


def _exponent(step: Decimal) -> int:
    exponent = step.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0


def _nothing(lot_step: float, reason: str) -> SizeLimits:
    return SizeLimits(0.0, 0.0, 0.0, 0.0, 0.0, lot_step, 0.0, LIMITS[0], reason)
