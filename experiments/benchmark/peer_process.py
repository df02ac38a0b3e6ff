"""A peer in a process of its own: what it is given, and how it is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from experiments.benchmark.own_training import (
    GRADIENT_CLIP,
    LEARNING_RATE,
    LOOKBACK,
    Best,
    pinball,
)
from lightning_models.errors import LSTMStrategiesError
from lightning_models.heads import QUANTILES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from experiments.benchmark.own_training import Samples
    from experiments.benchmark.peers_config import PeersConfig

__all__ = ["PEERS", "Peer", "PeerError", "PeerMissingError", "running_peer"]

PEERS: Final = {"darts": "darts[torch]", "neuralforecast": "neuralforecast"}
"""From each peer's name to what pip installs."""

SCRIPT: Final = Path(__file__).with_name("peer_training.py")
SAID_LAST: Final = 5


class PeerError(LSTMStrategiesError):
    """A peer that is installed and did not do what it was asked."""


class PeerMissingError(LSTMStrategiesError):
    """A peer that its interpreter does not have, or no such interpreter."""


class Peer:
    """A peer's training, asked over a pipe.

    Parameters
    ----------
    name
        One of `PEERS`.
    release
        The version that was found.
    labels
        ``float32 [N]``, of the validation windows.
    process, folder
        The script that trains, and where it reads and writes.

    Attributes
    ----------
    weights : int
        Of the LSTM that was trained last; 0 before.
    """

    def __init__(
        self,
        name: str,
        release: str,
        labels: npt.NDArray[np.float32],
        process: subprocess.Popen[str],
        folder: Path,
    ) -> None:
        self.name = name
        self.release = release
        self.weights = 0
        self._labels = labels
        self._process = process
        self._folder = folder

    def epochs_seconds(self, seed: int) -> list[float]:
        """Return the seconds of an epoch's steps without validation, after one to warm up."""
        answer = self._ask("epochs", seed)
        self.weights = answer["weights"]
        return [float(seconds) for seconds in answer["seconds"]]

    def best(self, seed: int) -> Best:
        """Train until the validation loss gets no better, or to the last epoch."""
        answer = self._ask("best", seed)
        quantiles = np.load(self._folder / "quantiles.npy")
        if quantiles.shape != (len(self._labels), len(QUANTILES)):
            # One row for all would be scored without complaint.
            raise PeerError(
                f"{self.name} {self.release} gave quantiles of shape {quantiles.shape} for "
                f"{len(self._labels)} validation windows: this release does not fit the benchmark"
            )
        return Best(
            float(answer["seconds"]),
            int(answer["epoch"]),
            int(answer["epochs"]),
            pinball(quantiles, self._labels),
        )

    def _ask(self, work: str, seed: int) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"work": work, "seed": seed}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._stopped() from error
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._stopped()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _stopped(self) -> PeerError:
        return PeerError(f"{self.name} {self.release} stopped: {_last_words(self._folder)}")


@contextmanager
def running_peer(name: str, config: PeersConfig, samples: Samples) -> Iterator[Peer]:
    """Start a peer's process, and end it.

    Parameters
    ----------
    name
        One of `PEERS`.
    config
        The network, how long it is trained, and the interpreter.
    samples
        What to learn from.

    Raises
    ------
    PeerMissingError
        If the interpreter does not start or lacks the package; the message says how to install it.
    """
    python = Path(sys.executable) if config.python is None else config.python
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _write_task(folder, config, samples)
        process = _start(python, name, folder)
        try:
            release = _release(name, python, process, folder)
            yield Peer(name, release, samples.labels, process, folder)
        finally:
            assert process.stdin is not None
            assert process.stdout is not None
            process.kill()
            process.wait()
            process.stdout.close()
            # What a dead process was asked is still to be flushed.
            with suppress(BrokenPipeError):
                process.stdin.close()


def _write_task(folder: Path, config: PeersConfig, samples: Samples) -> None:
    task = {
        "lookback": LOOKBACK,
        "hidden_size": config.hidden_size,
        "layers": config.layers,
        "batch_size": config.batch_size,
        "learning_rate": LEARNING_RATE,
        "gradient_clip": GRADIENT_CLIP,
        "epochs": config.epochs,
        "patience": config.patience,
        "train": samples.train,
        "validation": samples.validation,
        "quantiles": QUANTILES,
    }
    (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
    np.savez(folder / "samples.npz", features=samples.features, target=samples.target)


def _start(python: Path, name: str, folder: Path) -> subprocess.Popen[str]:
    try:
        with (folder / "said.txt").open("w", encoding="utf-8") as said:
            # Without -P the script's neighbours could be taken for packages.
            return subprocess.Popen(  # noqa: S603 - the interpreter that the user names
                [str(python), "-P", str(SCRIPT), name, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                encoding="utf-8",
                cwd=folder,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
    except OSError as error:
        raise PeerMissingError(
            f"{name} cannot be run: {python} does not start ({error.strerror}). Name an "
            "interpreter, Python 3.11 or newer, with --set peers.python=PATH"
        ) from error


def _release(name: str, python: Path, process: subprocess.Popen[str], folder: Path) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise PeerError(f"{name} did not start with {python}: {_last_words(folder)}")
    answer: dict[str, str] = json.loads(line)
    if "missing" in answer:
        raise PeerMissingError(
            f"{name} cannot be imported by {python} ({answer['missing']}): "
            f"{python} -m pip install '{PEERS[name]}', or name an interpreter that has it with "
            "--set peers.python=PATH"
        )
    return str(answer["version"])


def _last_words(folder: Path) -> str:
    text = (folder / "said.txt").read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(lines[-SAID_LAST:]) or "it said nothing"
