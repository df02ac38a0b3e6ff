"""Position sizes that risk a stated fraction of the account at the stop."""

from __future__ import annotations

import logging
import math
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import backtrader as bt

from lstm_strategies.errors import ParameterError
from lstm_strategies.parameters import CheckedParameters, takes_params
from lstm_strategies.reserved_cash import reserved_cash, worth_of_closing

__all__ = ["RiskSizer", "mean_true_range", "round_down"]

logger = logging.getLogger(__name__)


class RiskSizer(bt.Sizer, CheckedParameters):
    """Size a position so that its stop costs a fixed fraction of the equity.

    ``size = risk * equity / stop distance``, at most what the cash pays for without leverage
    (notional + fee + buffer), rounded down to a whole number of lots. The stop distance comes
    from the strategy's ``stop_distance(data)`` where it has one, otherwise it is ``atr_stop``
    times the mean true range of the last ``atr_period`` bars. An opposite position counts as
    closed: what it gives back is available, so that a reversal is sized in one step. What
    entries not yet filled will need, such as those of another feed on the same bar, is not.

    Params:
      - ``risk`` (0.02): fraction of the equity, above 0 and at most 1.
      - ``atr_period`` (14): bars.
      - ``atr_stop`` (2.0): multiple of the mean true range.
      - ``lot_step`` (1e-8): smallest change of a size, base currency.
      - ``cash_buffer`` (0.01): fraction of the notional kept free, for a gap at the open.

    Raises
    ------
    ParameterError
        If a parameter is out of its range.

    Notes
    -----
    Where the stop distance is unknown, not finite or not above zero, the size is 0 and the log
    says why (at INFO). With ``exactbars=1`` backtrader keeps only as many bars as the
    indicators need: give the strategy a ``stop_distance`` or an indicator of that length.
    """

    params = (
        ("risk", 0.02),
        ("atr_period", 14),
        ("atr_stop", 2.0),
        ("lot_step", 1e-8),
        ("cash_buffer", 0.01),
    )

    @takes_params
    def __init__(self) -> None:
        super().__init__()
        if not 0.0 < self.p.risk <= 1.0:
            raise ParameterError(f"risk={self.p.risk!r}: give a fraction above 0, such as 0.02")
        if self.p.atr_period != int(self.p.atr_period) or self.p.atr_period < 1:
            raise ParameterError(f"atr_period={self.p.atr_period!r}: give a whole number of bars")
        for name in ("atr_stop", "lot_step"):
            if not 0.0 < getattr(self.p, name) < math.inf:
                raise ParameterError(f"{name}={getattr(self.p, name)!r}: give a number above 0")
        if not 0.0 <= self.p.cash_buffer < math.inf:
            raise ParameterError(
                f"cash_buffer={self.p.cash_buffer!r}: give a fraction of 0 or more"
            )

    def _getsizing(self, comminfo: Any, cash: float, data: Any, isbuy: bool) -> float:
        price = data.close[0]
        distance, reason = self._stop_distance(data)
        if reason:
            logger.info("no position in %s: %s", data._name, reason)
            return 0.0
        if not price > 0.0:
            logger.info("no position in %s: its price is %s", data._name, price)
            return 0.0
        wanted = self.p.risk * self.broker.getvalue() / distance
        free = cash - reserved_cash(self.broker) + self._given_back(data, price, isbuy)
        fee = comminfo.getcommission(1.0, price) / price
        affordable = free / (price * (1.0 + fee + self.p.cash_buffer))
        size = round_down(min(wanted, affordable), self.p.lot_step)
        if size <= 0.0:
            logger.info(
                "no position in %s: a risk of %g and a cash of %.2f make less than one lot of %g",
                data._name,
                self.p.risk,
                free,
                self.p.lot_step,
            )
        return size

    def _stop_distance(self, data: Any) -> tuple[float, str]:
        own = getattr(self.strategy, "stop_distance", None)
        if callable(own):
            distance = float(own(data))
        else:
            period = int(self.p.atr_period)
            mean = mean_true_range(data, period)
            if mean is None:
                return 0.0, f"the mean true range needs {period + 1} bars in memory"
            distance = self.p.atr_stop * mean
        if not 0.0 < distance < math.inf:
            return 0.0, f"the stop distance is {distance}"
        return distance, ""

    def _given_back(self, data: Any, price: float, isbuy: bool) -> float:
        size = self.broker.getposition(data).size
        if not size or (size > 0.0) == isbuy:
            return 0.0
        return worth_of_closing(self.broker, data, abs(size), price)


def mean_true_range(data: Any, period: int) -> float | None:
    """Return the mean true range of a feed's last bars, the present one included.

    Parameters
    ----------
    data
        A feed with high, low and close.
    period
        Number of bars; one more is read for its close.

    Returns
    -------
    float or None
        Quote currency; NaN if a price is; None where fewer than ``period + 1`` bars have come
        or are still in memory.

    References
    ----------
    Wilder, New Concepts in Technical Trading Systems, 1978, here with a plain mean.
    """
    # Under exactbars a line is a deque that ends at its present bar; its index says how many
    # bars lie before that.
    if len(data) < period + 1 or any(
        line.idx < period for line in (data.high, data.low, data.close)
    ):
        return None
    highs = data.high.get(size=period)
    lows = data.low.get(size=period)
    closes = data.close.get(ago=-1, size=period)
    total = 0.0
    for high, low, close in zip(highs, lows, closes, strict=True):
        if math.isnan(high) or math.isnan(low) or math.isnan(close):
            return math.nan
        total += max(high, close) - min(low, close)
    return total / period


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
    unit = Decimal(repr(float(step)))
    lots = (Decimal(repr(float(size))) / unit).to_integral_value(rounding=ROUND_FLOOR)
    return max(0.0, float(lots * unit))
