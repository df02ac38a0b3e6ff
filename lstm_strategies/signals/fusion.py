"""One score out of several opinions: a weighted mean of what is present."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, Literal, overload

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lightning_models.errors import ConfigError
from lightning_models.spelling import nearest_names

__all__ = [
    "PLAIN",
    "STRONG",
    "FusionWeights",
    "Label",
    "fuse",
    "fuse_arrays",
    "label",
    "lstm_score",
    "strength",
    "weights_used",
]

Floats = npt.NDArray[np.float64]
Label = Literal["STRONG_BUY", "BUY", "HOLD", "SELL", "STRONG_SELL"]

# Scores, without their sign, from which a label is plain and strong: strengths 0.6 and 0.75.
PLAIN: Final = 0.2
STRONG: Final = 0.5

# A weighted mean of numbers from -1 to 1 may leave that range in its last bit, and no further.
ROUNDING: Final = 1e-9


class FusionWeights(BaseModel):
    """How much each part of a fused signal counts, beside the others that are present.

    Parameters
    ----------
    lstm, technical, llm
        From 0 up, and at least one above 0; only their proportions matter.

    Examples
    --------
    >>> FusionWeights(llm=0.0).model_dump()
    {'lstm': 0.4, 'technical': 0.4, 'llm': 0.0}
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    lstm: float = Field(default=0.40, ge=0.0)
    technical: float = Field(default=0.40, ge=0.0)
    llm: float = Field(default=0.20, ge=0.0)

    @model_validator(mode="after")
    def _something_counts(self) -> FusionWeights:
        if not self.lstm + self.technical + self.llm > 0.0:
            raise ValueError("lstm, technical and llm are all 0: give one of them a weight above 0")
        return self


def weights_used(
    parts: Mapping[str, float | None], weights: FusionWeights | None = None
) -> dict[str, float]:
    """Return the share each present part has in the fused score.

    Parameters
    ----------
    parts, weights
        As for `fuse`.

    Returns
    -------
    dict
        From the names of parts that are present and have a weight to shares that sum to 1;
        empty where there are none.

    Raises
    ------
    ConfigError
        If there is no part of that name, or a score is out of its range.

    Examples
    --------
    >>> weights_used({"lstm": 0.3, "technical": -0.1, "llm": None})
    {'lstm': 0.5, 'technical': 0.5}
    """
    given = _weights_of(parts, weights)
    present = {name: weight for name, weight in given.items() if weight and _is_there(parts[name])}
    # Divided by the largest first: weights may be too small or too large to be summed.
    largest = max(present.values(), default=1.0)
    total = sum(weight / largest for weight in present.values())
    return {name: weight / largest / total for name, weight in present.items()}


def fuse(parts: Mapping[str, float | None], weights: FusionWeights | None = None) -> float | None:
    """Return the weighted mean of the scores that are present.

    Parameters
    ----------
    parts
        From ``lstm``, ``technical`` and ``llm`` to scores from -1 to 1; None or NaN, or no
        such key, where there is nothing to say.
    weights
        40 % LSTM, 40 % technical, 20 % LLM by default. Without a part the others share its
        weight in their proportions.

    Returns
    -------
    float or None
        From -1 to 1; None where no part with a weight is present.

    Raises
    ------
    ConfigError
        If there is no part of that name, or a score is out of its range.

    Examples
    --------
    >>> round(fuse({"lstm": 0.5, "technical": 0.25, "llm": -1.0}), 6)
    0.1
    >>> round(fuse({"lstm": 0.5, "technical": 0.25}), 6)
    0.375
    """
    shares = weights_used(parts, weights)
    if not shares:
        return None
    score = sum(share * float(parts[name] or 0.0) for name, share in shares.items())
    return min(1.0, max(-1.0, score))


def fuse_arrays(parts: Mapping[str, npt.ArrayLike], weights: FusionWeights | None = None) -> Floats:
    """Return the weighted mean of the scores that are present, for each row.

    Parameters
    ----------
    parts
        From names as for `fuse` to ``float64 [T]``, NaN where a part has nothing to say.
    weights
        As for `fuse`.

    Returns
    -------
    ndarray
        ``float64 [T]``, NaN where no part with a weight is present.

    Raises
    ------
    ConfigError
        If there are no parts, or of different lengths, or one of an unknown name, or a score
        out of its range.

    Examples
    --------
    >>> fuse_arrays({"lstm": [0.5, np.nan], "technical": [0.0, 0.2]}).tolist()
    [0.25, 0.2]
    """
    columns = {name: np.asarray(column, dtype=np.float64) for name, column in parts.items()}
    shapes = {column.shape for column in columns.values()}
    if len(shapes) != 1:
        raise ConfigError(
            f"parts of shapes {sorted(map(list, shapes))}: give at least one, all of one length"
        )
    given = _weights_of(columns, weights)
    largest = max(given.values()) or 1.0
    (shape,) = shapes
    total, score = np.zeros(shape), np.zeros(shape)
    for name, column in columns.items():
        present = ~np.isnan(column)
        weight = given[name] / largest
        total += weight * present
        score += weight * np.where(present, column, 0.0)
    fused = np.divide(score, total, out=np.full_like(score, np.nan), where=total > 0.0)
    clipped: Floats = np.clip(fused, -1.0, 1.0)
    return clipped


