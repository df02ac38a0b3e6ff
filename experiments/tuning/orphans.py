"""Trials whose worker was killed: they are failed, and their parameters are tried again."""

from __future__ import annotations

import copy
import logging
import warnings
from contextlib import suppress
from datetime import datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.storages._heartbeat import BaseHeartbeat, is_heartbeat_enabled
from optuna.trial import TrialState

from experiments.tuning.ownership import (
    OWNER,
    Owner,
    end_worker,
    live_workers,
    this_process,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from optuna import Study
    from optuna.trial import FrozenTrial

__all__ = [
    "AGAIN",
    "ERROR",
    "MAX_RETRIES",
    "queue_lost",
    "reap",
    "retried",
    "run_again",
    "take_over",
]

_log = logging.getLogger(__name__)

# User attributes of a trial: why it failed, and that its own worker wants it run again.
ERROR: Final = "error"
AGAIN: Final = "again"
MAX_RETRIES: Final = 3


def reap(study: Study, *, grace: float = 60.0, other_hosts: bool = False) -> list[int]:
    """Fail the running trials that nobody works on any more, and let each be run again.

    These are the trials

    - whose owner is a dead process of this machine;
    - which have no owner, since their worker was killed before it said who it is: where no
      other worker is alive, or once the trial is older than `grace`;
    - whose owner cannot be seen from here and has not been heard of for the storage's own
      grace period, where the storage keeps heartbeats.

    Trials of live processes of this machine are never touched. Each failed trial says why in
    its user attribute ``error``, and is run again with the same parameters, `MAX_RETRIES` times
    at most. Of several processes that do this at once, one fails a trial and queues it.

    Parameters
    ----------
    study
        Its own process must have no trial under way.
    grace
        Seconds that a worker may take from being given a trial to saying who it is.
    other_hosts
        Fail what belongs to other machines or containers too, heard of or not: right only
        where none of their workers is alive. Without it, and where the storage keeps no
        heartbeats, a warning names these trials.

    Returns
    -------
    list of int
        Numbers of the trials that were failed here.
    """
    if other_hosts:
        for worker in live_workers(study):
            if worker.owner.is_alive() is None:
                end_worker(study, worker.owner)
    silent = _silent(study)
    alone = _is_alone(study)
    unseen: dict[str, list[int]] = {}
    failed: list[int] = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        reason = None
        owner = Owner.of(trial)
        alive = None if owner is None else owner.is_alive()
        if owner is None:
            if alone or _age(trial) > grace:
                reason = "its worker was killed before it had said who it is"
        elif alive is False:
            reason = f"its worker ({owner}) was killed"
        elif alive is None and other_hosts:
            reason = f"its worker ({owner}) was said to have been killed"
        elif alive is None and trial._trial_id in silent:
            reason = f"its worker ({owner}) has not been heard of for too long"
        elif alive is None and not is_heartbeat_enabled(study._storage):
            unseen.setdefault(owner.host, []).append(trial.number)
        if reason is not None and _fail(study, trial, reason):
            failed.append(trial.number)
    for host, numbers in unseen.items():
        _warn_of_unseen(study.study_name, host, tuple(numbers))
    return failed


def abandon(study: Study) -> list[int]:
    """Fail the running trials of this process, which works on none any more; queue them again.

    Parameters
    ----------
    study
        On which Ctrl-C, say, may have come while the storage was being told of a trial's end.

    Returns
    -------
    list of int
        Their numbers.
    """
    own = this_process()
    return [
        trial.number
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if Owner.of(trial) == own and _fail(study, trial, "stopped by the user")
    ]


def queue_lost(study: Study) -> list[int]:
    """Queue the failed trials that were to be run again, and whose worker was killed before that.

    Only where no other worker is alive, who may be about to do it.

    Parameters
    ----------
    study
        Which may have some.

    Returns
    -------
    list of int
        Their numbers.
    """
    if not _is_alone(study):
        return []
    trials = study.get_trials(deepcopy=False)
    again = retried(trials)
    lost = [
        trial
        for trial in trials
        if trial.state == TrialState.FAIL
        and trial.user_attrs.get(AGAIN)
        and trial.number not in again
        and len(trial.system_attrs.get("retry_history", [])) < MAX_RETRIES
    ]
    for trial in lost:
        run_again(study, trial)
    return [trial.number for trial in lost]


def take_over(study: Study, trial: FrozenTrial) -> None:
    """Queue a trial that its worker was killed at, and take that worker's leave for it.

    Machines that cannot see the process would wait for it for ever. One that was only slow says
    that it is there once it finds its trial taken.

    Parameters
    ----------
    study
        Whose trial it is.
    trial
        One that has failed; left as it is.
    """
    owner = Owner.of(trial)
    if owner is not None and not owner.is_alive():
        end_worker(study, owner)
    run_again(study, trial)


def run_again(study: Study, trial: FrozenTrial) -> None:
    """Queue a failed trial's parameters, unless they have been tried `MAX_RETRIES` times more.

    What Optuna's own `RetryHeartbeatStaleTrialCallback` does, but that the new trial does not
    inherit who worked on the old one, why that failed, and that it was to be run again.

    Parameters
    ----------
    study
        Whose trial it is.
    trial
        One that has failed; left as it is.
    """
    template = copy.deepcopy(trial)
    for name in (OWNER, ERROR, AGAIN):
        # A trial that names a dead owner would be failed as soon as it is running.
        template.user_attrs.pop(name, None)
    _retry()(study, template)


def retried(trials: Iterable[FrozenTrial]) -> set[int]:
    """Return the numbers of the trials that another one runs again, or has run.

    Parameters
    ----------
    trials
        All trials of a study.

    Examples
    --------
    >>> import optuna
    >>> again = optuna.create_trial(value=0.5, system_attrs={"retry_history": [3, 4]})
    >>> sorted(retried([again]))
    [3, 4]
    """
    return {number for trial in trials for number in trial.system_attrs.get("retry_history", [])}


@cache
def _retry() -> RetryHeartbeatStaleTrialCallback:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return RetryHeartbeatStaleTrialCallback(
            max_retry=MAX_RETRIES, inherit_intermediate_values=False
        )


def _silent(study: Study) -> set[int]:
    storage = study._storage
    if isinstance(storage, BaseHeartbeat) and is_heartbeat_enabled(storage):
        return set(storage._get_stale_trial_ids(study._study_id))
    return set()


def _is_alone(study: Study) -> bool:
    return {worker.id for worker in live_workers(study)} <= {this_process().id}


def _age(trial: FrozenTrial) -> float:
    # Optuna's times are local times without a zone.
    started = trial.datetime_start
    return 0.0 if started is None else (datetime.now() - started).total_seconds()


def _fail(study: Study, trial: FrozenTrial, reason: str) -> bool:
    storage = study._storage
    # Not through `Study.tell`: that judges by a reading of its own, and two processes that both
    # read "running" would both go on. The storage lets one of them through.
    with suppress(UpdateFinishedTrialError):
        storage.set_trial_user_attr(trial._trial_id, ERROR, reason)
        storage.set_trial_user_attr(trial._trial_id, AGAIN, True)
        if storage.set_trial_state_values(trial._trial_id, TrialState.FAIL):
            _log.info("trial %d of %s: %s", trial.number, study.study_name, reason)
            take_over(study, storage.get_trial(trial._trial_id))
            return True
    return False


@lru_cache(maxsize=256)
def _warn_of_unseen(study: str, host: str, numbers: tuple[int, ...]) -> None:
    # Cached: said once, and once more when there are other trials to tell of.
    _log.warning(
        "trial%s %s of %s on %s may be running or dead: a journal does not tell. If no worker of "
        "%s runs on %s any more, say so with --other-hosts, and they are run again",
        "" if len(numbers) == 1 else "s",
        ", ".join(map(str, numbers)),
        study,
        host,
        study,
        host,
    )
