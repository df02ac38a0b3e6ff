"""Fees of a crypto exchange: maker and taker, on fractional sizes."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import backtrader as bt

from lstm_strategies.errors import ParameterError
from lstm_strategies.parameters import CheckedParameters, takes_params

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CryptoCommission"]

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
    """Maker and taker fees as fractions of the notional, with sizes that need not be whole.

    Every fill pays the taker fee, but for limit orders that rested in the book, which pay the
    maker fee. backtrader never shows a commission scheme the order, so only
    `lstm_strategies.broker.SimulatedBroker` tells the two apart; under any other broker every
    fill pays the taker fee.

    Params:
      - ``maker_fee`` (0.0002): fraction of the notional, 0.0002 = 0.02 %.
      - ``taker_fee`` (0.0004): fraction of the notional, 0.0004 = 0.04 %.
      - ``leverage`` (1.0): the only value accepted.
      - ``interest``, ``interest_long``: as in ``backtrader.CommInfoBase``.

    Raises
    ------
    ParameterError
        If a fee is negative (a rebate), not finite or 1 or more; if the leverage isn't 1; if
        one of the parameters that this scheme decides itself (``commission``, ``mult``,
        ``margin``, ``automargin``, ``commtype``, ``stocklike``, ``percabs``) is set.

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
    """

    params = (
        ("maker_fee", 0.0002),
        ("taker_fee", 0.0004),
        ("leverage", 1.0),
        ("commtype", bt.CommInfoBase.COMM_PERC),
        ("stocklike", True),
        ("percabs", True),
    )

    @takes_params
    def __init__(self) -> None:
        for name in ("maker_fee", "taker_fee"):
            _check_fee(name, getattr(self.p, name))
        if self.p.leverage != 1.0:
            raise ParameterError(
                f"leverage={self.p.leverage!r}: leveraged positions need liquidation, which the "
                "simulated broker does not have yet; leave leverage at 1.0 and size positions "
                "within the cash"
            )
        for name, decided in _DECIDED.items():
            given = getattr(self.p, name)
            if given != decided:
                raise ParameterError(
                    f"CryptoCommission decides {name} itself and would ignore {name}={given!r}; "
                    "set maker_fee and taker_fee, or use backtrader.CommInfoBase"
                )
        super().__init__()
        self._resting = False

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Charge the maker fee inside the ``with`` block: the fill is of an order that rested."""
        before = self._resting
        self._resting = True
        try:
            yield
        finally:
            self._resting = before

    def getsize(self, price: float, cash: float) -> float:
        """Return the size that this cash buys at this price, before fees, not rounded.

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
        return float(abs(size) * price * fee)

    def confirmexec(self, size: float, price: float) -> float:
        """Return the fee of a fill, as `getcommission` does."""
        return self.getcommission(size, price)


def _check_fee(name: str, fee: Any) -> None:
    if not isinstance(fee, int | float) or not math.isfinite(fee) or not 0.0 <= fee < 1.0:
        raise ParameterError(
            f"{name}={fee!r}: give a fraction of the notional from 0 up to 1, "
            "such as 0.0004 for 0.04 %"
        )
