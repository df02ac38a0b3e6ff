"""Coverage: what share of outcomes the bounds held, against the share they were asked to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from lightning_models.evaluation.bootstrap import (
    MINIMUM_MOMENTS,
    block_length,
    percentile_interval,
    resampled_counts,
)
from lightning_models.evaluation.reliability import wilson_interval
from lightning_models.forecast import LEVELS

if TYPE_CHECKING:
    from lightning_models.evaluation.outcomes import Outcomes

__all__ = [
    "Coverage",
    "RollingCoverage",
    "coverage_metrics",
    "coverage_sentence",
    "measure_coverage",
    "rolling_coverage",
]

Floats = npt.NDArray[np.float64]


class Coverage(BaseModel):
    """The share of outcomes that bounds of one level held."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    asked: float
    """Share the bounds were made for."""
    got: float
    """Share of outcomes on or inside them."""
    low: float | None = None
    """Lower bound of `got`'s interval, None with too few moments."""
    high: float | None = None
    above: float
    """Share of outcomes above the upper bound; below the lower one lies the rest."""
    width: float
    """Median distance between the bounds, a fraction of the price."""
    n: int
    """Forecasts."""
    moments: int
    """Distinct times among them; what the bootstrap resamples."""
    level: float
    """Confidence of the interval."""


@dataclass(frozen=True, eq=False)
class RollingCoverage:
    """Coverage of the newest forecasts, moment by moment.

    Parameters
    ----------
    time
        ``int64 [M]``, the last moment of each stretch, milliseconds.
    got
        ``float64 [M]``, share of the stretch's outcomes inside the bounds.
    low, high
        ``float64 [M]``, its Wilson interval.
    window
        Moments of a stretch.
    """

    time: npt.NDArray[np.int64]
    got: Floats
    low: Floats
    high: Floats
    window: int


def measure_coverage(
    outcomes: Outcomes, *, seed: int = 0, replications: int = 500, level: float = 0.95
) -> tuple[Coverage, ...]:
    """Return the coverage at each of `LEVELS`, with the interval that chance leaves it.

    Intervals come from the stationary bootstrap (Politis & Romano 1994) over moments, all
    symbols of a moment together, in blocks of at least ``outcomes.overlap``.

    Parameters
    ----------
    outcomes
        Forecasts with bounds and the returns that followed. A return of exactly zero counts:
        bounds hold it or they don't.
    seed
        Of the bootstrap.
    replications
        Of the bootstrap.
    level
        Confidence of the intervals, such as 0.95.

    Returns
    -------
    tuple of Coverage
        Empty where there are no bounds or no forecasts.
    """
    if outcomes.bounds is None or not len(outcomes):
        return ()
    moment, inside = _by_moment(outcomes)
    counts = np.bincount(moment).astype(np.float64)
    found = []
    for column, asked in enumerate(LEVELS):
        hits = np.bincount(moment, weights=inside[:, column]).astype(np.float64)
        bounds = outcomes.bounds[:, column]
        interval = _interval(hits, counts, asked, outcomes.overlap, seed, replications, level)
        found.append(
            Coverage(
                asked=asked,
                got=float(hits.sum() / counts.sum()),
                low=None if interval is None else interval[0],
                high=None if interval is None else interval[1],
                above=float(np.mean(outcomes.actual > bounds[:, 1])),
                width=float(np.median(bounds[:, 1] - bounds[:, 0])),
                n=len(outcomes),
                moments=len(counts),
                level=level,
            )
        )
    return tuple(found)


def coverage_metrics(coverages: tuple[Coverage, ...]) -> dict[str, float | None]:
    """Return coverages as metrics: ``test/coverage_80``, ``_low``, ``_high``, and for 95.

    Examples
    --------
    >>> coverage_metrics(())
    {}
    """
    metrics: dict[str, float | None] = {}
    for one in coverages:
        name = f"test/coverage_{100 * one.asked:.0f}"
        metrics |= {name: one.got, f"{name}_low": one.low, f"{name}_high": one.high}
    return metrics


def coverage_sentence(coverages: tuple[Coverage, ...]) -> str:
    """Return coverage asked and got in words; empty without any.

    Examples
    --------
    >>> one = Coverage(asked=0.8, got=0.75, low=0.73, high=0.77, above=0.12, width=0.02, n=900,
    ...                moments=900, level=0.95)
    >>> coverage_sentence((one,))
    'Bounds made for 80% of outcomes held 75.0% (95% interval 73.0% to 77.0%): too few.'
    """
    sentences = []
    for one in coverages:
        if one.low is None or one.high is None:
            chance = "too few forecasts for an interval"
            judged = "."
        else:
            chance = f"{one.level:.0%} interval {one.low:.1%} to {one.high:.1%}"
            judged = (
                ": too few."
                if one.high < one.asked
                else ": more than asked."
                if one.low > one.asked
                else ", as asked."
            )
        sentences.append(
            f"Bounds made for {one.asked:.0%} of outcomes held {one.got:.1%} ({chance}){judged}"
        )
    return " ".join(sentences)


def rolling_coverage(
    outcomes: Outcomes, *, window: int = 250, level: float = 0.95
) -> tuple[RollingCoverage, ...]:
    """Return how coverage went over time, at each of `LEVELS`.

    Parameters
    ----------
    outcomes
        Forecasts with bounds.
    window
        Moments of a stretch; where there are fewer, a stretch is all of them.
    level
        Confidence of the Wilson band. It takes outcomes for independent: too narrow where
        labels overlap or symbols move together.

    Returns
    -------
    tuple of RollingCoverage
        Empty where there are no bounds or no forecasts. Each point looks back only.
    """
    if outcomes.bounds is None or not len(outcomes):
        return ()
    moment, inside = _by_moment(outcomes)
    time = np.unique(outcomes.time)
    window = min(window, len(time))
    counts = _rolling_sum(np.bincount(moment).astype(np.float64), window)
    found = []
    for column in range(len(LEVELS)):
        held = np.bincount(moment, weights=inside[:, column]).astype(np.float64)
        hits = _rolling_sum(held, window)
        band = np.array(
            [
                wilson_interval(round(hit), round(count), level)
                for hit, count in zip(hits, counts, strict=True)
            ]
        )
        found.append(
            RollingCoverage(
                time=time[window - 1 :],
                got=hits / counts,
                low=band[:, 0],
                high=band[:, 1],
                window=window,
            )
        )
    return tuple(found)


def _by_moment(outcomes: Outcomes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    # Each row's moment, and whether each level's bounds held it.
    assert outcomes.bounds is not None
    moment = np.unique(outcomes.time, return_inverse=True)[1].astype(np.int64)
    actual = outcomes.actual[:, None]
    inside = (outcomes.bounds[..., 0] <= actual) & (actual <= outcomes.bounds[..., 1])
    return moment, inside


def _interval(
    hits: Floats,
    counts: Floats,
    asked: float,
    overlap: int,
    seed: int,
    replications: int,
    level: float,
) -> tuple[float, float] | None:
    if len(counts) < MINIMUM_MOMENTS:
        return None
    block = block_length(hits - asked * counts, minimum=overlap)
    shares = [
        (drawn @ hits) / (drawn @ counts)
        for drawn in resampled_counts(
            len(counts), block=block, replications=replications, seed=seed
        )
    ]
    return percentile_interval(np.concatenate(shares), level)


def _rolling_sum(values: Floats, window: int) -> Floats:
    total = np.concatenate([[0.0], np.cumsum(values)])
    sums: Floats = total[window:] - total[:-window]
    return sums
