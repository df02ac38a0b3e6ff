"""A worker: it takes one trial after another until the study is done, and leaves none behind."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages._heartbeat import is_heartbeat_enabled
from optuna.trial import FrozenTrial, TrialState

from experiments.tracking import milliseconds_now
from experiments.tuning.candidate import Candidate
from experiments.tuning.config import StoppingConfig, StudyConfig
from experiments.tuning.orphans import AGAIN, ERROR, abandon, queue_lost, reap, retried, run_again
from experiments.tuning.own_score import own_score
from experiments.tuning.ownership import (
    Owner,
    end_worker,
    live_workers,
    record_owner,
    register_worker,
)
from experiments.tuning.progress import StudyProgress, standing
from experiments.tuning.pruning import TrialWatch
from experiments.tuning.score import FoldScore, TrialScore
from experiments.tuning.space import SearchSpace
from experiments.tuning.study_end import StudyEnd
from experiments.tuning.study_record import is_asked_to_stop
from experiments.tuning.termination import sigterm_as_ctrl_c
from experiments.tuning.trial_errors import words_of
from experiments.tuning.trial_record import TrialRecord
from experiments.tuning.trial_runs import StudyRuns
from lightning_models.candles import Candles
from lightning_models.errors import (
    StorageError,
    TrainingInterrupted,
)
from lightning_models.home import Home

__all__ = ["Evaluation", "Worker"]

_log = logging.getLogger(__name__)

Evaluation: TypeAlias = Callable[
    [optuna.Trial, Candidate, tuple[Candles, ...]], float | Sequence[float] | TrialScore
]
"""The user's own objective: of a trial, its configuration and the candles that it may see."""

# Between two looks at what other workers are doing, where nothing else is left to do.
_POLL_SECONDS: Final = 1.0


class _TrialFailedError(Exception):
    # What ends a trial and not the study.
    pass


@dataclass(frozen=True)
class Work:
    """What a worker needs of a study.

    Parameters
    ----------
    config
        Of the study.
    stopping
        When it ends.
    space
        What is searched.
    candles
        Of development.
    home
        Of forecasts, and of a language model's answers, that are kept.
    scratch
        A folder for what a trial leaves behind.
    jobs
        Folds at a time, as `experiments.workers.side_by_side` takes them.
    cache
        Where fitted folds are kept.
    features
        The user's own, as `pack_features` returns them.
    objective
        The user's own.
    other_hosts
        Whether every worker of other machines is known to be dead.
    opened_before
        Asked after each trial whether the holdout of a study that this one comes after was
        opened; None where it comes after none.
    """

    config: StudyConfig
    stopping: StoppingConfig
    space: SearchSpace
    candles: tuple[Candles, ...]
    home: Home
    scratch: Path
    jobs: int | None = 1
    cache: Path | None = None
    features: bytes = b""
    objective: Evaluation | None = None
    other_hosts: bool = False
    opened_before: Callable[[], bool] | None = None


