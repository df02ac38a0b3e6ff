"""The probability that no barrier is reached in time, made to come true on its own slice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import minimize
from scipy.special import expit, logit

__all__ = ["TimeoutCalibration", "fit_timeout_calibration", "timeout_logits", "timeout_probability"]

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_SLOPE = 4.0
MAX_SHIFT = 1.0

Floats = npt.NDArray[np.float64]


class TimeoutCalibration(BaseModel):
    r"""P(time-out) of one horizon: :math:`\sigma(b + a (z - b) + s)`.

    With the network's logit :math:`z` and the logit :math:`b` of the train labels' share of
    time-outs, it moves between what the network says and that share: time-outs are no coin, and a
    network without skill should say how often they come.

    Parameters
    ----------
    rate
        Share of time-outs among the train labels.
    slope
        How much of the network's difference to `rate` is believed, :math:`a`; 0 is none of it.
    shift
        In logits, :math:`s`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rate: float = Field(gt=0, lt=1)
    slope: float = Field(default=1.0, ge=0)
    shift: float = 0.0

    def probability(self, logits: Floats) -> Floats:
        """Return the calibrated P(time-out) of logits of any shape.

        Examples
        --------
        >>> TimeoutCalibration(rate=0.25, slope=0.0).probability(np.array([3.0])).tolist()
        [0.25]
        """
        base = logit(self.rate)
        probability: Floats = expit(base + self.slope * (logits - base) + self.shift)
        return probability


def fit_timeout_calibration(
    logits: Floats, timed_out: npt.NDArray[np.bool_], *, rate: float
) -> TimeoutCalibration:
    """Fit slope and shift by maximum likelihood, within bounds.

    Parameters
    ----------
    logits
        ``[N]``, of the calibration slice.
    timed_out
        ``bool [N]``.
    rate
        Share of time-outs among the train labels.

    Returns
    -------
    TimeoutCalibration

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> logits = rng.normal(size=4000)
    >>> fitted = fit_timeout_calibration(logits, rng.random(4000) < 0.3, rate=0.3)
    >>> round(fitted.slope, 1), round(float(fitted.probability(logits).mean()), 1)
    (0.0, 0.3)
    """
    base = float(logit(rate))
    came = timed_out.astype(np.float64)
    away = logits - base

    def loss(parameters: Floats) -> tuple[float, Floats]:
        slope, shift = parameters
        score = base + slope * away + shift
        error = expit(score) - came
        value = float(np.mean(np.logaddexp(0.0, score) - came * score))
        return value, np.array([np.mean(error * away), np.mean(error)])

    fit = minimize(
        loss,
        x0=np.array([1.0, 0.0]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, MAX_SLOPE), (-MAX_SHIFT, MAX_SHIFT)],
    )
    return TimeoutCalibration(rate=rate, slope=float(fit.x[0]), shift=float(fit.x[1]))


def timeout_probability(calibrations: Sequence[TimeoutCalibration], logits: Floats) -> Floats:
    """Return P(time-out) as the last column beside a forecast's quantiles.

    Parameters
    ----------
    calibrations
        One for each horizon; none where there are no barriers.
    logits
        ``float64 [N, H]`` or ``[N, 2 H]``, as a network gives them. Without the second half it
        says nothing of time-outs, and the calibrated share of the train labels stands there.

    Returns
    -------
    numpy.ndarray
        ``float64 [N, H, 1]``, or ``[N, H, 0]`` without barriers.

    Examples
    --------
    >>> timeout_probability([TimeoutCalibration(rate=0.25)], np.zeros((1, 1))).tolist()
    [[[0.25]]]
    """
    horizons = len(calibrations)
    if not horizons:
        return np.empty((*logits.shape, 0))
    columns = []
    for position, calibration in enumerate(calibrations):
        said = timeout_logits(logits, position, horizons, calibration.rate)
        columns.append(calibration.probability(said))
    return np.stack(columns, axis=1)[:, :, None]


def timeout_logits(logits: Floats, position: int, horizons: int, rate: float) -> Floats:
    """Return what a network says of a horizon's time-outs.

    Parameters
    ----------
    logits
        ``float64 [N, H]`` or ``[N, 2 H]``.
    position
        On the horizon axis.
    horizons
        Its length.
    rate
        Share of time-outs among the train labels, for a network that says nothing.

    Returns
    -------
    numpy.ndarray
        ``float64 [N]``.
    """
    if logits.shape[1] > horizons:
        return logits[:, horizons + position]
    return np.full(len(logits), float(logit(rate)))
