"""Our training beside the same network trained by darts and by neuralforecast, in one run."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from statistics import median
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from experiments.benchmark.figure import BenchmarkConfig, Figure
from experiments.benchmark.own_training import (
    CHUNKS_A_BATCH,
    FEATURES,
    LOOKBACK,
    SEQUENCE_EPOCHS,
    Best,
    OwnLearner,
    pinball,
)
from experiments.benchmark.peer_process import PEERS, Peer, PeerMissingError, running_peer
from lightning_models.heads import QUANTILES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiments.benchmark.own_training import Samples
    from experiments.benchmark.peers_config import PeersConfig

__all__ = ["peers"]

# What a ratio beside each peer also holds.
DIFFERENCES: Final = {
    "darts": "BlockRNNModel learns the quantiles alone, from the target's past in place of the "
    "close",
    "neuralforecast": "LSTM learns the quantiles alone, from the target's past in place of the "
    "close, and draws the windows of each step anew",
}

_log = logging.getLogger(__name__)


class _Learner(Protocol):
    @property
    def name(self) -> str: ...

    def epochs_seconds(self, seed: int) -> list[float]: ...

    def best(self, seed: int) -> Best: ...


class _Measured:
    # One learner's numbers, of which the medians count.
    def __init__(self, learner: _Learner) -> None:
        self.learner = learner
        self.name = learner.name
        self.epochs: list[float] = []
        self.bests: list[Best] = []

    def measure(self, seed: int) -> None:
        self.epochs += self.learner.epochs_seconds(seed)
        self.bests.append(self.learner.best(seed))

    def rate(self, windows: int) -> float:
        return windows / median(self.epochs)

    @property
    def seconds(self) -> float:
        return median(best.seconds for best in self.bests)

    @property
    def pinball(self) -> float:
        return median(best.pinball for best in self.bests)

    @property
    def told(self) -> str:
        epoch = median(best.epoch for best in self.bests)
        epochs = median(best.epochs for best in self.bests)
        return f"{self.name} {self.seconds:.1f} s (epoch {epoch:g} of {epochs:g})"


def peers(config: BenchmarkConfig) -> list[Figure]:
    """Return how fast this project and its peers learn, and how soon they are at their best.

    Raises
    ------
    PeerMissingError
        If there is none of the peers. Where one is there, the other is warned of and left out.
    PeerError
        If a peer stops while it trains.
    """
    own = [OwnLearner(config.peers, mode) for mode in ("window", "sequence")]
    samples = own[0].samples()
    with ExitStack() as running:
        others = _start(config.peers, samples, running)
        learners: list[_Learner] = [*own, *others]
        measured = [_Measured(learner) for learner in learners]
        # In turn, so that a noisy machine is noisy for all of them.
        for seed in range(config.repeats):
            for one in measured:
                one.measure(seed)
    window, sequence, *rivals = measured
    return [
        *_learned(config.peers, samples, window, sequence, rivals),
        *_soonest(config.repeats, window, sequence, rivals),
        _scored(samples, window, sequence, rivals),
    ]


def _start(config: PeersConfig, samples: Samples, running: ExitStack) -> list[Peer]:
    found, missing = [], []
    for name in PEERS:
        try:
            found.append(running.enter_context(running_peer(name, config, samples)))
        except PeerMissingError as error:
            missing.append(str(error))
    if not found:
        raise PeerMissingError("there is nothing to compare with: " + "\n".join(missing))
    for message in missing:
        _log.warning("left out: %s", message)
    return found


def _learned(
    config: PeersConfig,
    samples: Samples,
    window: _Measured,
    sequence: _Measured,
    rivals: Sequence[_Measured],
) -> list[Figure]:
    ours = window.rate(samples.train)
    network = (
        f"LSTM of {config.layers} x {config.hidden_size}, lookback {LOOKBACK}, "
        f"{len(FEATURES)} inputs, {samples.train:,} windows, batches of {config.batch_size}, "
        "float32, Adam, one thread"
    )
    figures = [
        Figure(
            name=f"window mode learns, beside {rival.name}",
            value=ours / rival.rate(samples.train),
            unit="x",
            aim=1.0,
            at_least=True,
            detail=f"{ours:,.0f} windows/s against {rival.rate(samples.train):,.0f}; {network}. "
            "Ours learns the direction too and writes checkpoints; its "
            f"{DIFFERENCES[rival.name]}",
        )
        for rival in rivals
    ]
    fastest = max(rivals, key=lambda rival: rival.rate(samples.train))
    fast = sequence.rate(samples.train)
    figures.append(
        Figure(
            name="sequence mode learns, beside the fastest peer",
            value=fast / fastest.rate(samples.train),
            unit="x",
            aim=None,
            detail=f"{fast:,.0f} bars/s against {fastest.rate(samples.train):,.0f} windows/s of "
            f"{fastest.name}; {CHUNKS_A_BATCH} chunks a batch",
        )
    )
    return figures


def _soonest(
    repeats: int, window: _Measured, sequence: _Measured, rivals: Sequence[_Measured]
) -> list[Figure]:
    soonest = min(rivals, key=lambda rival: rival.seconds)
    told = "; ".join(one.told for one in (window, sequence, *rivals))
    return [
        Figure(
            name=f"{one.name}, time to the best validation loss",
            value=one.seconds / soonest.seconds,
            unit="x",
            aim=None,
            detail=f"beside {soonest.name}, the soonest peer; each by its own loss, median of "
            f"{repeats}: {told}. Sequence mode may take {SEQUENCE_EPOCHS} epochs for each of the "
            "others', which hold as many steps or more",
        )
        for one in (window, sequence)
    ]


def _scored(
    samples: Samples, window: _Measured, sequence: _Measured, rivals: Sequence[_Measured]
) -> Figure:
    best = min(rivals, key=lambda rival: rival.pinball)
    constant = pinball(
        np.quantile(samples.train_labels, QUANTILES).astype(np.float32), samples.labels
    )
    told = ", ".join(f"{one.name} {one.pinball:.4f}" for one in (window, sequence, *rivals))
    return Figure(
        name="validation pinball at the best epoch",
        value=window.pinball / best.pinball,
        unit="x",
        aim=None,
        detail=f"window mode beside {best.name}, on the same {samples.validation:,} rows, in "
        f"trailing volatility: {told}; the train labels' own quantiles {constant:.4f}",
    )
