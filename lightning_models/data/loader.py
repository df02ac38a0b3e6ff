"""What every loader remembers: which epoch it is in, and how much of it was handed out."""

from __future__ import annotations

from abc import ABC, abstractmethod

__all__ = ["EpochLoader"]


class EpochLoader(ABC):
    """Batches whose order depends on a seed and the number of the epoch alone.

    A run that was cut off in mid-epoch therefore goes on with the batches that it would have
    seen.

    Attributes
    ----------
    epoch
        Counted from 0.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self._given = 0
        self._skipped = 0

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of batches of an epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch, counted from 0, before iterating over it."""
        if epoch != self.epoch:
            self._given = self._skipped = 0
        self.epoch = epoch

    def state_dict(self) -> dict[str, int]:
        """Return the epoch and how many of its batches were handed out."""
        return {"epoch": self.epoch, "batches": self._given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin the next iteration where a loader of the same samples stood."""
        self.epoch = state["epoch"]
        self._given = self._skipped = state["batches"] % max(len(self), 1)

    def _resumed(self) -> int:
        # The first batch to hand out: once, since the next iteration is a new epoch.
        skipped, self._skipped = self._skipped, 0
        return skipped