@overload
def strength(score: float) -> float: ...
@overload
def strength(score: Floats) -> Floats: ...
def strength(score: float | Floats) -> float | Floats:
    """Return how far a score is from saying nothing, on the scale of ``min_confidence``.

    ``(1 + |score|) / 2``: 0.5 says nothing, 1 is as much as there is; 0.6 is a score of 0.2 and
    0.75 one of 0.5, either way. It is not a probability: for one, a score needs a
    `lstm_strategies.signals.score_calibration.ScoreCalibration`.

    Examples
    --------
    >>> strength(0.2), strength(-0.5)
    (0.6, 0.75)
    """
    if isinstance(score, np.ndarray):
        return (1.0 + np.abs(score)) / 2.0
    return (1.0 + abs(score)) / 2.0


def label(score: float | None) -> Label:
    """Return a score in a word.

    Parameters
    ----------
    score
        From -1 to 1; None or NaN where there is none.

    Returns
    -------
    str
        ``STRONG_BUY`` from 0.5 up, ``BUY`` from 0.2 up, ``SELL`` and ``STRONG_SELL`` likewise
        below zero; ``HOLD`` between, and without a score.

    Examples
    --------
    >>> label(0.5), label(0.2), label(-0.19), label(None)
    ('STRONG_BUY', 'BUY', 'HOLD', 'HOLD')
    """
    if score is None or not abs(score) >= PLAIN:
        return "HOLD"
    if abs(score) >= STRONG:
        return "STRONG_BUY" if score > 0.0 else "STRONG_SELL"
    return "BUY" if score > 0.0 else "SELL"


def lstm_score(
    direction: npt.ArrayLike,
    confidence: npt.ArrayLike,
    signal: npt.ArrayLike,
    confidence_quantiles: Sequence[float] | None,
) -> Floats:
    """Return the score of a model's forecasts.

    The direction, times the share of the model's own calibration bars that were less confident
    than this forecast: a calibrated confidence hardly leaves one half, and says little on a
    scale that ends at 1. It ranks a model's forecasts among themselves, and a model without
    skill has its most confident ones too.

    Parameters
    ----------
    direction
        ``[T]``, +1 or -1, NaN where there is no forecast.
    confidence
        ``[T]``, calibrated probability that the direction is right.
    signal
        ``[T]``, 0 where the median points the other way: the score is 0 there. Of an
        `LSTMForecast` with the default ``min_confidence`` of 0.
    confidence_quantiles
        101 per cent quantiles of the confidence on the calibration slice:
        ``bundle.thresholds.confidence_quantiles[horizon]``. None, or all of them equal, as in a
        model that was never trained: then it is ``direction * (2 * confidence - 1)``, the
        probability's own distance from a coin's.

    Returns
    -------
    ndarray
        ``float64``, as long as what came in; NaN where there is no forecast.

    Examples
    --------
    >>> quantiles = [0.5 + i / 1000 for i in range(101)]
    >>> lstm_score([1, -1, 1], [0.55, 0.575, 0.6], [1, -1, 0], quantiles).round(3).tolist()
    [0.5, -0.75, 0.0]
    >>> round(float(lstm_score(-1, 0.6, -1, None)), 3)
    -0.2
    """
    side = np.asarray(direction, dtype=np.float64)
    certainty = np.asarray(confidence, dtype=np.float64)
    agreed = np.asarray(signal, dtype=np.float64)
    quantiles = np.asarray(
        () if confidence_quantiles is None else confidence_quantiles, dtype=np.float64
    )
    if quantiles.size < 2 or quantiles[-1] - quantiles[0] <= ROUNDING:
        share = np.clip(2.0 * certainty - 1.0, 0.0, 1.0)
    else:
        share = _share_below(certainty, quantiles)
    score: Floats = np.where(agreed == 0.0, 0.0, side * share)
    missing = np.isnan(side) | np.isnan(certainty) | np.isnan(agreed)
    return np.where(missing, np.nan, score)


def _share_below(values: Floats, quantiles: Floats) -> Floats:
    # Of equal quantiles the first counts: only bars that were strictly less confident.
    last = len(quantiles) - 1
    above = np.clip(np.searchsorted(quantiles, values, side="left"), 1, last)
    low, high = quantiles[above - 1], quantiles[above]
    step = np.divide(values - low, high - low, out=np.zeros_like(values), where=high > low)
    return np.asarray((above - 1 + np.clip(step, 0.0, 1.0)) / last)


def _weights_of(
    parts: Mapping[str, float | None] | Mapping[str, Floats], weights: FusionWeights | None
) -> dict[str, float]:
    known = (weights or FusionWeights()).model_dump()
    for name, score in parts.items():
        if name not in known:
            raise ConfigError(
                f"no part of a signal is called {name!r}: {nearest_names(name, known)}"
            )
        values = np.array(math.nan if score is None else score, dtype=np.float64)
        outside = np.abs(values) > 1.0 + ROUNDING
        if np.any(outside):
            worst = float(values[outside].flat[0])
            raise ConfigError(f"{name}={worst:g} is no score: give one from -1 to 1")
    return {name: float(known[name]) for name in parts}


def _is_there(score: float | None) -> bool:
    return score is not None and not math.isnan(score)
