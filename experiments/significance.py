"""Whether a backtest's return could be luck, or nothing more than holding the market."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from lightning_models.errors import ConfigError
from lightning_models.evaluation.bootstrap import (
    MINIMUM_MOMENTS,
    block_length,
    percentile_interval,
    resampled_counts,
)

if TYPE_CHECKING:
    from experiments.deflation import DeflatedSharpe
    from experiments.result import Slice
    from experiments.yardsticks import RandomExposure

__all__ = [
    "MINIMUM_TRADES",
    "MINIMUM_YEARS",
    "Significance",
    "annualised_sharpe",
    "is_distinguishable",
    "measure_significance",
    "sharpes_of_sums",
    "verdict",
]

MINIMUM_TRADES = 30
"""With fewer trades no edge is called found, whatever the interval says."""

MINIMUM_YEARS = 90.0 / 365.0
"""Annualised returns are withheld below this length."""


class Significance(BaseModel):
    """Intervals and p-values of a strategy's Sharpe ratio and of its excess over the market.

    None stands where the data does not give a figure: fewer than 30 bars, a series that
    never moves, or an annualised return over less than 90 days.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bars: int
    trades: int
    trials: int
    """How many strategies were tried before this one was reported, itself included."""
    years: float
    level: float
    """Confidence of the two-sided intervals."""
    block_length: int | None = None
    """Mean block of the bootstrap in bars."""

    sharpe_ratio: float | None = None
    """Annualised, risk-free rate 0."""
    sharpe_low: float | None = None
    sharpe_high: float | None = None
    sharpe_p: float | None = None
    """One-sided p-value that the Sharpe ratio is above zero, for one trial."""

    excess_return: float | None = None
    """Mean difference of the per-bar returns times bars a year (fraction)."""
    excess_low: float | None = None
    excess_high: float | None = None
    excess_p: float | None = None
    """One-sided p-value that the excess return is above zero, for one trial."""

    @property
    def beats_luck(self) -> bool:
        """Whether the Sharpe ratio is above zero at the level, after all trials."""
        return self.trades >= MINIMUM_TRADES and self._passes(self.sharpe_p)

    @property
    def beats_market(self) -> bool:
        """Whether the return exceeds buy-and-hold at the level, after all trials."""
        return self.trades >= MINIMUM_TRADES and self._passes(self.excess_p)

    def _passes(self, p: float | None) -> bool:
        # Bonferroni: valid however the trials depend on each other.
        return p is not None and p * self.trials <= (1.0 - self.level) / 2.0


def annualised_sharpe(returns: npt.NDArray[np.float64], periods_per_year: float) -> float:
    """Return mean over standard deviation of per-bar returns, times the root of bars a year.

    Parameters
    ----------
    returns
        ``float64 [T]``, fractions; the risk-free rate is 0.
    periods_per_year
        Bars a year, 8760 for hours of a market that never closes.

    Returns
    -------
    float
        0 where the returns do not vary.

    Examples
    --------
    >>> round(annualised_sharpe(np.array([0.01, -0.01, 0.02]), 365.0), 3)
    8.338
    >>> annualised_sharpe(np.zeros(10), 365.0)
    0.0
    """
    sums = np.array([[returns.sum(), np.square(returns).sum()]])
    return float(sharpes_of_sums(sums, len(returns), periods_per_year)[0])


def sharpes_of_sums(
    sums: npt.NDArray[np.float64], bars: int, periods_per_year: float
) -> npt.NDArray[np.float64]:
    """Return annualised Sharpe ratios from sums, as resampled counts give them.

    Parameters
    ----------
    sums
        ``float64 [R, 2]``, sum of the per-bar returns and sum of their squares.
    bars
        Number of returns behind each sum.
    periods_per_year
        Bars a year.

    Returns
    -------
    numpy.ndarray
        ``float64 [R]``; 0 where the returns do not vary.
    """
    mean = sums[:, 0] / bars
    variance = (sums[:, 1] - bars * np.square(mean)) / max(1, bars - 1)
    # Cancellation leaves a trace of variance in constant returns.
    moves = variance > 1e-12 * np.square(mean)
    deviation = np.sqrt(np.where(moves, variance, 1.0))
    ratio: npt.NDArray[np.float64] = np.where(moves, mean / deviation, 0.0)
    return ratio * float(np.sqrt(periods_per_year))


