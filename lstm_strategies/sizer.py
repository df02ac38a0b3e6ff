"""Position sizes that risk a stated fraction of the account at the stop, within limits."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import backtrader as bt

from lstm_strategies.errors import ParameterError
from lstm_strategies.exposure import FEWEST_RETURNS, exposure_left
from lstm_strategies.given_values import check_count, check_fraction, check_positive
from lstm_strategies.parameters import CheckedParameters, takes_params
from lstm_strategies.reserved_cash import reserved_cash, worth_of_closing
from lstm_strategies.sizing import SizeLimits, common_step, round_down, size_limits

__all__ = ["RiskSizer", "mean_true_range", "return_deviation", "round_down"]

logger = logging.getLogger(__name__)


class RiskSizer(bt.Sizer, CheckedParameters):
    """Size a position so that its stop costs a fixed fraction of the equity, within limits.

    The size is the smallest of these, rounded down to a whole number of lots:

    - ``risk * equity / stop distance``. The distance comes from the strategy's
      ``stop_distance(data)`` where it has one, ``math.inf`` for no stop, which is no limit;
      otherwise it is ``atr_stop`` times the mean true range of the last ``atr_period`` bars.
    - ``position_size * equity * leverage / price``, with the leverage of the commission scheme.
    - ``volatility_target * equity / (volatility * price)``. The volatility comes from the
      strategy's ``expected_volatility(data)`` where it has one, a fraction of the price over
      its forecast's horizon; otherwise it is the standard deviation of the last ``atr_period``
      returns from close to close, over one bar.
    - what leaves the effective exposure of all the strategy's feeds within ``max_exposure``
      times the equity; see `lstm_strategies.exposure`.
    - what the free cash pays for (notional / leverage + fee + buffer).

    An opposite position counts as closed: what it gives back is available, so that a reversal
    is sized in one step. What entries not yet filled will need, such as those of another feed
    on the same bar, is not.

    A commission scheme with a ``lot_step`` makes the size a multiple of that too, and one with
    a ``min_notional`` makes a smaller position none.

    Params:
      - ``risk`` (0.02): fraction of the equity, above 0 and at most 1.
      - ``position_size`` (0.0): fraction of the equity put up as margin, at most 1; 0 is off.
      - ``volatility_target`` (0.0): fraction of the equity that one standard deviation of the
        position may move, at most 1; 0 is off.
      - ``max_exposure`` (0.0): multiple of the equity; 0 is off.
      - ``correlation_bars`` (100): closes that the correlations of feeds are taken from.
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
    Where the stop distance or a volatility that is asked for is unknown or not above zero, the
    size is 0. The log says why a size is 0 (at INFO) and which limit made it (at DEBUG). With
    ``exactbars=1`` backtrader keeps only as many bars as the indicators need: give the strategy
    a ``stop_distance`` or an indicator of that length. The closes for ``max_exposure`` are
    kept without that.
    """

    params = (
        ("risk", 0.02),
        ("position_size", 0.0),
        ("volatility_target", 0.0),
        ("max_exposure", 0.0),
        ("correlation_bars", 100),
        ("atr_period", 14),
        ("atr_stop", 2.0),
        ("lot_step", 1e-8),
        ("cash_buffer", 0.01),
    )

    @takes_params
    def __init__(self) -> None:
        super().__init__()
        for name in ("risk", "position_size", "volatility_target"):
            check_fraction(name, getattr(self.p, name))
        for name in ("risk", "atr_stop", "lot_step"):
            check_positive(name, getattr(self.p, name))
        for name in ("max_exposure", "cash_buffer"):
            check_positive(name, getattr(self.p, name), or_zero=True)
        for name in ("atr_period", "correlation_bars"):
            check_count(name, getattr(self.p, name))
        if self.p.correlation_bars <= FEWEST_RETURNS:
            raise ParameterError(
                f"correlation_bars={self.p.correlation_bars!r}: a correlation needs "
                f"{FEWEST_RETURNS} returns, so give {FEWEST_RETURNS + 1} bars or more"
            )
        if self.p.volatility_target and self.p.atr_period < 2:
            raise ParameterError(
                f"atr_period={self.p.atr_period!r}: one return has no standard deviation for "
                "volatility_target; give 2 bars or more"
            )

    def set(self, strategy: Any, broker: Any) -> None:
        """Take the strategy and the broker to size for; backtrader calls this before a run."""
        self.strategy, self.broker = strategy, broker
        # With exactbars=1 a feed keeps as many bars as its lines were asked for. In other modes
        # the lines may outlive this run, and their next indicators would wait for so many bars.
        if not self.p.max_exposure or int(strategy.cerebro.p.exactbars) < 1:
            return
        for data in strategy.datas if len(strategy.datas) > 1 else ():
            for line in data.lines:
                line.updateminperiod(int(self.p.correlation_bars))

    def limits(self, data: Any, isbuy: bool) -> SizeLimits:
        """Return what each limit allows an entry at this moment, and the size that is left.

        Parameters
        ----------
        data
            The feed to enter.
        isbuy
            Whether to buy it or to sell it short.
        """
        comminfo = self.broker.getcommissioninfo(data)
        return self._limits(comminfo, self.broker.getcash(), data, isbuy)

    def _getsizing(self, comminfo: Any, cash: float, data: Any, isbuy: bool) -> float:
        limits = self._limits(comminfo, cash, data, isbuy)
        if limits.reason:
            logger.info("no position in %s: %s", data._name, limits.reason)
        else:
            logger.debug(
                "a position of %.8g in %s: %s binds, %s",
                limits.size,
                data._name,
                limits.binding,
                limits,
            )
        return limits.size

    def _limits(self, comminfo: Any, cash: float, data: Any, isbuy: bool) -> SizeLimits:
        price, equity = data.close[0], self.broker.getvalue()
        distance, reason = self._stop_distance(data)
        volatility, room = math.nan, math.inf
        if self.p.volatility_target and not reason:
            volatility, reason = self._volatility(data)
        if self.p.max_exposure and equity > 0.0:
            room = exposure_left(
                self.strategy,
                data,
                1 if isbuy else -1,
                limit=self.p.max_exposure,
                bars=int(self.p.correlation_bars),
            )
        limits = size_limits(
            price=price,
            equity=equity,
            free_cash=cash - reserved_cash(self.broker) + self._given_back(data, price, isbuy),
            fee=comminfo.getcommission(1.0, price) / price if price else math.nan,
            leverage=comminfo.get_leverage(),
            cash_buffer=self.p.cash_buffer,
            risk=self.p.risk,
            stop_distance=distance,
            position_size=self.p.position_size,
            volatility_target=self.p.volatility_target,
            volatility=volatility,
            exposure_left=room,
            lot_step=common_step(self.p.lot_step, getattr(comminfo.p, "lot_step", 0.0)),
            min_notional=getattr(comminfo.p, "min_notional", 0.0),
        )
        return replace(limits, reason=reason) if reason else limits

    def _stop_distance(self, data: Any) -> tuple[float, str]:
        own = getattr(self.strategy, "stop_distance", None)
        if callable(own):
            return float(own(data)), ""
        period = int(self.p.atr_period)
        mean = mean_true_range(data, period)
        if mean is None:
            return math.nan, f"the mean true range needs {period + 1} bars in memory"
        # An infinite price is no reason to do without the stop.
        return self.p.atr_stop * mean if mean < math.inf else math.nan, ""

    def _volatility(self, data: Any) -> tuple[float, str]:
        own = getattr(self.strategy, "expected_volatility", None)
        if callable(own):
            return float(own(data)), ""
        period = int(self.p.atr_period)
        deviation = return_deviation(data, period)
        if deviation is None:
            return math.nan, f"the volatility needs {period + 1} bars in memory"
        return deviation, ""

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


def return_deviation(data: Any, period: int) -> float | None:
    """Return the standard deviation of a feed's last returns from close to close.

    Parameters
    ----------
    data
        A feed with a close.
    period
        Number of returns, 2 or more; one close more is read.

    Returns
    -------
    float or None
        Fraction of the price over one bar, of the sample (divided by ``period - 1``); NaN if a
        close is NaN or 0; None where fewer than ``period + 1`` bars have come or are still in
        memory.
    """
    if len(data) < period + 1 or data.close.idx < period:
        return None
    closes = data.close.get(size=period + 1)
    returns = [after / before - 1.0 if before else math.nan for before, after in pairwise(closes)]
    mean = math.fsum(returns) / period
    return math.sqrt(math.fsum((each - mean) ** 2 for each in returns) / (period - 1))
