"""Risk over a forecast's horizon, from the distribution that the forecast itself states."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from lightning_models.errors import ConfigError

__all__ = [
    "SHORTFALL_SHARE",
    "ForecastRisk",
    "RiskArrays",
    "forecast_risk",
    "position_size_pct",
    "quantile_knots",
    "risk_arrays",
]

Floats = npt.NDArray[np.float64]

SHORTFALL_SHARE: Final = 0.05
"""Share of outcomes, the worst ones, whose mean is the expected shortfall."""

# The lower quartile of a normal distribution lies this share of the way from its median to its
# 10 % quantile: without it, a straight line would hold too little near the median.
QUARTILE: Final = 0.5263

# How far the worst outcome lies from the median, over the outermost known quantile's distance:
# what makes the expected shortfall of a normal distribution come out right.
TAIL_AT_10: Final = 1.8127
TAIL_AT_2_5: Final = 1.3250


class ForecastRisk(BaseModel):
    """What may go wrong until a forecast's horizon.

    Parameters
    ----------
    volatility
        Standard deviation of the return, a fraction.
    loss_probability
        That the direction, after fees, loses; None where there is no direction.
    expected_shortfall
        Mean loss of the worst 5 % of outcomes of that direction, a fraction from 0 up; None
        where there is no direction.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    volatility: float = Field(ge=0.0)
    loss_probability: float | None = Field(ge=0.0, le=1.0)
    expected_shortfall: float | None = Field(ge=0.0)


@dataclass(frozen=True, eq=False)
class RiskArrays:
    """The risk of each row's forecast, NaN where there is none.

    Parameters
    ----------
    volatility, loss_probability, expected_shortfall
        ``float64 [T]``, as in `ForecastRisk`; the last two are NaN too where there is no
        direction.
    """

    volatility: Floats
    loss_probability: Floats
    expected_shortfall: Floats


