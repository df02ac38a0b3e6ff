"""How much of a study's best trial is the search alone."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from experiments.deflation import DeflatedSharpe, expected_maximum_sharpe
from experiments.overfitting import BacktestOverfitting, backtest_overfitting
from experiments.significance import measure_significance
from experiments.superiority import BenchmarkTest, beats_benchmark
from lightning_models.errors import ConfigError
from lightning_models.evaluation.bootstrap import MINIMUM_MOMENTS
from lstm_strategies.performance import probabilistic_sharpe_ratio, sharpe_ratio

__all__ = ["StudyLuck", "study_luck"]

Floats = npt.NDArray[np.float64]

_LEVEL: Final = 0.95


class StudyLuck(BaseModel):
    """What is left of a study's best trial once every trial is counted.

    Sharpe ratios are annualised, at a risk-free rate of 0, unless they are said to be of a bar.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bars: int
    complete: int
    """Trials with returns over all bars."""
    pruned: int
    """Trials that were given up early and left no returns."""
    earlier: int
    """Trials of an earlier stage of the same search."""
    trials: int
    """All that count: these three, and any other that was looked at."""
    chosen: int
    """Column of the study's best trial."""
    costs_included: bool
    """Whether the returns are after fees, slippage and funding."""

    sharpe: float
    """Of the chosen trial; 0 where it never traded."""
    sharpe_low: float | None = None
    """Lower bound of its 95 % interval by the stationary bootstrap, as if it had been the only
    trial."""
    sharpe_high: float | None = None
    expected_maximum: float
    """What the best of so many trials without skill is expected to show."""
    deflated: DeflatedSharpe
    """The same two of a bar, and the probability that the true one is above the second."""
    buy_and_hold: float
    """Sharpe ratio of the market over the same bars."""
    market: BenchmarkTest
    """Test in Sharpe ratios that no complete trial beats buy-and-hold."""
    market_p: float | None = None
    """Its p-value, times the trials that count over those in it, at most 1."""
    chosen_market_p: float | None = None
    """The same of the chosen trial."""
    overfitting: BacktestOverfitting
    """Of choosing among the complete trials by their Sharpe ratio."""

    @property
    def is_above_luck(self) -> bool:
        """Whether the chosen trial is more than the best of so many without skill."""
        return self.deflated.is_above_luck(_LEVEL)

    @property
    def beats_market(self) -> bool:
        """Whether the chosen trial is shown to beat buy-and-hold after all trials, two-sided."""
        return not self._is_idle and _passes(self.chosen_market_p)

    @property
    def verdict(self) -> str:
        """A few sentences on what was shown and what was not."""
        parts = (
            self._luck_words(),
            self._sharpe_words(),
            self._market_words(),
            self._overfitting_words(),
            "Costs are included."
            if self.costs_included
            else "Costs are not included: fees, slippage and funding would lower every figure.",
            "This describes the period tested and promises nothing.",
        )
        return " ".join(part for part in parts if part)

    @property
    def _is_idle(self) -> bool:
        # The bootstrap gives an interval wherever the returns vary.
        return self.bars >= MINIMUM_MOMENTS and self.sharpe_low is None

    def _luck_words(self) -> str:
        one = self.trials == 1
        subject = "The only trial" if one else f"The best of {self.trials:,} trials"
        found = f"{subject} is not distinguishable from luck"
        if self.deflated.probability is None:
            return f"{found}: {self.bars:,} bars are too few, {MINIMUM_MOMENTS} are the least."
        if self._is_idle:
            return f"{found}: its returns do not vary, as where nothing is traded."
        expected = "where 0 is expected without skill"
        if not one:
            maximum = f"{self.expected_maximum:.2f}"
            expected = f"where the best of as many without skill is expected at {maximum}"
        reason = (
            f"Sharpe ratio {self.sharpe:.2f}, {expected} (deflated Sharpe ratio "
            f"{_down(self.deflated.probability):.2f})."
        )
        if not self.is_above_luck:
            return f"{found}: {reason}"
        after = "one trial" if one else f"{self.trials:,} trials"
        return (
            f"{subject} is above what luck explains at {_LEVEL:.0%} confidence after {after}: "
            f"{reason}"
        )

    def _sharpe_words(self) -> str:
        if self.sharpe_low is None or self.sharpe_high is None:
            return ""
        return (
            f"Its {_LEVEL:.0%} interval, were it the only trial, is {self.sharpe_low:.2f} to "
            f"{self.sharpe_high:.2f}."
        )

    def _market_words(self) -> str:
        # Where the market fell, not trading did better, which says nothing of a strategy.
        if self.market_p is None or self.chosen_market_p is None or self._is_idle:
            return ""
        held = f"buy-and-hold, whose Sharpe ratio is {self.buy_and_hold:.2f}"
        p = f"(p {self.chosen_market_p:.3f} after all trials)"
        if self.beats_market:
            return f"It is shown to beat {held} {p}."
        words = f"It is not shown to beat {held} {p}"
        if _passes(self.market_p):
            words += f"; another trial is (p {self.market_p:.3f})"
        return f"{words}."

    def _overfitting_words(self) -> str:
        words = self.overfitting.words()
        unseen = self.trials - self.complete
        if not unseen:
            return words
        named = "The pruned" if unseen == self.pruned else "The others, pruned or earlier,"
        return (
            f"{words} {named} are counted in the {self.trials:,} and are not in that probability: "
            f"{self.complete:,} {'trial has' if self.complete == 1 else 'trials have'} returns."
        )


