"""What a backtest achieved, from its equity and its trades: pure computations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from lightning_models.timeframes import DAY_MS, period_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from lightning_models.candles import Market

__all__ = [
    "Drawdown",
    "TradeStatistics",
    "annualized_return",
    "bar_returns",
    "capped_rating",
    "drawdown",
    "performance_rating",
    "periods_per_year",
    "probabilistic_sharpe_ratio",
    "psr_of_moments",
    "sharpe_ratio",
    "sortino_ratio",
    "trade_statistics",
]

Rating = Literal["EXCELLENT", "GOOD", "AVERAGE", "POOR"]

YEAR_MS: Final = 365 * DAY_MS
SHORTEST_MS: Final = 90 * DAY_MS

_SESSION_DAYS: Final = 252.0
_SESSION_WEEKS: Final = 52.0


@dataclass(frozen=True)
class Drawdown:
    """How far the equity lay below its highest value so far.

    Parameters
    ----------
    curve_pct
        ``float64 [T]``, percent of that highest value, 0 or above.
    largest
        Largest fall, quote currency.
    largest_pct
        Largest fall in percent; not necessarily the same one.
    """

    curve_pct: npt.NDArray[np.float64]
    largest: float
    largest_pct: float


@dataclass(frozen=True)
class TradeStatistics:
    """Counts and averages over closed trades, profits net of fees.

    Parameters
    ----------
    total, winning, losing
        Numbers of trades; one that broke even is neither winning nor losing.
    win_rate
        Percent of all trades.
    profit_factor
        Sum of profits over sum of losses: 0.0 without a winning trade, None where there are
        profits and no loss, because JSON has no infinity.
    average_win, average_loss
        Quote currency; the loss is 0 or below. 0.0 where there is none.
    """

    total: int
    winning: int
    losing: int
    win_rate: float
    profit_factor: float | None
    average_win: float
    average_loss: float


def periods_per_year(timeframe: str, market: Market, time: npt.NDArray[np.int64]) -> float:
    """Return how many bars make a year.

    Parameters
    ----------
    timeframe
        One of `lightning_models.timeframes.TIMEFRAMES`.
    market
        ``continuous``: 365 days over the period. ``sessions``: 252 days, 52 weeks, or within
        a day 252 times the bars per session day that were seen.
    time
        ``int64 [T]``, stamps of the bars in milliseconds.

    Examples
    --------
    >>> periods_per_year("1h", "continuous", np.zeros(0, np.int64))
    8760.0
    """
    if market == "continuous":
        return YEAR_MS / period_ms(timeframe)
    if timeframe == "1w":
        return _SESSION_WEEKS
    if timeframe == "1d" or not len(time):
        return _SESSION_DAYS
    return _SESSION_DAYS * len(time) / len(np.unique(time // DAY_MS))


def bar_returns(start: float, equity: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the simple return of each bar.

    Parameters
    ----------
    start
        Equity before the first bar, quote currency.
    equity
        ``float64 [T]``, equity at the close of each bar.

    Returns
    -------
    numpy.ndarray
        ``float64 [T]``; 0 where the equity before was no longer above zero, because nothing can
        be earned on it.

    Examples
    --------
    >>> bar_returns(100.0, np.array([110.0, 99.0])).round(6).tolist()
    [0.1, -0.1]
    """
    before = np.concatenate(([start], equity[:-1])) if len(equity) else equity
    alive = before > 0.0
    returns = np.zeros(len(equity))
    returns[alive] = equity[alive] / before[alive] - 1.0
    return returns


def sharpe_ratio(returns: npt.NDArray[np.float64], periods: float) -> float:
    """Return the annualised Sharpe ratio at a risk-free rate of 0.

    Parameters
    ----------
    returns
        ``float64 [T]``, simple returns of the bars.
    periods
        Bars a year.

    Returns
    -------
    float
        Mean over standard deviation (one degree of freedom) times the root of `periods`; 0.0
        with fewer than two bars or without variance, so also where nothing was traded.

    References
    ----------
    Sharpe, The Sharpe Ratio, Journal of Portfolio Management, 1994.
    """
    return _bar_sharpe(returns) * math.sqrt(periods)


