"""The table of networks: a new one is one file and one row here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Union, cast

from pydantic import Field

from lightning_models.errors import ConfigError
from lightning_models.forecasters.table import FORECASTER_CONFIGS, FORECASTERS
from lightning_models.networks.attention import AttentionTrunk
from lightning_models.networks.bidirectional import BidirectionalTrunk
from lightning_models.networks.ensemble import EnsembleConfig, EnsembleNetwork
from lightning_models.networks.forecast_network import ForecastNetwork
from lightning_models.networks.layer_norm import LayerNormTrunk
from lightning_models.networks.multi_layer import MultiLayerTrunk
from lightning_models.networks.price_predictor import PricePredictorTrunk
from lightning_models.networks.transformer import TransformerTrunk
from lightning_models.networks.trunk import SequenceTrunk, Trunk, TrunkConfig
from lightning_models.networks.univariate import UnivariateTrunk

__all__ = ["NETWORKS", "NETWORK_CONFIGS", "NetworkConfig", "build_network", "check_mode"]

NETWORKS: Final[dict[str, type[Trunk]]] = {
    "price-predictor": PricePredictorTrunk,
    "multi-layer": MultiLayerTrunk,
    "bidirectional": BidirectionalTrunk,
    "univariate": UnivariateTrunk,
    "layer-norm": LayerNormTrunk,
    "attention": AttentionTrunk,
    "transformer": TransformerTrunk,
}

NETWORK_CONFIGS: Final = tuple(trunk.Config for trunk in NETWORKS.values())

if TYPE_CHECKING:
    NetworkConfig = TrunkConfig
else:
    # One of the tables', chosen by its kind; a type checker cannot follow a union so made.
    NetworkConfig = Annotated[
        Union[(*NETWORK_CONFIGS, *FORECASTER_CONFIGS, EnsembleConfig)],
        Field(discriminator="kind"),
    ]


def check_mode(config: NetworkConfig, mode: str) -> None:
    """Refuse a network that cannot run in a mode.

    Parameters
    ----------
    config
        Of the network.
    mode
        ``window``, which every network can, or ``sequence``.

    Raises
    ------
    ConfigError
        If it reads closed windows only.
    """
    streams = [kind for kind, trunk in NETWORKS.items() if issubclass(trunk, SequenceTrunk)]
    if mode == "sequence" and config.kind not in streams:
        raise ConfigError(
            f"the network {config.kind!r} reads closed windows and cannot run as a stream: use "
            f"data.mode=window, or one of {', '.join(sorted(streams))}"
        )


def build_network(
    config: NetworkConfig, *, features: int, horizons: int, target: str = "horizon-return"
) -> ForecastNetwork:
    """Build a network with fresh weights, or a forecaster or an ensemble that is not fitted yet.

    Parameters
    ----------
    config
        Its `kind` finds the trunk in `NETWORKS`, or the forecaster in
        `lightning_models.forecasters.FORECASTERS`, never a name to import.
    features
        Width of the input.
    horizons
        Length of the horizon axis.
    target
        Name of what the heads are trained on. A direct forecaster says nothing of time-outs.
    """
    if isinstance(config, EnsembleConfig):
        return cast("ForecastNetwork", EnsembleNetwork(config, features, horizons, target=target))
    if config.kind in FORECASTERS:
        forecaster = cast("Any", FORECASTERS[config.kind])
        return cast("ForecastNetwork", forecaster(config, features, horizons))
    trunk = cast("Any", NETWORKS[config.kind])
    return ForecastNetwork(trunk(config, features), horizons, target=target)
