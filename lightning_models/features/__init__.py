"""From candles to scale-free, causal features."""

from __future__ import annotations

from lightning_models.features.bridging import BridgedCandles, bridge
from lightning_models.features.compute import FeatureTable, compute_features
from lightning_models.features.definition import FeatureDefinition
from lightning_models.features.registration import (
    forget_feature,
    own_features,
    register_feature,
    unknown_features,
)
from lightning_models.features.spec import FeatureSpec
from lightning_models.features.table import FEATURES

__all__ = [
    "FEATURES",
    "BridgedCandles",
    "FeatureDefinition",
    "FeatureSpec",
    "FeatureTable",
    "bridge",
    "compute_features",
    "forget_feature",
    "own_features",
    "register_feature",
    "unknown_features",
]
