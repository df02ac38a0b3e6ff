"""Checkpoints that are whole or not there, and that no pickle is needed to read."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io import TorchCheckpointIO

from lightning_models.errors import TrainingError

__all__ = ["AtomicCheckpointIO", "read_checkpoint"]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its target and renames it.

    Lightning's own writes to the system's temporary folder; where that is another file
    system, moving the file copies it over the earlier checkpoint, which a full disk or a
    killed process then leaves cut short.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        """Write a checkpoint; an earlier one of that name stays whole if it fails."""
        del storage_options
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.with_name(f".{target.name}.part")
        try:
            with scratch.open("wb") as file:
                file.write(buffer.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(target)
        except OSError:
            scratch.unlink(missing_ok=True)
            raise


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint's content, on the CPU.

    Raises
    ------
    TrainingError
        If the file is damaged or holds anything but tensors and plain values.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        cause = str(error).splitlines() or [type(error).__name__]
        raise TrainingError(
            f"the checkpoint {path} cannot be read: {cause[0]}. Train without --resume"
        ) from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise TrainingError(f"{path} is no checkpoint of a training run: train without --resume")
    return content
