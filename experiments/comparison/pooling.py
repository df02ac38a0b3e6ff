"""Scores over symbols and seeds together, and differences of two arms row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from lightning_models.errors import ConfigError
from lightning_models.evaluation.auc import auc_terms
from lightning_models.evaluation.bootstrap import block_length, percentile_interval
from lightning_models.evaluation.comparison import log_losses
from lightning_models.evaluation.moments import Moments, resampled_means
from lightning_models.forecast import LEVELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiments.comparison.trial import TrialResult
    from lightning_models.evaluation import Outcomes

__all__ = ["POOLED", "Measured", "difference", "pooled", "pooled_metrics"]

Floats = npt.NDArray[np.float64]

POOLED: Final = (
    "log_loss",
    "log_loss_gain",
    "auc",
    "directional_accuracy",
    *(f"coverage_{100 * level:.0f}" for level in LEVELS),
)
"""Scores that are pooled. ``log_loss_gain`` is that over the majority class; an AUC is the mean
of the symbols' own, since forecasts of different models do not rank against each other."""


class Measured(BaseModel):
    """A score with the interval that chance leaves it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    value: float
    low: float | None = None
    high: float | None = None


def pooled(
    results: Sequence[TrialResult], *, replications: int = 500, level: float = 0.95
) -> dict[str, Measured]:
    """Return each score over all symbols, the mean over seeds.

    Intervals come from the stationary bootstrap over moments, all symbols of a moment
    together. They say how sure the score is of the market, given these seeds.

    Parameters
    ----------
    results
        Of one arm: one for each symbol and seed.
    replications, level
        Of the bootstrap.

    Returns
    -------
    dict
        By the names of `POOLED`; without those that the outcomes do not define.
    """
    time, columns = _stacked(results)
    overlap = max(one.outcomes.overlap for one in results)
    return _measured(time, columns, overlap, replications, level)


def difference(
    better: Sequence[TrialResult],
    than: Sequence[TrialResult],
    *,
    replications: int = 500,
    level: float = 0.95,
) -> dict[str, Measured]:
    """Return how much more each score is in one arm than in another, on the rows of both.

    Parameters
    ----------
    better, than
        Two arms over the same symbols.
    replications, level
        Of the bootstrap.

    Raises
    ------
    ConfigError
        If the arms have no row in common.
    """
    ours, theirs = _by_symbol(better), _by_symbol(than)
    times, gains = [], []
    for symbol in sorted(set(ours) & set(theirs)):
        time, left, right = np.intersect1d(
            ours[symbol][0], theirs[symbol][0], assume_unique=True, return_indices=True
        )
        times.append(time)
        gains.append(
            {
                name: ours[symbol][1][name][left] - theirs[symbol][1][name][right]
                for name in ours[symbol][1]
                if name in theirs[symbol][1]
            }
        )
    if not sum(len(time) for time in times):
        raise ConfigError("the two arms forecast no bar in common: give both the same candles")
    names = set.intersection(*(set(one) for one in gains))
    columns = {
        name: np.concatenate([one[name] for one in gains]) for name in POOLED if name in names
    }
    overlap = max(one.outcomes.overlap for one in (*better, *than))
    return _measured(np.concatenate(times), columns, overlap, replications, level)


def _stacked(
    results: Sequence[TrialResult],
) -> tuple[npt.NDArray[np.int64], dict[str, Floats]]:
    parts = _by_symbol(results)
    names = set.intersection(*(set(columns) for _, columns in parts.values()))
    return (
        np.concatenate([time for time, _ in parts.values()]),
        {
            name: np.concatenate([columns[name] for _, columns in parts.values()])
            for name in POOLED
            if name in names
        },
    )


def _by_symbol(
    results: Sequence[TrialResult],
) -> dict[str, tuple[npt.NDArray[np.int64], dict[str, Floats]]]:
    # Of each symbol the mean of its seeds, row by row: seeds share their rows.
    found: dict[str, tuple[npt.NDArray[np.int64], dict[str, Floats]]] = {}
    for symbol in sorted({one.symbol for one in results}):
        terms = [_terms(one.outcomes) for one in results if one.symbol == symbol]
        time = terms[0][0]
        names = set.intersection(*(set(columns) for _, columns in terms))
        found[symbol] = (
            time,
            {name: np.mean([columns[name] for _, columns in terms], axis=0) for name in names},
        )
    return found


def _terms(outcomes: Outcomes) -> tuple[npt.NDArray[np.int64], dict[str, Floats]]:
    # What each row that moved adds to the mean that is the score.
    moved = outcomes.actual != 0.0
    up = outcomes.actual[moved] > 0.0
    probability = outcomes.probability_up[moved]
    loss = log_losses(probability, up)
    majority = log_losses(np.full(len(up), outcomes.base_rate), up)
    terms: dict[str, Floats] = {
        "log_loss": loss,
        "log_loss_gain": majority - loss,
        "directional_accuracy": ((probability >= 0.5) == up).astype(np.float64),
    }
    area = auc_terms(probability, up)
    if area is not None:
        terms["auc"] = area
    if outcomes.bounds is not None:
        actual, bounds = outcomes.actual[moved], outcomes.bounds[moved]
        for column, asked in enumerate(LEVELS):
            inside = (actual >= bounds[:, column, 0]) & (actual <= bounds[:, column, 1])
            terms[f"coverage_{100 * asked:.0f}"] = inside.astype(np.float64)
    return outcomes.time[moved], terms


def _measured(
    time: npt.NDArray[np.int64],
    columns: dict[str, Floats],
    overlap: int,
    replications: int,
    level: float,
) -> dict[str, Measured]:
    moments = Moments(time)
    stacked = np.stack(list(columns.values()), axis=1)
    block = block_length(moments.means(columns["log_loss"]), minimum=overlap)
    means = resampled_means(moments, stacked, block=block, replications=replications, seed=0)
    found = {}
    for name, column, replicates in zip(columns, stacked.T, means.T, strict=True):
        low, high = percentile_interval(replicates, level) or (None, None)
        found[name] = Measured(value=float(column.mean()), low=low, high=high)
    return found


def pooled_metrics(label: str, scores: dict[str, Measured]) -> dict[str, float | None]:
    """Return scores as MLflow's metrics: ``label/log_loss_low`` and so on."""
    return {
        f"{label}/{name}{bound}": value
        for name, one in scores.items()
        for bound, value in (("", one.value), ("_low", one.low), ("_high", one.high))
    }
