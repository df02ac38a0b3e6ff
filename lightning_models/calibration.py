"""Temperature and bias that make a stated probability come true, fitted on their own slice."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict
from scipy.optimize import minimize
from scipy.special import expit, logit

__all__ = ["MAX_BIAS", "MAX_TEMPERATURE", "DirectionCalibration", "fit_direction_calibration"]

# Without skill the best temperature is infinite: this bound is where skill is given up on.
MAX_TEMPERATURE = 20.0
MIN_TEMPERATURE = 0.25
MAX_BIAS = 0.5

Floats = npt.NDArray[np.float64]


class DirectionCalibration(BaseModel):
    """P(up) = sigmoid(logit / temperature + bias), for one horizon (Guo et al., 2017).

    Parameters
    ----------
    temperature
        Above 1 it takes confidence back.
    bias
        In logits.
    no_skill
        True where the temperature lies at its bound: the network's logits say nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = 1.0
    bias: float = 0.0
    no_skill: bool = False

    def probability(self, logits: Floats) -> Floats:
        """Return the calibrated P(up) of logits of any shape."""
        probability: Floats = expit(logits / self.temperature + self.bias)
        return probability

    def uncalibrated(self, probability: Floats) -> Floats:
        """Return what the network itself said, from the calibrated P(up)."""
        raw: Floats = expit((logit(probability) - self.bias) * self.temperature)
        return raw


def fit_direction_calibration(logits: Floats, returns: Floats) -> DirectionCalibration:
    """Fit temperature and bias by maximum likelihood, within bounds.

    Parameters
    ----------
    logits
        ``[N]``, of the calibration slice.
    returns
        ``[N]``; exactly zero is neither up nor down and takes no part.

    Returns
    -------
    DirectionCalibration
        With `no_skill` set where the data would rather have no logits at all.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> logits = rng.normal(size=2000)
    >>> noise = rng.normal(size=2000)
    >>> fit_direction_calibration(logits, noise).no_skill
    True
    """
    moved = returns != 0
    logits, up = logits[moved], (returns[moved] > 0).astype(np.float64)
    if len(logits) < 2 or up.min() == up.max():
        return DirectionCalibration(temperature=MAX_TEMPERATURE, no_skill=True)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        slope, bias = parameters
        score = slope * logits + bias
        error = expit(score) - up
        value = float(np.mean(np.logaddexp(0.0, score) - up * score))
        return value, np.array([np.mean(error * logits), np.mean(error)])

    # In the slope 1 / temperature the likelihood is concave: the fit cannot get stuck.
    fit = minimize(
        loss,
        x0=np.array([1.0, 0.0]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE), (-MAX_BIAS, MAX_BIAS)],
    )
    slope, bias = float(fit.x[0]), float(fit.x[1])
    return DirectionCalibration(
        temperature=1 / slope, bias=bias, no_skill=slope <= 1.001 / MAX_TEMPERATURE
    )
