"""Whether forecasts of a direction come true more often than unrelated ones would."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict
from scipy.fft import dct
from scipy.special import stdtr

from lightning_models.evaluation.bootstrap import MINIMUM_MOMENTS
from lightning_models.evaluation.moments import Moments

__all__ = ["MINIMUM_SPANS", "DirectionTest", "pesaran_timmermann"]

MINIMUM_SPANS: Final = 8
"""Labels that do not overlap which a test needs at least: below, it has no stable variance."""


class DirectionTest(BaseModel):
    """A test of forecast directions against independence of what followed.

    A figure is None where the data does not define it: one direction alone, forecast or
    followed, or too few moments.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    n: int
    moments: int
    accuracy: float | None = None
    """Share of directions that came true."""
    expected_accuracy: float | None = None
    """The share that independent forecasts with the same numbers of ups would reach."""
    plain_statistic: float | None = None
    """As published in 1992, for independent rows; standard normal without skill."""
    statistic: float | None = None
    """Corrected for overlap and for symbols that move together; Student's t without skill."""
    degrees: int | None = None
    """Degrees of freedom of `statistic`."""
    p_value: float | None = None
    """One-sided, of `statistic`: small where directions come true too often for chance."""


def pesaran_timmermann(
    forecast_up: npt.NDArray[np.bool_],
    up: npt.NDArray[np.bool_],
    time: npt.NDArray[np.int64],
    *,
    overlap: int = 1,
) -> DirectionTest:
    r"""Test whether forecast and realised directions are independent.

    Pesaran & Timmermann (1992) compare the share of right directions :math:`\hat P` with
    :math:`\hat P_*`, the share under independence. The difference is twice the covariance of
    the two indicators, and its published variance takes rows to be independent. Labels of
    overlapping horizons and coins that move together are not, and the plain statistic then
    finds skill in nothing. Here the covariance is summed by moment and its long-run variance
    is estimated from the lowest :math:`B` cosine frequencies, with Student's t of :math:`B`
    degrees of freedom as its distribution (Lazarus, Lewis, Stock & Watson, 2018). A
    Newey-West estimate with normal critical values rejects too often under such overlap; the
    regression of Pesaran & Timmermann (2009) would have to spend a regressor on each lag of
    the horizon.

    .. math::

        B = \lfloor \min(0.41\, T^{2/3},\; T / 2h) \rfloor

    The second bound keeps the frequencies below those at which a label over :math:`h`
    candles smooths.

    Parameters
    ----------
    forecast_up, up
        ``bool [N]``, forecast and realised.
    time
        ``int64 [N]``, moment of each row. Missing moments are closed up.
    overlap
        Horizon in candles, h.

    Returns
    -------
    DirectionTest

    Examples
    --------
    >>> up = np.tile([True, False, False, True], 50)
    >>> found = pesaran_timmermann(up, up, np.arange(200))
    >>> found.accuracy, found.expected_accuracy, round(found.plain_statistic, 2)
    (1.0, 0.5, 14.18)
    """
    n, moments = len(up), Moments(time)
    if n == 0:
        return DirectionTest(n=0, moments=0)
    forecast_share, up_share = float(forecast_up.mean()), float(up.mean())
    expected = forecast_share * up_share + (1.0 - forecast_share) * (1.0 - up_share)
    accuracy = float(np.mean(forecast_up == up))
    common = {"n": n, "moments": len(moments), "accuracy": accuracy, "expected_accuracy": expected}
    spread = forecast_share * (1.0 - forecast_share) * up_share * (1.0 - up_share)
    if spread == 0.0 or n < 2:
        return DirectionTest.model_validate(common)
    covariance = (forecast_up - forecast_share) * (up - up_share)
    plain = float(covariance.mean() / np.sqrt(spread * (n - 1) / n**2))
    found: dict[str, float | int] = {"plain_statistic": plain}
    if len(moments) >= max(MINIMUM_MOMENTS, MINIMUM_SPANS * overlap):
        series = moments.sums(covariance)
        frequencies = int(min(0.41 * len(series) ** (2 / 3), len(series) / (2 * overlap)))
        waves = dct(series - series.mean(), norm="ortho")[1 : frequencies + 1]
        deviation = float(np.sqrt(np.mean(np.square(waves)) / len(series)))
        if deviation > 0.0:
            statistic = float(series.mean()) / deviation
            found |= {
                "statistic": statistic,
                "degrees": frequencies,
                "p_value": float(stdtr(frequencies, -statistic)),
            }
    return DirectionTest.model_validate(common | found)
