"""Networks: trunks that read a window, under heads that say what they mean."""

from __future__ import annotations

from lightning_models.networks.forecast_network import ForecastNetwork, RawForecast
from lightning_models.networks.table import NETWORKS, NetworkConfig, build_network

__all__ = ["NETWORKS", "ForecastNetwork", "NetworkConfig", "RawForecast", "build_network"]
