"""Chunks of a series for sequence mode: a burn-in without loss, then a loss at every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_models.data.loader import EpochLoader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

__all__ = ["ChunkBatch", "ChunkLoader"]


class ChunkBatch(NamedTuple):
    """A batch of chunks with the labels of their steps.

    Parameters
    ----------
    sequence
        ``float32 [batch, burn-in + steps, feature]``.
    target
        ``float32 [batch, steps, horizon]``: the labels' returns over trailing volatility.
    labelled
        ``bool [batch, steps]``: the steps that are samples of the slice.
    weight
        ``float32 [batch, steps, horizon]``, of each label in the loss; None where all count
        alike.
    timed_out
        ``float32 [batch, steps, horizon]``, 1 where no barrier was reached; None without
        barriers.
    """

    sequence: Tensor
    target: Tensor
    labelled: Tensor
    weight: Tensor | None = None
    timed_out: Tensor | None = None


class ChunkLoader(EpochLoader):
    """Batches of chunks, cut anew at random offsets each epoch.

    Parameters
    ----------
    features
        ``float32 [rows, feature]``, all symbols one after the other.
    targets
        ``float32 [rows, horizon]``.
    ends
        ``int64 [samples]``, the rows with a loss.
    runs
        First and one-past-last usable row of each symbol. A chunk never leaves its run: in
        front of a run its first row is repeated, which no sample follows closely.
    steps
        Steps of a chunk that may carry a loss.
    burn_in
        Steps before them that only build up the state.
    batch_size
        Chunks a batch.
    shuffle
        Whether to draw new offsets and a new order each epoch.
    seed
        Of both.
    weights, timed_out
        ``float32 [rows, horizon]``, where the labels have them.
    """

    def __init__(
        self,
        features: Tensor,
        targets: Tensor,
        ends: npt.NDArray[np.int64],
        runs: Sequence[tuple[int, int]],
        *,
        steps: int,
        burn_in: int,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        weights: Tensor | None = None,
        timed_out: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.features = features
        self.targets = targets
        self.steps = steps
        self.burn_in = burn_in
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.weights = weights
        self.timed_out = timed_out
        self._runs = tuple(runs)
        self._replayed: list[tuple[int, int, tuple[int, int]]] = []
        self._replays = 0
        self._labelled = torch.zeros(len(features), dtype=torch.bool)
        self._labelled[torch.from_numpy(ends)] = True
        self._spans = _spans(ends, runs)

    def __len__(self) -> int:
        """Return the number of batches, the same in every epoch."""
        return -(-(self._chunks_in(self._spans) + self._replays) // self.batch_size)

    def __iter__(self) -> Iterator[ChunkBatch]:
        """Yield the batches of the current epoch."""
        rows, bounds = self._cut()
        for position in range(self._resumed() * self.batch_size, len(rows), self.batch_size):
            self._given = position // self.batch_size + 1
            first, run = (
                torch.from_numpy(part[position : position + self.batch_size])
                for part in (rows, bounds)
            )
            steps = first[:, None] + torch.arange(self.steps)
            inside = (steps >= run[:, :1]) & (steps < run[:, 1:])
            steps = torch.clamp(steps, run[:, :1], run[:, 1:] - 1)
            before = first[:, None] + torch.arange(-self.burn_in, 0)
            before = torch.clamp(before, run[:, :1], run[:, 1:] - 1)
            yield ChunkBatch(
                self.features[torch.cat([before, steps], dim=1)],
                self.targets[steps],
                self._labelled[steps] & inside,
                None if self.weights is None else self.weights[steps],
                None if self.timed_out is None else self.timed_out[steps],
            )

    def replay(self, ends: Tensor, share: float) -> None:
        """Add chunks of older samples to each epoch, drawn anew without repetition.

        Parameters
        ----------
        ends
            ``int64 [older]``, rows with a loss to draw from.
        share
            Of an epoch's chunks, in [0, 1); fewer where there are not so many.
        """
        self._labelled[ends] = True
        self._replayed = _spans(ends.numpy(), self._runs)
        wanted = round(share / (1.0 - share) * self._chunks_in(self._spans))
        self._replays = min(wanted, self._chunks_in(self._replayed))

    def _chunks_in(self, spans: Sequence[tuple[int, int, tuple[int, int]]]) -> int:
        return sum(self._chunks_of(first, last) for first, last, _ in spans)

    def _chunks_of(self, first: int, last: int) -> int:
        # One more than needed, so that any offset covers the span and the number stays.
        return -(-(last - first) // self.steps) + int(self.shuffle)

    def _cut(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        random = np.random.default_rng([self.seed, self.epoch])
        starts, runs = self._cut_spans(self._spans, random)
        if self._replays:
            older, older_runs = self._cut_spans(self._replayed, random)
            drawn = random.permutation(len(older))[: self._replays]
            starts = np.concatenate([starts, older[drawn]])
            runs = np.concatenate([runs, older_runs[drawn]])
        order = random.permutation(len(starts)) if self.shuffle else np.arange(len(starts))
        return starts[order], runs[order]

    def _cut_spans(
        self, spans: Sequence[tuple[int, int, tuple[int, int]]], random: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        rows, bounds = [], []
        for first, last, run in spans:
            offset = int(random.integers(self.steps)) if self.shuffle else 0
            count = self._chunks_of(first, last)
            rows.append(first - offset + self.steps * np.arange(count))
            bounds.append(np.tile(np.asarray(run, dtype=np.int64), (count, 1)))
        return np.concatenate(rows), np.concatenate(bounds)


def _spans(
    ends: npt.NDArray[np.int64], runs: Sequence[tuple[int, int]]
) -> list[tuple[int, int, tuple[int, int]]]:
    # First and one-past-last sample of each run that has any, with the run.
    spans = []
    for first, last in runs:
        inside = ends[(ends >= first) & (ends < last)]
        if len(inside):
            spans.append((int(inside.min()), int(inside.max()) + 1, (first, last)))
    return spans
