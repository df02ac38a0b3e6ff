"""Training by this project as the comparison with other libraries runs it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import numpy as np
from torch import nn

from lightning_models.candles import simulate_market
from lightning_models.data.datamodule import CandleDataModule, DataConfig
from lightning_models.data.slices import SliceConfig
from lightning_models.features import FeatureSpec
from lightning_models.heads import QUANTILES
from lightning_models.networks import build_network
from lightning_models.networks.multi_layer import MultiLayerConfig
from lightning_models.training import EpochMetrics, FitResult, TrainingConfig, fit

if TYPE_CHECKING:
    import numpy.typing as npt

    from experiments.benchmark.peers_config import PeersConfig

__all__ = [
    "CHUNKS_A_BATCH",
    "FEATURES",
    "GRADIENT_CLIP",
    "LEARNING_RATE",
    "LOOKBACK",
    "SEQUENCE_EPOCHS",
    "Best",
    "OwnLearner",
    "Samples",
    "pinball",
]

LOOKBACK: Final = 60
LEARNING_RATE: Final = 0.001
GRADIENT_CLIP: Final = 1.0
# Of sequence mode; an epoch is then so few steps that as many epochs would hardly train.
CHUNKS_A_BATCH: Final = 8
SEQUENCE_EPOCHS: Final = 10

# The close comes first: the peers read the target's own past in its place.
FEATURES: Final = ("close", "volume", "high", "low", "rsi", "ema_fast", "ema_slow")
SIGNAL: Final = 0.2


class Best(NamedTuple):
    """The best validation epoch of a training.

    Parameters
    ----------
    seconds
        From the start of training to the end of that epoch's validation.
    epoch
        Counted from 1.
    epochs
        Trained in all.
    pinball
        Of the three quantiles on the validation rows, in units of trailing volatility.
    """

    seconds: float
    epoch: int
    epochs: int
    pinball: float


class Samples(NamedTuple):
    """What the peers learn from: the rows that this project's windows cover.

    Parameters
    ----------
    features
        ``float32 [rows, feature]``, scaled, without the close.
    target
        ``float32 [rows]``: the return over trailing volatility that is known at each row, so
        that the label of the window that ends at row ``t`` is the target of row ``t + 1``.
    train, validation
        Windows of each slice. The train windows are the first, the validation windows the last.
    """

    features: npt.NDArray[np.float32]
    target: npt.NDArray[np.float32]
    train: int
    validation: int

    @property
    def labels(self) -> npt.NDArray[np.float32]:
        """The labels of the validation windows, ``float32 [validation]``."""
        return self.target[len(self.target) - self.validation :]

    @property
    def train_labels(self) -> npt.NDArray[np.float32]:
        """The labels of the train windows, ``float32 [train]``."""
        return self.target[LOOKBACK : LOOKBACK + self.train]


def pinball(quantiles: npt.NDArray[np.float32], labels: npt.NDArray[np.float32]) -> float:
    """Return the mean pinball loss of the three quantiles (Koenker and Bassett, 1978).

    Parameters
    ----------
    quantiles
        ``float32 [N, 3]``, or ``[3]`` for the same ones everywhere.
    labels
        ``float32 [N]``.
    """
    error = labels[:, None] - quantiles
    levels = np.asarray(QUANTILES)
    return float(np.maximum(levels * error, (levels - 1.0) * error).mean())


class OwnLearner:
    """Training through `fit`, with all that it does an epoch: checkpoints, history, watching.

    Parameters
    ----------
    config
        The network and how long it is trained.
    mode
        Windows, or whole stretches.

    Attributes
    ----------
    weights : int
        Of the LSTM that was trained last; 0 before.
    """

    def __init__(self, config: PeersConfig, mode: Literal["window", "sequence"]) -> None:
        self.config = config
        self.mode = mode
        self.name = f"{mode} mode"
        self.weights = 0
        self._more = SEQUENCE_EPOCHS if mode == "sequence" else 1
        self._candles = simulate_market(candles=config.candles, signal=SIGNAL)

    def samples(self) -> Samples:
        """Return what this learner learns from, as the peers take it."""
        data = self._data(validation=True)
        train, validation = (data.samples[name].ends for name in ("train", "validation"))
        # A window of the peers is any stretch of rows: that needs candles without holes.
        for ends in (train, validation):
            assert int(ends[-1]) - int(ends[0]) + 1 == len(ends)
        rows = slice(int(train[0]) - LOOKBACK + 1, int(validation[-1]) + 2)
        known = np.roll(data.targets[:, 0].numpy(), 1)
        return Samples(data.features[rows, 1:].numpy(), known[rows], len(train), len(validation))

    def epochs_seconds(self, seed: int) -> list[float]:
        """Return the seconds of whole epochs without validation, after one to warm up."""
        marks: list[float] = []
        epochs = 1 + self._more
        self._fit(self._data(validation=False), epochs, 0, seed, marks)
        return np.diff(marks).tolist()

    def best(self, seed: int) -> Best:
        """Train until the validation loss gets no better, or to the last epoch."""
        data = self._data(validation=True)
        marks: list[float] = []
        start = perf_counter()
        fitted = self._fit(
            data, self.config.epochs * self._more, self.config.patience * self._more, seed, marks
        )
        return Best(
            marks[fitted.best_epoch - 1] - start,
            fitted.best_epoch,
            len(fitted.history),
            fitted.history[fitted.best_epoch - 1]["val/pinball"],
        )

    def _data(self, *, validation: bool) -> CandleDataModule:
        config = DataConfig(
            features=tuple(FeatureSpec(name=name) for name in FEATURES),
            lookback=LOOKBACK,
            mode=self.mode,
            slices=SliceConfig()
            if validation
            else SliceConfig(train=0.7, validation=0.0, calibration=0.05, test=0.25),
        )
        return CandleDataModule(config, self._candles, batch_size=self._batch_size)

    @property
    def _batch_size(self) -> int:
        return CHUNKS_A_BATCH if self.mode == "sequence" else self.config.batch_size

    def _fit(
        self, data: CandleDataModule, epochs: int, patience: int, seed: int, marks: list[float]
    ) -> FitResult:
        network = MultiLayerConfig(
            hidden_size=self.config.hidden_size, layers=self.config.layers, dropout=0.0
        )

        def mark(epoch: int, metrics: EpochMetrics) -> None:
            del epoch, metrics
            marks.append(perf_counter())

        with tempfile.TemporaryDirectory() as checkpoints:
            fitted = fit(
                lambda: build_network(network, features=len(FEATURES), horizons=1),
                data,
                TrainingConfig(
                    epochs=epochs,
                    patience=patience,
                    batch_size=self._batch_size,
                    learning_rate=LEARNING_RATE,
                    gradient_clip=GRADIENT_CLIP,
                    seed=seed,
                    threads=1,
                    accelerator="cpu",
                ),
                checkpoints=Path(checkpoints),
                on_epoch=mark,
            )
        lstm = (part for part in fitted.network.modules() if isinstance(part, nn.LSTM))
        self.weights = sum(weight.numel() for one in lstm for weight in one.parameters())
        return fitted
