"""Windows as views: a batch is one gather from the one array of features."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from lightning_models.data.loader import EpochLoader

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Batch", "WindowLoader", "gather_windows"]


class Batch(NamedTuple):
    """A batch of windows with their labels.

    Parameters
    ----------
    window
        ``float32 [batch, time, feature]``.
    target
        ``float32 [batch, horizon]``: the label's return over the trailing volatility of its
        horizon. Its sign is the direction; exactly zero is neither up nor down.
    weight
        ``float32 [batch, horizon]``, of each label in the loss; None where all count alike.
    timed_out
        ``float32 [batch, horizon]``, 1 where no barrier was reached; None without barriers.
    """

    window: Tensor
    target: Tensor
    weight: Tensor | None = None
    timed_out: Tensor | None = None


def gather_windows(features: Tensor, ends: Tensor, lookback: int) -> Tensor:
    """Return the windows that end at the given rows.

    Parameters
    ----------
    features
        ``float32 [rows, feature]``, contiguous.
    ends
        ``int64 [batch]``, each the last row of a window, at least ``lookback - 1``.
    lookback
        Rows of a window.

    Returns
    -------
    torch.Tensor
        ``float32 [batch, time, feature]``, contiguous: the only copy that is made.
    """
    views = features.unfold(0, lookback, 1)
    return views.index_select(0, ends - (lookback - 1)).transpose(1, 2).contiguous()


class WindowLoader(EpochLoader):
    """Batches of windows in memory, in a new order each epoch.

    Parameters
    ----------
    features
        ``float32 [rows, feature]``, all symbols one after the other.
    targets
        ``float32 [rows, horizon]``.
    ends
        ``int64 [samples]``, last rows of the windows.
    lookback
        Rows of a window.
    batch_size
        Samples a batch; the last one may be smaller, but never a single sample when
        shuffled, which batch normalisation cannot be trained on.
    shuffle
        Whether to permute the samples each epoch.
    seed
        Of the permutations.
    weights, timed_out
        ``float32 [rows, horizon]``, where the labels have them.
    """

    def __init__(
        self,
        features: Tensor,
        targets: Tensor,
        ends: Tensor,
        *,
        lookback: int,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        weights: Tensor | None = None,
        timed_out: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.features = features
        self.targets = targets
        self.ends = ends
        self.lookback = lookback
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.weights = weights
        self.timed_out = timed_out
        self._replayed: Tensor | None = None
        self._replays = 0

    def __len__(self) -> int:
        """Return the number of batches."""
        whole, rest = divmod(len(self.ends) + self._replays, self.batch_size)
        return whole + int(rest > (1 if self.shuffle and whole else 0))

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of the current epoch."""
        order = self._order(self.epoch)
        for position in range(self._resumed(), len(self)):
            self._given = position + 1
            ends = order[position * self.batch_size : (position + 1) * self.batch_size]
            yield Batch(
                gather_windows(self.features, ends, self.lookback),
                self.targets.index_select(0, ends),
                None if self.weights is None else self.weights.index_select(0, ends),
                None if self.timed_out is None else self.timed_out.index_select(0, ends),
            )

    def replay(self, ends: Tensor, share: float) -> None:
        """Add older windows to each epoch, drawn anew without repetition.

        Parameters
        ----------
        ends
            ``int64 [older]``, last rows of the windows to draw from.
        share
            Of an epoch's windows, in [0, 1); fewer where there are not so many.
        """
        self._replayed = ends
        self._replays = min(round(share / (1.0 - share) * len(self.ends)), len(ends))

    def _order(self, epoch: int) -> Tensor:
        if not self.shuffle:
            return self.ends
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        ends = self.ends
        if self._replayed is not None:
            drawn = torch.randperm(len(self._replayed), generator=generator)[: self._replays]
            ends = torch.cat([ends, self._replayed[drawn]])
        return ends[torch.randperm(len(ends), generator=generator)]
