"""The zero-return forecaster: the price stays where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from lightning_models.errors import TrainingError
from lightning_models.forecasters.base import DirectForecaster, ForecasterConfig
from lightning_models.heads import QUANTILES
from lightning_models.networks.forecast_network import RawForecast

if TYPE_CHECKING:
    from lightning_models.data.datamodule import CandleDataModule

__all__ = ["ZeroReturn", "ZeroReturnConfig"]


class ZeroReturnConfig(ForecasterConfig):
    """Nothing to choose."""

    kind: Literal["zero-return"] = "zero-return"


class ZeroReturn(DirectForecaster):
    """P(up) of one half and a median of zero, for every candle.

    Known as persistence, or the random walk. Its bounds lie symmetrically around zero, as far
    away as the share of train labels asks for. Its signal is always 0: a median of zero
    confirms no direction.

    Parameters
    ----------
    config
        Of its kind.
    features, horizons
        As `DirectForecaster` takes them.
    """

    Config = ZeroReturnConfig
    calibrates: ClassVar[bool] = False

    reach: Tensor

    def __init__(self, config: ZeroReturnConfig, features: int, horizons: int) -> None:
        super().__init__(config, features, horizons)
        self._declare("reach", horizons)

    def forward(self, window: Tensor) -> RawForecast:
        """Return the same forecast for each of ``[batch, time, feature]``."""
        reach = self.reach.to(window.dtype)
        quantiles = torch.stack([-reach, torch.zeros_like(reach), reach], dim=-1)
        # From the window's own shape, which may be another one each time.
        nothing = window[:, 0, :1] * 0.0
        return RawForecast(nothing + torch.zeros_like(reach), nothing[..., None] + quantiles)

    def fit_to(self, data: CandleDataModule) -> None:
        """Take the bounds from the sizes of the train labels."""
        sizes = np.abs(data.targets.numpy()[data.samples["train"].ends])
        reach = np.quantile(sizes, QUANTILES[-1] - QUANTILES[0], axis=0)
        if (reach <= 0).any():
            raise TrainingError(
                "most labels of the train slice are exactly zero: a price that hardly moves "
                "leaves no bounds to state. Give candles of a market that trades"
            )
        self._keep("reach", reach)
