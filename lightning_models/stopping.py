"""Stop inside an epoch and lose nothing: a wish to stop, and the checkpoints between epochs."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl

from lightning_models.divergence import has_finite_weights
from lightning_models.errors import TrainingInterrupted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

__all__ = ["PartCheckpoint", "StopRequest", "listen_for_stop"]


class StopRequest:
    """Whether the user pressed Ctrl-C; pressed again, it stops at once."""

    def __init__(self) -> None:
        self.asked = False

    def take(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal."""
        del number, frame
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def listen_for_stop() -> Iterator[StopRequest]:
    """Take Ctrl-C for a wish to stop after the batch, where nobody else handles it.

    In the middle of a batch the weights may be half updated, and no checkpoint could be written
    that goes on as if nothing had happened.
    """
    request = StopRequest()
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if ours:
        signal.signal(signal.SIGINT, request.take)
    try:
        yield request
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


class PartCheckpoint(pl.Callback):
    """Writes a checkpoint inside an epoch, every so many seconds and when asked to stop.

    Parameters
    ----------
    path
        Of the checkpoint. An epoch's own replaces it.
    seconds
        Between two; 0 writes one only when asked to stop.
    request
        Whether the user wishes to stop.
    """

    def __init__(self, path: Path, seconds: float, request: StopRequest) -> None:
        self._path = path
        self._seconds = seconds
        self._request = request
        self._written = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count the seconds."""
        del trainer, pl_module
        self._written = time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove the part of the epoch before, and stop if that was asked for in its validation."""
        del pl_module
        self._path.unlink(missing_ok=True)
        if self._asked(trainer):
            raise TrainingInterrupted

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Write one if it is time, and stop if that was asked for."""
        del outputs, batch
        if batch_idx + 1 >= trainer.num_training_batches:
            return  # the epoch's own follows its validation
        asked = self._asked(trainer)
        done = f"{batch_idx + 1} of {trainer.num_training_batches} batches of the next"
        due = self._seconds and time.monotonic() - self._written >= self._seconds
        if (asked or due) and has_finite_weights(pl_module):
            trainer.save_checkpoint(self._path)
            self._written = time.monotonic()
        if asked:
            raise TrainingInterrupted(done)

    def _asked(self, trainer: pl.Trainer) -> bool:
        return self._request.asked or trainer.received_sigterm
