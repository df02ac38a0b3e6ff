"""What a strategy's exposure would have earned, held at random times."""

from __future__ import annotations

import math
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from experiments.significance import annualised_sharpe
from lightning_models.errors import ConfigError
from lightning_models.evaluation.bootstrap import (
    MINIMUM_MOMENTS,
    block_length,
    percentile_interval,
)

__all__ = ["RandomExposure", "open_to_open", "random_exposure"]

Floats = npt.NDArray[np.float64]

# Prices alone move a held position's share of the equity by that much of its largest size, and
# a backtest's first and last bars may be without one.
_HELD: Final = 0.05

# Growth beyond e^600 is cut, so that neither a percentage nor the mean of a thousand overflows.
_LARGEST_LOG: Final = 600.0


class RandomExposure(BaseModel):
    """A strategy's return beside that of the same positions held at random times.

    All figures follow one simplified accounting: the position at the market's return, less the
    cost of its changes and the funding. So they differ from the account's own, which stops
    within bars. None stands where there is nothing to compare: fewer than 30 bars, or no
    position.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bars: int
    """Bars on which a position could earn."""
    exposure: float
    """Mean size of all positions, long or short (fraction of the equity)."""
    always_in_market: bool = False
    """One position from the start to the end, give or take a twentieth: no times to judge."""
    level: float
    """Confidence of the two-sided intervals."""
    distinct_shifts: int = 0
    """Number of different offsets by which the positions were shifted."""
    block_length: int | None = None
    """Bars that every offset keeps from the strategy's own times."""

    total_return_pct: float | None = None
    """At the strategy's own times, percent."""
    sharpe_ratio: float | None = None
    """At the strategy's own times, annualised, risk-free rate 0."""

    random_return_pct: float | None = None
    """Median total return over the random times, percent."""
    random_return_low: float | None = None
    random_return_high: float | None = None
    random_sharpe: float | None = None
    """Median Sharpe ratio over the random times, annualised."""
    random_sharpe_low: float | None = None
    random_sharpe_high: float | None = None

    percentile: float | None = None
    """Percent of the random times whose total return is lower than the strategy's."""
    p_value: float | None = None
    """One-sided p-value that the strategy's times return more than random ones, for one trial;
    1 where it is always in the market."""
    sharpe_percentile: float | None = None
    """Percent of the random times whose Sharpe ratio is lower than the strategy's."""
    sharpe_p: float | None = None
    """One-sided p-value of the Sharpe ratio, for one trial."""

    def is_distinguishable(self, trials: int = 1) -> bool:
        """Return whether the total return is above that of random times at the level.

        Parameters
        ----------
        trials
            Strategies tried before this one was reported, itself included.
        """
        # Bonferroni: valid however the trials depend on each other.
        return self.p_value is not None and self.p_value * trials <= (1.0 - self.level) / 2.0

    def words(self, trials: int = 1) -> str:
        """Return in a sentence whether the return is more than its exposure explains.

        Parameters
        ----------
        trials
            As for `is_distinguishable`.

        Examples
        --------
        >>> RandomExposure(bars=500, exposure=0.0, level=0.95).words()
        'No position was held at a close, so there is no exposure to hold at random.'
        """
        if not self.exposure:
            return "No position was held at a close, so there is no exposure to hold at random."
        if self.p_value is None or self.total_return_pct is None:
            return (
                f"Too few bars to hold the same exposure at random: {self.bars:,}, where "
                f"{MINIMUM_MOMENTS} are the least."
            )
        if self.always_in_market:
            return (
                "Not distinguishable from the same exposure held at random: it is always in the "
                "market."
            )
        found = "Distinguishable" if self.is_distinguishable(trials) else "Not distinguishable"
        band = ""
        if self.random_return_low is not None and self.random_return_high is not None:
            band = (
                f" against {self.random_return_low:+.1f}% to {self.random_return_high:+.1f}% "
                f"in {self.level:.0%} of {self.distinct_shifts:,} shifts"
            )
        return (
            f"{found} from the same exposure held at random: {self.total_return_pct:+.1f}%{band}, "
            f"one-sided p {self.p_value:.3f}."
        )


def open_to_open(opens: Floats, closes: Floats) -> Floats:
    """Return what a position earns from each bar's open to the next one's.

    Orders at the market fill at opens, so that is how long a position from a bar's open lasts.

    Parameters
    ----------
    opens, closes
        ``float64 [T]`` or ``[T, N]``, quote currency.

    Returns
    -------
    numpy.ndarray
        Simple returns of the same shape; the last one ends at its bar's close.

    Examples
    --------
    >>> open_to_open(np.array([100.0, 110.0]), np.array([105.0, 121.0])).round(6)
    array([0.1, 0.1])
    """
    ends = np.concatenate([opens[1:], closes[-1:]])
    returns: Floats = ends / opens - 1.0
    return returns