def quantile_knots(quantiles: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return where a forecast's quantile function bends: straight lines join these points.

    Known are the median and, on each side, the 10 % quantile; or, where the model has
    conformal bounds, their 80 % and 95 % bounds, taken to leave out as much on either side.
    Between the median and the 10 % point lies the quartile, as in a normal distribution.
    Beyond the outermost point the line ends at a worst outcome that is as much further from the
    median as makes a normal distribution's expected shortfall right: 1.8127 times the distance
    of the 10 % point, or 1.3250 times that of the 2.5 % point. Of a normal distribution the
    standard deviation then comes out 2 % too large.

    Parameters
    ----------
    quantiles
        ``[..., 3]``, ``[..., 7]`` or ``[..., 8]``: columns of
        `lightning_models.forecast.ForecastArrays.quantiles`. Points out of order are put in
        order (Chernozhukov, Fernández-Val & Galichon, Quantile and Probability Curves Without
        Crossing, 2010).

    Returns
    -------
    tuple
        Levels, ``float64 [K]`` from 0 to 1, and returns, ``float64 [..., K]``, all of them
        NaN where a known point is missing or infinite.

    Raises
    ------
    ConfigError
        If there is another number of columns.

    Examples
    --------
    >>> levels, returns = quantile_knots([-0.01, 0.0, 0.01])
    >>> levels.tolist()
    [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0]
    >>> returns.round(4).tolist()
    [-0.0181, -0.01, -0.0053, 0.0, 0.0053, 0.01, 0.0181]
    """
    columns = np.asarray(quantiles, dtype=np.float64)
    columns = np.where(np.isfinite(columns), columns, np.nan)
    count = columns.shape[-1] if columns.ndim else 0
    if count == 3:
        known, tail, outer = columns, TAIL_AT_10, [0.10]
    elif count in (7, 8):
        known, tail, outer = columns[..., [5, 3, 1, 4, 6]], TAIL_AT_2_5, [0.025, 0.10]
    else:
        raise ConfigError(
            f"quantiles in {count} columns: give 3 (10, 50 and 90 %), or 7 or 8 with the bounds "
            "of 80 and 95 %"
        )
    ordered = np.sort(known, axis=-1)
    middle = ordered.shape[-1] // 2
    median = ordered[..., middle, None]
    gaps = ordered - median
    below, above = gaps[..., :middle], gaps[..., middle + 1 :]
    spread = np.concatenate(
        [
            tail * below[..., :1],
            below,
            QUARTILE * below[..., -1:],
            np.zeros_like(median),
            QUARTILE * above[..., :1],
            above,
            tail * above[..., -1:],
        ],
        axis=-1,
    )
    levels = [0.0, *outer, 0.25, 0.5, 0.75, *(1.0 - level for level in reversed(outer)), 1.0]
    values = np.where(np.any(np.isnan(known), axis=-1, keepdims=True), np.nan, median + spread)
    return np.array(levels), values


def risk_arrays(
    quantiles: npt.ArrayLike,
    direction: npt.ArrayLike,
    *,
    probability_up: npt.ArrayLike | None = None,
    fee: float = 0.0,
) -> RiskArrays:
    """Return the risk of each row's forecast.

    Volatility and expected shortfall are those of the quantiles' own distribution. The
    probability of a loss comes from the calibrated P(up) where it is known, because it was
    fitted to how often prices rose, which the quantiles were not: each side of zero keeps the
    quantiles' shape and gets the calibrated share of outcomes. Without a fee it is then
    ``1 - probability_up`` of a long and ``probability_up`` of a short position.

    Parameters
    ----------
    quantiles
        ``[T, 3]``, ``[T, 7]`` or ``[T, 8]`` of one horizon, as for `quantile_knots`.
    direction
        ``[T]``: above 0 long, below 0 short, 0 or NaN none.
    probability_up
        ``[T]``, calibrated; NaN where it is not known, None where it never is.
    fee
        Cost of the round trip, a fraction of the price: a return that falls short of it is a
        loss.

    Returns
    -------
    RiskArrays
        All zeros where all quantiles are zero and no probability is given.

    Raises
    ------
    ConfigError
        If the quantiles have another number of columns, or the fee is no fraction.

    References
    ----------
    Acerbi & Tasche, On the Coherence of Expected Shortfall, 2002.
    """
    if not 0.0 <= fee <= 1.0:
        raise ConfigError(f"fee={fee!r}: give a fraction from 0 to 1, such as 0.0008")
    levels, values = quantile_knots(quantiles)
    side = np.broadcast_to(np.sign(np.asarray(direction, dtype=np.float64)), values.shape[:-1])
    return RiskArrays(
        volatility=_deviation(levels, values),
        loss_probability=_loss_probability(levels, values, side, probability_up, fee),
        expected_shortfall=_expected_shortfall(levels, values, side),
    )


def forecast_risk(
    quantiles: npt.ArrayLike,
    direction: int,
    *,
    probability_up: float | None = None,
    fee: float = 0.0,
) -> ForecastRisk | None:
    """Return the risk of one forecast.

    Parameters
    ----------
    quantiles
        ``[3]``, ``[7]`` or ``[8]`` of one horizon, as for `quantile_knots`.
    direction
        1 long, -1 short, 0 none.
    probability_up, fee
        As for `risk_arrays`.

    Returns
    -------
    ForecastRisk or None
        None where a quantile is NaN: there is no forecast.

    Raises
    ------
    ConfigError
        If there is another number of quantiles, or the fee is no fraction.

    Examples
    --------
    >>> risk = forecast_risk([-0.012816, 0.0, 0.012816], 1)
    >>> round(risk.volatility, 4), risk.loss_probability, round(risk.expected_shortfall, 4)
    (0.0102, 0.5, 0.0206)
    >>> forecast_risk([-0.012816, 0.0, 0.012816], -1, probability_up=0.55).loss_probability
    0.55
    """
    chance = None if probability_up is None else [probability_up]
    risk = risk_arrays(np.asarray(quantiles)[None], [direction], probability_up=chance, fee=fee)
    if np.isnan(risk.volatility[0]):
        return None
    return ForecastRisk(
        volatility=float(risk.volatility[0]),
        loss_probability=_or_none(risk.loss_probability[0]),
        expected_shortfall=_or_none(risk.expected_shortfall[0]),
    )


def position_size_pct(
    price: float, stop_distance: float, *, risk_per_trade: float, leverage: float = 1.0
) -> float | None:
    """Return the notional of a position whose stop costs a stated share of the equity.

    Parameters
    ----------
    price, stop_distance
        Quote currency.
    risk_per_trade
        Fraction of the equity lost where the stop is hit.
    leverage
        The notional is at most this multiple of the equity.

    Returns
    -------
    float or None
        Percent of the equity; None where there is no stop, or its distance is not known.

    Examples
    --------
    >>> position_size_pct(100.0, 4.0, risk_per_trade=0.02)
    50.0
    >>> position_size_pct(100.0, 0.5, risk_per_trade=0.02)
    100.0
    """
    if not (0.0 < stop_distance < math.inf and 0.0 < price < math.inf):
        return None
    return 100.0 * min(risk_per_trade * price / stop_distance, leverage)


def _deviation(levels: Floats, values: Floats) -> Floats:
    # On a straight piece from a to b the mean is (a + b) / 2 and that of squares
    # (a² + ab + b²) / 3. Around the median, lest two large numbers cancel.
    width = np.diff(levels)
    offset = values - values[..., len(levels) // 2, None]
    a, b = offset[..., :-1], offset[..., 1:]
    mean = ((a + b) / 2.0) @ width
    squares = ((a * a + a * b + b * b) / 3.0) @ width
    deviation: Floats = np.sqrt(np.maximum(squares - mean * mean, 0.0))
    return deviation


def _expected_shortfall(levels: Floats, values: Floats, side: Floats) -> Floats:
    weights = _shortfall_weights(levels)
    worst_long = values @ weights
    worst_short = -(values @ weights[::-1])
    worst = np.where(side > 0.0, worst_long, np.where(side < 0.0, worst_short, np.nan))
    loss: Floats = np.maximum(-worst, 0.0) + 0.0  # and never -0.0
    return loss


def _shortfall_weights(levels: Floats) -> Floats:
    # The mean of the quantile function up to the share is linear in its knots.
    points = np.unique(np.append(levels[levels < SHORTFALL_SHARE], SHORTFALL_SHARE))
    weights = np.zeros(len(levels))
    for knot, unit in enumerate(np.eye(len(levels))):
        weights[knot] = np.trapezoid(np.interp(points, levels, unit), points) / SHORTFALL_SHARE
    return weights


def _loss_probability(
    levels: Floats,
    values: Floats,
    side: Floats,
    probability_up: npt.ArrayLike | None,
    fee: float,
) -> Floats:
    # A loss of a short position is the mirror image of a loss of a long one.
    mirrored = np.where(side[..., None] < 0.0, -values[..., ::-1], values)
    loss = _share_under(levels, mirrored, fee)
    if probability_up is not None:
        up = np.asarray(probability_up, dtype=np.float64)
        win = np.where(side < 0.0, 1.0 - up, up)
        under_zero = _share_under(levels, mirrored, 0.0)
        # The share of winning outcomes that the fee leaves winning.
        left = np.divide(
            1.0 - loss,
            1.0 - under_zero,
            out=np.full_like(loss, float(fee == 0.0)),
            where=under_zero < 1.0,
        )
        loss = np.where(np.isnan(win) | np.isnan(loss), loss, 1.0 - win * left)
    chance: Floats = np.where((side == 0.0) | np.isnan(side), np.nan, np.clip(loss, 0.0, 1.0))
    return chance


def _share_under(levels: Floats, values: Floats, bound: float) -> Floats:
    # P(return < bound): what of each straight piece lies below it.
    low, high = values[..., :-1], values[..., 1:]
    part = np.divide(bound - low, high - low, out=(low < bound) * 1.0, where=high > low)
    share: Floats = np.clip(part, 0.0, 1.0) @ np.diff(levels)
    return np.where(np.isnan(values[..., 0]), np.nan, share)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
