"""Fit a network: epochs, early stopping, checkpoints that a run continues from."""

from __future__ import annotations

import logging
import signal
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytorch_lightning as pl
import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar

from lightning_models.checkpoints import AtomicCheckpointIO, read_checkpoint
from lightning_models.data.windows import WindowLoader
from lightning_models.errors import StorageError, TrainingError, TrainingInterrupted
from lightning_models.module import ForecastModule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lightning_models.data.datamodule import CandleDataModule
    from lightning_models.networks import ForecastNetwork

__all__ = ["EpochMetrics", "FitResult", "TrainingConfig", "fit", "quiet_lightning"]

EpochMetrics = dict[str, float]


class TrainingConfig(BaseModel):
    """How a network is fitted.

    Parameters
    ----------
    epochs
        At most; early stopping may end sooner.
    batch_size
        Windows a batch.
    learning_rate, weight_decay
        Of AdamW.
    patience
        Epochs without a better validation loss before training stops; 0 never stops early.
    gradient_clip
        Largest norm of the gradient; 0 leaves it as it is.
    seed
        Of weights, batch order and dropout.
    threads
        Of torch. More than one gained nothing when measured, and cost much on a busy machine.
    accelerator
        ``auto`` takes a GPU where there is one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: PositiveInt = 50
    batch_size: PositiveInt = Field(default=32, ge=2)
    learning_rate: float = Field(default=0.001, gt=0, le=1)
    weight_decay: NonNegativeFloat = 0.0
    patience: int = Field(default=8, ge=0)
    gradient_clip: NonNegativeFloat = 1.0
    seed: int = Field(default=0, ge=0, lt=2**32)
    threads: PositiveInt = 1
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"


@dataclass(frozen=True)
class FitResult:
    """What a finished fit leaves behind.

    Parameters
    ----------
    history
        Metrics of each epoch, oldest first: ``train/loss``, ``val/loss``, ``val/log_loss`` …
    best_epoch
        Counted from 1, of the lowest validation loss; the last where nothing was validated.
    network
        With the weights of that epoch, in evaluation mode, on the CPU.
    """

    history: tuple[EpochMetrics, ...]
    best_epoch: int
    network: ForecastNetwork


class _EpochHistory(pl.Callback):
    # Keeps each epoch's metrics, also across a resume, and hands them on as they come.
    def __init__(self, on_epoch: Callable[[int, EpochMetrics], None] | None) -> None:
        self.rows: list[EpochMetrics] = []
        self._on_epoch = on_epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        del pl_module
        row = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if not all(value == value and abs(value) != float("inf") for value in row.values()):
            raise TrainingError(
                f"the loss was no longer a number in epoch {trainer.current_epoch + 1}: lower "
                "--set training.learning_rate, or check the candles for broken prices"
            )
        self.rows.append(row)
        if self._on_epoch is not None:
            self._on_epoch(trainer.current_epoch + 1, row)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])


class _Patience(EarlyStopping):
    # Lightning's takes the patience of the checkpoint instead of the one asked for now, and
    # trains an epoch more when a run is resumed that had stopped already.
    def __init__(self, patience: int) -> None:
        super().__init__("val/loss", patience=patience, check_on_train_epoch_end=True)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        del pl_module
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class _EpochOrder(pl.Callback):
    # Also right after a resume, where a loader that counted for itself would start at 0.
    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        del pl_module
        loader = trainer.train_dataloader
        if isinstance(loader, WindowLoader):
            loader.set_epoch(trainer.current_epoch)


def fit(
    network: Callable[[], ForecastNetwork],
    data: CandleDataModule,
    config: TrainingConfig,
    *,
    checkpoints: Path,
    resume: bool = False,
    resume_hint: str = "",
    on_epoch: Callable[[int, EpochMetrics], None] | None = None,
    progress: bool = False,
) -> FitResult:
    """Fit a network on the train slice, watched on the validation slice.

    Parameters
    ----------
    network
        Builds it with fresh weights; called after the seed is set.
    data
        The slices.
    config
        Epochs, batch size and the like.
    checkpoints
        Folder of ``last.ckpt``, written after each epoch, and of ``best.ckpt`` where there is
        a validation slice.
    resume
        Continue from ``last.ckpt``. On the CPU with one thread the result is the same, bit
        for bit, as if training had never stopped.
    resume_hint
        The command that continues an interrupted run, for the message.
    on_epoch
        Called after each epoch with its number from 1 and its metrics.
    progress
        Whether to show progress bars on standard error.

    Returns
    -------
    FitResult

    Raises
    ------
    TrainingInterrupted
        On Ctrl-C or SIGTERM; the checkpoints stay.
    TrainingError
        If the loss is no longer a number, or there is no sound checkpoint to resume from.
    StorageError
        If a checkpoint cannot be written.
    """
    last = checkpoints / "last.ckpt"
    if resume and not last.is_file():
        raise TrainingError(
            f"nothing to resume: {last} does not exist. Train without --resume, or name a run "
            "that finished at least one epoch"
        )
    if resume:
        read_checkpoint(last)
    torch.set_num_threads(config.threads)
    pl.seed_everything(config.seed, verbose=False)
    module = ForecastModule(
        network(), learning_rate=config.learning_rate, weight_decay=config.weight_decay
    )
    history = _EpochHistory(on_epoch)
    validates = len(data.samples["validation"]) > 0
    # One that keeps the best epoch and one that keeps every: a single one with `save_last`
    # writes last.ckpt only in epochs that are the best so far. The last is written after the
    # best, whose score it holds: a resumed run must not take a worse epoch for a better one.
    callbacks: list[pl.Callback] = [history, _EpochOrder()]
    if validates:
        callbacks.append(_checkpoint(checkpoints, "best", monitor="val/loss"))
        if config.patience:
            callbacks.append(_Patience(config.patience))
    callbacks.append(_checkpoint(checkpoints, "last", monitor=None))
    if progress:
        callbacks.append(RichProgressBar(console_kwargs={"stderr": True}))
    with quiet_lightning():
        trainer = pl.Trainer(
            max_epochs=config.epochs,
            accelerator=config.accelerator,
            devices=1,
            logger=False,
            callbacks=callbacks,
            gradient_clip_val=config.gradient_clip or None,
            num_sanity_val_steps=0,
            enable_model_summary=False,
            enable_progress_bar=progress,
            default_root_dir=checkpoints,
            plugins=[AtomicCheckpointIO()],
        )
        _run(trainer, module, data, last if resume else None, resume_hint)
    if resume and not history.rows:
        raise TrainingError(f"{last} holds no finished epoch: train without --resume")
    best = read_checkpoint(checkpoints / ("best.ckpt" if validates else "last.ckpt"))
    module.load_state_dict(best["state_dict"])
    losses = [row["val/loss"] for row in history.rows] if validates else []
    best_epoch = losses.index(min(losses)) + 1 if losses else len(history.rows)
    return FitResult(tuple(history.rows), best_epoch, module.network.cpu().eval())


def _checkpoint(folder: Path, name: str, monitor: str | None) -> ModelCheckpoint:
    return ModelCheckpoint(
        dirpath=folder,
        filename=name,
        monitor=monitor,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )


def _run(
    trainer: pl.Trainer,
    module: ForecastModule,
    data: CandleDataModule,
    checkpoint: Path | None,
    resume_hint: str,
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(
            module,
            train_dataloaders=data.train_dataloader(),
            val_dataloaders=data.val_dataloader() or None,
            ckpt_path=None if checkpoint is None else str(checkpoint),
            weights_only=True,
        )
    except SystemExit as stop:
        # Lightning turns Ctrl-C into an exit, and leaves Ctrl-C switched off behind it.
        signal.signal(signal.SIGINT, handler)
        raise TrainingInterrupted(_interrupted(trainer, resume_hint)) from stop
    except OSError as error:
        raise StorageError(
            f"a checkpoint could not be written to {trainer.default_root_dir}: {error}. The "
            f"epochs before it are kept; make room or choose another --home. {resume_hint}".rstrip()
        ) from error
    except RuntimeError as error:
        if "out of memory" not in str(error).lower():
            raise
        raise TrainingError(
            "out of memory in training: lower --set training.batch_size or the network's width"
        ) from error


def _interrupted(trainer: pl.Trainer, resume_hint: str) -> str:
    folder = Path(trainer.default_root_dir)
    if not (folder / "last.ckpt").is_file():
        return "training was stopped before its first epoch ended; nothing was kept"
    return (
        f"training was stopped after {trainer.current_epoch} epochs; the best and the last "
        f"checkpoint are in {folder}. {resume_hint}".rstrip()
    )


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's notices of hardware and habits that do not apply here.

    Left out are its advice on data loader workers (batches are gathered in memory), on
    logging intervals (metrics are logged by epoch), and on a checkpoint folder that exists
    (a resumed run's does).
    """
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"pytorch_lightning\..*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
