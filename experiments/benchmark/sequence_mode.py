"""Sequence mode against window mode: learning, forecasting in bulk, and one step a bar."""

from __future__ import annotations

from itertools import islice
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from experiments.benchmark.figure import BenchmarkConfig, Figure
from experiments.presets import load_train_config
from lightning_models.candles import simulate_market
from lightning_models.data.datamodule import CandleDataModule
from lightning_models.export import export_bundle
from lightning_models.inference import runner_of
from lightning_models.module import ForecastModule
from lightning_models.networks import build_network
from lightning_models.predictor import Predictor
from lightning_models.stepper import Stepper

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lightning_models.candles import Candles
    from lightning_models.data.chunks import ChunkBatch
    from lightning_models.data.windows import Batch

__all__ = ["sequence_mode"]

PRESET = "layer-norm"
CHUNKS_A_BATCH = 8
BARS = 1_000


def sequence_mode(config: BenchmarkConfig) -> list[Figure]:
    """Return how much faster a series is learned, and how fast it is forecast."""
    torch.set_num_threads(1)
    candles = simulate_market(candles=config.candles, signal=0.2)
    window, sequence = (_Learner(candles, mode) for mode in ("window", "sequence"))
    rates: tuple[list[float], list[float]] = ([], [])
    for _ in range(config.repeats):
        for learner, rate in zip((window, sequence), rates, strict=True):
            rate.append(learner.bars_a_second())
    slow, fast = (median(rate) for rate in rates)
    predictor = sequence.predictor()
    whole = []
    for _ in range(config.repeats):
        start = perf_counter()
        predictor.forecast_arrays(candles[0].time, candles[0].ohlcv)
        whole.append(config.candles / (perf_counter() - start))
    learned = f"{fast:,.0f} bars/s against {slow:,.0f}"
    return [
        Figure(
            name="sequence mode learns",
            value=fast / slow,
            unit="x",
            aim=30.0,
            at_least=True,
            detail=f"{PRESET} on {config.candles:,} bars: {learned} in window mode",
        ),
        Figure(
            name="sequence mode forecasts",
            value=median(whole),
            unit="bars/s",
            aim=50_000.0,
            at_least=True,
            detail="in bulk, features included, one thread",
        ),
        *_steps(predictor, candles[0]),
    ]


class _Learner:
    def __init__(self, candles: Sequence[Candles], mode: Literal["window", "sequence"]) -> None:
        config = load_train_config(PRESET)
        self.config = config.network
        self.data = CandleDataModule(
            config.data.model_copy(update={"mode": mode}),
            candles,
            batch_size=CHUNKS_A_BATCH if mode == "sequence" else config.training.batch_size,
        )
        torch.manual_seed(0)
        self.module = ForecastModule(
            build_network(
                config.network, features=len(config.data.features), horizons=len(self.data.horizons)
            ),
            learning_rate=0.001,
        )
        self.optimiser = torch.optim.AdamW(self.module.parameters(), lr=0.001)
        # Windows take minutes an epoch, of which a part tells as much.
        self.batches = 60 if mode == "window" else len(self.data.train_dataloader())

    def bars_a_second(self) -> float:
        self.module.train()
        labelled = 0
        start = perf_counter()
        batches: Iterable[Batch | ChunkBatch] = self.data.train_dataloader()
        for batch in islice(batches, self.batches):
            raw, target = self.module.labelled(batch)
            self.optimiser.zero_grad()
            loss = self.module.network.loss(raw, target).total
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            labelled += len(target)
        return labelled / (perf_counter() - start)

    def predictor(self) -> Predictor:
        network = self.module.network.eval()
        bundle = export_bundle(network, self.config, self.data)
        runner = runner_of(network, lookback=bundle.lookback, burn_in=bundle.burn_in)
        return Predictor(bundle, runner, model="benchmark", sha256="")


def _steps(predictor: Predictor, candles: Candles) -> list[Figure]:
    network = build_network(
        predictor.bundle.network,
        features=len(predictor.bundle.features),
        horizons=len(predictor.horizons),
    ).eval()
    stepper = Stepper(network)
    state = stepper.start()
    row = np.zeros(len(predictor.bundle.features), np.float32)
    alone = []
    for _ in range(BARS):
        start = perf_counter()
        _, _, state = stepper.forecast(row, state)
        alone.append(1e3 * (perf_counter() - start))
    stream, bars = predictor.stream(), []
    for last in range(predictor.required_bars, predictor.required_bars + BARS):

        def history(count: int, last: int = last) -> tuple[np.ndarray, np.ndarray]:
            rows = slice(max(0, last + 1 - count), last + 1)
            return candles.time[rows], candles.ohlcv[rows]

        start = perf_counter()
        stream.forecast(history)
        bars.append(1e3 * (perf_counter() - start))
    return [
        Figure(
            name="streaming step, p50",
            value=float(np.median(alone)),
            unit="ms",
            aim=0.3,
            detail=f"{PRESET}, the network's step alone",
        ),
        Figure(
            name="streaming bar, p50",
            value=float(np.median(bars)),
            unit="ms",
            aim=None,
            detail=f"{PRESET}, features included",
        ),
    ]
