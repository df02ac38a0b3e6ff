"""A model beside the baselines: each score, the difference, and whether chance explains it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from lightning_models.errors import ConfigError
from lightning_models.evaluation.auc import auc_terms
from lightning_models.evaluation.bootstrap import (
    MINIMUM_MOMENTS,
    block_length,
    percentile_interval,
)
from lightning_models.evaluation.diebold_mariano import diebold_mariano, holm
from lightning_models.evaluation.moments import Moments, resampled_means

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_models.evaluation.outcomes import Outcomes

__all__ = ["GAINS", "BaselineForecasts", "Comparison", "compare", "log_losses"]

Floats = npt.NDArray[np.float64]

Gain = Literal["log_loss", "auc", "directional_accuracy", "brier", "squared_error", "pinball"]

GAINS: Final[tuple[Gain, ...]] = (
    "log_loss",
    "auc",
    "directional_accuracy",
    "brier",
    "squared_error",
    "pinball",
)
"""The scores of a baseline, each with a ``_gain`` that has a ``_low`` and a ``_high``."""

_HIGHER_IS_BETTER: Final = ("auc", "directional_accuracy")
_TESTED: Final[tuple[Gain, ...]] = ("log_loss", "squared_error", "pinball")
_OF_DIRECTION: Final[tuple[Gain, ...]] = ("log_loss", "auc", "directional_accuracy", "brier")


@dataclass(frozen=True, eq=False)
class BaselineForecasts:
    """What a baseline says of the rows of an `Outcomes`.

    Parameters
    ----------
    name
        Such as ``logistic-regression``.
    probability_up
        ``float64 [N]``.
    predicted
        ``float64 [N]``, median of the return (fraction).
    """

    name: str
    probability_up: Floats
    predicted: Floats


class Comparison(BaseModel):
    """A baseline's scores, and how much better the model's are.

    Every gain is above zero where the model is better. Scores of the direction are over
    rows that moved, scores of the change over all rows. A figure is None where the data does
    not define it or has too few moments for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    n: int
    """Rows that moved."""
    block_length: int | None = None
    """Mean block of the bootstrap in moments."""

    log_loss: float | None = None
    """In nats."""
    log_loss_gain: float | None = None
    log_loss_gain_low: float | None = None
    log_loss_gain_high: float | None = None
    log_loss_p: float | None = None
    """Diebold-Mariano, two-sided, of this comparison alone."""
    log_loss_p_corrected: float | None = None
    """The same after Holm's correction for all baselines compared with."""

    auc: float | None = None
    auc_gain: float | None = None
    auc_gain_low: float | None = None
    auc_gain_high: float | None = None

    directional_accuracy: float | None = None
    directional_accuracy_gain: float | None = None
    directional_accuracy_gain_low: float | None = None
    directional_accuracy_gain_high: float | None = None

    brier: float | None = None
    brier_gain: float | None = None
    brier_gain_low: float | None = None
    brier_gain_high: float | None = None

    squared_error: float | None = None
    """Of the median against the return (fractions squared)."""
    squared_error_gain: float | None = None
    squared_error_gain_low: float | None = None
    squared_error_gain_high: float | None = None
    squared_error_p: float | None = None
    squared_error_p_corrected: float | None = None

    pinball: float | None = None
    """Of the median: half the absolute error (a fraction)."""
    pinball_gain: float | None = None
    pinball_gain_low: float | None = None
    pinball_gain_high: float | None = None
    pinball_p: float | None = None
    pinball_p_corrected: float | None = None

    beaten: bool = False
    """Whether the model's log-loss is smaller by the bootstrap's interval and by the
    corrected Diebold-Mariano test alike."""