class Worker:
    """Works on a study, alone or beside others.

    Parameters
    ----------
    study
        Optuna's, with this worker's sampler and pruner.
    runs
        The study in MLflow.
    work
        What a trial is.
    callbacks
        The user's own, called after each trial as Optuna calls them.
    on_change
        Called when a trial begins and when it ends.
    """

    def __init__(
        self,
        study: optuna.Study,
        runs: StudyRuns,
        work: Work,
        *,
        callbacks: Sequence[Callable[[optuna.Study, FrozenTrial], None]] = (),
        on_change: Callable[[StudyProgress], None] | None = None,
    ) -> None:
        self._study = study
        self._runs = runs
        self._work = work
        self._callbacks = tuple(callbacks)
        self._on_change = on_change
        self._end = StudyEnd(work.stopping, opened_before=work.opened_before)
        self._reason = ""
        self._owner: Owner | None = None
        # Optuna's id of the trial under way.
        self._at: int | None = None
        self._interrupted = False

    def run(self) -> str:
        """Take trials until the study is done.

        Returns
        -------
        str
            Why it ended, in words.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C or SIGTERM; the trial is marked and its parameters wait for whoever goes on.
        TrainingError
            If every trial fails.
        StorageError
            If the study's storage or the tracking server cannot be reached any more.
        """
        # It tells of failed trials with their whole traceback; here they are told in a line.
        logging.getLogger("optuna.study._optimize").setLevel(logging.ERROR)
        self._owner = register_worker(self._study)
        try:
            with sigterm_as_ctrl_c():
                self._take_trials()
        finally:
            self._leave()
        return self._reason

    def _take_trials(self) -> None:
        reap(self._study, other_hosts=self._work.other_hosts)
        queue_lost(self._study)
        while True:
            reap(self._study)
            if self._is_done():
                if not self._awaits_others():
                    return
                time.sleep(_POLL_SECONDS)
                continue
            try:
                self._study.optimize(
                    self._objective,
                    catch=(_TrialFailedError,),
                    callbacks=[self._has_told, *self._callbacks, self._after_trial],
                )
            except (UpdateFinishedTrialError, ValueError, AssertionError):
                # Optuna says in any of these ways that the trial had ended before its worker did.
                if not self._was_taken():
                    raise
                # Slow to answer, this worker was taken for dead, and another one runs the trial.
                _log.warning("a trial of this worker was given to another one meanwhile")
                if self._interrupted:
                    raise KeyboardInterrupt from None
                register_worker(self._study)
                continue
            if not self._reason:
                self._reason = "stopped by a callback"
                return

    def _was_taken(self) -> bool:
        # What it was at has ended, and it has not told so itself.
        if self._at is None:
            return False
        return self._study._storage.get_trial(self._at).state.is_finished()

    def _has_told(self, study: optuna.Study, trial: FrozenTrial) -> None:
        del study, trial
        self._at = None

    def _is_done(self) -> bool:
        self._reason = self._end.reason(self._study)
        return bool(self._reason)

    def _awaits_others(self) -> bool:
        # Whoever ends last leaves nothing running: a trial whose worker dies is taken over.
        if is_asked_to_stop(self._study) or not self._reason.endswith("under way"):
            return False
        assert self._owner is not None
        heard_of = is_heartbeat_enabled(self._study._storage)
        return any(
            # Of a worker that can be neither seen nor heard nobody knows how long to wait.
            one.id != self._owner.id and (heard_of or one.owner.is_alive())
            for one in live_workers(self._study)
        )

    def _after_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        del trial
        self._tell()
        if self._is_done():
            study.stop()

    def _tell(self) -> None:
        if self._on_change is not None:
            self._on_change(standing(self._study, self._work.stopping.trials))

    def _objective(self, trial: optuna.Trial) -> float | Sequence[float]:
        assert self._owner is not None
        self._at = trial._trial_id
        record_owner(trial, self._owner)
        self._tell()
        watch = TrialWatch(trial, self._work.config)
        # What the user's own objective returns is called by no name of ours.
        ours = self._work.objective is None
        names = [one.metric for one in self._work.config.objective] if ours else []
        begun = _Begun(trial, names)
        try:
            score = self._score(trial, watch, begun)
        except optuna.TrialPruned:
            self._log(begun, "pruned", watch.folds, watch.epochs)
            raise
        except (KeyboardInterrupt, TrainingInterrupted):
            self._interrupted = True
            self._stopped(trial, begun)
            raise KeyboardInterrupt from None
        except StorageError as error:
            _wants_again(trial, words_of(error))
            raise
        except Exception as error:
            begun.error = words_of(error)
            _log.warning("trial %d failed: %s", trial.number, begun.error)
            _log.debug("where trial %d failed", trial.number, exc_info=True)
            trial.set_user_attr(ERROR, begun.error)
            self._log(begun, "failed", watch.folds, watch.epochs)
            raise _TrialFailedError(begun.error) from error
        begun.values = score.values
        kept = score if score.folds else None
        self._log(begun, "complete", score.folds, watch.epochs, kept)
        return score.values[0] if len(score.values) == 1 else score.values

    def _score(self, trial: optuna.Trial, watch: TrialWatch, begun: _Begun) -> TrialScore:
        work = self._work
        candidate = work.space.configure(work.space.suggest(trial))
        begun.candidate = candidate
        if work.objective is None:
            from experiments.tuning.evaluating import evaluate  # torch and Lightning

            return evaluate(
                candidate,
                work.config,
                work.candles,
                folder=work.scratch / f"trial-{trial.number}",
                jobs=work.jobs,
                watch=watch,
                cache=work.cache,
                features=work.features,
                home=work.home,
            )
        found = work.objective(trial, candidate, work.candles)
        return own_score(found, objectives=len(work.config.objective))

    def _stopped(self, trial: optuna.Trial, begun: _Begun) -> None:
        begun.error = "stopped by the user"
        _wants_again(trial, begun.error)
        self._log(begun, "failed", (), ())

    def _log(
        self,
        begun: _Begun,
        state: str,
        folds: Sequence[FoldScore],
        epochs: Sequence[float],
        score: TrialScore | None = None,
    ) -> None:
        try:
            self._runs.log_trial(begun.record(state, tuple(folds), tuple(epochs)), score)
        except StorageError as error:
            # However it ended: what no run tells of has to be found out again.
            _wants_again(begun.trial, words_of(error))
            raise

    def _leave(self) -> None:
        assert self._owner is not None
        try:
            abandon(self._study)
            trials = self._study.get_trials(deepcopy=False)
            again = retried(trials)
            for trial in trials:
                ended = trial.state == TrialState.FAIL and trial.user_attrs.get(AGAIN)
                if ended and trial.number not in again and Owner.of(trial) == self._owner:
                    run_again(self._study, trial)
            end_worker(self._study, self._owner)
            self._runs.reconcile(self._study.get_trials(deepcopy=False))
        except StorageError as error:
            # What ended the worker matters more than that its end could not be written down.
            _log.warning("the worker's end could not be written down: %s", error)


class _Begun:
    # What is known of a trial while it lasts.
    def __init__(self, trial: optuna.Trial, objectives: Sequence[str]) -> None:
        self.trial = trial
        self._objectives = tuple(objectives)
        self._started = milliseconds_now()
        self.candidate: Candidate | None = None
        self.values: tuple[float, ...] = ()
        self.error = ""

    def record(
        self, state: str, folds: tuple[FoldScore, ...], epochs: tuple[float, ...]
    ) -> TrialRecord:
        configuration: dict[str, Any] = {}
        if self.candidate is not None:
            configuration = self.candidate.parameters()
        return TrialRecord(
            number=self.trial.number,
            state=state,
            started=self._started,
            drawn=self.trial.params,
            configuration=configuration,
            values=self.values,
            objectives=self._objectives,
            folds=folds,
            epochs=epochs,
            error=self.error,
        )


def _wants_again(trial: optuna.Trial, error: str) -> None:
    trial.set_user_attr(ERROR, error)
    trial.set_user_attr(AGAIN, True)
