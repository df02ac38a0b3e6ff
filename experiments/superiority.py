"""Which of several strategies is the best, and whether chance could have put it there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from experiments.significance import sharpes_of_sums
from lightning_models.errors import ConfigError
from lightning_models.evaluation.bootstrap import (
    MINIMUM_MOMENTS,
    block_length,
    resampled_counts,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BenchmarkTest", "Contender", "Superiority", "beats_benchmark", "superiority"]

Floats = npt.NDArray[np.float64]
Metric = Literal["mean", "sharpe"]

_CALLED: Final[dict[str, str]] = {"mean": "mean return", "sharpe": "Sharpe ratio"}

# A sentence that names more is no longer read.
_NAMED: Final = 3

# Differences whose block length is looked for: each takes some milliseconds.
_DIFFERENCES: Final = 100


class Contender(BaseModel):
    """One of the strategies that are compared."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    value: float
    """Mean return of a bar (fraction), or Sharpe ratio of a bar; not annualised."""
    p_best: float | None = None
    """p-value that no other is better, so that this one could be the best. 1 where none is in
    this sample; None with one strategy or fewer than 30 bars."""
    p_against: float | None = None
    """p-value that it is no better than what all are held against, with all of them tested
    together; None where there is no such thing or fewer than 30 bars."""


class Superiority(BaseModel):
    """The best of several strategies, and which others chance leaves beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bars: int
    metric: Metric
    level: float
    """Confidence of what is said of the best."""
    block_length: int | None = None
    """Mean block of the bootstrap in bars."""
    contenders: tuple[Contender, ...]
    """In the order given."""
    best: str
    """Name of the highest value; of equal ones the first."""
    against: str | None = None
    """Name of what all of them are held against."""
    against_p: float | None = None
    """p-value that none of them is better than `against`: the least of their own."""

    @property
    def could_be_best(self) -> tuple[str, ...]:
        """Names of those that are not shown to be worse than another, in the order given.

        The truly best one is among them with the confidence of `level` at least. Empty where
        nothing was tested.
        """
        return tuple(
            one.name
            for one in self.contenders
            if one.p_best is not None and one.p_best > self._threshold
        )

    @property
    def best_is_distinguishable(self) -> bool:
        """Whether every strategy but the best is shown to be worse than another."""
        return self.could_be_best == (self.best,)

    @property
    def better_than_against(self) -> tuple[str, ...]:
        """Names of those that are shown to be better than `against`, in the order given."""
        return tuple(
            one.name
            for one in self.contenders
            if one.p_against is not None and one.p_against <= self._threshold
        )

    @property
    def verdict(self) -> str:
        """One or two sentences on what was shown and what was not."""
        return " ".join(part for part in (self._best_words(), self._against_words()) if part)

    @property
    def _threshold(self) -> float:
        # Which one is called the best is read off the same data: of two equally good ones
        # either may be, so each is tested at half the error that both may make.
        return (1.0 - self.level) / 2.0

    def _best_words(self) -> str:
        count, called = len(self.contenders), _CALLED[self.metric]
        if self.bars < MINIMUM_MOMENTS:
            return (
                f"Too few bars to tell {count} {'strategy' if count == 1 else 'strategies'} apart: "
                f"{self.bars:,}, where {MINIMUM_MOMENTS} are the least."
            )
        if count == 1:
            return f"Nothing to compare {self.best} with."
        highest = f"{self.best} has the highest {called} of {count} over {self.bars:,} bars"
        if self.best_is_distinguishable:
            return f"{highest}, and each other one is beaten at {self.level:.0%} confidence."
        if len({one.value for one in self.contenders}) == 1:
            return f"No best: all {count} have the same {called} over {self.bars:,} bars."
        others = [
            (one.p_best, f"{one.name} (p {one.p_best:.3f})")
            for one in self.contenders
            if one.p_best is not None and one.name in self.could_be_best and one.name != self.best
        ]
        others.sort(key=lambda other: -other[0])
        named = [words for _, words in others[:_NAMED]]
        if len(others) > _NAMED:
            named.append(f"{len(others) - _NAMED} more")
        return (
            f"{highest}, but chance could have put it above {_listed(tuple(named))}: no best is "
            f"shown at {self.level:.0%} confidence."
        )

    def _against_words(self) -> str:
        if self.against is None or self.against_p is None:
            return ""
        better = self.better_than_against
        if better:
            verb = "is" if len(better) == 1 else "are"
            return f"{_listed(better)} {verb} better than {self.against} (p {self.against_p:.3f})."
        none = "None of them is" if len(self.contenders) > 1 else "It is not"
        return f"{none} shown to be better than {self.against} (p {self.against_p:.3f})."


class BenchmarkTest(BaseModel):
    """Whether any of many strategies beats one benchmark."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bars: int
    strategies: int
    metric: Metric
    block_length: int | None = None
    """Mean block of the bootstrap in bars."""
    p_value: float | None = None
    """p-value that none of them is better than the benchmark, their number accounted for. None
    with fewer than 30 bars."""
    p_values: tuple[float, ...] = ()
    """p-value of each one that it is no better, with all of them tested together, in the order
    given; empty with fewer than 30 bars. The least is `p_value`."""

    def is_beaten(self, level: float = 0.95) -> bool:
        """Return whether at least one is shown to be better, two-sided at a confidence."""
        return self.p_value is not None and self.p_value <= (1.0 - level) / 2.0


