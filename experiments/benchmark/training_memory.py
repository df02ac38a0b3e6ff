"""Peak memory of training on ten symbols, over the float32 features that it trains on."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from experiments.benchmark.figure import BenchmarkConfig, Figure
from lightning_models.candles import Candles

__all__ = ["training_memory"]

SYMBOLS = 10
STATUS = Path("/proc/self/status")
PEAK_RESET = Path("/proc/self/clear_refs")

_log = logging.getLogger(__name__)


def training_memory(config: BenchmarkConfig) -> list[Figure]:
    """Return peak memory beyond the libraries', as a multiple of the features' size.

    Measured in a process of its own, between a first tiny training, which loads every
    library, and the end of an epoch over all windows.
    """
    if not STATUS.exists():
        _log.warning("memory is not measured: this machine has no %s", STATUS)
        return []
    answer = subprocess.run(  # noqa: S603 - this module, in this interpreter
        [sys.executable, "-m", "experiments.benchmark.training_memory", str(config.candles)],
        capture_output=True,
        text=True,
        check=True,
    )
    measured = json.loads(answer.stdout.splitlines()[-1])
    beyond = measured["peak"] - measured["libraries"]
    return [
        Figure(
            name="training memory",
            value=beyond / measured["features"],
            unit="x",
            aim=3.0,
            detail=f"{SYMBOLS} symbols of {config.candles:,} candles: features "
            f"{measured['features'] / 2**20:.0f} MiB, peak {measured['peak'] / 2**20:.0f} MiB of "
            f"which libraries {measured['libraries'] / 2**20:.0f} MiB",
        )
    ]


def _measure(candles: int) -> dict[str, int]:
    from lightning_models.candles import simulate_market

    _train(simulate_market(candles=3_000))
    market = simulate_market(
        candles=candles, symbols=tuple(f"S{number}/USDT" for number in range(SYMBOLS))
    )
    # The candles are the caller's, and are there before training starts.
    libraries = _resident("VmRSS")
    if PEAK_RESET.exists():
        PEAK_RESET.write_text("5")
    features = _train(market)
    return {"libraries": libraries, "features": features, "peak": _resident("VmHWM")}


def _train(market: Sequence[Candles]) -> int:
    from experiments.presets import load_train_config
    from lightning_models.data.datamodule import CandleDataModule
    from lightning_models.networks import build_network
    from lightning_models.training import fit

    preset = load_train_config(
        "quickstart",
        [
            "training.epochs=1",
            "training.batch_size=1024",
            "network.hidden_size=8",
            "data.features=" + json.dumps(_technical()),
        ],
    )
    data = CandleDataModule(preset.data, market, batch_size=1024)
    with tempfile.TemporaryDirectory() as scratch:
        fit(
            lambda: build_network(
                preset.network, features=len(preset.data.features), horizons=len(data.horizons)
            ),
            data,
            preset.training,
            checkpoints=Path(scratch),
        )
    return data.features.numel() * data.features.element_size()


def _technical() -> list[str]:
    from experiments.presets import load_train_config

    return [feature.name for feature in load_train_config("multi-layer").data.features]


def _resident(field: str) -> int:
    # In bytes; the kernel counts in kB.
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{STATUS} has no {field}")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_measure(int(sys.argv[1]))) + "\n")
