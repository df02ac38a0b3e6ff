"""A step of the Trainer against a step of the bare PyTorch loop, on the same batches."""

from __future__ import annotations

from itertools import islice
from statistics import median
from time import perf_counter
from typing import Any

import pytorch_lightning as pl
import torch

from experiments.benchmark.figure import BenchmarkConfig, Figure
from experiments.presets import load_train_config
from lightning_models.candles import simulate_market
from lightning_models.data.datamodule import CandleDataModule
from lightning_models.data.windows import Batch
from lightning_models.module import ForecastModule
from lightning_models.networks import build_network
from lightning_models.training import quiet_lightning

__all__ = ["training_step"]

CANDLES = 9_000
BATCH_SIZE = 64
# Lightning's first steps set things up that the bare loop does not have.
WARM_UP_STEPS = 5


def training_step(config: BenchmarkConfig) -> list[Figure]:
    """Return the ratio of a Trainer's step to a bare loop's."""
    torch.set_num_threads(1)
    preset = load_train_config("price-predictor")
    data = CandleDataModule(preset.data, simulate_market(candles=CANDLES), batch_size=BATCH_SIZE)
    trainer, bare = [], []
    for _ in range(config.repeats):
        trainer.append(_trainer_step(_module(data), data, config.steps))
        bare.append(_bare_step(_module(data), data, config.steps))
    with_trainer, without = median(trainer), median(bare)
    return [
        Figure(
            name="training step",
            value=with_trainer / without,
            unit="x",
            aim=1.1,
            detail=f"Trainer {1e3 * with_trainer:.1f} ms, bare loop {1e3 * without:.1f} ms, "
            f"batches of {BATCH_SIZE}",
        )
    ]


def _module(data: CandleDataModule) -> ForecastModule:
    torch.manual_seed(0)
    network = build_network(
        load_train_config("price-predictor").network,
        features=len(data.config.features),
        horizons=len(data.horizons),
    )
    return ForecastModule(network, learning_rate=0.001)


class _Stopwatch(pl.Callback):
    def __init__(self) -> None:
        self.marks: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.marks.append(perf_counter())


def _trainer_step(module: ForecastModule, data: CandleDataModule, steps: int) -> float:
    watch = _Stopwatch()
    with quiet_lightning():
        pl.Trainer(
            max_epochs=1,
            limit_train_batches=steps,
            accelerator="cpu",
            logger=False,
            callbacks=[watch],
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            gradient_clip_val=1.0,
            num_sanity_val_steps=0,
        ).fit(module, train_dataloaders=data.train_dataloader())
    return _seconds_a_step(watch.marks)


def _bare_step(module: ForecastModule, data: CandleDataModule, steps: int) -> float:
    module.train()
    optimiser = torch.optim.AdamW(module.parameters(), lr=0.001, weight_decay=0.0)
    marks = []
    for batch in islice(data.train_dataloader(), steps):
        optimiser.zero_grad()
        assert isinstance(batch, Batch)
        loss = module.network.loss(module.network(batch.window), batch.target)
        loss.total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        marks.append(perf_counter())
    return _seconds_a_step(marks)


def _seconds_a_step(marks: list[float]) -> float:
    return median(
        later - earlier
        for earlier, later in zip(marks[WARM_UP_STEPS:], marks[WARM_UP_STEPS + 1 :], strict=False)
    )
