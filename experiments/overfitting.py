"""How often the best trial of one half of the bars fails on the other half."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, islice
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict
from scipy.stats import rankdata

from lightning_models.errors import ConfigError
from lightning_models.evaluation.bootstrap import MINIMUM_MOMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BacktestOverfitting", "backtest_overfitting"]

Floats = npt.NDArray[np.float64]
Metric = Literal["sharpe", "mean"]

_MOST_BLOCKS: Final = 20
_USUAL_BLOCKS: Final = 16
_FEWEST_BLOCKS: Final = 4

# Splits times trials that are held at once, so that memory does not grow with either.
_BATCH: Final = 500_000

# Equal trials differ by rounding alone, and no sample tells apart what differs by less.
_DECIMALS: Final = 10

# The authors' customary level: above it the choice is rejected.
_LEVEL: Final = 0.05


class BacktestOverfitting(BaseModel):
    """How often choosing the best of several trials on half of the bars misleads.

    None stands where there was nothing to choose or too little to choose on; `reason` then says
    why.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bars: int
    trials: int
    metric: Metric
    blocks: int | None = None
    """Parts of equal length that the bars are cut into."""
    combinations: int = 0
    """Ways to take half of the blocks; each is in sample once and out of sample once."""
    probability: float | None = None
    """Share of the splits whose best trial in sample is at or below the median out of sample."""
    median_logit: float | None = None
    """Median log odds of that trial's rank out of sample: 0 at the median, above it better."""
    p_loss: float | None = None
    """Share of the splits whose best trial in sample is below zero out of sample."""
    in_sample: float | None = None
    """Mean over the splits of the best trial's metric in sample, a bar."""
    out_of_sample: float | None = None
    """Mean over the splits of the same trial's metric out of sample, a bar."""
    slope: float | None = None
    """Change out of sample for each unit more in sample, by least squares over the splits. None
    where the metric in sample is the same in every split."""
    r_squared: float | None = None
    """Share of the variance out of sample that this line explains."""
    reason: str | None = None

    def is_overfitted(self, level: float = _LEVEL) -> bool:
        """Return whether the probability is above a level, the authors' own by default."""
        return self.probability is not None and self.probability > level

    def words(self) -> str:
        """Return in a sentence whether the choice among the trials means anything.

        Examples
        --------
        >>> one = BacktestOverfitting(
        ...     bars=1000, trials=20, metric="sharpe", blocks=16, combinations=12870,
        ...     probability=0.553, median_logit=-0.1, p_loss=0.531,
        ... )
        >>> one.words()
        'Probability of backtest overfitting 0.56 over 20 trials: the best of one half of the \
bars by their Sharpe ratio is no better than the median in the other half, so the choice among \
them tells nothing.'
        """
        if self.probability is None:
            return f"No probability of backtest overfitting: {self.reason}."
        shown = _up(self.probability)
        if shown >= 0.5:
            found = (
                "is no better than the median in the other half, so the choice among them tells "
                "nothing"
            )
        elif shown > _LEVEL:
            found = "is not reliably above the median in the other half"
        else:
            found = "is above the median in the other half as well"
        by = {"sharpe": "Sharpe ratio", "mean": "mean return"}[self.metric]
        return (
            f"Probability of backtest overfitting {shown:.2f} over {self.trials:,} trials: the "
            f"best of one half of the bars by their {by} {found}."
        )


