"""The table of networks: a new one is one file and one row here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Union, cast

from pydantic import Field

from lightning_models.networks.bidirectional import BidirectionalTrunk
from lightning_models.networks.forecast_network import ForecastNetwork
from lightning_models.networks.multi_layer import MultiLayerTrunk
from lightning_models.networks.price_predictor import PricePredictorTrunk
from lightning_models.networks.trunk import Trunk, TrunkConfig

__all__ = ["NETWORKS", "NETWORK_CONFIGS", "NetworkConfig", "build_network"]

NETWORKS: Final[dict[str, type[Trunk]]] = {
    "price-predictor": PricePredictorTrunk,
    "multi-layer": MultiLayerTrunk,
    "bidirectional": BidirectionalTrunk,
}

NETWORK_CONFIGS: Final = tuple(trunk.Config for trunk in NETWORKS.values())

if TYPE_CHECKING:
    NetworkConfig = TrunkConfig
else:
    # One of the table's, chosen by its kind; a type checker cannot follow a union so made.
    NetworkConfig = Annotated[Union[NETWORK_CONFIGS], Field(discriminator="kind")]  # noqa: UP007


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
    trunk = cast("Any", NETWORKS[config.kind])
    return ForecastNetwork(trunk(config, features), horizons)