def measure_significance(
    returns: npt.NDArray[np.float64],
    benchmark: npt.NDArray[np.float64],
    *,
    periods_per_year: float,
    trades: int,
    trials: int = 1,
    seed: int = 0,
    replications: int = 1000,
    level: float = 0.95,
) -> Significance:
    """Return how far a strategy's Sharpe ratio and excess return could be off by chance.

    The bars of the strategy and of buy-and-hold are resampled together by the stationary
    bootstrap (Politis & Romano 1994); the block is the longer of the automatic lengths of
    the returns and of their difference (Politis & White 2004).

    Parameters
    ----------
    returns
        ``float64 [T]``, the strategy's return of each bar (fraction of its equity).
    benchmark
        ``float64 [T]``, buy-and-hold's return of the same bars.
    periods_per_year
        Bars a year.
    trades
        Closed trades behind the returns.
    trials
        Strategies tried before this one was reported, itself included.
    seed
        Seed of the bootstrap.
    replications
        Number of bootstrap replicates.
    level
        Confidence of the two-sided intervals.

    Returns
    -------
    Significance
        Free of not-a-number, whatever the returns.

    Raises
    ------
    ConfigError
        If the lengths differ, a return is not finite, or an option is out of range.
    """
    returns = np.asarray(returns, dtype=np.float64)
    benchmark = np.asarray(benchmark, dtype=np.float64)
    _check(returns, benchmark, periods_per_year, trades, trials, replications, level)
    bars = len(returns)
    years = bars / periods_per_year
    common = {"bars": bars, "trades": trades, "trials": trials, "years": years, "level": level}
    if bars < MINIMUM_MOMENTS:
        return Significance.model_validate(common)

    excess = returns - benchmark
    block = max(block_length(returns), block_length(excess))
    sums = np.stack([returns, np.square(returns), excess], axis=1)
    totals = np.concatenate(
        [
            counts @ sums
            for counts in resampled_counts(bars, block=block, replications=replications, seed=seed)
        ]
    )
    found: dict[str, float | None] = {}
    if not _constant(returns):
        sharpes = sharpes_of_sums(totals[:, :2], bars, periods_per_year)
        found |= _bounds("sharpe", sharpes, level)
        found["sharpe_ratio"] = annualised_sharpe(returns, periods_per_year)
    if not _constant(excess):
        yearly = totals[:, 2] / bars * periods_per_year
        found |= _bounds("excess", yearly, level)
        found["excess_return"] = float(excess.mean()) * periods_per_year
        if years < MINIMUM_YEARS or not trades:
            # Without a trade it would say of the market alone, with its sign turned.
            found |= dict.fromkeys(("excess_return", "excess_low", "excess_high"))
    return Significance.model_validate({**common, "block_length": block, **found})


def is_distinguishable(significance: Significance, *, period: Slice = "out_of_sample") -> bool:
    """Return whether a strategy's return is distinguishable from luck.

    A rating above AVERAGE asks for this.

    Parameters
    ----------
    significance
        As `measure_significance` returns it.
    period
        Whether the model had seen the bars. Where it had, even in part, the answer is no.

    Returns
    -------
    bool
        Whether the Sharpe ratio is above zero at the level after all trials, over at least
        `MINIMUM_TRADES` trades: where `verdict` begins with "Distinguishable from luck".

    Examples
    --------
    >>> is_distinguishable(Significance(bars=500, trades=0, trials=1, years=0.06, level=0.95))
    False
    """
    return period == "out_of_sample" and significance.beats_luck


