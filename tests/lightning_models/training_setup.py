"""A small fit with dropout, the same in this process and in one that is killed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lightning_models import simulate_market
from lightning_models.data.datamodule import CandleDataModule, DataConfig
from lightning_models.networks import build_network
from lightning_models.networks.multi_layer import MultiLayerConfig
from lightning_models.training import TrainingConfig, fit

EPOCHS = 4
EACH_BATCH = 1e-9


def make_data(mode="window", **slices):
    shares = slices or {"train": 0.6, "validation": 0.2, "calibration": 0.1, "test": 0.1}
    candles = simulate_market(candles=480, seed=8, signal=0.3)
    config = DataConfig(
        features=("close", "volume"), lookback=6, slices=shares, mode=mode, chunk=16, burn_in=8
    )
    return CandleDataModule(config, candles, batch_size=32 if mode == "window" else 3)


def make_network():
    config = MultiLayerConfig(hidden_size=5, layers=1, dropout=0.3)
    return build_network(config, features=2, horizons=1)


def run(folder, data, *, network=make_network, **changes):
    options = {"epochs": EPOCHS, "batch_size": 32, "learning_rate": 0.02, "patience": 0}
    keywords = {
        key: changes.pop(key)
        for key in ("resume", "on_epoch", "resume_hint", "progress", "callbacks")
        if key in changes
    }
    return fit(network, data, TrainingConfig(**options | changes), checkpoints=folder, **keywords)


def killed_network(calls, signal):
    """A network whose process gets a signal in the given forward call of training."""
    network = make_network()
    seen = 0

    def count(module, arguments, output):
        nonlocal seen
        seen += module.training
        if module.training and seen == calls:
            os.kill(os.getpid(), signal)

    # Runs once a batch in either mode.
    network.direction.register_forward_hook(count)
    return network


if __name__ == "__main__":
    folder, batch, number, mode, seconds = sys.argv[1:]
    run(
        Path(folder),
        make_data(mode),
        network=lambda: killed_network(int(batch), int(number)),
        checkpoint_seconds=float(seconds),
    )
