"""The statistical forecaster: drift and volatility of the recent candles, nothing learned."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat
from torch import Tensor

from lightning_models.errors import ConfigError
from lightning_models.features.compute import VOLATILITY_FLOOR, VOLATILITY_WINDOW
from lightning_models.forecasters.base import DirectForecaster, ForecasterConfig
from lightning_models.forecasters.samples import Floats, window_batches
from lightning_models.heads import QUANTILES
from lightning_models.networks.forecast_network import RawForecast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_models.data.datamodule import CandleDataModule

__all__ = ["Statistical", "StatisticalConfig"]

# Candles after which an estimate from the window's start is good enough to be judged.
SETTLED = 20

# A quiet window must not end in bounds that lie on the median.
SMALLEST_DISTANCE = 0.1
SMALLEST_SPREAD = 0.05


class StatisticalConfig(ForecasterConfig):
    """How drift and volatility are estimated.

    Parameters
    ----------
    decay
        Weight of a squared return against that of the candle after it (RiskMetrics, 1996).
    drift_prior
        Deviation of drifts a candle that is thought possible beforehand, in volatilities.
        The smaller, the less a run of rises is believed to go on.
    """

    kind: Literal["statistical"] = "statistical"
    decay: float = Field(default=0.94, gt=0, lt=1)
    drift_prior: PositiveFloat = Field(default=0.02, le=1)


class Statistical(DirectForecaster):
    r"""Normal drift and volatility of the window, bounds from its own past errors.

    With :math:`n` log returns of mean :math:`m`, volatility :math:`\sigma` (exponentially
    weighted) and a drift that is normal beforehand with deviation :math:`\tau\sigma`, the
    drift is afterwards normal with mean :math:`\mu = m\,n\tau^2 / (1 + n\tau^2)` and variance
    :math:`\sigma^2\tau^2 / (1 + n\tau^2)`. Over :math:`h` candles

    .. math:: P(up) = \Phi\left(\frac{h\mu}
              {\sigma\sqrt{h + h^2\tau^2 / (1 + n\tau^2)}}\right),

    and the median is :math:`h\mu`. The same forecast is made for each candle of the window from
    those before it; the bounds are the quantiles of its standardised errors, scaled by the
    denominator, which grows with :math:`\sqrt h`. A fit stretches the bounds to the share of
    train labels that they should hold; without one they are as the window gives them.

    Parameters
    ----------
    config
        Decay and prior.
    features, horizons
        As `DirectForecaster` takes them.

    Notes
    -----
    Reads the feature ``close`` alone. The window must be long enough to compute the trailing
    volatility that quantiles are stated in.
    """

    Config = StatisticalConfig

    column: Tensor
    mean: Tensor
    deviation: Tensor
    reach: Tensor
    spread: Tensor

    def __init__(self, config: StatisticalConfig, features: int, horizons: int) -> None:
        super().__init__(config, features, horizons)
        self.decay = config.decay
        self.prior = config.drift_prior**2
        self._declare("column", 1, dtype=torch.int64)
        self._declare("mean", 1)
        self._declare("deviation", 1)
        self._declare("reach", horizons)
        self._declare("spread", horizons, 2)

    def forward(self, window: Tensor) -> RawForecast:
        """Return the raw forecast of windows ``[batch, time, feature]``."""
        scaled = window.index_select(2, self.column)[..., 0].double()
        returns = scaled * self.deviation + self.mean
        count = int(returns.shape[1])
        seen = torch.arange(1, count + 1, dtype=torch.float64)
        drift = (returns.cumsum(dim=1) / seen) * (seen * self.prior / (1 + seen * self.prior))
        doubt = self.prior / (1 + seen * self.prior)
        deviation = self._deviations(returns)
        below, above = self._distances(returns, drift, deviation * torch.sqrt(1 + doubt))

        last_drift, last_deviation = drift[:, -1:], deviation[:, -1:]
        over = last_deviation * torch.sqrt(self.reach + self.reach**2 * doubt[-1])
        median = self.reach * last_drift
        logits = _logit_of_normal(median / over)
        # Label and trailing volatility are of plain returns over the last candles.
        recent = returns[:, -VOLATILITY_WINDOW:]
        volatility = recent.std(dim=1, correction=0, keepdim=True).clamp(min=VOLATILITY_FLOOR)
        unit = volatility * torch.sqrt(self.reach)
        middle = _plain(median) / unit
        lower = middle - self.spread[:, 0] * (middle - _plain(median - below * over) / unit)
        upper = middle + self.spread[:, 1] * (_plain(median + above * over) / unit - middle)
        quantiles = torch.stack([lower, middle, upper], dim=-1)
        return RawForecast(logits.to(window.dtype), quantiles.to(window.dtype))

    def fit_to(self, data: CandleDataModule) -> None:
        """Take the scale of the close, and stretch the bounds to the train labels."""
        names = [feature.name for feature in data.config.features]
        if "close" not in names:
            raise ConfigError(
                f"the statistical forecaster reads the feature close, and data.features holds "
                f"{', '.join(names)}: add close"
            )
        self.set_up(
            data.config.lookback,
            [horizon.candles for horizon in data.horizons],
            column=names.index("close"),
            mean=data.scaler.mean[names.index("close")],
            deviation=data.scaler.deviation[names.index("close")],
        )
        spread = self._spread_of(data)
        self._keep("spread", np.maximum(spread, SMALLEST_SPREAD))

    def set_up(
        self,
        lookback: int,
        horizons: Sequence[int],
        *,
        column: int = 0,
        mean: float = 0.0,
        deviation: float = 1.0,
    ) -> None:
        """Say what the window holds; all that it needs where nothing is fitted.

        Parameters
        ----------
        lookback
            Rows of a window.
        horizons
            Candles of each horizon.
        column
            Of the feature ``close``.
        mean, deviation
            That the feature was scaled by.

        Raises
        ------
        ConfigError
            If windows are too short for the trailing volatility.
        """
        if lookback < VOLATILITY_WINDOW:
            raise ConfigError(
                f"the statistical forecaster needs windows of at least {VOLATILITY_WINDOW} "
                f"candles, not of {lookback}: raise --set data.lookback"
            )
        self._keep("column", [column])
        self._keep("mean", [mean])
        self._keep("deviation", [deviation])
        self._keep("reach", list(horizons))
        self._keep("spread", np.ones((self.horizons, 2)))

    def _deviations(self, returns: Tensor) -> Tensor:
        # After each row, from the squared returns up to it: [batch, time].
        lags = torch.arange(returns.shape[1], dtype=torch.float64)
        ages = lags[:, None] - lags
        weights = torch.where(ages >= 0, self.decay ** ages.clamp(min=0), 0.0)
        weights = weights / weights.sum(dim=1, keepdim=True)
        return torch.sqrt((returns**2) @ weights.T).clamp(min=VOLATILITY_FLOOR)

    @staticmethod
    def _distances(returns: Tensor, drift: Tensor, over: Tensor) -> tuple[Tensor, Tensor]:
        # How far errors of the candles before reached down and up, in deviations: [batch, 1].
        errors = (returns[:, SETTLED:] - drift[:, SETTLED - 1 : -1]) / over[:, SETTLED - 1 : -1]
        ranked = torch.sort(errors, dim=1).values
        count = int(ranked.shape[1])
        found = []
        for level in (QUANTILES[0], QUANTILES[-1]):
            place = level * (count - 1)
            below = min(int(place), count - 2)
            part = place - below
            found.append(ranked[:, below] * (1 - part) + ranked[:, below + 1] * part)
        lower, upper = (-found[0]).clamp(min=SMALLEST_DISTANCE), found[1]
        return lower[:, None], upper.clamp(min=SMALLEST_DISTANCE)[:, None]

    def _spread_of(self, data: CandleDataModule) -> Floats:
        # By how much the bounds must be stretched to leave the stated share of labels outside.
        ratios: list[Tensor] = []
        for batch in window_batches(data, "train"):
            low, middle, high = self(batch.window).quantiles.double().unbind(-1)
            target = batch.target.double()
            below, above = (middle - target) / (middle - low), (target - middle) / (high - middle)
            ratios.append(torch.stack([below, above]))
        spread: Floats = np.quantile(torch.cat(ratios, dim=1).numpy(), QUANTILES[-1], axis=1).T
        return spread


def _logit_of_normal(score: Tensor) -> Tensor:
    # Within five deviations, beyond which single precision rounds the probability to 1.
    # ONNX Runtime knows the error function in single precision alone; from the tail, because
    # there 1 - P is no difference of near numbers.
    tail = 0.5 * (1.0 - torch.erf((score.abs().clamp(max=5.0) / math.sqrt(2.0)).float())).double()
    return torch.sign(score) * torch.log((1.0 - tail) / tail)


def _plain(log_return: Tensor) -> Tensor:
    # As `expm1`, which ONNX lacks; in double precision the difference is no matter.
    return torch.exp(log_return) - 1.0