def verdict(
    significance: Significance,
    *,
    period: Slice = "out_of_sample",
    exposure: RandomExposure | None = None,
    deflated: DeflatedSharpe | None = None,
) -> str:
    """Return in words whether the return is distinguishable from luck and from the market.

    Parameters
    ----------
    significance
        As `measure_significance` returns it.
    period
        Whether the model had seen the bars. Where it had, even in part, no edge is called
        found.
    exposure
        The same positions held at random times; adds a sentence on what the timing is worth.
    deflated
        What is left of the Sharpe ratio after all trials; adds a sentence on it.

    Returns
    -------
    str
        A few sentences; the first holds the conclusion. Past returns are described, future
        ones never promised.

    Examples
    --------
    >>> verdict(Significance(bars=500, trades=0, trials=1, years=0.06, level=0.95))
    'No trades, so no verdict: over 500 bars no position was ever closed.'
    """
    one = significance
    span = f"{one.bars:,} bars and {one.trades:,} trade{'' if one.trades == 1 else 's'}"
    if one.bars == 0:
        return "No bars, so no verdict: the period holds nothing to trade on."
    if one.trades == 0:
        return f"No trades, so no verdict: over {one.bars:,} bars no position was ever closed."
    if one.bars < MINIMUM_MOMENTS:
        return (
            f"Too few bars for a verdict: {span} cannot tell skill from luck; "
            f"{MINIMUM_MOMENTS} bars are the least."
        )
    trials = "one trial" if one.trials == 1 else f"{one.trials:,} trials"
    found = [_sharpe_words(one), _excess_words(one)]
    if exposure is not None:
        found.append(exposure.words(trials=one.trials))
    if deflated is not None:
        found.append(deflated.words())
    evidence = " ".join(found)
    if period != "out_of_sample":
        part = "all" if period == "in_sample" else "part"
        return (
            f"No evidence of an edge: the model had seen {part} of this period, {span}, and would "
            f"look good on it by memory alone. {evidence}"
        )
    if one.trades < MINIMUM_TRADES:
        return (
            f"Too few trades for a verdict: {span} cannot tell skill from luck; "
            f"{MINIMUM_TRADES} trades are the least. {evidence}"
        )
    at = f"at {one.level:.0%} confidence after {trials}, over {span}"
    if one.beats_luck and one.beats_market:
        head = f"Distinguishable from luck and from buy-and-hold {at}."
    elif one.beats_luck:
        head = f"Distinguishable from luck but not from buy-and-hold {at}."
    elif one.beats_market:
        head = f"No edge found: better than buy-and-hold but not distinguishable from luck {at}."
    else:
        head = f"No edge found: not distinguishable from luck nor from buy-and-hold {at}."
    tail = " This describes the period tested and promises nothing." if one.beats_luck else ""
    return f"{head} {evidence}{tail}"


def _sharpe_words(one: Significance) -> str:
    if one.sharpe_ratio is None or one.sharpe_p is None:
        return "Its equity never moved, so there is no Sharpe ratio to test."
    interval = _interval_words(one.sharpe_low, one.sharpe_high, one.level, "{:.2f}")
    return f"Sharpe ratio {one.sharpe_ratio:.2f} ({interval}one-sided p {one.sharpe_p:.3f})."


def _excess_words(one: Significance) -> str:
    if one.excess_p is None:
        return "Its returns are those of buy-and-hold."
    if one.excess_return is None:
        return (
            f"Return above buy-and-hold: one-sided p {one.excess_p:.3f}, "
            "not annualised under 90 days."
        )
    interval = _interval_words(one.excess_low, one.excess_high, one.level, "{:+.1%}")
    return (
        f"Return above buy-and-hold {one.excess_return:+.1%} a year "
        f"({interval}one-sided p {one.excess_p:.3f})."
    )


def _interval_words(low: float | None, high: float | None, level: float, form: str) -> str:
    if low is None or high is None:
        return ""
    return f"{level:.0%} interval {form.format(low)} to {form.format(high)}, "


def _bounds(
    name: str, replicates: npt.NDArray[np.float64], level: float
) -> dict[str, float | None]:
    # The p-value counts the same replicates as the interval, so that one that passes never
    # stands beside an interval that reaches zero; the added one keeps it above zero.
    bounds = percentile_interval(replicates, level)
    low, high = bounds if bounds is not None else (None, None)
    p = (1 + int(np.sum(replicates <= 0.0))) / (1 + len(replicates))
    return {f"{name}_low": low, f"{name}_high": high, f"{name}_p": p}


def _constant(series: npt.NDArray[np.float64]) -> bool:
    return bool(np.ptp(series) <= 1e-12 * np.abs(series).max())


def _check(
    returns: npt.NDArray[np.float64],
    benchmark: npt.NDArray[np.float64],
    periods_per_year: float,
    trades: int,
    trials: int,
    replications: int,
    level: float,
) -> None:
    if returns.shape != benchmark.shape or returns.ndim != 1:
        raise ConfigError(
            f"returns have shape {returns.shape} and the benchmark's {benchmark.shape}: "
            "give one return a bar for both"
        )
    for name, series in (("returns", returns), ("benchmark", benchmark)):
        bad = np.flatnonzero(~np.isfinite(series))
        if len(bad):
            raise ConfigError(f"{name}: bar {bad[0]} is {series[bad[0]]}; give finite returns")
    if not periods_per_year > 0.0:
        raise ConfigError(f"periods_per_year is {periods_per_year}: give bars a year, such as 8760")
    if trades < 0 or trials < 1 or replications < 1:
        raise ConfigError(
            f"trades {trades}, trials {trials}, replications {replications}: "
            "trades are 0 or more, the others 1 or more"
        )
    if not 0.0 < level < 1.0:
        raise ConfigError(f"level is {level}: give a confidence between 0 and 1, such as 0.95")
