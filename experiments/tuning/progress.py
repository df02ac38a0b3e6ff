"""How a study stands: its trials counted, the best of them, and what is under way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from pydantic import BaseModel, ConfigDict

from experiments.tuning.orphans import ERROR, retried

__all__ = ["StudyProgress", "best_trials", "since_best", "standing"]


class StudyProgress(BaseModel):
    """A study's trials, counted.

    A trial that was run again because its worker died counts once, as the one that ran again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str
    wanted: int
    """Finished trials at which the study ends."""
    complete: int
    pruned: int
    failed: int
    running: tuple[int, ...]
    """Numbers of the trials under way, whoever's they are."""
    waiting: int
    """Trials whose parameters are fixed and that nobody has begun."""
    again: int
    """Trials that were stopped or killed and that another one runs again."""
    best: tuple[int, ...]
    """Number of the best trial; of two objectives, those that no other one is better than."""
    best_values: tuple[tuple[float, ...], ...]
    """Of these."""
    best_parameters: tuple[dict[str, Any], ...]
    """Of these, as they were drawn."""
    last_error: str = ""
    """Of the newest trial that failed."""

    @property
    def finished(self) -> int:
        """Complete, pruned and failed trials together."""
        return self.complete + self.pruned + self.failed


def standing(study: optuna.Study, wanted: int) -> StudyProgress:
    """Return how a study stands.

    Parameters
    ----------
    study
        Whichever.
    wanted
        Finished trials at which it ends.
    """
    trials = study.get_trials(deepcopy=False)
    again = retried(trials)
    counts = dict.fromkeys(TrialState, 0)
    for trial in trials:
        counts[trial.state] += trial.number not in again
    best = best_trials(study, trials)
    failed = [one for one in trials if one.state == TrialState.FAIL and one.number not in again]
    return StudyProgress(
        study=study.study_name,
        wanted=wanted,
        complete=counts[TrialState.COMPLETE],
        pruned=counts[TrialState.PRUNED],
        failed=counts[TrialState.FAIL],
        running=tuple(one.number for one in trials if one.state == TrialState.RUNNING),
        waiting=counts[TrialState.WAITING],
        again=len(again),
        best=tuple(one.number for one in best),
        best_values=tuple(tuple(one.values) for one in best),
        best_parameters=tuple(dict(one.params) for one in best),
        last_error=error_of(failed[-1]) if failed else "",
    )


def best_trials(study: optuna.Study, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the best complete trial, or those of two objectives that no other one is better than.

    Parameters
    ----------
    study
        Which says what is better.
    trials
        Of the study. Of equal ones the first counts.
    """
    complete = [one for one in trials if one.state == TrialState.COMPLETE]
    signs = [1.0 if one == StudyDirection.MINIMIZE else -1.0 for one in study.directions]
    losses = {
        one.number: tuple(sign * value for sign, value in zip(signs, one.values, strict=True))
        for one in complete
    }
    if len(signs) == 1:
        return sorted(complete, key=lambda one: (losses[one.number], one.number))[:1]
    return [one for one in complete if not _is_dominated(one, losses)]


def since_best(study: optuna.Study, trials: Sequence[FrozenTrial]) -> int:
    """Return how many trials have finished since the best one did; 0 without one.

    Parameters
    ----------
    study, trials
        As for `best_trials`.
    """
    best = best_trials(study, trials)
    if not best or best[0].datetime_complete is None:
        return 0
    done = best[0].datetime_complete
    return sum(
        one.state.is_finished()
        and one.datetime_complete is not None
        and one.datetime_complete > done
        for one in trials
    )


def error_of(trial: FrozenTrial) -> str:
    """Return why a trial failed."""
    return str(trial.user_attrs.get(ERROR, "its worker ended without a word"))


def _is_dominated(one: FrozenTrial, losses: Mapping[int, tuple[float, ...]]) -> bool:
    own = losses[one.number]
    return any(
        all(a <= b for a, b in zip(other, own, strict=True))
        and (other != own or number < one.number)
        for number, other in losses.items()
        if number != one.number
    )