def backtest_overfitting(
    returns: Floats, *, blocks: int | None = None, metric: Metric = "sharpe"
) -> BacktestOverfitting:
    """Return the probability that choosing the best of several trials is overfitting.

    Combinatorially symmetric cross-validation: the bars are cut into an even number of blocks.
    Each choice of half of them is in sample once, with the other half out of sample. The best
    trial in sample is looked up among all trials out of sample.

    Parameters
    ----------
    returns
        ``float64 [T, N]``, return of each bar and trial (fraction of its equity), over the same
        bars. Every trial belongs here, the bad ones too: to leave those out hides overfitting.
    blocks
        Even number of blocks from 4 to 20; by default 16, or the largest even number that
        leaves 30 bars a block.
    metric
        ``sharpe``: mean over standard deviation, 0 where a trial does not move within the half.
        ``mean``: mean return of a bar.

    Returns
    -------
    BacktestOverfitting
        Free of not-a-number. Without a probability where there are fewer than two trials or 120
        bars, or where all trials are the same on every half.

    Raises
    ------
    ConfigError
        If the shape does not fit, a return is not finite, or an option is out of range.

    Notes
    -----
    A rank is divided by N + 1, and a rank at the median counts as overfitting (the paper's
    integral up to a logit of 0). So trials without skill give 0.5 on average with an even N
    and ``(N + 1) / (2 N)`` with an odd one. One study of them scatters widely about that: the
    splits share their bars, and their number says nothing of it.

    Equal trials share the mean of their ranks. Where several are the best in sample, such as
    trials that did not trade there, the mean of their ranks and of their values out of sample
    counts. Values that differ by less than 1e-10 (of a Sharpe ratio a bar, or of the largest
    return) are equal. So neither the order of the trials nor rounding decides anything.

    No bar is dropped: where T is not a multiple of the blocks, the first ones hold one bar
    more.

    The number says nothing of whether a trial earns anything: skilful trials that are all about
    as good have a high one, and so has any choice among equals. A search that learns from its
    own trials, such as one by a tree-structured Parzen estimator, tries many of its kind around
    a good one, which makes the best less distinct than among independent trials.

    References
    ----------
    Bailey, Borwein, López de Prado and Zhu, The Probability of Backtest Overfitting, Journal of
    Computational Finance, 2017, algorithm 2.3 and sections 3.1 and 3.2.

    Examples
    --------
    >>> noise = 0.01 * np.random.default_rng(1).standard_normal((640, 10))
    >>> found = backtest_overfitting(noise)
    >>> found.blocks, found.combinations, found.is_overfitted()
    (16, 12870, True)
    >>> backtest_overfitting(noise + np.where(np.arange(10) == 3, 0.003, 0.0)).probability
    0.0
    """
    returns = np.asarray(returns, dtype=np.float64)
    _check(returns, blocks, metric)
    bars, trials = returns.shape
    count = blocks if blocks is not None else _blocks(bars)
    reason = None
    if trials < 2:
        reason = f"{'one trial is' if trials else 'no trial is'} no choice"
    elif bars < MINIMUM_MOMENTS * (_FEWEST_BLOCKS if blocks is None else 1) or bars < 2 * count:
        reason = f"too few bars, {bars:,}"
        if blocks is None:
            reason += f" where {MINIMUM_MOMENTS * _FEWEST_BLOCKS} are the least"
        else:
            reason += f" for {blocks} blocks"
    if reason is not None:
        return BacktestOverfitting(bars=bars, trials=trials, metric=metric, reason=reason)

    chosen = _splits(_cut(returns, count, metric))
    common = {
        "bars": bars,
        "trials": trials,
        "metric": metric,
        "blocks": count,
        "combinations": len(chosen.ranks),
    }
    if not chosen.differed:
        reason = "all trials did the same, so there was no choice"
        return BacktestOverfitting.model_validate({**common, "reason": reason})
    relative = chosen.ranks / (trials + 1)
    slope, explained = _line(chosen.inside, chosen.outside)
    return BacktestOverfitting.model_validate(
        {
            **common,
            "probability": float(np.mean(2.0 * chosen.ranks <= trials + 1)),
            "median_logit": float(np.median(np.log(relative / (1.0 - relative)))),
            "p_loss": float(np.mean(chosen.outside < 0.0)),
            "in_sample": float(chosen.inside.mean()),
            "out_of_sample": float(chosen.outside.mean()),
            "slope": slope,
            "r_squared": explained,
        }
    )


@dataclass(frozen=True)
class _Blocks:
    """What each block adds to a half, and how a half's sums become the metric."""

    metric: Metric
    bars: Floats
    """``[S]``, bars of each block."""
    sums: Floats
    """``[S, N]``, sums of the scaled returns."""
    squares: Floats
    """``[S, N]``, sums of their squares."""
    level: Floats
    """``[N]``, what centring took from the scaled returns."""
    unit: float
    """What one unit of the metric stands for."""


@dataclass(frozen=True)
class _Chosen:
    """The best trial in sample of each split."""

    inside: Floats
    outside: Floats
    ranks: Floats
    """Out of sample: 1 is the worst of all trials."""
    differed: bool
    """Whether any split had trials to tell apart."""


