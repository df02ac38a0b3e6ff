"""What a fused score is worth as a probability, fitted on a slice of its own."""

from __future__ import annotations

from typing import Final, overload

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from lightning_models.calibration import (
    MAX_BIAS,
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    DirectionCalibration,
    fit_direction_calibration,
)
from lightning_models.errors import ConfigError

__all__ = ["MIN_OUTCOMES", "ScoreCalibration", "fit_score_calibration"]

Floats = npt.NDArray[np.float64]

# Fewer give a slope whose standard error is as large as any slope seen in practice.
MIN_OUTCOMES: Final = 100


class ScoreCalibration(BaseModel):
    """P(up) = sigmoid(score / temperature + bias).

    Parameters
    ----------
    temperature
        From 0.25 to 20: the slope is never negative, so a higher score never means a lower
        P(up).
    bias
        In logits: the market's own drift.
    no_skill
        True where the temperature lies at its upper bound: the score says nothing.
    outcomes
        How many it was fitted on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    temperature: float = Field(ge=MIN_TEMPERATURE, le=MAX_TEMPERATURE)
    bias: float = Field(ge=-MAX_BIAS, le=MAX_BIAS)
    no_skill: bool
    outcomes: int = Field(ge=MIN_OUTCOMES)

    @overload
    def probability_up(self, score: float) -> float: ...
    @overload
    def probability_up(self, score: Floats) -> Floats: ...
    def probability_up(self, score: float | Floats) -> float | Floats:
        """Return the calibrated probability that the return is above zero; NaN for NaN."""
        calibration = DirectionCalibration(temperature=self.temperature, bias=self.bias)
        probability = calibration.probability(np.asarray(score, dtype=np.float64))
        return probability if isinstance(score, np.ndarray) else float(probability)

    @overload
    def confidence(self, score: float) -> float: ...
    @overload
    def confidence(self, score: Floats) -> Floats: ...
    def confidence(self, score: float | Floats) -> float | Floats:
        """Return the calibrated probability that a score's own direction is right.

        P(up) of a positive score, P(down) of a negative one: below one half where the market's
        drift outweighs the score. NaN for a score of 0, which takes no side, and for NaN.
        """
        scores = np.asarray(score, dtype=np.float64)
        up = self.probability_up(scores)
        right = np.where(scores > 0.0, up, np.where(scores < 0.0, 1.0 - up, np.nan))
        return right if isinstance(score, np.ndarray) else float(right)


def fit_score_calibration(scores: npt.ArrayLike, returns: npt.ArrayLike) -> ScoreCalibration:
    """Fit slope and bias by maximum likelihood, within the bounds of the models' calibration.

    Parameters
    ----------
    scores
        ``[N]``, fused, of bars that neither the model nor the weights were chosen on.
    returns
        ``[N]``, what came of them: from the next open to the horizon's close. NaN in either,
        and a return of exactly zero, takes no part. Outcomes that overlap in time count as if
        they did not: the fit is right on average, and less sure than their number says.

    Returns
    -------
    ScoreCalibration
        With `no_skill` set where the data would rather have no scores at all.

    Raises
    ------
    ConfigError
        If there are fewer than `MIN_OUTCOMES` outcomes, or the arrays' lengths differ.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> scores = rng.uniform(-1.0, 1.0, 4000)
    >>> returns = 0.01 * (0.5 * scores + rng.normal(size=4000))
    >>> fitted = fit_score_calibration(scores, returns)
    >>> fitted.no_skill, round(fitted.confidence(-0.5), 2)
    (False, 0.6)
    """
    given = np.asarray(scores, dtype=np.float64)
    came = np.asarray(returns, dtype=np.float64)
    if given.ndim != 1 or given.shape != came.shape:
        raise ConfigError(
            f"scores of shape {list(given.shape)} and returns of shape {list(came.shape)}: give "
            "one return for each score"
        )
    known = np.isfinite(given) & np.isfinite(came) & (came != 0.0)
    count = int(known.sum())
    if count < MIN_OUTCOMES:
        raise ConfigError(
            f"{count} outcomes are too few to calibrate a score: give at least {MIN_OUTCOMES} "
            "scores with a return that is known and not zero"
        )
    fitted = fit_direction_calibration(given[known], came[known])
    # The solver works with slopes: their inverse may miss a bound by a rounding error.
    temperature = min(MAX_TEMPERATURE, max(MIN_TEMPERATURE, fitted.temperature))
    return ScoreCalibration(
        temperature=temperature,
        bias=min(MAX_BIAS, max(-MAX_BIAS, fitted.bias)),
        no_skill=fitted.no_skill,
        outcomes=count,
    )
