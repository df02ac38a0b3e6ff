"""Checkpoints that are whole or not there, and that no pickle is needed to read.

A fit writes ``best.ckpt`` and ``last.ckpt`` after an epoch and ``part.ckpt`` inside one. If the
loss is lost, ``diverged.json`` says where, and ``last.ckpt`` becomes the best epoch.
"""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any, Final

import torch
from lightning_fabric.plugins.io import TorchCheckpointIO

from lightning_models.errors import TrainingError

__all__ = [
    "BEST_FILE",
    "LAST_FILE",
    "PART_FILE",
    "AtomicCheckpointIO",
    "clear_checkpoints",
    "newest_checkpoint",
    "read_checkpoint",
    "write_whole",
]

LAST_FILE: Final = "last.ckpt"
BEST_FILE: Final = "best.ckpt"
PART_FILE: Final = "part.ckpt"


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
        write_whole(Path(path), buffer.getbuffer())


def write_whole(target: Path, content: bytes | memoryview) -> None:
    """Write a file beside its target and rename it.

    Raises
    ------
    OSError
        If it cannot be written; what was there before is left.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.part")
    try:
        with scratch.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(target)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint that is furthest in training, or None if there is none.

    Raises
    ------
    TrainingError
        If one is damaged.
    """
    found = [folder / name for name in (LAST_FILE, PART_FILE) if (folder / name).is_file()]
    # An epoch's end wins over a part of it that was not cleared away.
    return max(found, key=lambda path: int(read_checkpoint(path)["global_step"]), default=None)


def clear_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of an earlier fit, so that none is taken for one of a new fit."""
    for name in (LAST_FILE, BEST_FILE, PART_FILE):
        (folder / name).unlink(missing_ok=True)


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
