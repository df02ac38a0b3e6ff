"""Conformal bounds: the network's quantiles, moved until they hold what they promise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, model_validator

from lightning_models.errors import TrainingError
from lightning_models.forecast import LEVELS

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "MAX_OFFSET",
    "SCORES_KEPT",
    "ConformalIntervals",
    "bounds_of",
    "conformal_offset",
    "conformity_scores",
    "fit_intervals",
]

# In units of trailing volatility: no outcome worth planning for lies further out, and a picture
# can still show it.
MAX_OFFSET: Final = 20.0

# Enough for the tail that a 95 % bound needs, few enough for a manifest that people read.
SCORES_KEPT: Final = 500

Floats = npt.NDArray[np.float64]


class ConformalIntervals(BaseModel):
    r"""Offsets that make bounds hold a stated share of outcomes, for each horizon.

    Conformalised quantile regression (Romano, Patterson and Candès, 2019). With the network's
    10 % and 90 % quantile :math:`q_{lo}, q_{hi}`, its score on an outcome :math:`y` is
    :math:`E = \max(q_{lo} - y,\, y - q_{hi})`; the offset :math:`Q` at level :math:`1 - \alpha`
    is the :math:`\lceil (n + 1)(1 - \alpha) \rceil`-th smallest of the calibration slice's
    :math:`n` scores, and the bounds are :math:`[q_{lo} - Q,\, q_{hi} + Q]`. All of it is
    measured in trailing volatility times the root of the horizon in candles.

    The share is promised for outcomes exchangeable with the calibration slice's. Under drift
    nothing is: `AdaptiveIntervals` follows it.

    Parameters
    ----------
    levels
        Shares, ascending.
    offsets
        ``[H, level]``. A wider level's is never smaller, so its bounds hold the narrower ones.
    capped
        How many of the offsets would be infinite, for want of scores, and are `MAX_OFFSET`.
    samples
        Scores that each horizon's offsets come from.
    scores
        ``[H, n]``, at most `SCORES_KEPT` of them, evenly spread over the slice and in order of
        time: where adaptive intervals start from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    levels: tuple[float, ...] = Field(default=LEVELS, min_length=1)
    offsets: tuple[tuple[float, ...], ...]
    capped: NonNegativeInt
    samples: NonNegativeInt
    scores: tuple[tuple[float, ...], ...]

    @model_validator(mode="after")
    def _fits_together(self) -> ConformalIntervals:
        if self.levels != LEVELS:
            raise ValueError(f"levels are {self.levels}; this release reads {LEVELS}")
        if len(self.scores) != len(self.offsets):
            raise ValueError(f"{len(self.scores)} rows of scores, {len(self.offsets)} of offsets")
        for row in self.offsets:
            if len(row) != len(self.levels) or list(row) != sorted(row):
                raise ValueError(f"offsets {row} do not rise with the levels {self.levels}")
        return self

    def bounds(self, quantiles: Floats, unit: Floats) -> Floats:
        """Return lower and upper bound of the return at each level.

        Parameters
        ----------
        quantiles
            ``float64 [N, H, 3]``, of the return, fractions.
        unit
            ``float64 [N, H]``, trailing volatility times the root of the horizon in candles.

        Returns
        -------
        numpy.ndarray
            ``float64 [N, H, level, 2]``, fractions. No lower bound lies above the median or
            under -1, no upper one below the median.
        """
        return bounds_of(quantiles, unit, np.array(self.offsets))


def bounds_of(quantiles: Floats, unit: Floats, offsets: Floats) -> Floats:
    """Return quantiles moved outwards by offsets.

    Parameters
    ----------
    quantiles
        ``float64 [..., 3]``, of the return, fractions.
    unit
        ``float64 [...]``, of the offsets, fractions of the price.
    offsets
        ``float64 [..., level]``; a negative one moves inwards, to the median at most.

    Returns
    -------
    numpy.ndarray
        ``float64 [..., level, 2]``.

    Examples
    --------
    >>> quantiles = np.array([-0.01, 0.0, 0.02])
    >>> bounds_of(quantiles, np.array(0.01), np.array([-3.0, 0.5])).tolist()
    [[0.0, 0.0], [-0.015, 0.025]]
    """
    low, median, high = (quantiles[..., column, None] for column in range(3))
    moved = offsets * unit[..., None]
    # What is worth nothing cannot fall further.
    lower = np.maximum(np.minimum(low - moved, median), -1.0)
    return np.stack([lower, np.maximum(high + moved, median)], axis=-1)


def conformity_scores(quantiles: Floats, outcomes: Floats) -> Floats:
    """Return how far each outcome lies beyond its quantiles; negative inside them.

    Parameters
    ----------
    quantiles
        ``float64 [..., 3]``.
    outcomes
        ``float64 [...]``, in the same unit.

    Examples
    --------
    >>> quantiles = np.array([[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]])
    >>> conformity_scores(quantiles, np.array([1.5, 0.25])).tolist()
    [0.5, -0.75]
    """
    scores: Floats = np.maximum(quantiles[..., 0] - outcomes, outcomes - quantiles[..., 2])
    return scores


def conformal_offset(ascending: Sequence[float], level: float) -> tuple[float, bool]:
    """Return the offset at a level, and whether it had to be capped.

    Parameters
    ----------
    ascending
        Scores from the smallest to the largest.
    level
        Any number; at 1 and above every bound is too narrow to be sure of.

    Returns
    -------
    tuple
        The ``ceil((n + 1) * level)``-th smallest score. Where there is no such score the offset
        is infinite, and `MAX_OFFSET` stands for it; so it does for a score beyond it.

    Examples
    --------
    >>> conformal_offset([0.1, 0.2, 0.3, 0.4], 0.8)
    (0.4, False)
    >>> conformal_offset([0.1, 0.2, 0.3, 0.4], 0.95)
    (20.0, True)
    """
    count = len(ascending)
    # (n + 1) * level is often meant to be whole, which rounding errors must not take to the next.
    rank = max(1, math.ceil(round((count + 1) * level, 9)))
    if rank > count or ascending[rank - 1] > MAX_OFFSET:
        return MAX_OFFSET, True
    return ascending[rank - 1], False


def fit_intervals(quantiles: Floats, outcomes: Floats) -> ConformalIntervals:
    """Find the offsets on a calibration slice.

    Parameters
    ----------
    quantiles
        ``float64 [N, H, 3]``, as the network gives them: over trailing volatility times the
        root of the horizon.
    outcomes
        ``float64 [N, H]``, returns in the same unit, in order of time.

    Raises
    ------
    TrainingError
        If a quantile or an outcome is not finite.
    """
    if not (np.isfinite(quantiles).all() and np.isfinite(outcomes).all()):
        raise TrainingError(
            "the calibration slice holds quantiles or returns that are not finite: the network's "
            "weights are broken. Train again with a lower learning rate "
            "(--set training.learning_rate=…)"
        )
    scores = conformity_scores(quantiles, outcomes)
    count, horizons = scores.shape
    kept = np.unique(np.linspace(0, max(0, count - 1), min(count, SCORES_KEPT)).round().astype(int))
    offsets, capped = [], 0
    for column in range(horizons):
        ascending = np.sort(scores[:, column]).tolist()
        found = [conformal_offset(ascending, level) for level in LEVELS]
        offsets.append(tuple(offset for offset, _ in found))
        capped += sum(was_capped for _, was_capped in found)
    return ConformalIntervals(
        offsets=tuple(offsets),
        capped=capped,
        samples=count,
        scores=tuple(tuple(scores[kept, column].tolist()) for column in range(horizons)),
    )
