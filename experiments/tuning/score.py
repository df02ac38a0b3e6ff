"""What a trial is worth: a score and the returns of each fold, and of all folds together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from experiments.tuning.held_positions import HeldPositions

__all__ = ["FoldScore", "TrialScore", "averaged", "joined"]

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FoldScore:
    """What a fold of a trial came to, on candles that its model had not seen.

    Parameters
    ----------
    fold
        Its number, from 1.
    seed
        Of the fit.
    values
        One for each objective.
    time
        ``int64 [T]``, stamps of the bars, milliseconds, rising.
    returns
        ``float64 [T]``, of each bar (fraction), the mean over the symbols.
    market
        ``float64 [T]``, of buy-and-hold over the same bars, the mean over the symbols.
    metrics
        What MLflow is told beside the values.
    epochs
        ``float [E]``, log-loss of each epoch that was trained, on the validation slice or, without
        one, on the train slice; empty where the fit was kept from before, or has no epochs.
    trades
        Closed trades; 0 where nothing is traded.
    held
        Positions of each symbol; empty where nobody told them.
    """

    fold: int
    seed: int
    values: tuple[float, ...]
    time: Times
    returns: Floats
    market: Floats
    metrics: dict[str, float] = field(default_factory=dict)
    epochs: tuple[float, ...] = ()
    trades: int = 0
    held: tuple[HeldPositions, ...] = ()


@dataclass(frozen=True, eq=False)
class TrialScore:
    """What a trial came to over its folds and seeds.

    Parameters
    ----------
    values
        One for each objective: the mean over the folds, made worse by their dispersion.
    folds
        In order of fold and seed.
    """

    values: tuple[float, ...]
    folds: tuple[FoldScore, ...]

    def series(self) -> tuple[Times, Floats, Floats]:
        """Return the stamps, returns and market returns of all folds, seeds averaged.

        Returns
        -------
        tuple
            ``int64 [T]``, ``float64 [T]`` and ``float64 [T]``; stamps rise.
        """
        return joined(self.folds)

    @property
    def epochs(self) -> int:
        """How many epochs were trained."""
        return sum(len(one.epochs) for one in self.folds)

    @property
    def trades(self) -> int:
        """Closed trades of all folds and seeds."""
        return sum(one.trades for one in self.folds)


def joined(folds: Sequence[FoldScore]) -> tuple[Times, Floats, Floats]:
    """Return the stamps, returns and market returns of folds as one series.

    Parameters
    ----------
    folds
        Of one trial. Bars that several of them have, as those of several seeds do, are
        averaged.

    Returns
    -------
    tuple
        ``int64 [T]``, ``float64 [T]`` and ``float64 [T]``; stamps rise.
    """
    return averaged([(one.time, one.returns, one.market) for one in folds])


def averaged(series: Sequence[tuple[Times, Floats, Floats]]) -> tuple[Times, Floats, Floats]:
    """Return series as one, each bar the mean over those that have it.

    Parameters
    ----------
    series
        Of each the stamps, the returns and the market's.

    Returns
    -------
    tuple
        ``int64 [T]``, ``float64 [T]`` and ``float64 [T]``; stamps rise.

    Examples
    --------
    >>> first = np.array([1, 2]), np.array([0.1, 0.2]), np.zeros(2)
    >>> second = np.array([2, 3]), np.array([0.4, 0.3]), np.zeros(2)
    >>> [part.round(6).tolist() for part in averaged([first, second])[:2]]
    [[1, 2, 3], [0.1, 0.3, 0.3]]
    """
    if not series:
        nothing = np.zeros(0)
        return np.zeros(0, dtype=np.int64), nothing, nothing.copy()
    stamps, returns, market = (np.concatenate(parts) for parts in zip(*series, strict=True))
    time, places = np.unique(stamps, return_inverse=True)
    count = np.bincount(places, minlength=len(time))
    means = [
        np.bincount(places, weights=parts, minlength=len(time)) / count
        for parts in (returns, market)
    ]
    return time, means[0], means[1]
