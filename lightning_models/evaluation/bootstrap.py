"""Stationary bootstrap: how far a statistic of dependent data could be off by chance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MINIMUM_MOMENTS", "block_length", "percentile_interval", "resampled_counts"]

MINIMUM_MOMENTS = 30
"""Fewer moments than this give no interval: there is nothing to resample."""

# Rows of counts held at once, so that memory does not grow with the number of replications.
_BATCH = 50


def block_length(series: npt.NDArray[np.float64], *, minimum: int = 1) -> int:
    """Return the mean block length at which a series is resampled.

    The automatic choice of Politis & White (2004) as corrected by Patton, Politis & White
    (2009), rounded up.

    Parameters
    ----------
    series
        ``float64 [T]``, the statistic's contribution at each moment, in order of time.
    minimum
        A lower bound, such as the number of forecasts whose labels overlap.

    Returns
    -------
    int
        At least 1 and `minimum`, at most a third of the series.

    Examples
    --------
    >>> block_length(np.zeros(100), minimum=6)
    6
    """
    length = len(series)
    longest = max(1, length // 3)
    if length < MINIMUM_MOMENTS or np.ptp(series) <= 1e-12 * np.abs(series).max():
        return min(max(1, minimum), longest)
    from arch.bootstrap import optimal_block_length  # takes a second to import

    # The length does not depend on the unit, but squares of tiny numbers would vanish.
    scaled = series / np.abs(series).max()
    with np.errstate(divide="ignore", invalid="ignore"):
        automatic = float(optimal_block_length(scaled)["stationary"].iloc[0])
    if not math.isfinite(automatic):
        automatic = 1.0
    return min(max(1, minimum, math.ceil(automatic)), longest)


def resampled_counts(
    length: int, *, block: int, replications: int, seed: int
) -> Iterator[npt.NDArray[np.float64]]:
    """Yield how often each moment occurs in each replicate of the stationary bootstrap.

    Blocks start anywhere, wrap around and have geometric lengths (Politis & Romano 1994). A
    statistic made of sums over moments needs these counts alone: ``counts @ sums``.

    Parameters
    ----------
    length
        Number of moments, T.
    block
        Mean block length.
    replications
        Number of replicates in all.
    seed
        Seed of the random numbers; the same seed gives the same counts.

    Yields
    ------
    numpy.ndarray
        ``float64 [B, T]``, batches of replicates; every row sums to T.

    Examples
    --------
    >>> batches = list(resampled_counts(40, block=4, replications=70, seed=0))
    >>> [batch.shape for batch in batches], float(batches[0][0].sum())
    ([(50, 40), (20, 40)], 40.0)
    """
    from arch.bootstrap import StationaryBootstrap  # takes a second to import

    sampler = StationaryBootstrap(block, np.arange(length), seed=np.random.default_rng(seed))
    counts = np.empty((min(_BATCH, replications), length))
    filled = 0
    for data, _ in sampler.bootstrap(replications):
        counts[filled] = np.bincount(data[0], minlength=length)
        filled += 1
        if filled == len(counts):
            yield counts
            counts = np.empty_like(counts)
            filled = 0
    if filled:
        yield counts[:filled]


def percentile_interval(
    replicates: npt.NDArray[np.float64], level: float
) -> tuple[float, float] | None:
    """Return the central interval that holds `level` of the replicates.

    Parameters
    ----------
    replicates
        ``float64 [R]``; not-a-number where a replicate left the statistic undefined.
    level
        Such as 0.95.

    Returns
    -------
    tuple of float or None
        Lower and upper bound, or None where more than one replicate in twenty is undefined.

    Examples
    --------
    >>> [round(bound, 6) for bound in percentile_interval(np.arange(101.0), 0.90)]
    [5.0, 95.0]
    """
    defined = replicates[np.isfinite(replicates)]
    if len(defined) < 0.95 * len(replicates) or not len(defined):
        return None
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(defined, [tail, 1.0 - tail])
    return float(low), float(high)
