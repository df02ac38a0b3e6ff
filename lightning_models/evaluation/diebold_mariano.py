"""Whether one forecast's losses are smaller than another's by more than chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict
from scipy.special import stdtr

from lightning_models.errors import ConfigError
from lightning_models.evaluation.bootstrap import MINIMUM_MOMENTS
from lightning_models.evaluation.moments import Moments
from lightning_models.evaluation.pesaran_timmermann import MINIMUM_SPANS

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LossTest", "diebold_mariano", "holm"]

Floats = npt.NDArray[np.float64]


class LossTest(BaseModel):
    """A test of equal expected losses.

    Statistic and p-value are None where there are too few moments.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    moments: int
    difference: float | None = None
    """Mean over moments of the mean over symbols of the other's loss less ours."""
    statistic: float | None = None
    """Student's t with `moments` - 1 degrees of freedom if the losses are equal."""
    p_value: float | None = None
    """Two-sided."""


def diebold_mariano(
    loss: Floats, other_loss: Floats, time: npt.NDArray[np.int64], *, overlap: int = 1
) -> LossTest:
    r"""Test whether two forecasts have the same expected loss.

    Diebold & Mariano (1995) with the correction of Harvey, Leybourne & Newbold (1997). With
    :math:`d_t` the difference of the losses at moment t of T, averaged over the symbols that
    were forecast then,

    .. math::

        S = \bar d \Big/ \sqrt{\tfrac1T \big(\gamma_0 + 2 \sum_{k=1}^{h-1} \gamma_k\big)}
            \cdot \sqrt{\frac{T + 1 - 2h + h(h-1)/T}{T}}

    where :math:`\gamma_k` is the autocovariance at lag k. Where that variance is not
    positive, weights that fall linearly to zero at lag h take the place of equal ones
    (Bartlett), which makes it so.

    Parameters
    ----------
    loss, other_loss
        ``float64 [N]``, of one forecast and of the other on the same rows.
    time
        ``int64 [N]``, moment of each row. Missing moments are closed up.
    overlap
        Horizon in candles, h.

    Returns
    -------
    LossTest
        With a p-value of 1 where the losses are equal everywhere.

    Raises
    ------
    ConfigError
        If the lengths differ.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(2, 400))
    >>> test = diebold_mariano(noise[0] ** 2, (2.0 * noise[1]) ** 2, np.arange(400))
    >>> test.difference > 0, test.p_value < 0.001
    (True, True)
    """
    if not len(loss) == len(other_loss) == len(time):
        raise ConfigError(
            f"losses of {len(loss)} and {len(other_loss)} rows at {len(time)} times: give one of "
            "each for every row"
        )
    moments = Moments(time)
    count = len(moments)
    if count == 0:
        return LossTest(moments=0)
    series = moments.means(other_loss - loss)
    mean = float(series.mean())
    if count < max(MINIMUM_MOMENTS, MINIMUM_SPANS * overlap):
        return LossTest(moments=count, difference=mean)
    if not series.any():
        return LossTest(moments=count, difference=0.0, statistic=0.0, p_value=1.0)
    variance = _variance_of_mean(series, overlap)
    if variance <= 1e-24 * mean**2:
        return LossTest(moments=count, difference=mean)
    small = (count + 1 - 2 * overlap + overlap * (overlap - 1) / count) / count
    statistic = mean / np.sqrt(variance) * np.sqrt(small)
    return LossTest(
        moments=count,
        difference=mean,
        statistic=float(statistic),
        p_value=float(2.0 * stdtr(count - 1, -abs(statistic))),
    )


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values corrected for having made all of these tests (Holm 1979).

    Parameters
    ----------
    p_values
        None where a test could not be made; it counts as no test.

    Returns
    -------
    list
        In the order given. Compared with 5 %, say, the chance that any true null among them
        is rejected stays below it, however the tests depend on each other.

    Examples
    --------
    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]
    """
    made = np.array([p for p in p_values if p is not None], dtype=np.float64)
    order = np.argsort(made)
    factors = len(made) - np.arange(len(made))
    corrected = np.empty(len(made))
    corrected[order] = np.minimum(np.maximum.accumulate(made[order] * factors), 1.0)
    each = iter(corrected.tolist())
    return [None if p is None else next(each) for p in p_values]


def _variance_of_mean(series: Floats, overlap: int) -> float:
    count = len(series)
    centred = series - series.mean()
    covariances = np.array(
        [float(centred[lag:] @ centred[: count - lag]) / count for lag in range(overlap)]
    )
    flat = float(covariances[0] + 2.0 * covariances[1:].sum()) / count
    if flat > 0.0:
        return flat
    falling = 1.0 - np.arange(1, overlap) / overlap
    return float(covariances[0] + 2.0 * (falling @ covariances[1:])) / count