def random_exposure(
    positions: Floats,
    market_returns: Floats,
    *,
    periods_per_year: float,
    held_from: Literal["close", "open"] = "close",
    cost_per_turnover: float = 0.0,
    funding_rates: Floats | float = 0.0,
    replications: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> RandomExposure:
    """Return what a strategy's exposure earned beside the same exposure at random times.

    The series of positions is shifted around the period as on a ring: sizes, durations and the
    gaps between them stay, only the times change. Against buy-and-hold a strategy that is in
    the market for a third of the time differs by its exposure alone; against its own shifts it
    differs by its timing alone. Where positions and market know nothing of each other, every
    shift is as likely as the strategy's own, so its rank among them is a p-value.

    Parameters
    ----------
    positions
        ``float64 [T]`` or ``[T, N]`` of N symbols, which are shifted together: signed notional
        over equity, 0.5 = long with half of it, -1 = short with all of it.
    market_returns
        Of the same shape, the market's simple return of each bar, close to close.
    periods_per_year
        Bars a year, for the Sharpe ratios.
    held_from
        ``close``: a position is the one left at its bar's close, and earns on the next bar.
        ``open``: it is the one held from its bar's open on, and earns on that bar. A position
        left at the close must never be given as ``open``: a stop within the bar would have
        told it the bar's loss.
    cost_per_turnover
        Fraction of the notional paid for each change of the position. The drift of its size
        with the price counts as a change. Costs move with the positions, and the last bar
        meets the first, so that every shift pays the same.
    funding_rates
        Fraction of the notional that a long position pays and a short one receives over each
        bar; one figure, or one for each market return. It belongs to the market and stays at
        its bar.
    replications
        Shifts at most; where there are no more, every one is taken.
    seed
        Seed of the choice among more.
    level
        Confidence of the two-sided intervals.

    Returns
    -------
    RandomExposure
        Free of not-a-number, whatever the returns.

    Raises
    ------
    ConfigError
        If the lengths differ, a number is not finite, or an option is out of range.

    Notes
    -----
    A shift keeps at least one block away from the strategy's own times, the automatic block
    length of its returns (Politis & White 2004). To keep away for as long as positions last
    would leave out those shifts that do about as well by being about the same, and call luck
    timing more often than stated.

    A position held throughout has no times to judge, so its p-value is 1. That is where its
    size strays by no more than a twentieth, which prices alone make it do, between its first
    and last bar in the market, and no more than a twentieth of all bars lies outside.

    References
    ----------
    Phipson and Smyth, Permutation P-values Should Never Be Zero, Statistical Applications in
    Genetics and Molecular Biology, 2010: ``(1 + shifts at least as good) / (1 + shifts)``.

    Examples
    --------
    In the market on the days that rise:

    >>> market = np.tile([0.01, -0.01, -0.01, 0.01, -0.01], 60)
    >>> found = random_exposure(
    ...     (market > 0) * 1.0, market, periods_per_year=365.0, held_from="open"
    ... )
    >>> found.exposure, found.percentile is not None and found.percentile > 50.0
    (0.4, True)
    """
    positions = np.asarray(positions, dtype=np.float64)
    market_returns = np.asarray(market_returns, dtype=np.float64)
    funding = np.asarray(funding_rates, dtype=np.float64)
    _check(positions, market_returns, funding)
    _check_options(periods_per_year, held_from, cost_per_turnover, replications, level)
    earned = market_returns - funding
    if positions.ndim == 1:
        positions, earned = positions[:, None], earned[:, None]
    if held_from == "close":
        positions, earned = positions[:-1], earned[1:]
    bars = len(positions)
    exposure = float(np.abs(positions).sum(axis=1).mean()) if bars else 0.0
    if bars < MINIMUM_MOMENTS or not exposure:
        return RandomExposure(bars=bars, exposure=exposure, level=level)

    costs = cost_per_turnover * np.abs(positions - np.roll(positions, 1, axis=0)).sum(axis=1)
    own = _net(positions, earned, costs)
    block = block_length(own)
    offsets = _offsets(bars, block, replications, seed)
    growth, scatter = _log_growth(own), float(np.abs(_logs(own)).sum())
    ratio = annualised_sharpe(own, periods_per_year)
    growths, ratios = np.empty(len(offsets)), np.empty(len(offsets))
    ring, ring_costs = np.tile(positions, (2, 1)), np.tile(costs, 2)
    for row, offset in enumerate(offsets):
        window = slice(bars - offset, 2 * bars - offset)
        shifted = _net(ring[window], earned, ring_costs[window])
        growths[row] = _log_growth(shifted)
        ratios[row] = annualised_sharpe(shifted, periods_per_year)

    held = all(_is_held(column) for column in positions.T)
    percent = _percent(growths)
    low, high = percentile_interval(percent, level) or (None, None)
    ratio_low, ratio_high = percentile_interval(ratios, level) or (None, None)
    # Sums of the same numbers in another order differ in their last digits.
    percentile, p_value = _rank(growth, growths, 1e-12 * scatter, held)
    ratio_percentile, ratio_p = _rank(ratio, ratios, 1e-9 * math.sqrt(periods_per_year), held)
    return RandomExposure(
        bars=bars,
        exposure=exposure,
        always_in_market=held,
        level=level,
        distinct_shifts=len(offsets),
        block_length=block,
        total_return_pct=float(_percent(np.array([growth]))[0]),
        sharpe_ratio=ratio,
        random_return_pct=float(np.median(percent)),
        random_return_low=low,
        random_return_high=high,
        random_sharpe=float(np.median(ratios)),
        random_sharpe_low=ratio_low,
        random_sharpe_high=ratio_high,
        percentile=percentile,
        p_value=p_value,
        sharpe_percentile=ratio_percentile,
        sharpe_p=ratio_p,
    )


def _offsets(bars: int, block: int, replications: int, seed: int) -> npt.NDArray[np.int64]:
    allowed = np.arange(block, bars - block + 1)
    if len(allowed) <= replications:
        return allowed
    return np.random.default_rng(seed).choice(allowed, size=replications, replace=False)


def _net(positions: Floats, earned: Floats, costs: Floats) -> Floats:
    net: Floats = np.einsum("tn,tn->t", positions, earned) - costs
    return net


def _logs(returns: Floats) -> Floats:
    # An account that lost everything stays at nothing.
    with np.errstate(divide="ignore"):
        logs: Floats = np.log(np.maximum(1.0 + returns, 0.0))
    return logs


def _log_growth(returns: Floats) -> float:
    return min(float(_logs(returns).sum()), _LARGEST_LOG)


def _percent(growths: Floats) -> Floats:
    percent: Floats = 100.0 * np.expm1(growths)
    return percent


def _rank(own: float, others: Floats, rounding: float, held: bool) -> tuple[float, float]:
    if held:
        return 0.0, 1.0
    lower = int(np.sum(others < own - rounding))
    return 100.0 * lower / len(others), (1 + len(others) - lower) / (1 + len(others))


def _is_held(positions: Floats) -> bool:
    inside = np.flatnonzero(positions)
    if not len(inside):
        return True
    span = positions[inside[0] : inside[-1] + 1]
    return bool(
        np.ptp(span) <= _HELD * np.abs(span).max()
        and len(positions) - len(span) <= _HELD * len(positions)
    )


def _check(positions: Floats, market_returns: Floats, funding: Floats) -> None:
    if positions.shape != market_returns.shape or positions.ndim not in (1, 2):
        raise ConfigError(
            f"positions have shape {positions.shape} and the market's returns "
            f"{market_returns.shape}: give one of each a bar, and of several symbols a column each"
        )
    if funding.ndim and funding.shape != positions.shape:
        raise ConfigError(
            f"funding_rates have shape {funding.shape} and positions {positions.shape}: give one "
            "rate, or one for each position"
        )
    for name, series in (
        ("positions", positions),
        ("market_returns", market_returns),
        ("funding_rates", np.atleast_1d(funding)),
    ):
        bad = np.argwhere(~np.isfinite(series))
        if len(bad):
            raise ConfigError(
                f"{name}: bar {bad[0][0]} is {series[tuple(bad[0])]}; give finite numbers"
            )


def _check_options(
    periods_per_year: float, held_from: str, cost: float, replications: int, level: float
) -> None:
    if not (math.isfinite(periods_per_year) and periods_per_year > 0.0):
        raise ConfigError(f"periods_per_year is {periods_per_year}: give bars a year, such as 8760")
    if held_from not in ("close", "open"):
        raise ConfigError(f"held_from is {held_from!r}: give 'close' or 'open'")
    if not 0.0 <= cost < 1.0:
        raise ConfigError(
            f"cost_per_turnover is {cost}: give a fraction of the notional, such as 0.0004"
        )
    if replications < 1:
        raise ConfigError(f"replications is {replications}: give 1 or more")
    if not 0.0 < level < 1.0:
        raise ConfigError(f"level is {level}: give a confidence between 0 and 1, such as 0.95")
