"""A loss that is no longer a number: found in the batch it happens, with the best epoch kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytorch_lightning as pl
import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from lightning_models.checkpoints import BEST_FILE, LAST_FILE, PART_FILE, write_whole
from lightning_models.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = [
    "Divergence",
    "FiniteLoss",
    "LossLostError",
    "forget_divergence",
    "keep_best",
    "read_divergences",
]

DIVERGENCE_FILE: Final = "diverged.json"


class LossLostError(TrainingError):
    """The loss or a weight was no longer a number.

    Parameters
    ----------
    place
        Such as ``epoch 3, batch 5 of 9``.
    """

    def __init__(self, place: str) -> None:
        super().__init__(f"the loss was no longer a number in {place}")
        self.place = place


class Divergence(BaseModel):
    """Where a fit lost its loss, and by which settings.

    Parameters
    ----------
    place
        Epoch and batch, in words.
    learning_rate, gradient_clip
        As in `TrainingConfig`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    place: str
    learning_rate: float
    gradient_clip: float


class FiniteLoss(pl.Callback):
    """Ends training in the batch whose loss, or the epoch whose weights, are no numbers.

    It must come before whatever writes checkpoints, so that none is written after it.
    """

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Look at the batch's loss."""
        del batch
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if isinstance(loss, torch.Tensor) and not bool(torch.isfinite(loss).all()):
            raise LossLostError(_place(trainer, batch_idx))
        # The loss shows what the batch before has done to the weights, not this one.
        if batch_idx + 1 == trainer.num_training_batches and not has_finite_weights(pl_module):
            raise LossLostError(_place(trainer, batch_idx))

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the validation losses."""
        del pl_module
        if not all(bool(torch.isfinite(value)) for value in trainer.callback_metrics.values()):
            raise LossLostError(f"epoch {trainer.current_epoch + 1}, in its validation")


def has_finite_weights(module: torch.nn.Module) -> bool:
    """Return whether all weights and buffers are numbers."""
    return all(
        bool(torch.isfinite(tensor).all())
        for tensor in module.state_dict().values()
        if tensor.is_floating_point()
    )


def keep_best(
    folder: Path,
    lost: LossLostError,
    losses: Sequence[float],
    *,
    epochs: int,
    learning_rate: float,
    gradient_clip: float,
    resume_hint: str,
) -> TrainingError:
    """Make the best epoch the one to go on from, and return what to tell the user.

    Parameters
    ----------
    folder
        Of the checkpoints.
    lost
        Where the loss was lost.
    losses
        Validation loss of each finished epoch; none without a validation slice.
    epochs
        That were finished.
    learning_rate, gradient_clip
        That it was lost with.
    resume_hint
        The command that continues the run.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    (folder / PART_FILE).unlink(missing_ok=True)
    best, last = folder / BEST_FILE, folder / LAST_FILE
    # The epochs after the best one were on their way to where the loss was lost.
    if best.is_file():
        write_whole(last, best.read_bytes())
    record = Divergence(place=lost.place, learning_rate=learning_rate, gradient_clip=gradient_clip)
    write_whole(folder / DIVERGENCE_FILE, record.model_dump_json().encode())
    tried = f"training.learning_rate={learning_rate / 10:g}"
    clip = (
        f"a training.gradient_clip below {gradient_clip:g}"
        if gradient_clip
        else "training.gradient_clip=1, which is off"
    )
    what = (
        f"lower the learning rate (--set {tried} in place of {learning_rate:g}), give {clip}, or "
        "look for broken prices in the candles"
    )
    if not epochs:
        return TrainingError(f"{lost}, and no epoch was finished before it: {what}, and train anew")
    if losses:
        kept = losses.index(min(losses)) + 1
        spoken = f"epoch {kept}, the best so far (validation loss {min(losses):.4f}),"
    else:
        spoken = f"epoch {epochs}, the last before it,"
    return TrainingError(
        f"{lost}; {spoken} is kept in {best if losses else last}. Training can go on from there "
        f"with other settings: {what}. {resume_hint}".rstrip()
    )


def read_divergences(folder: Path) -> list[Divergence]:
    """Return where fits in a folder, or in folders within it, lost their loss."""
    found = []
    for path in sorted(folder.rglob(DIVERGENCE_FILE)):
        try:
            found.append(Divergence.model_validate_json(path.read_bytes()))
        except (OSError, ValidationError) as error:
            raise TrainingError(
                f"the record {path} cannot be read: {error}. Train anew without --resume"
            ) from error
    return found


def forget_divergence(folder: Path) -> None:
    """Remove the record of an earlier fit."""
    (folder / DIVERGENCE_FILE).unlink(missing_ok=True)


def _place(trainer: pl.Trainer, batch: int) -> str:
    return f"epoch {trainer.current_epoch + 1}, batch {batch + 1} of {trainer.num_training_batches}"
