"""Studies with trials made by hand: what each drew, came to and returned is the test's own."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna

from experiments.tuning.config import StudyConfig
from experiments.tuning.development import cut_holdout
from experiments.tuning.loading import starting_point
from experiments.tuning.score import FoldScore, TrialScore
from experiments.tuning.study_record import StudyData, StudyRecord, open_study
from experiments.tuning.trial_record import TrialRecord
from experiments.tuning.trial_runs import StudyRuns
from lightning_models import simulate_market

if TYPE_CHECKING:
    from lightning_models.home import Home

HOUR = 3_600_000

SPACE: dict[str, Any] = {
    "training.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "network.hidden_size": {"low": 4, "high": 64},
    "network.dropout": {"low": 0.0, "high": 0.5},
}


@dataclass
class MadeStudy:
    """A study, its record and its runs in MLflow."""

    study: optuna.Study
    record: StudyRecord
    runs: StudyRuns
    home: Home
    candles: list

    def add(
        self,
        *values: float,
        returns: Any = None,
        market: Any = None,
        start: int = 0,
        preset: bool = False,
        state: str = "complete",
        error: str = "",
        epochs: tuple[float, ...] = (),
        **drawn: Any,
    ) -> int:
        """Run a trial that comes to these values; `returns` are its bars' from `start` on."""
        fixed = {name.replace("__", "."): value for name, value in drawn.items()}
        if fixed or preset:
            own = self.record.space.own_values()
            attrs = {"preset": True} if preset else None
            self.study.enqueue_trial({**own, **fixed}, user_attrs=attrs)
        trial = self.study.ask()
        self.record.space.suggest(trial)
        for step, loss in enumerate(epochs if len(values) < 2 else ()):
            trial.report(loss, step)
        score = None
        if returns is not None:
            held = np.asarray(returns, dtype=np.float64)
            stamps = (start + np.arange(len(held), dtype=np.int64)) * HOUR
            moved = np.zeros(len(held)) if market is None else np.asarray(market)
            score = TrialScore(
                tuple(values), (FoldScore(1, 0, tuple(values), stamps, held, moved),)
            )
        record = TrialRecord(
            number=trial.number,
            state=state,
            started=time.time_ns() // 1_000_000,
            drawn=trial.params,
            values=tuple(values),
            epochs=epochs,
            error=error,
        )
        self.runs.log_trial(record, score)
        if state == "complete":
            self.study.tell(trial, list(values))
        elif state == "pruned":
            self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            trial.set_user_attr("error", error)
            self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return trial.number


def described_study(
    storage: optuna.storages.BaseStorage,
    name: str,
    candles: list,
    *,
    after: str | None = None,
    holdout: float = 0.2,
    opened_at: str = "",
) -> tuple[optuna.Study, StudyRecord]:
    """A study without trials and runs, after another one, or with an opened holdout."""
    content = {"name": name, "preset": "quickstart", "space": SPACE, "holdout": holdout}
    start = starting_point(StudyConfig.model_validate(content))
    if after is not None:
        content |= {"preset": None, "after": after}
    study, record = open_study(
        StudyConfig.model_validate(content),
        start,
        StudyData.of(cut_holdout(candles, holdout)),
        storage=storage,
        make_run=lambda key: key,
    )
    if opened_at:
        opening = {"opened_at": opened_at, "trial": 4, "host": "alpha"}
        study.set_user_attr("holdout", opening)
    return study, record


def make_study(
    home: Home, *, candles: list | None = None, earlier: int = 0, **changes: Any
) -> MadeStudy:
    """An empty study in memory, of a forecast objective unless told otherwise."""
    content = {"name": "made", "preset": "quickstart", "space": SPACE, **changes}
    config = StudyConfig.model_validate(content)
    given = simulate_market(candles=600) if candles is None else candles
    development = cut_holdout(given, config.holdout)
    study, record = open_study(
        config,
        starting_point(config),
        StudyData.of(development, ("SIM_USDT.parquet",)),
        storage=optuna.storages.InMemoryStorage(),
        make_run=lambda key: StudyRuns.make_parent(home, config.name, key=key),
        earlier=earlier,
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    runs = StudyRuns(home, config.name, key=record.key, parent=record.run_id)
    return MadeStudy(study, record, runs, home, given)
