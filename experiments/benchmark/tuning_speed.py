"""What a study costs beside its fits, how two workers share it, and what pruning saves."""

from __future__ import annotations

import logging
import multiprocessing
import tempfile
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from experiments.benchmark.figure import BenchmarkConfig, Figure
from experiments.benchmark.postgres_server import PostgresDatabase, PostgresServer, find_programs
from experiments.quiet import without_warnings
from experiments.settings import validated
from experiments.tuning.config import StudyConfig
from experiments.tuning.score import FoldScore, TrialScore
from experiments.tuning.search import tune
from experiments.tuning.storage import open_storage
from lightning_models.candles import Candles, read_candles, simulate_market
from lightning_models.errors import TrainingError
from lightning_models.home import Home

__all__ = ["tuning_speed"]

_log = logging.getLogger(__name__)

EPOCHS = 40
BARS = 5_000


def tuning_speed(config: BenchmarkConfig) -> list[Figure]:
    """Return what a trial costs over its fits, what a second worker adds, what pruning saves."""
    with without_warnings(), tempfile.TemporaryDirectory(prefix="lstm-benchmark-") as scratch:
        folder = Path(scratch)
        return [
            _overhead(config, folder),
            *_two_workers(config, folder),
            *_pruning(config, folder),
        ]


def _overhead(config: BenchmarkConfig, folder: Path) -> Figure:
    # A trial that needs no time itself, and leaves as much to keep as one of five years of 6 h.
    generator = np.random.default_rng(0)
    time = np.arange(BARS, dtype=np.int64) * 21_600_000
    series = 0.01 * generator.standard_normal((BARS, 2))

    def nothing(trial: optuna.Trial, candidate: object, candles: object) -> TrialScore:
        del candidate, candles
        value = sum(one for one in trial.params.values() if isinstance(one, float))
        fold = FoldScore(
            1,
            0,
            (value,),
            time,
            series[:, 0],
            series[:, 1],
            epochs=tuple(generator.random(EPOCHS)),
        )
        return TrialScore((value,), (fold,))

    study = _study("overhead", config.tune.overhead_trials)
    home = Home(folder / "overhead")
    tune(study, simulate_market(candles=2_000), home=home, objective=nothing)
    ends = [one.datetime_complete for one in _trials(home, None, "overhead")]
    # From one end to the next; the first trials make the tables' caches.
    gaps = [
        1000.0 * (later - end).total_seconds()
        for end, later in pairwise(ends[5:])
        if end is not None and later is not None
    ]
    return Figure(
        name="trial's overhead",
        value=median(gaps),
        unit="ms",
        aim=60.0,
        detail=f"median of {len(gaps)} trials that fit nothing: journal file, MLflow in SQLite, "
        f"{EPOCHS} epochs and {BARS:,} returns kept of each",
    )


def _two_workers(config: BenchmarkConfig, folder: Path) -> list[Figure]:
    programs = find_programs()
    if programs is None:
        _log.warning("not measured: two workers, since no PostgreSQL server is installed here")
        return []
    server = PostgresServer(programs)
    try:
        server.start()
        rates = [_trials_an_hour(config, folder, server, workers) for workers in (1, 2)]
    finally:
        server.remove()
    return [
        Figure(
            name="two workers",
            value=rates[1] / rates[0],
            unit="x",
            aim=1.8,
            at_least=True,
            detail=f"on one PostgreSQL: {rates[1]:,.0f} trials an hour, one worker "
            f"{rates[0]:,.0f}; layer-norm networks, MLflow in SQLite",
        )
    ]


def _trials_an_hour(
    config: BenchmarkConfig, folder: Path, server: PostgresServer, workers: int
) -> float:
    database = PostgresDatabase(server)
    home = Home(folder / f"workers-{workers}").create()
    trials = config.tune.worker_trials * workers
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(workers)
    crew = [
        context.Process(target=_work, args=(home.path, database.url, trials, ready))
        for _ in range(workers)
    ]
    for one in crew:
        one.start()
    for one in crew:
        one.join()
        if one.exitcode:
            raise TrainingError(f"a worker of the benchmark ended with {one.exitcode}")
    done = [one for one in _trials(home, database.url, "shared") if one.datetime_complete]
    begun = min(one.datetime_start for one in done if one.datetime_start is not None)
    ended = max(one.datetime_complete for one in done if one.datetime_complete is not None)
    database.drop()
    return 3600.0 * len(done) / (ended - begun).total_seconds()