def compare(
    outcomes: Outcomes,
    baselines: Sequence[BaselineForecasts],
    *,
    seed: int = 0,
    replications: int = 500,
    level: float = 0.95,
) -> tuple[Comparison, ...]:
    """Compare a model with baselines that forecast the same rows.

    Intervals of the differences come from the stationary bootstrap over moments, blocks at
    least as long as the labels overlap; p-values from Diebold & Mariano (1995). The p-values
    of one loss are corrected together for the number of baselines (Holm 1979).

    Parameters
    ----------
    outcomes
        The model's forecasts and what followed.
    baselines
        In the order of the result.
    seed, replications, level
        As `evaluate` takes them.

    Returns
    -------
    tuple of Comparison

    Raises
    ------
    ConfigError
        If a baseline's rows are not those of the outcomes.
    """
    found = [
        _compared(outcomes, one, seed=seed, replications=replications, level=level)
        for one in baselines
    ]
    for loss in _TESTED:
        corrected = holm([one[f"{loss}_p"] for one in found])
        for one, p in zip(found, corrected, strict=True):
            one[f"{loss}_p_corrected"] = p
    return tuple(
        Comparison.model_validate(
            {
                "name": baseline.name,
                "n": int(np.sum(outcomes.actual != 0.0)),
                "beaten": _beaten(one, level),
                **one,
            }
        )
        for baseline, one in zip(baselines, found, strict=True)
    )


def log_losses(probability: Floats, up: npt.NDArray[np.bool_]) -> Floats:
    """Return the negative log-likelihood of each row, in nats."""
    tiny = float(np.finfo(np.float64).eps)
    chosen: Floats = np.where(up, probability, 1.0 - probability)
    return -np.log(np.clip(chosen, tiny, 1.0))


def _compared(
    outcomes: Outcomes,
    baseline: BaselineForecasts,
    *,
    seed: int,
    replications: int,
    level: float,
) -> dict[str, float | None]:
    if not len(baseline.probability_up) == len(baseline.predicted) == len(outcomes):
        raise ConfigError(
            f"{baseline.name} forecasts {len(baseline.probability_up)} rows of {len(outcomes)}: "
            "give a forecast for each"
        )
    moved = outcomes.actual != 0.0
    found: dict[str, float | None] = {f"{loss}_p": None for loss in _TESTED}
    for rows, names in (
        (moved, _OF_DIRECTION),
        (np.ones(len(outcomes), dtype=bool), ("squared_error", "pinball")),
    ):
        if not rows.any():
            continue
        time, actual = outcomes.time[rows], outcomes.actual[rows]
        ours = _terms(outcomes.probability_up[rows], outcomes.predicted[rows], actual)
        theirs = _terms(baseline.probability_up[rows], baseline.predicted[rows], actual)
        kept = [name for name in names if name in ours]
        gains = np.stack(
            [
                (ours[name] - theirs[name]) * (1.0 if name in _HIGHER_IS_BETTER else -1.0)
                for name in kept
            ],
            axis=1,
        )
        for name, gain in zip(kept, gains.T, strict=True):
            found[name] = float(theirs[name].mean())
            found[f"{name}_gain"] = float(gain.mean())
            if name in _TESTED:
                test = diebold_mariano(ours[name], theirs[name], time, overlap=outcomes.overlap)
                found[f"{name}_p"] = test.p_value
        moments = Moments(time)
        if len(moments) < MINIMUM_MOMENTS:
            continue
        block = block_length(moments.means(gains[:, 0]), minimum=outcomes.overlap)
        if names is _OF_DIRECTION:
            found["block_length"] = block
        means = resampled_means(moments, gains, block=block, replications=replications, seed=seed)
        for name, replicates in zip(kept, means.T, strict=True):
            bounds = percentile_interval(replicates, level)
            if bounds is not None:
                found[f"{name}_gain_low"], found[f"{name}_gain_high"] = bounds
    return found


def _terms(probability: Floats, predicted: Floats, actual: Floats) -> dict[str, Floats]:
    # What each row adds to the mean that is the score.
    up = actual > 0.0
    terms: dict[str, Floats] = {
        "log_loss": log_losses(probability, up),
        "directional_accuracy": ((probability >= 0.5) == up).astype(np.float64),
        "brier": np.square(probability - up),
        "squared_error": np.square(predicted - actual),
        "pinball": np.abs(predicted - actual) / 2.0,
    }
    area = auc_terms(probability, up)
    return terms if area is None else terms | {"auc": area}


def _beaten(found: dict[str, float | None], level: float) -> bool:
    low, p = found.get("log_loss_gain_low"), found["log_loss_p_corrected"]
    return low is not None and low > 0.0 and p is not None and p <= 1.0 - level
