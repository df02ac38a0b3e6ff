"""When a study is done, or has to end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial, TrialState

from experiments.tuning.holdout_opening import holdout_opened
from experiments.tuning.orphans import retried
from experiments.tuning.progress import error_of, since_best
from experiments.tuning.study_record import is_asked_to_stop
from lightning_models.errors import TrainingError

if TYPE_CHECKING:
    import optuna

    from experiments.tuning.config import StoppingConfig

__all__ = ["StudyEnd"]


class StudyEnd:
    """Says whether a study is done; its minutes are counted from now on.

    Parameters
    ----------
    stopping
        When it ends.
    opened_before
        Tells whether the holdout of a study that this one comes after was opened; None where it
        comes after none.
    """

    def __init__(
        self, stopping: StoppingConfig, *, opened_before: Callable[[], bool] | None = None
    ) -> None:
        self._stopping = stopping
        self._opened_before = opened_before
        self._began = time.monotonic()

    def reason(self, study: optuna.Study) -> str:
        """Return why no further trial should begin, in words; empty while one should.

        Parameters
        ----------
        study
            Whichever. A trial that was run again counts once.

        Raises
        ------
        TrainingError
            If nothing but failures can be expected.
        """
        trials = study.get_trials(deepcopy=False)
        again = retried(trials)
        counted = [one for one in trials if one.number not in again]
        finished = [one for one in counted if one.state.is_finished()]
        wanted = self._stopping.trials
        if len(finished) >= wanted:
            return f"{len(finished)} trials are done"
        if is_asked_to_stop(study):
            return "it was asked to stop"
        if holdout_opened(study) is not None:
            return "its holdout was opened"
        if self._opened_before is not None and self._opened_before():
            return "the holdout of a study that it comes after was opened"
        self._give_up_if_all_fail(study, finished)
        minutes = self._stopping.minutes
        if minutes and (time.monotonic() - self._began) / 60.0 >= minutes:
            return f"its {minutes:g} minutes are over"
        stagnation = self._stopping.stagnation
        stale = since_best(study, counted) if stagnation else 0
        if stagnation and stale >= stagnation:
            return f"no trial was better in the last {stale}"
        running = sum(one.state == TrialState.RUNNING for one in counted)
        if len(finished) + running >= wanted:
            return f"{len(finished)} trials are done, and {running} under way"
        return ""

    def _give_up_if_all_fail(self, study: optuna.Study, finished: Sequence[FrozenTrial]) -> None:
        failed = [one for one in finished if one.state == TrialState.FAIL]
        if len(failed) < len(finished) or len(failed) < self._stopping.failures:
            return
        reasons = Counter(error_of(one) for one in failed)
        reason, times = reasons.most_common(1)[0]
        raise TrainingError(
            f"the study {study.study_name} was ended: each of its first {len(failed)} trials "
            f"failed, {times} of them so: {reason}"
        )
