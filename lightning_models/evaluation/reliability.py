"""Reliability: whether what was given a probability of 0.6 happens six times in ten."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

__all__ = ["ReliabilityBin", "bin_of", "reliability_bins", "wilson_interval"]


class ReliabilityBin(BaseModel):
    """Forecasts of similar probability and how often they came true."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    count: int
    """Number of forecasts in the bin."""
    predicted: float
    """Mean of their probabilities."""
    observed: float
    """Share of them that went up."""
    low: float
    """Lower bound of the share's Wilson interval."""
    high: float
    """Upper bound of the share's Wilson interval."""


def wilson_interval(successes: int, count: int, level: float = 0.95) -> tuple[float, float]:
    """Return the score interval of a share (Wilson 1927).

    It takes the trials for independent; where labels overlap or symbols move together it is
    too narrow.

    Parameters
    ----------
    successes
        How many came true.
    count
        Out of how many, at least 1.
    level
        Confidence, such as 0.95.

    Returns
    -------
    tuple of float
        Lower and upper bound, within [0, 1].

    Examples
    --------
    >>> [round(bound, 4) for bound in wilson_interval(0, 10)]
    [0.0, 0.2775]
    """
    z = NormalDist().inv_cdf(0.5 + level / 2.0)
    share = successes / count
    shrink = 1.0 + z * z / count
    centre = (share + z * z / (2.0 * count)) / shrink
    spread = z / shrink * math.sqrt(share * (1.0 - share) / count + z * z / (4.0 * count * count))
    return max(0.0, centre - spread), min(1.0, centre + spread)


def bin_of(probability: npt.NDArray[np.float64], bins: int = 10) -> npt.NDArray[np.int64]:
    """Return the bin that each probability falls into, bins holding about equal counts.

    Honest probabilities of a market's direction crowd around one half, where bins of equal
    width would put nearly all of them into one. Equal probabilities share a bin, so there
    may be fewer than `bins`.

    Parameters
    ----------
    probability
        ``float64 [N]``.
    bins
        How many bins at most.

    Returns
    -------
    numpy.ndarray
        ``int64 [N]``, numbered from 0 in order of probability, none empty.

    Examples
    --------
    >>> bin_of(np.array([0.1, 0.9, 0.2, 0.8]), bins=2).tolist()
    [0, 1, 0, 1]
    """
    edges = np.unique(np.quantile(probability, np.linspace(0.0, 1.0, bins + 1)[1:-1]))
    raw = np.searchsorted(edges, probability, side="right")
    return np.unique(raw, return_inverse=True)[1].astype(np.int64)


def reliability_bins(
    probability_up: npt.NDArray[np.float64],
    went_up: npt.NDArray[np.bool_],
    *,
    bins: int = 10,
    level: float = 0.95,
) -> tuple[ReliabilityBin, ...]:
    """Return the bins of a reliability diagram, lowest probability first.

    Parameters
    ----------
    probability_up
        ``float64 [N]``.
    went_up
        ``bool [N]``, rows without movement left out.
    bins
        How many bins at most, of about equal counts.
    level
        Confidence of the Wilson intervals.

    Returns
    -------
    tuple of ReliabilityBin
        Empty where there are no forecasts.
    """
    if not len(probability_up):
        return ()
    index = bin_of(probability_up, bins)
    counts = np.bincount(index)
    predicted = np.bincount(index, weights=probability_up) / counts
    ups = np.bincount(index, weights=went_up)
    rows = []
    for count, mean, successes in zip(counts, predicted, ups, strict=True):
        low, high = wilson_interval(int(successes), int(count), level)
        rows.append(
            ReliabilityBin(
                count=int(count),
                predicted=float(mean),
                observed=float(successes / count),
                low=low,
                high=high,
            )
        )
    return tuple(rows)
