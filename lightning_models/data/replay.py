"""Slices of newer candles for a model that is fitted already, with older samples to replay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from lightning_models.data.datamodule import CandleDataModule, DataConfig, SampleSet
from lightning_models.data.slices import SliceName, Slices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_models.candles.candles import Candles
    from lightning_models.data.barrier_samples import BarrierSamples
    from lightning_models.data.chunks import ChunkLoader
    from lightning_models.data.scaling import Scaler, ScalerFit
    from lightning_models.data.windows import WindowLoader

__all__ = ["ReplayDataModule"]


@dataclass(frozen=True)
class _SlicesWithOlder(Slices):
    # First decision and last label end of older stretches, whose samples train holds too.
    older: tuple[tuple[int, int], ...] = ()

    def members(
        self, name: SliceName, decided: npt.NDArray[np.int64], label_end: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        chosen = Slices.members(self, name, decided, label_end)
        for start, end in self.older if name == "train" else ():
            chosen |= (decided >= start) & (label_end <= end)
        return chosen


class ReplayDataModule(CandleDataModule):
    """Slices of newer candles, scaled as a fitted network knows them.

    Parameters
    ----------
    config
        That of the fitted network; its slices are those of the newer candles.
    candles
        One entry for each symbol: newer candles, and older ones to warm features up and to
        replay.
    slices
        Where to cut the newer candles.
    scaler
        The fitted network's. A network's weights are numbers for inputs in its own units; new
        units would mean other inputs, and what it has learned would be lost before the first
        step.
    older
        First decision time and last label end of the stretches that it was trained on,
        milliseconds; they end before the slices begin.
    replay
        Share of the batches' windows (chunks in sequence mode) that comes from them, in [0, 1).
    batch_size, seed
        As in `CandleDataModule`.

    Attributes
    ----------
    older : SampleSet
        What is replayed; in none of the slices.

    Raises
    ------
    CandleError, TooFewCandlesError, FeatureError, ConfigError
        As in `CandleDataModule`.
    """

    older: SampleSet

    def __init__(
        self,
        config: DataConfig,
        candles: Sequence[Candles],
        *,
        slices: Slices,
        scaler: Scaler,
        older: Sequence[tuple[int, int]] = (),
        replay: float = 0.0,
        batch_size: int = 32,
        seed: int = 0,
    ) -> None:
        self._scaler_of_network = scaler
        self._replay = replay
        super().__init__(
            config,
            candles,
            batch_size=batch_size,
            seed=seed,
            slices=_SlicesWithOlder(slices.edges, slices.embargo_ms, tuple(older)),
        )

    def train_dataloader(self) -> WindowLoader | ChunkLoader:
        """Return shuffled batches of newer and replayed samples."""
        loader = super().train_dataloader()
        if self._replay and len(self.older):
            loader.replay(torch.from_numpy(self.older.ends), self._replay)
        return loader

    def _finish_scaler(self, fit: ScalerFit) -> Scaler:
        del fit
        return self._scaler_of_network

    def _collect(self, found: dict[SliceName, list[SampleSet]]) -> None:
        newer, older = zip(*(self._parted(part) for part in found["train"]), strict=True)
        self.older = SampleSet(
            np.concatenate([part.ends for part in older]),
            np.concatenate([part.symbol for part in older]),
            np.concatenate([part.decided for part in older]),
        )
        super()._collect({**found, "train": list(newer)})

    def _parted(self, part: SampleSet) -> tuple[SampleSet, SampleSet]:
        is_new = part.decided >= self.slices.edges[0]
        halves = [
            SampleSet(part.ends[rows], part.symbol[rows], part.decided[rows])
            for rows in (is_new, ~is_new)
        ]
        return halves[0], halves[1]

    def _finish_barriers(self, barriers: BarrierSamples) -> None:
        super()._finish_barriers(barriers)
        weights = barriers.weights({"train": self.older.ends})
        if self.weights is not None and weights is not None:
            self.weights[self.older.ends] = torch.from_numpy(weights[self.older.ends])