def sortino_ratio(returns: npt.NDArray[np.float64], periods: float) -> float | None:
    """Return the annualised Sortino ratio against a target of 0.

    Parameters
    ----------
    returns
        ``float64 [T]``, simple returns of the bars.
    periods
        Bars a year.

    Returns
    -------
    float or None
        Mean over the root mean square of the losses (gains counted as 0) times the root of
        `periods`; 0.0 where every return is 0, None where there are gains and no loss.

    References
    ----------
    Sortino and van der Meer, Downside Risk, Journal of Portfolio Management, 1991.
    """
    if not returns.any():
        return 0.0
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2)))
    if downside == 0.0:
        return None
    return float(returns.mean()) / downside * math.sqrt(periods)


def probabilistic_sharpe_ratio(returns: npt.NDArray[np.float64], benchmark: float = 0.0) -> float:
    """Return the probability that the true Sharpe ratio lies above a benchmark.

    Parameters
    ----------
    returns
        ``float64 [T]``, simple returns of the bars.
    benchmark
        Sharpe ratio **a bar**, not annualised.

    Returns
    -------
    float
        Between 0 and 1; 0.0 with fewer than two bars or without variance: nothing was shown.

    References
    ----------
    Bailey and López de Prado, The Sharpe Ratio Efficient Frontier, Journal of Risk, 2012.
    """
    ratio = _bar_sharpe(returns)
    if ratio == 0.0 and not _varies(returns):
        return 0.0
    standard = (returns - returns.mean()) / returns.std()
    skewness = float(np.mean(standard**3))
    kurtosis = float(np.mean(standard**4))
    return psr_of_moments(
        ratio, benchmark=benchmark, bars=len(returns), skewness=skewness, kurtosis=kurtosis
    )


def psr_of_moments(
    ratio: float, *, benchmark: float, bars: int, skewness: float, kurtosis: float
) -> float:
    """Return the probabilistic Sharpe ratio from the moments of the returns.

    Parameters
    ----------
    ratio, benchmark
        Sharpe ratios a bar, not annualised.
    bars
        Number of returns.
    skewness, kurtosis
        Third and fourth standardised moment; a normal distribution has 0 and 3.

    References
    ----------
    Bailey and López de Prado, The Sharpe Ratio Efficient Frontier, Journal of Risk, 2012.

    Examples
    --------
    The paper's own example, 24 months of a hedge fund, first as if normal:

    >>> round(psr_of_moments(0.458, benchmark=0.0, bars=24, skewness=0.0, kurtosis=3.0), 3)
    0.982
    >>> round(psr_of_moments(0.458, benchmark=0.0, bars=24, skewness=-2.448, kurtosis=10.164), 3)
    0.913
    """
    variance = 1.0 - skewness * ratio + (kurtosis - 1.0) / 4.0 * ratio**2
    if variance <= 0.0:
        # Only possible for samples so small that the expansion doesn't hold.
        return 0.0
    score = (ratio - benchmark) * math.sqrt(bars - 1.0) / math.sqrt(variance)
    return 0.5 * (1.0 + math.erf(score / math.sqrt(2.0)))


def annualized_return(start: float, end: float, elapsed_ms: int) -> float | None:
    """Return the compound return a year, as a fraction: 0.25 = +25 %.

    Parameters
    ----------
    start, end
        Equity, quote currency.
    elapsed_ms
        Time between them in milliseconds.

    Returns
    -------
    float or None
        None under 90 days, or where the equity isn't above zero at both ends.
    """
    if elapsed_ms < SHORTEST_MS or start <= 0.0 or end <= 0.0:
        return None
    try:
        return math.expm1((math.log(end) - math.log(start)) * YEAR_MS / elapsed_ms)
    except OverflowError:
        return None