def _work(folder: Path, storage: str, trials: int, ready: Any) -> None:
    from threading import BrokenBarrierError

    began = False

    def once_all_are_here(progress: object) -> None:
        nonlocal began
        del progress
        if not began:
            began = True
            with suppress(BrokenBarrierError):
                ready.wait(60)

    logging.disable(logging.WARNING)
    settings = {"training.epochs": 6, "training.patience": 0, "network.units": [32, 16, 8]}
    study = _study("shared", trials, preset="layer-norm", settings=settings)
    market = simulate_market(candles=4_000, signal=0.2)
    tune(study, market, home=folder, storage=storage, on_change=once_all_are_here)


def _pruning(config: BenchmarkConfig, folder: Path) -> list[Figure]:
    candles = _candles(config)
    found = {}
    for name, pruning in {
        "unpruned": {"kind": "none"},
        "pruned": {"kind": "epochs", "startup_trials": 4, "warmup_epochs": 3},
    }.items():
        study = _study(
            name,
            config.tune.pruning_trials,
            preset="layer-norm",
            settings={"training.epochs": config.tune.pruning_epochs},
            pruning=pruning,
            walk_forward={"folds": 3},
            sampler={"startup_trials": 8},
        )
        home = Home(folder / name)
        tune(study, candles, home=home)
        found[name] = _epochs_and_values(home, name)
    (all_epochs, all_values), (epochs, values) = found["unpruned"], found["pruned"]
    aim = min(all_values)
    reached = np.flatnonzero(np.minimum.accumulate(values) <= aim)
    until = sum(epochs[: int(reached[0]) + 1]) if len(reached) else None
    best = min(values)
    said = f"best {best:.5f} after {sum(epochs):,} epochs, unpruned {aim:.5f} after "
    said += f"{sum(all_epochs):,}; {config.tune.pruning_trials} trials each, same seed"
    figures = [
        Figure(
            name="epochs of a pruned study",
            value=100.0 * sum(epochs) / sum(all_epochs),
            unit="%",
            aim=40.0,
            detail=said,
        )
    ]
    figures.append(
        Figure(
            name="epochs until the unpruned study's best",
            value=100.0 * (sum(epochs) if until is None else until) / sum(all_epochs),
            unit="%",
            aim=40.0 if until is not None else 0.0,
            detail="of all epochs of the unpruned study"
            + ("" if until is not None else ": never reached, all of its own are counted"),
        )
    )
    return figures


def _candles(config: BenchmarkConfig) -> list[Candles]:
    if config.tune.candles is None:
        return simulate_market(candles=6_000, timeframe="6h", signal=0.2)
    return [read_candles(config.tune.candles, timeframe="6h")]


def _epochs_and_values(home: Home, name: str) -> tuple[list[int], list[float]]:
    from mlflow.tracking import MlflowClient

    from lightning_models.registry import use_tracking_server

    use_tracking_server(home)
    client = MlflowClient()
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    epochs = {
        int(run.data.tags["lstm.trial"]): int(run.data.metrics["epochs_trained"])
        for run in client.search_runs([experiment.experiment_id], max_results=5_000)
        if run.data.tags.get("lstm.kind") == "trial"
    }
    trials = _trials(home, None, name)
    return (
        [epochs[one.number] for one in trials],
        [one.value if one.state == TrialState.COMPLETE else np.inf for one in trials],  # type: ignore[misc]
    )


def _study(name: str, trials: int, **further: Any) -> StudyConfig:
    content = {
        "name": name,
        "preset": "logistic-regression",
        "space": _SPACES[further.get("preset", "logistic-regression")],
        "walk_forward": {"folds": 2},
        "stopping": {"trials": trials},
        **further,
    }
    return validated(StudyConfig, content, origin="benchmark")


_SPACES: dict[str, dict[str, Any]] = {
    "logistic-regression": {
        "network.l2": {"low": 1e-4, "high": 1.0, "log": True},
        "network.rows": {"low": 1, "high": 20},
        "data.lookback": {"low": 20, "high": 100},
        "training.weight_decay": {"low": 0.0, "high": 0.1},
    },
    "layer-norm": {
        "training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "training.weight_decay": {"low": 0.0, "high": 0.01},
        "network.dropout": {"low": 0.0, "high": 0.5},
    },
}


def _trials(home: Home, storage: str | None, name: str) -> list[optuna.trial.FrozenTrial]:
    study = optuna.load_study(study_name=name, storage=open_storage(storage, home=home, name=name))
    return study.get_trials(deepcopy=False)
