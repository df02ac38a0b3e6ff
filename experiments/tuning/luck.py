"""How much of a study's best trial is the search alone."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from experiments.deflation import DeflatedSharpe
from experiments.overfitting import BacktestOverfitting, backtest_overfitting
from experiments.significance import measure_significance
from experiments.superiority import BenchmarkTest, beats_benchmark
from experiments.tuning.search_deflation import deflated_best, independent_trials, scaled
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
    independent: float
    """As how many independent trials they count, fewer where their returns are alike."""
    chosen: int
    """Column of the study's best trial."""
    costs_included: bool
    """Whether the returns are after fees, slippage and funding."""
    objective: str | None = None
    """What the study chose by, where that is not the Sharpe ratio."""

    sharpe: float
    """Of the chosen trial; 0 where it never traded."""
    sharpe_low: float | None = None
    """Lower bound of its 95 % interval by the stationary bootstrap, as if it had been the only
    trial."""
    sharpe_high: float | None = None
    expected_maximum: float
    """What the best of so many trials without skill, as alike as these, is expected to show."""
    deflated: DeflatedSharpe
    """The same two of a bar, and the probability that the true one is above the second."""
    buy_and_hold: float
    """Sharpe ratio of the market over the same bars."""
    without_market: float | None = None
    """The deflated Sharpe ratio of what the market's moves do not explain of the chosen trial, by
    least squares."""
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
    def exposure_may_explain(self) -> bool:
        """Whether a position held through a rising market may be what is above luck."""
        rest = self.without_market
        return self.is_above_luck and self.buy_and_hold > 0.0 and rest is not None and rest < _LEVEL

    @property
    def verdict(self) -> str:
        """Four sentences at most on what was shown and what was not, the weaker finding first."""
        parts = (
            self._finding(),
            self._overfitting_words(),
            "Costs are included."
            if self.costs_included
            else "Costs are not included: fees, slippage and funding would lower every figure.",
            "This describes the period tested and promises nothing.",
        )
        return " ".join(parts)

    @property
    def _is_idle(self) -> bool:
        # The bootstrap gives an interval wherever the returns vary.
        return self.bars >= MINIMUM_MOMENTS and self.sharpe_low is None

    def _finding(self) -> str:
        one = self.trials == 1
        subject = "The only trial is" if one else f"The best of {self.trials:,} trials is"
        luck = f"{subject} not distinguishable from luck"
        if self.deflated.probability is None or self.chosen_market_p is None:
            return f"{luck}: {self.bars:,} bars are too few, {MINIMUM_MOMENTS} are the least."
        if self._is_idle:
            return f"{luck}: its returns do not vary, as where nothing is traded."
        own, market = f"Sharpe ratio {self.sharpe:.2f}", f"{self.buy_and_hold:.2f}"
        p = f"p {_up(self.chosen_market_p, 3):.3f}"
        figures = f"{own}, where {self._expected_words()}; buy-and-hold's is {market} ({p})."
        if not self.is_above_luck:
            joined = ", though" if self.beats_market else " and not"
            return f"{luck}{joined} shown to beat buy-and-hold: {figures}"
        above = (
            f"above what luck explains at {_LEVEL:.0%} confidence after "
            f"{'one trial' if one else f'{self.trials:,} trials'}"
        )
        if self.beats_market:
            return f"{subject} {above}, and better than buy-and-hold: {figures}"
        exposure = (
            ", as a position held through the rising market may be"
            if self.exposure_may_explain
            else ""
        )
        return (
            f"{subject} not shown to beat buy-and-hold ({own} against {market}, {p}), though it is "
            f"{above}{exposure}: {self._expected_words()}."
        )

    def _expected_words(self) -> str:
        # Three trials that count as 2.9 are three.
        alike = ""
        if self.independent < 0.9 * self.trials:
            shown = (
                f"{self.independent:.1f}" if self.independent < 10 else f"{self.independent:,.0f}"
            )
            alike = f"; alike, they count as {shown}"
        of = "0 is expected without skill"
        if self.trials > 1:
            of = f"the best of as many without skill is expected at {self.expected_maximum:.2f}"
        deflated = _down(self.deflated.probability or 0.0, 2)
        return f"{of} (deflated Sharpe ratio {deflated:.2f}{alike})"

    def _overfitting_words(self) -> str:
        words = self.overfitting.words().removesuffix(".")
        if self.objective is not None and self.overfitting.probability is not None:
            words += f"; the study itself chose by {self.objective}, which this does not test"
        unseen = self.trials - self.complete
        if unseen and self.overfitting.probability is not None:
            named = "pruned" if unseen == self.pruned else "pruned or earlier"
            words += f"; {unseen:,} of the {self.trials:,} trials, {named}, are not in it"
        return f"{words}."


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
    objective: str | None = None,
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
    objective
        What the study chose by, such as ``log-loss``; None where it is the Sharpe ratio.
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
    The deflated Sharpe ratio is that of `search_deflation.deflated_best`: trials that are alike
    count as fewer, and those that left no returns in full.

    Whether exposure may explain what is above luck: the market's returns times the slope of the
    chosen trial's on them are taken off, and the rest is judged against the same expected
    maximum.

    The test against buy-and-hold holds the complete trials alone. Its p-values are multiplied
    by the trials that count over those in it: the union bound over as many tests as there would
    have been.

    References
    ----------
    Bailey and López de Prado, The Deflated Sharpe Ratio, Journal of Portfolio Management, 2014.
    Bailey, Borwein, López de Prado and Zhu, The Probability of Backtest Overfitting, Journal of
    Computational Finance, 2017. Hansen, A Test for Superior Predictive Ability, Journal of
    Business & Economic Statistics, 2005.

    Examples
    --------
    >>> noise = 0.01 * np.random.default_rng(0).standard_normal((500, 11))
    >>> found = study_luck(
    ...     noise[:, :10], noise[:, 10], int(noise[:, :10].mean(axis=0).argmax()), trials=40,
    ...     pruned=30, earlier=0, periods_per_year=365.0, costs_included=True, replications=100,
    ... )
    >>> found.verdict.split(":")[0]
    'The best of 40 trials is not distinguishable from luck and not shown to beat buy-and-hold'
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
    deflated = deflated_best(returns, chosen, trials=trials)
    yearly = math.sqrt(periods_per_year)
    return StudyLuck(
        bars=bars,
        complete=complete,
        pruned=pruned,
        earlier=earlier,
        trials=trials,
        independent=independent_trials(returns, trials),
        chosen=chosen,
        costs_included=costs_included,
        objective=objective,
        sharpe=deflated.sharpe * yearly,
        sharpe_low=found.sharpe_low,
        sharpe_high=found.sharpe_high,
        expected_maximum=deflated.expected_maximum * yearly,
        deflated=deflated,
        buy_and_hold=sharpe_ratio(scaled(market), periods_per_year),
        without_market=_without_market(own, market, deflated.expected_maximum),
        market=test,
        market_p=_after_all(test.p_value, trials / complete),
        chosen_market_p=_after_all(
            test.p_values[chosen] if test.p_values else None, trials / complete
        ),
        overfitting=backtest_overfitting(returns),
    )


def _without_market(own: Floats, market: Floats, expected: float) -> float | None:
    if len(own) < MINIMUM_MOMENTS:
        return None
    own, market = scaled(own), scaled(market)
    moves = market - market.mean()
    variance = float(moves @ moves)
    slope = float(moves @ own) / variance if variance > 0.0 else 0.0
    rest = own - slope * market
    # What the market explains in full leaves rounding, whose Sharpe ratio is anything.
    if np.ptp(rest) <= 1e-9 * np.ptp(own):
        return 0.0
    return probabilistic_sharpe_ratio(scaled(rest), expected)


def _after_all(p: float | None, times: float) -> float | None:
    return None if p is None else min(1.0, p * times)


def _passes(p: float | None) -> bool:
    return p is not None and p <= (1.0 - _LEVEL) / 2.0


# Rounded to the doubtful side, so that no figure reads as a level that it misses.
def _down(probability: float, digits: int) -> float:
    return math.floor(10.0**digits * probability + 1e-9) / 10.0**digits


def _up(p: float, digits: int) -> float:
    return math.ceil(10.0**digits * p - 1e-9) / 10.0**digits


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