def drawdown(start: float, equity: npt.NDArray[np.float64]) -> Drawdown:
    """Return how far the equity fell below its highest value so far, the start included.

    Parameters
    ----------
    start
        Equity before the first bar, quote currency.
    equity
        ``float64 [T]``, equity at the close of each bar.
    """
    if not len(equity):
        return Drawdown(np.zeros(0), 0.0, 0.0)
    peak = np.maximum.accumulate(np.concatenate(([start], equity)))[1:]
    fall = peak - equity
    curve = np.divide(100.0 * fall, peak, out=np.zeros(len(equity)), where=peak > 0.0)
    return Drawdown(curve, float(fall.max()), float(curve.max()))


def trade_statistics(profits: Sequence[float]) -> TradeStatistics:
    """Return counts and averages over the profits of closed trades.

    Parameters
    ----------
    profits
        Profit or loss of each trade, net of fees, quote currency.

    Examples
    --------
    >>> statistics = trade_statistics([30.0, -10.0, -10.0])
    >>> round(statistics.win_rate, 2), statistics.profit_factor, statistics.average_loss
    (33.33, 1.5, -10.0)
    """
    wins = [each for each in profits if each > 0.0]
    losses = [each for each in profits if each < 0.0]
    factor: float | None = 0.0
    if wins:
        factor = sum(wins) / -sum(losses) if losses else None
    return TradeStatistics(
        total=len(profits),
        winning=len(wins),
        losing=len(losses),
        win_rate=100.0 * len(wins) / len(profits) if profits else 0.0,
        profit_factor=factor,
        average_win=sum(wins) / len(wins) if wins else 0.0,
        average_loss=sum(losses) / len(losses) if losses else 0.0,
    )


def performance_rating(
    *, trades: int, total_return: float, sharpe: float, max_drawdown_pct: float, psr: float
) -> Rating:
    """Return a word for a result.

    Parameters
    ----------
    trades
        Number of closed trades.
    total_return
        Quote currency.
    sharpe
        Annualised Sharpe ratio.
    max_drawdown_pct
        Percent.
    psr
        `probabilistic_sharpe_ratio` against 0.

    Returns
    -------
    str
        ``POOR`` without a trade, without a gain, or with a Sharpe ratio under 0.5.
        ``EXCELLENT`` with a Sharpe ratio of 2 or more, at least 30 trades, a drawdown of at most
        15 % and a `psr` above 0.95. ``GOOD`` with a Sharpe ratio of 1 or more, a drawdown of at
        most 25 % and a `psr` above 0.95. Otherwise ``AVERAGE``: a gain that cannot be told from
        luck is never called more than that.
    """
    if not trades or total_return <= 0.0 or sharpe < 0.5:
        return "POOR"
    if psr > 0.95:
        if sharpe >= 2.0 and trades >= 30 and max_drawdown_pct <= 15.0:
            return "EXCELLENT"
        if sharpe >= 1.0 and max_drawdown_pct <= 25.0:
            return "GOOD"
    return "AVERAGE"


def capped_rating(rating: Rating, *, distinguishable: bool) -> Rating:
    """Return a rating that is no more than ``AVERAGE`` where the result may be luck.

    Parameters
    ----------
    rating
        As `performance_rating` returns it.
    distinguishable
        Whether the result could be told from luck, after every trial.

    Examples
    --------
    >>> capped_rating("EXCELLENT", distinguishable=False)
    'AVERAGE'
    """
    return "AVERAGE" if rating in ("EXCELLENT", "GOOD") and not distinguishable else rating


def _varies(returns: npt.NDArray[np.float64]) -> bool:
    # Equal returns have a standard deviation of a few units in the last place, not of zero.
    return len(returns) >= 2 and float(np.ptp(returns)) > 1e-12 * float(np.abs(returns).max())


def _bar_sharpe(returns: npt.NDArray[np.float64]) -> float:
    return float(returns.mean() / returns.std(ddof=1)) if _varies(returns) else 0.0