def superiority(
    returns: Floats,
    names: Sequence[str],
    *,
    metric: Metric = "mean",
    against: Floats | None = None,
    against_name: str = "buy-and-hold",
    seed: int = 0,
    replications: int = 1000,
    block: int | None = None,
    level: float = 0.95,
) -> Superiority:
    """Return which strategies could be the best, and whether any beats a benchmark.

    Each strategy in turn is the benchmark of Hansen's test for superior predictive ability:
    the hypothesis is that no other has a higher expected value, and a small p-value says that
    at least one has. The maximum over the others is tested, so that their number is accounted
    for. The same test with `against` as the benchmark asks which strategies beat it.

    Parameters
    ----------
    returns
        ``float64 [T, S]``, return of each bar and strategy (fraction of its equity), over the
        same bars.
    names
        S names.
    metric
        ``mean``: mean return of a bar, which more leverage raises. ``sharpe``: mean over
        standard deviation, which it does not.
    against
        ``float64 [T]``, returns of what all are held against, such as buy-and-hold.
    against_name
        Its name.
    seed
        Seed of the bootstrap.
    replications
        Number of bootstrap replicates.
    block
        Mean block length in bars; by default the longest of the automatic lengths of all
        pairwise differences.
    level
        Confidence of what is said of the best.

    Returns
    -------
    Superiority
        Free of not-a-number. A strategy that never traded counts with its zeros; equal
        strategies are never told apart.

    Raises
    ------
    ConfigError
        If the shapes do not fit, a return is not finite, a name occurs twice, or an option is
        out of range.

    Notes
    -----
    A best is called distinguishable where every other strategy's p-value is at most
    ``(1 - level) / 2``. If one is truly the best, calling another one that needs the rejection
    of its own true hypothesis: at most half the stated error. If m are equally good, it needs
    the rejection of m - 1 of m true ones, whose expected number is at most ``m (1 - level) / 2``:
    at most ``m / (m - 1)`` times half the stated error, so never more than the stated one.
    What is shown is that each other one is worse than *some* strategy, and therefore that the
    remaining one is the best of all; not that it beats each in a test of its own.

    All replicates are made once: the values of all strategies on the same resampled bars, from
    which every difference follows. Differences are divided by their standard deviation over
    the replicates, and a strategy so much worse than the benchmark that it cannot be its equal
    is not recentred (Hansen's consistent p-value; White's test recentres all and does not
    divide). A p-value is ``(1 + replicates at least as large) / (1 + replicates)``, and 1 where
    no other is better in the sample.

    References
    ----------
    Hansen, A Test for Superior Predictive Ability, Journal of Business & Economic Statistics,
    2005. White, A Reality Check for Data Snooping, Econometrica, 2000. Politis and Romano, The
    Stationary Bootstrap, Journal of the American Statistical Association, 1994. Politis and
    White, Automatic Block-Length Selection for the Dependent Bootstrap, Econometric Reviews,
    2004.

    Examples
    --------
    >>> market = 0.01 * np.random.default_rng(0).standard_normal((500, 3))
    >>> found = superiority(market + [0.0, 0.0, 0.003], ["a", "b", "c"])
    >>> found.best, found.best_is_distinguishable
    ('c', True)
    """
    returns = np.asarray(returns, dtype=np.float64)
    named = tuple(names)
    other = None if against is None else np.asarray(against, dtype=np.float64)
    _check(returns, named, other)
    _check_options(metric, replications, block, level)
    bars, count = returns.shape
    series = returns if other is None else np.column_stack([returns, other])
    values = _values(np.ones((1, bars)), series, metric)[0]
    best = int(np.argmax(values[:count]))
    p_best: list[float | None] = [None] * count
    p_against: list[float | None] = [None] * count
    length = None
    if bars >= MINIMUM_MOMENTS and series.shape[1] > 1:
        length = block if block is not None else _block(series)
        replicates = _replicates(series, metric, length, replications, seed)
        rivals = np.arange(count)
        if count > 1:
            p_best = [
                float(_spa(values, replicates, one, rivals[rivals != one], bars).min())
                for one in range(count)
            ]
        if other is not None:
            p_against = _spa(values, replicates, count, rivals, bars).tolist()
    return Superiority(
        bars=bars,
        metric=metric,
        level=level,
        block_length=length,
        contenders=tuple(
            Contender(name=name, value=float(value), p_best=one, p_against=two)
            for name, value, one, two in zip(named, values[:count], p_best, p_against, strict=True)
        ),
        best=named[best],
        against=None if other is None else against_name,
        against_p=min((p for p in p_against if p is not None), default=None),
    )