def _cut(returns: Floats, count: int, metric: Metric) -> _Blocks:
    bars, trials = returns.shape
    largest = np.abs(returns).max(axis=0)
    level, unit = np.zeros(trials), 1.0
    if metric == "mean":
        unit = float(largest.max()) or 1.0
        scaled = returns / unit
    else:
        # Squares of tiny numbers vanish, and those of a large mean drown the variance.
        scaled = returns / np.where(largest > 0.0, largest, 1.0)
        moves = np.ptp(scaled, axis=0) > 1e-12
        mean = scaled.mean(axis=0)
        deviation = np.where(moves, scaled.std(axis=0), 1.0)
        scaled = np.where(moves, (scaled - mean) / deviation, 0.0)
        level = np.where(moves, mean / deviation, 0.0)
    lengths = np.full(count, bars // count)
    lengths[: bars % count] += 1
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    return _Blocks(
        metric=metric,
        bars=lengths.astype(np.float64),
        sums=np.add.reduceat(scaled, starts, axis=0),
        squares=np.add.reduceat(np.square(scaled), starts, axis=0),
        level=level,
        unit=unit,
    )


def _splits(blocks: _Blocks) -> _Chosen:
    inside, outside, ranks = [], [], []
    differed = False
    for taken in _halves(len(blocks.bars), max(1, _BATCH // blocks.sums.shape[1])):
        one, two = _values(taken, blocks), _values(1.0 - taken, blocks)
        differed = differed or bool(np.ptp(one, axis=1).any() or np.ptp(two, axis=1).any())
        for first, second in ((one, two), (two, one)):
            found = first.max(axis=1)
            best = first == found[:, None]
            share = best / best.sum(axis=1, keepdims=True)
            inside.append(found)
            outside.append((share * second).sum(axis=1))
            ranks.append((share * rankdata(second, axis=1)).sum(axis=1))
    return _Chosen(
        inside=np.concatenate(inside) * blocks.unit,
        outside=np.concatenate(outside) * blocks.unit,
        ranks=np.concatenate(ranks),
        differed=differed,
    )


def _halves(count: int, most: int) -> Iterator[Floats]:
    # Halves with the first block; each stands for its complement as well.
    others = combinations(range(1, count), count // 2 - 1)
    while batch := list(islice(others, most)):
        taken = np.zeros((len(batch), count))
        taken[:, 0] = 1.0
        taken[np.arange(len(batch))[:, None], np.array(batch)] = 1.0
        yield taken


def _values(taken: Floats, blocks: _Blocks) -> Floats:
    # The metric of every trial on the blocks taken: [C, S] -> [C, N].
    bars = (taken @ blocks.bars)[:, None]
    mean = taken @ blocks.sums / bars
    if blocks.metric == "mean":
        return _rounded(mean)
    variance = (taken @ blocks.squares - bars * np.square(mean)) / np.maximum(1.0, bars - 1.0)
    # Cancellation leaves a trace of variance where nothing moved.
    moves = variance > 1e-12 * (1.0 + np.square(mean))
    deviation = np.sqrt(np.where(moves, variance, 1.0))
    return _rounded(np.where(moves, (blocks.level + mean) / deviation, 0.0))


def _rounded(values: Floats) -> Floats:
    rounded: Floats = np.round(values, _DECIMALS)
    return rounded


def _line(inside: Floats, outside: Floats) -> tuple[float | None, float | None]:
    one, two = inside - inside.mean(), outside - outside.mean()
    spread, other = float(one @ one), float(two @ two)
    if math.sqrt(spread / len(one)) <= 1e-9 * float(np.abs(inside).max()):
        return None, None
    shared = float(one @ two)
    return shared / spread, min(1.0, shared / spread * shared / other) if other > 0.0 else None


def _blocks(bars: int) -> int:
    largest = bars // MINIMUM_MOMENTS
    return max(_FEWEST_BLOCKS, min(_USUAL_BLOCKS, largest - largest % 2))


# Rounded up, so that one above a level never reads as the level itself.
def _up(share: float) -> float:
    return math.ceil(100.0 * share - 1e-9) / 100.0


def _check(returns: Floats, blocks: int | None, metric: str) -> None:
    if returns.ndim != 2:
        raise ConfigError(
            f"returns have shape {returns.shape}: give one row a bar and one column a trial"
        )
    bad = np.argwhere(~np.isfinite(returns))
    if len(bad):
        bar, trial = bad[0]
        raise ConfigError(
            f"returns: bar {bar} of trial {trial} is {returns[bar, trial]}; give finite returns"
        )
    if blocks is not None and (blocks % 2 or not _FEWEST_BLOCKS <= blocks <= _MOST_BLOCKS):
        raise ConfigError(
            f"blocks is {blocks}: give an even number from {_FEWEST_BLOCKS} to {_MOST_BLOCKS}"
        )
    if metric not in get_args(Metric):
        raise ConfigError(f"metric is {metric!r}: give one of {', '.join(get_args(Metric))}")
