"""What MLflow is told of a trial."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mlflow.entities import Metric, Param
from optuna.trial import TrialState

from experiments.tracking import milliseconds_now, parameter_text
from experiments.tuning.progress import error_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from experiments.tuning.score import FoldScore

__all__ = ["LONGEST_TAG", "TrialRecord", "state_of"]

LONGEST_TAG: Final = 5_000
"""Characters of a tag that MLflow takes everywhere."""

_STATES: Final = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


def state_of(trial: FrozenTrial) -> str | None:
    """Return what a finished trial's state is called; None of one that is not finished.

    Parameters
    ----------
    trial
        Optuna's.
    """
    return _STATES.get(trial.state)


@dataclass(frozen=True)
class TrialRecord:
    """A trial as its run tells of it.

    Parameters
    ----------
    number
        Optuna's.
    state
        ``complete``, ``pruned`` or ``failed``.
    started
        Milliseconds since the epoch.
    drawn
        What Optuna drew.
    configuration
        The whole of it, dotted; empty where there was none.
    values
        One for each objective; empty but for a complete trial.
    objectives
        What the values are called.
    folds
        Those that were finished.
    epochs
        Validation losses in the order in which they were reported.
    error
        Why it failed; empty where it did not.
    """

    number: int
    state: str
    started: int
    drawn: Mapping[str, Any]
    configuration: Mapping[str, Any] = field(default_factory=dict)
    values: tuple[float, ...] = ()
    objectives: tuple[str, ...] = ()
    folds: tuple[FoldScore, ...] = ()
    epochs: tuple[float, ...] = ()
    error: str = ""

    @classmethod
    def of(cls, trial: FrozenTrial, state: str) -> TrialRecord:
        """Return what is known of a trial whose process could not write its run.

        Parameters
        ----------
        trial
            Optuna's, finished.
        state
            As `state_of` calls it.
        """
        begun = trial.datetime_start
        return cls(
            number=trial.number,
            state=state,
            started=milliseconds_now() if begun is None else int(begun.timestamp() * 1000),
            drawn=trial.params,
            values=tuple(trial.values or ()) if state == "complete" else (),
            error=error_of(trial) if state == "failed" else "",
        )

    def parameters(self) -> list[Param]:
        """Return what was drawn.

        It is what trials differ in, and each further one costs time. All else is in the study's
        run, and in the tag that holds the whole configuration.
        """
        return [Param(name, parameter_text(value)) for name, value in self.drawn.items()]

    def metrics(self) -> list[Metric]:
        """Return the values, those of each fold and epoch, and totals, where they are numbers."""
        now = milliseconds_now()
        found = []
        if len(self.values) == 1:
            # One name for whatever is looked for, to sort the trials of any study by.
            found.append(Metric("value", self.values[0], now, 0))
        for name, value in zip(self.objectives, self.values, strict=False):
            found.append(Metric(f"objective/{name}", value, now, 0))
        for step, one in enumerate(self.folds):
            for name, value in zip(self.objectives, one.values, strict=False):
                found.append(Metric(f"fold/objective/{name}", value, now, step))
            found += [Metric(f"fold/{key}", value, now, step) for key, value in one.metrics.items()]
        found += [Metric("val/log_loss", loss, now, step) for step, loss in enumerate(self.epochs)]
        totals = {"epochs_trained": float(len(self.epochs))}
        if trades := sum(one.trades for one in self.folds):
            totals["trades"] = float(trades)
        found += [Metric(name, value, now, 0) for name, value in totals.items()]
        return [one for one in found if math.isfinite(one.value)]

    def tags(self, study: str) -> dict[str, str]:
        """Return what the run is found by, without the project's prefix.

        Parameters
        ----------
        study
            The study's key.
        """
        tags = {
            "kind": "trial",
            "study": study,
            "trial": str(self.number),
            "state": self.state,
        }
        configuration = json.dumps(self.configuration, separators=(",", ":"))
        if self.configuration and len(configuration) <= LONGEST_TAG:
            tags["configuration"] = configuration
        if self.error:
            tags["error"] = self.error[:LONGEST_TAG]
        return tags
