"""The deflated Sharpe ratio of a search whose trials may be alike."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from experiments.deflation import DeflatedSharpe, expected_maximum_sharpe
from lightning_models.evaluation.bootstrap import MINIMUM_MOMENTS
from lstm_strategies.performance import probabilistic_sharpe_ratio, sharpe_ratio

__all__ = ["deflated_best", "independent_trials", "scaled"]

Floats = npt.NDArray[np.float64]


def deflated_best(returns: Floats, chosen: int, *, trials: int) -> DeflatedSharpe:
    """Return the deflated Sharpe ratio of one trial of a search.

    Parameters
    ----------
    returns
        ``float64 [T, N]``, return of each bar and complete trial (fraction of its equity).
    chosen
        Column of the trial.
    trials
        How many were tried in all, N at least.

    Notes
    -----
    Two things differ from the paper, and neither where the trials are independent and scatter
    as estimates do:

    - The variance of the trials' Sharpe ratios is ``1 / (T - 1)`` at least, that of an estimate
      over T bars without skill (Lo 2002). A sampler that closes in on something, and a pruner,
      leave trials that scatter by less, which would make the search look smaller than it was.
    - The expected maximum is that of `independent_trials`, read off the straight line between
      two whole numbers.

    References
    ----------
    Bailey and López de Prado, The Deflated Sharpe Ratio, Journal of Portfolio Management, 2014.
    Lo, The Statistics of Sharpe Ratios, Financial Analysts Journal, 2002.

    Examples
    --------
    >>> noise = 0.01 * np.random.default_rng(0).standard_normal((500, 10))
    >>> best = int(noise.mean(axis=0).argmax())
    >>> deflated_best(noise, best, trials=10).is_above_luck()
    False
    """
    bars, complete = returns.shape
    sharpes = np.array([sharpe_ratio(scaled(column), 1.0) for column in returns.T])
    without_skill = 1.0 / max(1, bars - 1)
    seen = float(sharpes.var(ddof=1)) if complete > 1 else without_skill
    expected = _expected(max(seen, without_skill), independent_trials(returns, trials))
    own = scaled(returns[:, chosen])
    return DeflatedSharpe(
        bars=bars,
        trials=trials,
        sharpe=float(sharpes[chosen]),
        expected_maximum=expected,
        probability=(
            probabilistic_sharpe_ratio(own, expected) if bars >= MINIMUM_MOMENTS else None
        ),
    )


def independent_trials(returns: Floats, trials: int) -> float:
    """Return as how many independent trials those of a search count.

    With the mean correlation r of the N trials that left returns, they count as
    ``1 + (N - 1) sqrt(1 - r^2)``: as one where all did the same, as N where each went its own
    way. The root is what a trial's returns have that another's have not. The trials without
    returns count in full, since nothing is known of their likeness.

    Parameters
    ----------
    returns
        ``float64 [T, N]``, return of each bar and complete trial. One that never moved is taken
        for unlike every other.
    trials
        How many were tried in all, N at least.

    Returns
    -------
    float
        From 1 to `trials`.

    Notes
    -----
    Bailey and López de Prado (2014, appendix A.3) count ``r + (1 - r) N``. That is meant for
    trials that were laid down beforehand. A sampler that closes in goes on from the best trial,
    and its many small steps add up: 300 trials of ten parameters without skill, drawn by a
    Parzen estimator, correlate by 0.84 on average. By the authors' count three of 20 such
    studies reached a deflated Sharpe ratio of 0.95, by this one a single one.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal((500, 1))
    >>> independent_trials(np.tile(noise, 3), 3)
    1.0
    >>> independent_trials(np.tile(noise, 3), 10)
    8.0
    """
    bars, complete = returns.shape
    if complete < 2 or not bars:
        return float(trials)
    # Rounding would make a correlation of what does not move.
    total, moving = np.zeros(bars), 0
    for column in returns.T:
        own = scaled(column)
        if np.ptp(own) > 1e-12:
            own = own - own.mean()
            total += own / math.sqrt(float(own @ own))
            moving += 1
    mean = (float(total @ total) - moving) / (complete * (complete - 1))
    alike = min(1.0, max(0.0, round(mean, 9)))
    own_share = math.sqrt(1.0 - alike * alike)
    return float(trials - (complete - 1) * (1.0 - own_share))


def scaled(returns: Floats) -> Floats:
    """Return returns as fractions of the largest of them.

    No ratio depends on the unit, but squares of tiny numbers vanish.

    Parameters
    ----------
    returns
        ``float64 [T]``.
    """
    fractions: Floats = returns / (np.abs(returns).max(initial=0.0) or 1.0)
    return fractions


def _expected(variance: float, trials: float) -> float:
    below = math.floor(trials)
    rest = trials - below
    low = expected_maximum_sharpe(variance, below)
    return low + rest * (expected_maximum_sharpe(variance, below + 1) - low) if rest else low
