"""Terms of a crypto exchange: fees, leverage, maintenance margin, and the sizes it takes."""

from __future__ import annotations

import math
from contextlib import contextmanager
from numbers import Real
from typing import TYPE_CHECKING, Any, Final

import backtrader as bt

from lstm_strategies.errors import ParameterError
from lstm_strategies.given_values import check_positive
from lstm_strategies.parameters import CheckedParameters, takes_params

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MOST_LEVERAGE", "CryptoCommission"]

MOST_LEVERAGE: Final = 125.0
"""The highest leverage that an exchange of perpetual futures gives."""

# What this scheme decides itself; silently ignoring another value would misstate the account.
_DECIDED: Final = {
    "commission": 0.0,
    "mult": 1.0,
    "margin": None,
    "automargin": False,
    "commtype": bt.CommInfoBase.COMM_PERC,
    "stocklike": True,
    "percabs": True,
}


class CryptoCommission(bt.CommInfoBase, CheckedParameters):
    """What a crypto exchange charges and demands, for sizes that need not be whole.

    Every fill pays the taker fee, but for limit orders that rested in the book, which pay the
    maker fee. backtrader never shows a commission scheme the order, so only
    `lstm_strategies.broker.SimulatedBroker` tells the two apart, liquidates, and refuses sizes
    that the exchange doesn't take; under any other broker every fill pays the taker fee, and
    the last four parameters do nothing.

    Params:
      - ``maker_fee`` (0.0002): fraction of the notional, 0.0002 = 0.02 %.
      - ``taker_fee`` (0.0004): fraction of the notional, 0.0004 = 0.04 %.
      - ``leverage`` (1.0): notional over initial margin, from 1 to 125. Opening a position
        takes the notional at its price over the leverage out of the cash.
      - ``maintenance_margin`` (0.005): fraction of the notional, below 1 / ``leverage``, under
        which a position is liquidated.
      - ``liquidation_fee`` (0.005): fraction of the notional that a liquidation costs on top of
        the taker fee.
      - ``lot_step`` (0.0): base currency; sizes are whole multiples of it. 0 is none.
      - ``min_notional`` (0.0): quote currency; smaller orders are refused unless they only
        reduce a position. 0 is none.
      - ``interest``, ``interest_long``: as in ``backtrader.CommInfoBase``.

    Raises
    ------
    ParameterError
        If a fraction is negative (a rebate), not finite or 1 or more; if the leverage isn't
        between 1 and 125, or leaves no margin above the maintenance margin; if ``lot_step`` or
        ``min_notional`` is negative; if one of the parameters that this scheme decides itself
        (``commission``, ``mult``, ``margin``, ``automargin``, ``commtype``, ``stocklike``,
        ``percabs``) is set.

    Examples
    --------
    >>> fees = CryptoCommission(maker_fee=0.0002, taker_fee=0.0004)
    >>> round(fees.getcommission(-0.5, 60_000.0), 9)
    12.0
    >>> with fees.resting():
    ...     round(fees.getcommission(-0.5, 60_000.0), 9)
    6.0
    >>> fees.getsize(price=60_000.0, cash=3_000.0)
    0.05
    >>> CryptoCommission(leverage=10.0, maintenance_margin=0.4)
    Traceback (most recent call last):
    lstm_strategies.errors.ParameterError: maintenance_margin=0.4: give a fraction of the notional \
below 0.1, which is 1 / leverage, or a position would be liquidated as it opens; for 0.4 % write \
maintenance_margin=0.004
    """

    params = (
        ("maker_fee", 0.0002),
        ("taker_fee", 0.0004),
        ("leverage", 1.0),
        ("maintenance_margin", 0.005),
        ("liquidation_fee", 0.005),
        ("lot_step", 0.0),
        ("min_notional", 0.0),
        ("commtype", bt.CommInfoBase.COMM_PERC),
        ("stocklike", True),
        ("percabs", True),
    )

    @takes_params
    def __init__(self) -> None:
        _check_leverage(self.p.leverage)
        for name in ("maker_fee", "taker_fee", "liquidation_fee"):
            _check_fraction(name, getattr(self.p, name), "below 1", 1.0)
        _check_fraction(
            "maintenance_margin",
            self.p.maintenance_margin,
            f"below {1.0 / self.p.leverage:.6g}, which is 1 / leverage, or a position would be "
            "liquidated as it opens",
            1.0 / self.p.leverage,
        )
        for name in ("lot_step", "min_notional"):
            check_positive(name, getattr(self.p, name), or_zero=True)
        for name, decided in _DECIDED.items():
            given = getattr(self.p, name)
            if given != decided:
                raise ParameterError(
                    f"CryptoCommission decides {name} itself and would ignore {name}={given!r}; "
                    "set maker_fee, taker_fee and leverage, or use backtrader.CommInfoBase"
                )
        super().__init__()
        self._resting = False
        self._extra = 0.0
        self._most = math.inf

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Charge the maker fee inside the ``with`` block: the fill is of an order that rested."""
        before = self._resting
        self._resting = True
        try:
            yield
        finally:
            self._resting = before

    @contextmanager
    def charging(self, *, extra: float = 0.0, at_most: float = math.inf) -> Iterator[None]:
        """Charge another fee inside the ``with`` block.

        Parameters
        ----------
        extra
            Fraction of the notional on top of the maker's or taker's.
        at_most
            Quote currency; no fill costs more than this.

        Examples
        --------
        >>> fees = CryptoCommission(taker_fee=0.0004)
        >>> with fees.charging(extra=0.005, at_most=4.0):
        ...     [round(fees.getcommission(size, 100.0), 9) for size in (1.0, 10.0)]
        [0.54, 4.0]
        """
        before = self._extra, self._most
        self._extra, self._most = extra, at_most
        try:
            yield
        finally:
            self._extra, self._most = before

    def getsize(self, price: float, cash: float) -> float:
        """Return the size whose notional is this cash, before fees, not rounded.

        It is the same at every leverage, so that the targets of backtrader's
        ``order_target_value`` and ``order_target_percent`` are notional.

        Parameters
        ----------
        price
            Quote currency.
        cash
            Quote currency.
        """
        return cash / price if price > 0.0 else 0.0

    def getcommission(self, size: float, price: float) -> float:
        """Return the fee of a fill in quote currency: the taker's, or inside `resting` the maker's.

        Parameters
        ----------
        size
            Base currency, negative for a sale.
        price
            Quote currency.
        """
        fee = self.p.maker_fee if self._resting else self.p.taker_fee
        return min(float(abs(size) * price * (fee + self._extra)), self._most)

    def confirmexec(self, size: float, price: float) -> float:
        """Return the fee of a fill, as `getcommission` does."""
        return self.getcommission(size, price)


def _check_leverage(leverage: Any) -> None:
    if _is_number(leverage) and 1.0 <= leverage <= MOST_LEVERAGE:
        return
    wanted = f"give a number from 1 (none) to {MOST_LEVERAGE:g}"
    if _is_number(leverage) and 0.0 < leverage < 1.0:
        wanted += f"; for an initial margin of {leverage:.6g} write leverage={1.0 / leverage:.6g}"
    raise ParameterError(f"leverage={leverage!r}: {wanted}")


def _check_fraction(name: str, value: Any, range_in_words: str, end: float) -> None:
    if _is_number(value) and 0.0 <= value < end:
        return
    meant = ""
    if _is_number(value) and 0.0 <= value / 100.0 < end:
        meant = f"; for {float(value):.10g} % write {name}={float(value) / 100.0:.10g}"
    elif not _is_number(value):
        meant = ", such as 0.0004 for 0.04 %"
    raise ParameterError(
        f"{name}={value!r}: give a fraction of the notional {range_in_words}{meant}"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
