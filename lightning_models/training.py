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

from lightning_models.checkpoints import (
    BEST_FILE,
    LAST_FILE,
    PART_FILE,
    AtomicCheckpointIO,
    clear_checkpoints,
    newest_checkpoint,
    read_checkpoint,
)
from lightning_models.data.loader import EpochLoader
from lightning_models.divergence import FiniteLoss, LossLostError, forget_divergence, keep_best
from lightning_models.errors import StorageError, TrainingError, TrainingInterrupted
from lightning_models.module import ForecastModule
from lightning_models.stopping import PartCheckpoint, listen_for_stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lightning_models.data.datamodule import CandleDataModule
    from lightning_models.networks import ForecastNetwork
    from lightning_models.stopping import StopRequest

__all__ = ["EpochMetrics", "FitResult", "TrainingConfig", "fit", "quiet_lightning"]

EpochMetrics = dict[str, float]


class TrainingConfig(BaseModel):
    """How a network is fitted.

    Parameters
    ----------
    epochs
        At most; early stopping may end sooner.
    batch_size
        Windows a batch; chunks a batch in sequence mode.
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
    checkpoint_seconds
        Between checkpoints inside an epoch; 0 writes them at its end only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: PositiveInt = 50
    batch_size: PositiveInt = Field(default=32, ge=2)
    learning_rate: float = Field(default=0.001, gt=0, le=1)
    weight_decay: NonNegativeFloat = 0.0
    patience: int = Field(default=8, ge=0)
    gradient_clip: NonNegativeFloat = 1.0
    seed: int = Field(default=0, ge=0, lt=2**32)
    threads: PositiveInt = 1
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    checkpoint_seconds: NonNegativeFloat = 60.0


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

    def metrics(self) -> dict[str, float | None]:
        """Return what MLflow is told of the fit: epochs, and the best one's log-loss."""
        found: dict[str, float | None] = {
            "best_epoch": float(self.best_epoch),
            "epochs_trained": float(len(self.history)),
        }
        validation = [row["val/log_loss"] for row in self.history if "val/log_loss" in row]
        if validation:
            found["val/log_loss"] = validation[self.best_epoch - 1]
        return found


class _EpochHistory(pl.Callback):
    # Keeps each epoch's metrics, also across a resume, and hands them on as they come.
    def __init__(self, on_epoch: Callable[[int, EpochMetrics], None] | None) -> None:
        self.rows: list[EpochMetrics] = []
        self._on_epoch = on_epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        row = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if isinstance(pl_module, ForecastModule):
            row = pl_module.train_losses() | row
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


class _SettingsOfNow(pl.Callback):
    # A checkpoint brings its optimiser's settings with it; a run that lost its loss goes on with
    # others.
    def __init__(self, config: TrainingConfig) -> None:
        self._config = config

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        del pl_module
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self._config.learning_rate
                group["weight_decay"] = self._config.weight_decay


class _ProgressBar(RichProgressBar):
    # Lightning's counts epochs from 0; every other number of this project counts them from 1.
    def _get_train_description(self, current_epoch: int) -> str:
        description = f"Epoch {current_epoch + 1}/{self.trainer.max_epochs}"
        return description.ljust(len(self.validation_description))


