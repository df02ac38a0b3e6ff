"""Untrained models for benchmarks: what is timed does not depend on the weights."""

from __future__ import annotations

from pathlib import Path

import torch

from experiments.presets import load_train_config
from lightning_models.bundle import write_bundle
from lightning_models.candles import simulate_market
from lightning_models.data.datamodule import CandleDataModule
from lightning_models.export import export_bundle
from lightning_models.networks import build_network

__all__ = ["write_untrained"]

CANDLES = 6_000


def write_untrained(preset: str, folder: Path) -> Path:
    """Write a bundle of a preset with fresh weights.

    Parameters
    ----------
    preset
        A shipped name.
    folder
        Where to write it.

    Returns
    -------
    Path
        The bundle's folder.
    """
    config = load_train_config(preset)
    torch.manual_seed(0)
    data = CandleDataModule(config.data, simulate_market(candles=CANDLES, signal=0.2))
    network = build_network(
        config.network, features=len(config.data.features), horizons=len(data.horizons)
    ).eval()
    return write_bundle(folder, export_bundle(network, config.network, data), network)
