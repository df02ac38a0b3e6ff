"""What a study found, as it is written down."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from experiments.tuning.holdout_look import EarlierLook, HoldoutLook
from experiments.tuning.luck import StudyLuck
from experiments.tuning.parameters import Scalar

__all__ = ["ObjectiveName", "ParameterRow", "StudyReport", "TrialSummary"]

# More would bury the sentence that they stand in; the page has them all.
_MOST_NUMBERS: Final = 12


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ObjectiveName(_Part):
    """What trials are compared by, and which way is better."""

    name: str
    direction: Literal["minimize", "maximize"]

    @property
    def words(self) -> str:
        """Both, such as ``log_loss, smaller is better``."""
        return f"{self.name}, {'smaller' if self.direction == 'minimize' else 'larger'} is better"


class TrialSummary(_Part):
    """A trial.

    Parameters
    ----------
    number
        Optuna's.
    state
        Its own; ``again`` for one that was stopped or killed and that another one runs again.
    values
        One for each objective; empty but for a complete trial.
    parameters
        As they were drawn.
    epochs
        That were trained; None where nobody has said so.
    seconds
        Between its begin and its end; None while it has not ended.
    error
        Why it failed; empty where it did not.
    run_id
        Its MLflow run.
    """

    number: int
    state: Literal["complete", "pruned", "failed", "again", "running", "waiting"]
    values: tuple[float, ...] = ()
    parameters: dict[str, Scalar] = Field(default_factory=dict)
    epochs: int | None = None
    seconds: float | None = None
    error: str = ""
    run_id: str | None = None


class ParameterRow(_Part):
    """A parameter of the best trial beside the preset's own; None where there is none."""

    name: str
    best: JsonValue = None
    own: JsonValue = None


class StudyReport(_Part):
    """What a study found."""

    study: str
    made_at: str
    """UTC, ISO-8601."""
    symbols: tuple[str, ...]
    timeframe: str
    data_fingerprint: str
    holdout_from: str | None
    """First moment that no trial has seen, UTC; None where nothing was held out."""
    objectives: tuple[ObjectiveName, ...]
    wanted: int
    """Finished trials at which the study ends."""
    complete: int
    pruned: int
    failed: int
    again: int
    """Trials that were stopped or killed and that another one runs again: counted there."""
    earlier: int
    """Trials of the studies that this one comes after."""
    counted: int
    """Complete, pruned and earlier ones: so many were searched through."""
    best: TrialSummary
    """The chosen one: of two objectives the best in the first, among `front`."""
    front: tuple[int, ...] = ()
    """Of two objectives: the trials that no other one is better than in both."""
    own: TrialSummary | None = None
    """The trial with the preset's own values; None where none is complete."""
    gain: tuple[float, ...] | None = None
    """How much better the best one is than that, for each objective; below zero it is worse."""
    parameters: tuple[ParameterRow, ...] = ()
    luck: StudyLuck | None = None
    no_luck: str = ""
    """Why there is none."""
    holdout: HoldoutLook | None = None
    holdout_words: str
    """What the holdout says, or that it was not opened."""
    seen_before: tuple[EarlierLook, ...] = ()
    """Looks that other studies took at a part of the holdout before this study did."""
    verdict: str
    trials: tuple[TrialSummary, ...]
    preset: str
    """Path of the best trial's preset."""
    commands: tuple[str, ...]
    """That train the preset, and trade what was trained."""
    run_id: str
    """The study's MLflow run."""

    @property
    def warning(self) -> str:
        """What is to be known before the holdout is opened, or the best trial trained."""
        if self.holdout_from is None or self.holdout is not None:
            return ""
        told = (
            "Trained on all candles, it is tested on the newest ones, and those are the holdout's: "
            "to read these scores is a look at it."
        )
        if self.seen_before:
            told += (
                " A part of the holdout was looked at before, so that to open it is no first look "
                "and confirms less than one."
            )
        return told

    @property
    def gain_words(self) -> str:
        """The best trial beside the preset's own values, in a sentence or a few.

        Of two objectives no trial need be the best: those that no other one is better than come
        first.
        """
        if len(self.objectives) > 1:
            return f"{self._front_words()} {self._chosen_words()}"
        if self.own is None or self.gain is None:
            return ""
        if self.own.number == self.best.number:
            return "No trial was better than the preset's own values."
        return f"Trial {self.best.number}: {self._beside_own()}."

    def _front_words(self) -> str:
        of = f"Of {self.complete:,} complete trial{'' if self.complete == 1 else 's'}"
        if len(self.front) == 1:
            return f"{of} no other one is as good as trial {self.front[0]} in both objectives."
        shown = ", ".join(map(str, self.front[:_MOST_NUMBERS]))
        more = len(self.front) - _MOST_NUMBERS
        rest = f" and {more} more" if more > 0 else ""
        return (
            f"{of} {len(self.front)} are on the front, where none is better than another in both "
            f"objectives: {shown}{rest}."
        )

    def _chosen_words(self) -> str:
        alone = len(self.front) == 1
        first = "" if alone else f", the best of them in {self.objectives[0].name}"
        chosen = f"Trial {self.best.number}{first}"
        if self.own is None or self.gain is None:
            return f"{chosen}: {self._best_values()}."
        if self.own.number == self.best.number:
            chosen += "" if alone else ","
            return f"{chosen} has the preset's own values: {self._best_values()}."
        return f"{chosen}: {self._beside_own()}."

    def _best_values(self) -> str:
        pairs = zip(self.objectives, self.best.values, strict=True)
        return "; ".join(f"{objective.name} {_figure(value)}" for objective, value in pairs)

    def _beside_own(self) -> str:
        assert self.own is not None
        assert self.gain is not None
        parts = []
        for objective, best, own, gain in zip(
            self.objectives, self.best.values, self.own.values, self.gain, strict=True
        ):
            word = "better" if gain > 0 else "worse" if gain < 0 else "no better"
            by = f" by {_figure(abs(gain))}" if gain else ""
            parts.append(
                f"{objective.name} {_figure(best)}, {word} than the preset's own {_figure(own)}{by}"
            )
        return "; ".join(parts)


def _figure(value: float) -> str:
    return f"{value:.5g}"