def study_luck(
    returns: Floats,
    market: Floats,
    chosen: int,
    *,
    trials: int,
    pruned: int,
    earlier: int,
    periods_per_year: float,
    costs_included: bool,
    seed: int = 0,
    replications: int = 1000,
) -> StudyLuck:
    """Return what is left of a study's best trial once every trial is counted.

    Parameters
    ----------
    returns
        ``float64 [T, N]``, return of each bar out of sample and complete trial (fraction of its
        equity), over the same bars.
    market
        ``float64 [T]``, buy-and-hold's returns of the same bars.
    chosen
        Column of the study's best trial.
    trials
        How many were tried in all: N, the pruned and those of an earlier stage at least.
    pruned
        Trials that were given up early.
    earlier
        Trials of an earlier stage.
    periods_per_year
        Bars a year, 8760 for hours of a market that never closes.
    costs_included
        Whether the returns are after fees, slippage and funding.
    seed
        Seed of the bootstraps.
    replications
        Number of bootstrap replicates.

    Returns
    -------
    StudyLuck
        Free of not-a-number, whatever the returns.

    Raises
    ------
    ConfigError
        If the shapes do not fit, there is no trial, a return is not finite, a count is negative
        or `trials` is less than its parts, or an option is out of range.

    Notes
    -----
    The deflated Sharpe ratio asks how widely the trials' Sharpe ratios scatter. Those that left
    returns say so themselves. The others scatter as widely, or as an estimate over T bars
    without skill does, ``1 / (T - 1)`` (Lo 2002), if that is wider; the variance is the mean of
    the two, weighted by their numbers. What a pruner leaves is alike, and its own scatter alone
    would make the search look smaller than it was.

    The test against buy-and-hold holds the complete trials alone. Its p-values are multiplied
    by the trials that count over those in it: the union bound over as many tests as there would
    have been.

    References
    ----------
    Bailey and López de Prado, The Deflated Sharpe Ratio, Journal of Portfolio Management, 2014.
    Bailey, Borwein, López de Prado and Zhu, The Probability of Backtest Overfitting, Journal of
    Computational Finance, 2017. Hansen, A Test for Superior Predictive Ability, Journal of
    Business & Economic Statistics, 2005. Lo, The Statistics of Sharpe Ratios, Financial
    Analysts Journal, 2002.

    Examples
    --------
    >>> noise = 0.01 * np.random.default_rng(0).standard_normal((500, 11))
    >>> found = study_luck(
    ...     noise[:, :10], noise[:, 10], int(noise[:, :10].mean(axis=0).argmax()), trials=40,
    ...     pruned=30, earlier=0, periods_per_year=365.0, costs_included=True, replications=100,
    ... )
    >>> found.verdict.split(":")[0]
    'The best of 40 trials is not distinguishable from luck'
    """
    returns = np.asarray(returns, dtype=np.float64)
    market = np.asarray(market, dtype=np.float64)
    _check(returns, chosen, trials, pruned, earlier)
    if not (math.isfinite(periods_per_year) and periods_per_year > 0.0):
        raise ConfigError(f"periods_per_year is {periods_per_year}: give bars a year, such as 8760")
    # It comes first because it checks the market's returns and the options.
    test = beats_benchmark(returns, market, metric="sharpe", seed=seed, replications=replications)
    bars, complete = returns.shape
    own = returns[:, chosen]
    found = measure_significance(
        own,
        market,
        periods_per_year=periods_per_year,
        trades=0,
        trials=trials,
        seed=seed,
        replications=replications,
        level=_LEVEL,
    )
    deflated = _deflated(returns, chosen, trials)
    yearly = math.sqrt(periods_per_year)
    return StudyLuck(
        bars=bars,
        complete=complete,
        pruned=pruned,
        earlier=earlier,
        trials=trials,
        chosen=chosen,
        costs_included=costs_included,
        sharpe=deflated.sharpe * yearly,
        sharpe_low=found.sharpe_low,
        sharpe_high=found.sharpe_high,
        expected_maximum=deflated.expected_maximum * yearly,
        deflated=deflated,
        buy_and_hold=sharpe_ratio(_scaled(market), periods_per_year),
        market=test,
        market_p=_after_all(test.p_value, trials / complete),
        chosen_market_p=_after_all(
            test.p_values[chosen] if test.p_values else None, trials / complete
        ),
        overfitting=backtest_overfitting(returns),
    )


