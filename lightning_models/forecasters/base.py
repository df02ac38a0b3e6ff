"""What every direct forecaster is: a module whose numbers are fitted at once."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_models.networks.forecast_network import RawForecast
from lightning_models.networks.trunk import TrunkConfig

if TYPE_CHECKING:
    from lightning_models.data.datamodule import CandleDataModule

__all__ = ["DirectForecaster", "ForecasterConfig"]


class ForecasterConfig(TrunkConfig):
    """What every direct forecaster's configuration has.

    Parameters
    ----------
    kind
        The forecaster's name in files and in the table; a subclass fixes it.
    """


class DirectForecaster(nn.Module):
    """Forecasts a window like a network, with buffers in place of trained weights.

    Bundles, registry, predictor and indicator take it for a `ForecastNetwork`: it reads the
    same windows and answers with the same `RawForecast`.

    Parameters
    ----------
    config
        Its own class of configuration.
    features
        Width of the input.
    horizons
        Length of the horizon axis.

    Attributes
    ----------
    Config : type
        The class of its configuration.
    calibrates : bool
        Whether a later slice corrects its probabilities. False where the probability is the
        forecaster's definition, which a temperature or bias would turn into another one.
    """

    Config: ClassVar[type[ForecasterConfig]]
    calibrates: ClassVar[bool] = True

    def __init__(self, config: ForecasterConfig, features: int, horizons: int) -> None:
        super().__init__()
        self.config = config
        self.features = features
        self.horizons = horizons
        self._shapes: dict[str, tuple[int | None, ...]] = {}

    @abstractmethod
    def forward(self, window: Tensor) -> RawForecast:
        """Return the raw forecast of windows ``[batch, time, feature]``."""

    @abstractmethod
    def fit_to(self, data: CandleDataModule) -> None:
        """Fit to the train slice, once.

        Where labels overlap and are weighted, what is learned by minimising a loss heeds the
        weights; plain counts, such as the majority class, do not.

        Raises
        ------
        ConfigError
            If the data's features or lookback cannot serve this forecaster.
        TrainingError
            If the train slice cannot be learned from: labels that all point the same way, say.
        """

    def _declare(self, name: str, *shape: int | None, dtype: torch.dtype = torch.float64) -> None:
        # A fitted number; None is an axis whose length is known only once it is fitted.
        self._shapes[name] = shape
        self.register_buffer(name, torch.zeros([size or 1 for size in shape], dtype=dtype))

    def _keep(self, name: str, value: Any) -> None:
        # Copied, so that safetensors never meets two buffers over the same memory.
        buffer: Tensor = getattr(self, name)
        tensor = torch.as_tensor(value, dtype=buffer.dtype).clone()
        assert self._fits(name, tensor), f"{name} is {tuple(tensor.shape)}"
        setattr(self, name, tensor)

    def _fits(self, name: str, tensor: Tensor) -> bool:
        shape = self._shapes[name]
        return tensor.ndim == len(shape) and all(
            wanted in (None, found) for wanted, found in zip(shape, tensor.shape, strict=True)
        )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any, **keywords: Any
    ) -> None:
        # Torch wants the lengths of a file's tensors known before it reads them.
        for name in self._shapes:
            given = state_dict.get(prefix + name)
            if given is not None and self._fits(name, given):
                setattr(self, name, torch.empty_like(given, dtype=getattr(self, name).dtype))
        super()._load_from_state_dict(state_dict, prefix, *arguments, **keywords)