def beats_benchmark(
    returns: Floats,
    against: Floats,
    *,
    metric: Metric = "mean",
    seed: int = 0,
    replications: int = 1000,
    block: int | None = None,
) -> BenchmarkTest:
    """Return whether any of many strategies is better than one benchmark.

    It is the test that `superiority` makes with `against`, without comparing the strategies
    with each other: a thousand of them over five thousand bars take seconds.

    Parameters
    ----------
    returns
        ``float64 [T, N]``, return of each bar and strategy (fraction of its equity), over the
        same bars. Every strategy that was tried belongs here: to leave some out lowers the
        p-value.
    against
        ``float64 [T]``, the benchmark's returns, such as those of buy-and-hold.
    metric
        As for `superiority`.
    seed
        Seed of the bootstrap.
    replications
        Number of bootstrap replicates.
    block
        Mean block length in bars; by default the longest of the automatic lengths of the
        differences from the benchmark: of all up to a hundred strategies, otherwise of a
        hundred that are spread evenly over them.

    Returns
    -------
    BenchmarkTest
        Free of not-a-number.

    Raises
    ------
    ConfigError
        If the shapes do not fit, there is no strategy, a return is not finite, or an option is
        out of range.

    References
    ----------
    Hansen, A Test for Superior Predictive Ability, Journal of Business & Economic Statistics,
    2005.

    Examples
    --------
    >>> market = 0.01 * np.random.default_rng(0).standard_normal((500, 4))
    >>> beats_benchmark(market[:, :3] + [0.0, 0.0, 0.003], market[:, 3]).is_beaten()
    True
    >>> beats_benchmark(market[:, :3], market[:, 3]).is_beaten()
    False
    """
    returns = np.asarray(returns, dtype=np.float64)
    against = np.asarray(against, dtype=np.float64)
    if returns.ndim != 2 or not returns.shape[1]:
        raise ConfigError(
            f"returns have shape {returns.shape}: give a row a bar and a column a strategy, and at "
            "least one"
        )
    _check_series(returns, against)
    _check_options(metric, replications, block, 0.95)
    bars, count = returns.shape
    if bars < MINIMUM_MOMENTS:
        return BenchmarkTest(bars=bars, strategies=count, metric=metric)
    if block is None:
        looked_at = np.unique(np.linspace(0, count - 1, _DIFFERENCES).astype(np.int64))
        block = max(block_length(returns[:, one] - against) for one in looked_at)
    series = np.column_stack([returns, against])
    values = _values(np.ones((1, bars)), series, metric)[0]
    replicates = _replicates(series, metric, block, replications, seed)
    found = _spa(values, replicates, count, np.arange(count), bars)
    return BenchmarkTest(
        bars=bars,
        strategies=count,
        metric=metric,
        block_length=block,
        p_value=float(found.min()),
        p_values=tuple(found.tolist()),
    )


