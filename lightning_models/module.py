"""One thin LightningModule over any network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch import Tensor

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

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch and log it for the epoch."""
        del batch_idx
        loss = self.network.loss(self.network(batch.window), batch.target)
        self._log_losses("train", loss._asdict(), len(batch.window))
        return loss.total

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the losses of a batch for the epoch."""
        del batch_idx
        loss = self.network.loss(self.network(batch.window), batch.target)
        self._log_losses("val", loss._asdict(), len(batch.window))

    def configure_optimizers(self) -> Optimizer:
        """Return AdamW over all weights."""
        return torch.optim.AdamW(
            self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the random state, from which a resumed run draws the same dropout."""
        checkpoint["random_state"] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the random state from a checkpoint; it is set when training starts."""
        self._random_state = checkpoint["random_state"]

    def on_train_start(self) -> None:
        """Set the random state last, after Lightning's own set-up has drawn numbers."""
        if self._random_state is not None:
            torch.set_rng_state(self._random_state.cpu())
            self._random_state = None

    def _log_losses(self, stage: str, losses: dict[str, Tensor], size: int) -> None:
        names = {"total": "loss", "direction": "log_loss", "change": "pinball"}
        self.log_dict(
            {f"{stage}/{names[key]}": value for key, value in losses.items()},
            on_step=False,
            on_epoch=True,
            batch_size=size,
        )
