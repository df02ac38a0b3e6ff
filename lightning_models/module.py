"""One thin LightningModule over any network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from lightning_models.data.chunks import ChunkBatch
from lightning_models.networks.forecast_network import RawForecast

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from lightning_models.data.windows import Batch
    from lightning_models.networks import ForecastNetwork

__all__ = ["ForecastModule"]


class ForecastModule(pl.LightningModule):
    """Logs a network's losses and gives it an optimiser.

    Parameters
    ----------
    network
        Any network of the table.
    learning_rate
        Of Adam.
    weight_decay
        Decoupled from the gradient (AdamW); 0 is plain Adam.
    """

    def __init__(
        self, network: ForecastNetwork, *, learning_rate: float, weight_decay: float = 0.0
    ) -> None:
        super().__init__()
        self.network = network
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self._random_state: Tensor | None = None
        self._train_sums: dict[str, tuple[Tensor, int]] = {}

    def training_step(self, batch: Batch | ChunkBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch and log it for the epoch."""
        del batch_idx
        return self._step("train", batch)

    def validation_step(self, batch: Batch | ChunkBatch, batch_idx: int) -> None:
        """Log the losses of a batch for the epoch."""
        del batch_idx
        self._step("val", batch)

    def configure_optimizers(self) -> Optimizer:
        """Return AdamW over all weights."""
        return torch.optim.AdamW(
            self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the random state, for the same dropout after a resume, and the losses so far."""
        checkpoint["random_state"] = torch.get_rng_state()
        checkpoint["train_sums"] = dict(self._train_sums)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the random state from a checkpoint; it is set when training starts."""
        self._random_state = checkpoint["random_state"]
        self._train_sums = dict(checkpoint.get("train_sums", {}))

    def on_train_start(self) -> None:
        """Set the random state last, after Lightning's own set-up has drawn numbers."""
        if self._random_state is not None:
            torch.set_rng_state(self._random_state.cpu())
            self._random_state = None

    def on_train_epoch_start(self) -> None:
        """Forget the losses of the epoch before; an epoch that is resumed inside goes on."""
        self._train_sums = {}

    def train_losses(self) -> dict[str, float]:
        """Return the mean of each loss over the epoch's train samples so far."""
        return {name: float(total / count) for name, (total, count) in self._train_sums.items()}

    def labelled(self, batch: Batch | ChunkBatch) -> tuple[RawForecast, Tensor]:
        """Return the raw forecasts of a batch's samples beside their targets ``[N, horizon]``."""
        if not isinstance(batch, ChunkBatch):
            return self.network(batch.window), batch.target
        raw, _ = self.network.steps(batch.sequence)
        burn_in = batch.sequence.shape[1] - batch.labelled.shape[1]
        chosen = RawForecast(*(part[:, burn_in:][batch.labelled] for part in raw))
        return chosen, batch.target[batch.labelled]

    def _of_samples(self, batch: Batch | ChunkBatch, part: Tensor | None) -> Tensor | None:
        return part[batch.labelled] if part is not None and isinstance(batch, ChunkBatch) else part

    def _step(self, stage: str, batch: Batch | ChunkBatch) -> Tensor:
        raw, target = self.labelled(batch)
        if not len(target):
            # A chunk at the edge of its slice; a mean over nothing would not be a number.
            return raw.logits.sum()
        loss = self.network.loss(
            raw,
            target,
            weight=self._of_samples(batch, batch.weight),
            timed_out=self._of_samples(batch, batch.timed_out),
        )
        self._log_losses(stage, loss._asdict(), len(target))
        return loss.total

    def _log_losses(self, stage: str, losses: dict[str, Tensor | None], size: int) -> None:
        names = {
            "total": "loss",
            "direction": "log_loss",
            "change": "pinball",
            "timeout": "timeout_log_loss",
        }
        named = {
            f"{stage}/{names[key]}": value for key, value in losses.items() if value is not None
        }
        if stage == "val":
            self.log_dict(named, on_step=False, on_epoch=True, batch_size=size)
            return
        # Lightning's own means are lost when a run is stopped inside an epoch.
        for name, value in named.items():
            total, count = self._train_sums.get(name, (torch.zeros((), device=value.device), 0))
            self._train_sums[name] = (total + value.detach() * size, count + size)
