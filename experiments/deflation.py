"""How much of the best Sharpe ratio of many trials is the search alone."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict
from scipy.special import ndtri

from lightning_models.errors import ConfigError
from lightning_models.evaluation.bootstrap import MINIMUM_MOMENTS
from lstm_strategies.performance import probabilistic_sharpe_ratio, sharpe_ratio

__all__ = ["DeflatedSharpe", "deflated_sharpe", "expected_maximum_sharpe"]

Floats = npt.NDArray[np.float64]


class DeflatedSharpe(BaseModel):
    """Whether a Sharpe ratio is more than the best of as many trials without skill.

    Every Sharpe ratio here is that of one bar, not annualised.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bars: int
    trials: int
    """How many strategies were tried, the reported one included."""
    sharpe: float
    """Of the reported strategy; 0 where it never moved."""
    expected_maximum: float
    """What the best of so many trials without skill is expected to show."""
    probability: float | None = None
    """That the true Sharpe ratio is above `expected_maximum`: the deflated Sharpe ratio. None
    with fewer than 30 bars, 0 where the equity never moved."""

    def is_above_luck(self, level: float = 0.95) -> bool:
        """Return whether the probability reaches a level, the paper's own by default."""
        return self.probability is not None and self.probability >= level

    def words(self, level: float = 0.95) -> str:
        """Return in a sentence what the number of trials leaves of the Sharpe ratio.

        Examples
        --------
        >>> one = DeflatedSharpe(
        ...     bars=1250, trials=100, sharpe=0.158, expected_maximum=0.113, probability=0.9004
        ... )
        >>> one.words()
        'Deflated Sharpe ratio 0.90 after 100 trials: not distinguishable from the best of as many \
without skill.'
        """
        if self.probability is None:
            return f"Too few bars for a deflated Sharpe ratio: {self.bars:,} of {MINIMUM_MOMENTS}."
        found = "above" if self.is_above_luck(level) else "not distinguishable from"
        of = "a strategy without skill" if self.trials == 1 else "the best of as many without skill"
        trials = "one trial" if self.trials == 1 else f"{self.trials:,} trials"
        return f"Deflated Sharpe ratio {_down(self.probability):.2f} after {trials}: {found} {of}."


def expected_maximum_sharpe(variance: float, trials: int) -> float:
    """Return the highest Sharpe ratio that trials without skill are expected to show.

    Parameters
    ----------
    variance
        Variance of the Sharpe ratios over the trials.
    trials
        Number of independent trials. Counting trials that resemble each other gives too high a
        value, never too low a one.

    Returns
    -------
    float
        In the unit of the Sharpe ratios behind the variance; 0 for one trial, which is no
        choice.

    Raises
    ------
    ConfigError
        If the variance is negative or not finite, or there is no trial.

    References
    ----------
    Bailey and López de Prado, The Deflated Sharpe Ratio, Journal of Portfolio Management, 2014,
    equation 1.

    Examples
    --------
    The paper's own example, 100 trials over days with an annualised variance of 1/2:

    >>> round(expected_maximum_sharpe(0.5 / 250, 100), 4)
    0.1132
    """
    if not (math.isfinite(variance) and variance >= 0.0):
        raise ConfigError(f"variance is {variance}: give that of the trials' Sharpe ratios")
    if trials < 1:
        raise ConfigError(f"trials is {trials}: the reported strategy is one itself")
    if trials == 1:
        return 0.0
    gamma = float(np.euler_gamma)
    quantiles = ndtri([1.0 - 1.0 / trials, 1.0 - 1.0 / (trials * math.e)])
    return math.sqrt(variance) * float((1.0 - gamma) * quantiles[0] + gamma * quantiles[1])


def deflated_sharpe(
    returns: Floats, trial_sharpes: Floats, *, trials: int | None = None
) -> DeflatedSharpe:
    """Return the probability that a Sharpe ratio is more than its number of trials explains.

    It is the probabilistic Sharpe ratio (`lstm_strategies.performance`) against the maximum
    that as many trials without skill are expected to show.

    Parameters
    ----------
    returns
        ``float64 [T]``, the reported strategy's return of each bar.
    trial_sharpes
        ``float64 [N]``, the Sharpe ratio **a bar** of every trial, the reported one included.
        Not-a-number, which a trial without a trade may leave, counts as 0.
    trials
        How many trials there were, where some left no Sharpe ratio; N by default. With fewer
        than two Sharpe ratios and more trials, their variance is taken as ``1 / (T - 1)``,
        that of an estimate over T bars without skill (Lo 2002).

    Raises
    ------
    ConfigError
        If a return or a trial's Sharpe ratio is infinite, a return is not-a-number, or there
        are fewer trials than Sharpe ratios, or none.

    References
    ----------
    Bailey and López de Prado, The Deflated Sharpe Ratio, Journal of Portfolio Management, 2014.
    """
    returns = np.asarray(returns, dtype=np.float64)
    sharpes = np.asarray(trial_sharpes, dtype=np.float64)
    _check(returns, sharpes)
    count = len(sharpes) if trials is None else trials
    if count < max(1, len(sharpes)):
        raise ConfigError(
            f"trials is {count} and there are {len(sharpes)} Sharpe ratios: count every trial, "
            "the reported one included"
        )
    known = np.nan_to_num(sharpes, nan=0.0)
    bars = len(returns)
    # Neither ratio depends on the unit, but squares of tiny numbers would vanish.
    scaled = returns / (np.abs(returns).max(initial=0.0) or 1.0)
    variance = float(known.var(ddof=1)) if len(known) > 1 else 1.0 / max(1, bars - 1)
    expected = expected_maximum_sharpe(variance, count)
    enough = bars >= MINIMUM_MOMENTS
    return DeflatedSharpe(
        bars=bars,
        trials=count,
        sharpe=sharpe_ratio(scaled, 1.0),
        expected_maximum=expected,
        probability=probabilistic_sharpe_ratio(scaled, expected) if enough else None,
    )


# Rounded down, so that one short of the level never reads as the level itself.
def _down(probability: float) -> float:
    return math.floor(100.0 * probability + 1e-9) / 100.0


def _check(returns: Floats, sharpes: Floats) -> None:
    for name, series in (("returns", returns), ("trial_sharpes", sharpes)):
        if series.ndim != 1:
            raise ConfigError(f"{name} has shape {series.shape}: give a flat array")
    bad = np.flatnonzero(~np.isfinite(returns))
    if len(bad):
        raise ConfigError(f"returns: bar {bad[0]} is {returns[bad[0]]}; give finite returns")
    bad = np.flatnonzero(np.isinf(sharpes))
    if len(bad):
        raise ConfigError(
            f"trial_sharpes: trial {bad[0]} is {sharpes[bad[0]]}; a trial that never moved is 0"
        )
