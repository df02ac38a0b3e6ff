"""Bull, bear and sideways stretches of a market, told from its past alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from lightning_models.timeframes import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_models.candles.candles import Candles
    from lightning_models.evaluation.outcomes import Outcomes

__all__ = ["REGIMES", "UNKNOWN", "regime_of_outcomes", "regimes", "regimes_of_closes"]

REGIMES: Final = ("bull", "bear", "sideways")
"""Names, in the order of their numbers."""

UNKNOWN: Final = -1
"""Where there is not yet a whole window of candles."""

WINDOW_DAYS: Final = 30
MINIMUM_WINDOW: Final = 30
_TREND: Final = 0.5
_DRAWDOWN: Final = -1.0


def regimes(candles: Candles) -> npt.NDArray[np.int64]:
    """Return the regime of each candle, as `regimes_of_closes` with a window of 30 days.

    Parameters
    ----------
    candles
        Of one symbol. Where 30 days hold fewer than 30 candles the window is 30 candles.

    Returns
    -------
    numpy.ndarray
        ``int64 [T]``, positions in `REGIMES`, or `UNKNOWN`.
    """
    window = max(MINIMUM_WINDOW, round(WINDOW_DAYS * DAY_MS / candles.period_ms))
    return regimes_of_closes(candles.ohlcv[:, 3], window)


def regimes_of_closes(close: npt.NDArray[np.float64], window: int) -> npt.NDArray[np.int64]:
    r"""Return the regime at each close, from it and the `window` closes before it.

    With :math:`\sigma` the standard deviation of the window's log returns and W its length,
    both measures are in units of :math:`\sigma\sqrt W`, so that one rule serves any market
    and timeframe:

    - trend: the log return over the window;
    - drawdown: the log of the close over the window's highest close, at most zero.

    Bull is a trend of at least 0.5 with a drawdown shallower than 1; bear a trend below 0
    with a drawdown of 1 or deeper; sideways everything else. A random walk spends a bit more
    than a quarter of its time in each of the first two.

    Parameters
    ----------
    close
        ``float64 [T]``, quote currency, above zero.
    window
        Candles, W.

    Returns
    -------
    numpy.ndarray
        ``int64 [T]``; `UNKNOWN` at the first `window` closes. A window that never moves is
        sideways.

    Examples
    --------
    >>> path = np.exp(np.r_[np.linspace(0.0, 1.0, 21), np.linspace(0.9, 0.0, 20)])
    >>> path = path * np.exp(0.01 * (-1.0) ** np.arange(41))
    >>> [REGIMES[position] for position in regimes_of_closes(path, 10)[[15, 35]]]
    ['bull', 'bear']
    """
    found = np.full(len(close), UNKNOWN, dtype=np.int64)
    if len(close) <= window:
        return found
    log = pd.Series(np.log(close))
    deviation = log.diff().rolling(window).std(ddof=0).to_numpy()[window:]
    unit = np.where(deviation > 1e-12, deviation, np.inf) * np.sqrt(window)
    highest = log.rolling(window + 1).max().to_numpy()[window:]
    trend = (log.to_numpy()[window:] - log.to_numpy()[:-window]) / unit
    drawdown = (log.to_numpy()[window:] - highest) / unit
    bull = (trend >= _TREND) & (drawdown > _DRAWDOWN)
    bear = (trend < 0.0) & (drawdown <= _DRAWDOWN)
    found[window:] = np.select([bull, bear], [0, 1], 2)
    return found


def regime_of_outcomes(outcomes: Outcomes, candles: Sequence[Candles]) -> npt.NDArray[np.int64]:
    """Return the regime of each forecast's own symbol at the time of the forecast.

    Parameters
    ----------
    outcomes
        Whose `symbol` counts the entries of `candles`.
    candles
        With whatever history there is before the first forecast.

    Returns
    -------
    numpy.ndarray
        ``int64 [N]``, positions in `REGIMES`, or `UNKNOWN`.
    """
    found = np.full(len(outcomes), UNKNOWN, dtype=np.int64)
    for symbol, one in enumerate(candles):
        rows = outcomes.symbol == symbol
        closed = outcomes.time[rows] + 1 - one.period_ms
        candle = np.searchsorted(one.time, closed, side="right") - 1
        found[rows] = np.where(candle >= 0, regimes(one)[candle], UNKNOWN)
    return found
