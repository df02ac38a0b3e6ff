"""One training of a comparison: a configuration, a symbol, a seed."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.fitting import fit_model
from lightning_models.candles import fingerprint_of
from lightning_models.data.datamodule import CandleDataModule
from lightning_models.evaluation import evaluate
from lightning_models.evaluation.collect import collect_outcomes
from lightning_models.evaluation.coverage import coverage_metrics, measure_coverage
from lightning_models.export import export_bundle
from lightning_models.inference import runner_of
from lightning_models.predictor import Predictor

if TYPE_CHECKING:
    from experiments.config import TrainConfig
    from lightning_models.candles import Candles
    from lightning_models.evaluation import Outcomes
    from lightning_models.training import EpochMetrics

__all__ = ["Trial", "TrialResult", "run_trial"]


@dataclass(frozen=True, eq=False)
class Trial:
    """A training to run.

    Parameters
    ----------
    label
        What a table calls it.
    config
        Network, mode, slices, seed.
    candles
        Of one symbol.
    """

    label: str
    config: TrainConfig
    candles: Candles

    @property
    def key(self) -> str:
        """Stands for everything that decides the result, so that it need not be run twice."""
        content = self.config.model_dump(mode="json", exclude={"preset"})
        text = json.dumps([content, fingerprint_of([self.candles])], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """Label, symbol and seed."""
        return f"{self.label} {self.candles.symbol} seed {self.config.training.seed}"


@dataclass(frozen=True, eq=False)
class TrialResult:
    """What a training gave.

    Parameters
    ----------
    label, symbol, seed
        Of the trial.
    metrics
        Of the test slice, as `train` logs them: ``test/log_loss`` and its bounds …
    seconds
        Processor time of the fit, which other work on the machine does not stretch.
    epoch_seconds
        The same, from the beginning to the end of each epoch.
    best_epoch
        From 1.
    outcomes
        Forecasts of the test slice with what followed.
    """

    label: str
    symbol: str
    seed: int
    metrics: dict[str, float | None]
    seconds: float
    epoch_seconds: tuple[float, ...]
    best_epoch: int
    outcomes: Outcomes


def run_trial(trial: Trial) -> TrialResult:
    """Fit, calibrate and evaluate one trial.

    Parameters
    ----------
    trial
        Which.

    Raises
    ------
    LSTMStrategiesError
        As training does.
    """
    config = trial.config
    data = CandleDataModule(
        config.data,
        [trial.candles],
        batch_size=config.training.batch_size,
        seed=config.training.seed,
    )
    ends: list[float] = []

    def epoch_ended(epoch: int, metrics: EpochMetrics) -> None:
        del epoch, metrics
        ends.append(time.process_time() - start)

    with tempfile.TemporaryDirectory(prefix="lstm-trial-") as scratch:
        start = time.process_time()
        result = fit_model(config, data, checkpoints=Path(scratch), on_epoch=epoch_ended)
        seconds = time.process_time() - start
    bundle = export_bundle(result.network, config.network, data)
    runner = runner_of(result.network, lookback=bundle.lookback, burn_in=bundle.burn_in)
    first, last = data.slices.bounds("test")
    outcomes = collect_outcomes(
        Predictor(bundle, runner, model="", sha256=""), data.candles, start=first, end=last
    )
    scores = evaluate(outcomes, seed=config.training.seed)
    coverage = measure_coverage(outcomes, seed=config.training.seed)
    return TrialResult(
        label=trial.label,
        symbol=trial.candles.symbol,
        seed=config.training.seed,
        metrics=scores.metrics() | coverage_metrics(coverage),
        seconds=seconds,
        epoch_seconds=tuple(ends),
        best_epoch=result.best_epoch,
        outcomes=outcomes,
    )