def _values(counts: Floats, series: Floats, metric: Metric) -> Floats:
    # What each strategy achieved on bars that occur so many times each: [R, T], [T, S] -> [R, S].
    bars = max(1, len(series))
    sums = counts @ series
    if metric == "mean":
        means: Floats = sums / bars
        return means
    squares = counts @ np.square(series)
    return np.stack(
        [
            sharpes_of_sums(np.stack(pair, axis=1), bars, 1.0)
            for pair in zip(sums.T, squares.T, strict=True)
        ],
        axis=1,
    )


def _replicates(series: Floats, metric: Metric, block: int, replications: int, seed: int) -> Floats:
    # What each strategy achieved on the same resampled bars: [R, S].
    batches = resampled_counts(len(series), block=block, replications=replications, seed=seed)
    return np.concatenate([_values(counts, series, metric) for counts in batches])


def _spa(
    values: Floats, replicates: Floats, benchmark: int, rivals: npt.NDArray[np.int64], bars: int
) -> Floats:
    # p-value of each rival against the benchmark, all tested together; the least is Hansen's.
    gain = values[rivals] - values[benchmark]
    gains = replicates[:, rivals] - replicates[:, [benchmark]]
    deviation = gains.std(axis=0)
    spread, size = replicates.std(axis=0), np.abs(values)
    # The difference of equal strategies is nothing but rounding.
    trace = 1e-9 * (size[rivals] + size[benchmark])
    varies = deviation > 1e-9 * (spread[rivals] + spread[benchmark]) + 1e-3 * trace
    least = 1.0 / (1 + len(replicates))
    found = np.where(~varies & (gain > trace), least, 1.0)
    if varies.any():
        score = gain[varies] / deviation[varies]
        relevant = score >= -math.sqrt(2.0 * math.log(math.log(bars)))
        centre = np.where(relevant, gain[varies], 0.0)
        largest = ((gains[:, varies] - centre) / deviation[varies]).max(axis=1)
        exceeded = 1 + (largest[:, None] >= score).sum(axis=0)
        found[varies] = np.where(score > 0.0, exceeded * least, 1.0)
    return found


def _block(series: Floats) -> int:
    count = series.shape[1]
    return max(
        block_length(series[:, one] - series[:, two])
        for one in range(count)
        for two in range(one + 1, count)
    )


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _check(returns: Floats, names: tuple[str, ...], against: Floats | None) -> None:
    if returns.ndim != 2 or returns.shape[1] != len(names) or not names:
        raise ConfigError(
            f"returns have shape {returns.shape} and there are {len(names)} names: give a row a "
            "bar and a column a name, and at least one"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"names: {twice[0]!r} occurs twice; give each strategy its own")
    _check_series(returns, against)


def _check_series(returns: Floats, against: Floats | None) -> None:
    if against is not None and against.shape != returns.shape[:1]:
        raise ConfigError(
            f"against has shape {against.shape} and returns {returns.shape}: give one return a bar"
        )
    for name, series in (("returns", returns), ("against", against)):
        if series is not None and not np.isfinite(series).all():
            bar = np.argwhere(~np.isfinite(series))[0]
            raise ConfigError(
                f"{name}: bar {bar[0]} holds {series[tuple(bar)]}; give finite returns"
            )


def _check_options(metric: str, replications: int, block: int | None, level: float) -> None:
    if metric not in get_args(Metric):
        raise ConfigError(f"metric is {metric!r}: give one of {', '.join(get_args(Metric))}")
    if replications < 1:
        raise ConfigError(f"replications is {replications}: give 1 or more")
    if block is not None and block < 1:
        raise ConfigError(f"block is {block}: give a mean length of 1 bar or more")
    if not 0.0 < level < 1.0:
        raise ConfigError(f"level is {level}: give a confidence between 0 and 1, such as 0.95")