def _deflated(returns: Floats, chosen: int, trials: int) -> DeflatedSharpe:
    bars, complete = returns.shape
    own = _scaled(returns[:, chosen])
    sharpes = np.array([sharpe_ratio(_scaled(column), 1.0) for column in returns.T])
    without_skill = 1.0 / max(1, bars - 1)
    seen = float(sharpes.var(ddof=1)) if complete > 1 else without_skill
    unseen = max(seen, without_skill)
    variance = (complete * seen + (trials - complete) * unseen) / trials
    expected = expected_maximum_sharpe(variance, trials)
    enough = bars >= MINIMUM_MOMENTS
    return DeflatedSharpe(
        bars=bars,
        trials=trials,
        sharpe=float(sharpes[chosen]),
        expected_maximum=expected,
        probability=probabilistic_sharpe_ratio(own, expected) if enough else None,
    )


# Squares of tiny numbers vanish, and no ratio depends on the unit.
def _scaled(returns: Floats) -> Floats:
    scaled: Floats = returns / (np.abs(returns).max(initial=0.0) or 1.0)
    return scaled


def _after_all(p: float | None, times: float) -> float | None:
    return None if p is None else min(1.0, p * times)


def _passes(p: float | None) -> bool:
    return p is not None and p <= (1.0 - _LEVEL) / 2.0


# Rounded down, so that one short of the level never reads as the level itself.
def _down(probability: float) -> float:
    return math.floor(100.0 * probability + 1e-9) / 100.0


def _check(returns: Floats, chosen: int, trials: int, pruned: int, earlier: int) -> None:
    if returns.ndim != 2 or not returns.shape[1]:
        raise ConfigError(
            f"returns have shape {returns.shape}: give a row a bar and a column a complete trial, "
            "and at least one"
        )
    complete = returns.shape[1]
    if not 0 <= chosen < complete:
        raise ConfigError(
            f"chosen is {chosen} of {complete} complete trials: give the column of the best one"
        )
    if pruned < 0 or earlier < 0:
        raise ConfigError(f"pruned is {pruned} and earlier {earlier}: give counts of 0 or more")
    if trials < complete + pruned + earlier:
        raise ConfigError(
            f"trials is {trials}, with {complete} complete, {pruned} pruned and {earlier} earlier: "
            "count every one"
        )