class _EpochOrder(pl.Callback):
    # Also right after a resume, where a loader that counted for itself would start at 0.
    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        del pl_module
        loader = trainer.train_dataloader
        if isinstance(loader, EpochLoader):
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
    callbacks: Sequence[pl.Callback] = (),
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
        Folder of ``last.ckpt``, written after each epoch, of ``best.ckpt`` where there is a
        validation slice, and of ``part.ckpt`` while an epoch lasts. Those of an earlier fit are
        removed unless it is resumed.
    resume
        Continue from the newest of them, inside an epoch too. On the CPU with one thread the
        result is the same, bit for bit, as if training had never stopped.
    resume_hint
        The command that continues an interrupted run, for the message.
    on_epoch
        Called after each epoch with its number from 1 and its metrics.
    progress
        Whether to show progress bars on standard error.
    callbacks
        Further ones of Lightning's, beside this function's own. One that sets
        ``trainer.should_stop`` ends the fit after the epoch that is running.

    Returns
    -------
    FitResult

    Raises
    ------
    TrainingInterrupted
        On Ctrl-C or SIGTERM, after the batch that is running; the checkpoints stay.
    TrainingError
        If the loss is no longer a number, or there is no sound checkpoint to resume from. In the
        first case the best epoch stays, and a resumed fit goes on from it: give it a lower
        learning rate.
    StorageError
        If a checkpoint cannot be written.
    """
    start = _checkpoint_to_resume(checkpoints) if resume else None
    if not resume:
        clear_checkpoints(checkpoints)
        forget_divergence(checkpoints)
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
    own: list[pl.Callback] = [FiniteLoss(), history, _EpochOrder(), _SettingsOfNow(config)]
    if validates:
        own.append(_checkpoint(checkpoints, "best", monitor="val/loss"))
        if config.patience:
            own.append(_Patience(config.patience))
    own.append(_checkpoint(checkpoints, "last", monitor=None))
    if progress:
        own.append(_ProgressBar(console_kwargs={"stderr": True}))
    with quiet_lightning(), listen_for_stop() as request:
        part = PartCheckpoint(checkpoints / PART_FILE, config.checkpoint_seconds, request)
        own.append(part)
        trainer = pl.Trainer(
            max_epochs=config.epochs,
            accelerator=config.accelerator,
            devices=1,
            logger=False,
            callbacks=[*own, *callbacks],
            gradient_clip_val=config.gradient_clip or None,
            num_sanity_val_steps=0,
            enable_model_summary=False,
            enable_progress_bar=progress,
            default_root_dir=checkpoints,
            plugins=[AtomicCheckpointIO()],
        )
        try:
            _run(trainer, module, data, start, request, resume_hint)
        except LossLostError as lost:
            raise keep_best(
                checkpoints,
                lost,
                [row["val/loss"] for row in history.rows] if validates else [],
                epochs=len(history.rows),
                learning_rate=config.learning_rate,
                gradient_clip=config.gradient_clip,
                resume_hint=resume_hint,
            ) from lost
    if start is not None and not history.rows:
        raise TrainingError(f"{start} holds no finished epoch: train without --resume")
    (checkpoints / PART_FILE).unlink(missing_ok=True)
    best = read_checkpoint(checkpoints / (BEST_FILE if validates else LAST_FILE))
    module.load_state_dict(best["state_dict"])
    losses = [row["val/loss"] for row in history.rows] if validates else []
    best_epoch = losses.index(min(losses)) + 1 if losses else len(history.rows)
    return FitResult(tuple(history.rows), best_epoch, module.network.cpu().eval())


def _checkpoint_to_resume(folder: Path) -> Path:
    start = newest_checkpoint(folder)
    if start is None:
        raise TrainingError(
            f"nothing to resume: {folder / LAST_FILE} does not exist. Train without --resume, or "
            "name a run that was stopped after its first batch"
        )
    return start


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
    request: StopRequest,
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
        if request.asked:
            raise TrainingInterrupted
    except TrainingInterrupted as stop:
        raise TrainingInterrupted(_interrupted(trainer, str(stop), resume_hint)) from stop
    except SystemExit as stop:
        # Lightning turns Ctrl-C into an exit, and leaves Ctrl-C switched off behind it.
        signal.signal(signal.SIGINT, handler)
        raise TrainingInterrupted(_interrupted(trainer, "", resume_hint)) from stop
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


def _interrupted(trainer: pl.Trainer, inside: str, resume_hint: str) -> str:
    folder = Path(trainer.default_root_dir)
    if not any((folder / name).is_file() for name in (LAST_FILE, PART_FILE)):
        return "training was stopped before its first checkpoint; nothing was kept"
    return (
        f"training was stopped after {trainer.current_epoch} "
        f"epoch{'' if trainer.current_epoch == 1 else 's'}"
        f"{f' and {inside}' if inside else ''}; the checkpoints are in {folder}. "
        f"{resume_hint}".rstrip()
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
