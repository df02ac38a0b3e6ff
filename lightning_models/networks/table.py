"""The table of networks: a new one is one file and one row here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field

from lightning_models.networks.bidirectional import BidirectionalConfig, BidirectionalTrunk
from lightning_models.networks.forecast_network import ForecastNetwork
from lightning_models.networks.multi_layer import MultiLayerConfig, MultiLayerTrunk
from lightning_models.networks.price_predictor import PricePredictorConfig, PricePredictorTrunk

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_models.networks.trunk import Trunk

__all__ = ["NETWORKS", "NETWORK_CONFIGS", "NetworkConfig", "build_network"]

NETWORK_CONFIGS: Final = (PricePredictorConfig, MultiLayerConfig, BidirectionalConfig)

NetworkConfig = Annotated[
    PricePredictorConfig | MultiLayerConfig | BidirectionalConfig, Field(discriminator="kind")
]

NETWORKS: Final[dict[str, Callable[[Any, int], Trunk]]] = {
    "price-predictor": PricePredictorTrunk,
    "multi-layer": MultiLayerTrunk,
    "bidirectional": BidirectionalTrunk,
}


def build_network(config: NetworkConfig, *, features: int, horizons: int) -> ForecastNetwork:
    """Build a network with fresh weights.

    Parameters
    ----------
    config
        Its `kind` finds the trunk in `NETWORKS`, never a name to import.
    features
        Width of the input.
    horizons
        Length of the horizon axis.
    """
    return ForecastNetwork(NETWORKS[config.kind](config, features), horizons)
