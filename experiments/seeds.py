"""Train one configuration with several seeds, and register the best by validation."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import mlflow

from experiments.tracking import log_metrics, log_parameters, set_tags, tracked_run
from experiments.training import TrainedModel, trained_model
from lightning_models.candles import fingerprint_of
from lightning_models.data.datamodule import CandleDataModule
from lightning_models.errors import ConfigError, TrainingInterrupted
from lightning_models.evaluation import SeedSpread, spread_of
from lightning_models.home import Home, find_home
from lightning_models.registry import RegisteredModel, Registry, check_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from experiments.config import TrainConfig
    from lightning_models.candles import Candles

__all__ = ["SPREAD_METRICS", "SeedRow", "SeedStudy", "train_seeds"]

SPREAD_METRICS: Final = (
    "val/loss",
    "test/log_loss",
    "test/log_loss_gain",
    "test/auc",
    "test/brier",
    "test/ece",
    "test/directional_accuracy",
)
"""What mean and deviation are stated of."""


@dataclass(frozen=True)
class SeedRow:
    """One seed's training.

    Parameters
    ----------
    seed
        Of weights, batch order and dropout.
    run_id
        Of its MLflow run, a child of the study's.
    metrics
        Its own, with the ``val/loss`` that seeds are chosen by.
    """

    seed: int
    run_id: str
    metrics: dict[str, float | None]


@dataclass(frozen=True)
class SeedStudy:
    """Trainings that differ in nothing but their seed.

    Parameters
    ----------
    model
        The one that was registered.
    seed
        Its seed: the lowest validation loss of all.
    run_id
        Of the MLflow run above those of the seeds.
    rows
        One for each seed.
    spreads
        Mean and deviation over seeds.
    """

    model: RegisteredModel
    seed: int
    run_id: str
    rows: tuple[SeedRow, ...]
    spreads: tuple[SeedSpread, ...]

    @property
    def verdict(self) -> str:
        """What the seeds say together, in words."""
        found = next((one for one in self.spreads if one.metric == "test/log_loss_gain"), None)
        chosen = f"Seed {self.seed} was registered, for its validation loss."
        if found is None:
            return chosen
        return (
            f"Over {found.seeds} seeds the log-loss gain over the majority class is "
            f"{found.mean:+.5f} ± {found.deviation:.5f} nats, from {found.lowest:+.5f} to "
            f"{found.highest:+.5f}. {chosen}"
        )


def train_seeds(
    config: TrainConfig,
    candles: Sequence[Candles],
    *,
    name: str,
    seeds: int = 5,
    home: str | Path | Home | None = None,
    promote: bool = False,
    progress: bool = False,
) -> SeedStudy:
    """Train with several seeds and register the model with the lowest validation loss.

    The test slice takes no part in the choice. Its scores are those of the chosen model, and
    their mean and deviation over all seeds say how much of them was the seed's luck.

    Parameters
    ----------
    config
        Its seed is the first; the others count up from it.
    candles
        One entry for each symbol, all of one timeframe.
    name
        To register under, and of the MLflow experiment.
    seeds
        How many, at least 2.
    home
        Folder of the tracking database; by default ``$LSTM_HOME`` or the user's data folder.
    promote
        Whether the new version becomes the champion although there is one.
    progress
        Whether to show progress bars on standard error.

    Returns
    -------
    SeedStudy

    Raises
    ------
    ConfigError
        If there are fewer than two seeds, or no validation slice to choose by.
    CandleError, TooFewCandlesError, FeatureError
        If the candles cannot be trained on.
    TrainingInterrupted
        On Ctrl-C. Seeds that were finished stay in MLflow; nothing is registered.
    TrainingError, StorageError
        If training or writing fails.
    """
    check_name(name)
    if seeds < 2:
        raise ConfigError(f"{seeds} seed has no deviation: give at least 2, such as --seeds 5")
    if config.data.slices.validation == 0:
        raise ConfigError(
            "seeds are chosen by their validation loss, and data.slices.validation is 0: give it "
            "a share, such as 0.1"
        )
    folder = find_home(home).create()
    rows: list[SeedRow] = []
    best: tuple[float, SeedRow, TrainedModel] | None = None
    with tracked_run(folder, name, run_name=f"{config.preset}, {seeds} seeds") as parent:
        for seed in range(config.training.seed, config.training.seed + seeds):
            one = config.model_copy(
                update={"training": config.training.model_copy(update={"seed": seed})}
            )
            data = CandleDataModule(
                one.data, candles, batch_size=one.training.batch_size, seed=seed
            )
            if not rows:
                _describe(parent, config, data, seeds)
            with _child_run(f"seed {seed}") as run:
                try:
                    trained = trained_model(
                        one, data, home=folder, run_id=run, name=name, progress=progress
                    )
                except TrainingInterrupted as error:
                    raise TrainingInterrupted(
                        f"stopped at seed {seed}, {len(rows)} of {seeds} finished; the seeds "
                        "begin anew when the command is repeated"
                    ) from error
                trained.log(run)
                set_tags(run, {"seed": str(seed)})
            loss = trained.fit.history[trained.fit.best_epoch - 1]["val/loss"]
            row = SeedRow(seed, run, {**trained.bundle.metrics, "val/loss": loss})
            rows.append(row)
            if best is None or loss < best[0]:
                best = loss, row, trained  # the others' candles and weights are let go
        assert best is not None
        _, chosen, trained = best
        spreads = spread_of([row.metrics for row in rows], SPREAD_METRICS)
        with _child_run(run_id=chosen.run_id):
            model = trained.register(
                Registry(folder), name=name, run_id=chosen.run_id, promote=promote
            )
        study = SeedStudy(model, chosen.seed, parent, tuple(rows), spreads)
        log_metrics(parent, _metrics_of(spreads))
        set_tags(parent, {"verdict": study.verdict, "chosen_run": chosen.run_id})
        return study


@contextmanager
def _child_run(run_name: str | None = None, run_id: str | None = None) -> Iterator[str]:
    # Started or continued below the run that is active; it ends as its work did.
    parent = mlflow.active_run()
    assert parent is not None
    run = mlflow.start_run(
        run_id=run_id,
        run_name=run_name,
        experiment_id=parent.info.experiment_id,
        nested=True,
    )
    status = "FAILED"
    try:
        yield str(run.info.run_id)
        status = "FINISHED"
    except (KeyboardInterrupt, TrainingInterrupted):
        status = "KILLED"
        raise
    finally:
        mlflow.end_run(status)


def _describe(run_id: str, config: TrainConfig, data: CandleDataModule, seeds: int) -> None:
    log_parameters(run_id, {"preset": config.preset, "seeds": seeds})
    set_tags(
        run_id,
        {
            "kind": "seeds",
            "preset": config.preset,
            "symbols": ",".join(data.symbols),
            "timeframe": data.timeframe,
            "data_fingerprint": fingerprint_of(data.candles),
        },
    )


def _metrics_of(spreads: Sequence[SeedSpread]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for one in spreads:
        found[f"{one.metric}_mean"] = one.mean
        found[f"{one.metric}_deviation"] = one.deviation
    return found
