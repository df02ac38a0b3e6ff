"""When a study is done: counted, out of time, without progress, without hope."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import TrialState

from experiments.tuning.config import StoppingConfig
from experiments.tuning.orphans import ERROR, run_again
from experiments.tuning.study_end import StudyEnd
from experiments.tuning.study_record import ask_to_stop
from lightning_models.errors import TrainingError


def study_with(*values):
    """A study with a complete trial for each number, a failed one for each text."""
    study = optuna.create_study()
    for value in values:
        failed = isinstance(value, str)
        study.add_trial(
            optuna.create_trial(
                state=TrialState.FAIL if failed else TrialState.COMPLETE,
                value=None if failed else value,
                user_attrs={ERROR: value} if failed else {},
            )
        )
    return study


def end(**stopping):
    return StudyEnd(StoppingConfig(**({"trials": 10} | stopping)))


def test_it_goes_on_while_trials_are_wanted():
    assert end().reason(study_with(1.0, 2.0)) == ""


def test_it_is_done_with_its_last_trial():
    assert end(trials=2).reason(study_with(1.0, 2.0)) == "2 trials are done"


def test_a_trial_that_was_run_again_counts_once():
    study = study_with(1.0, "lost")
    run_again(study, study.trials[1])
    study.tell(study.ask(), 2.0)
    assert len(study.trials) == 3
    assert end(trials=3).reason(study) == ""
    assert end(trials=2).reason(study) == "2 trials are done"


def test_trials_under_way_are_waited_for_and_not_doubled():
    study = study_with(1.0)
    study.ask()
    assert end(trials=2).reason(study) == "1 trials are done, and 1 under way"


def test_whoever_asks_to_stop_is_heard():
    study = study_with(1.0)
    ask_to_stop(study)
    assert end().reason(study) == "it was asked to stop"


def test_the_minutes_count_from_when_the_worker_began():
    assert end(minutes=1e-9).reason(study_with(1.0)) == "its 1e-09 minutes are over"
    assert end(minutes=60).reason(study_with(1.0)) == ""


def test_it_stagnates_after_so_many_trials_that_were_not_better():
    study = study_with(3.0, 1.0, 2.0, 2.0)
    assert end(stagnation=2).reason(study) == "no trial was better in the last 2"
    assert end(stagnation=3).reason(study) == ""


def test_where_every_trial_fails_it_ends_with_the_commonest_reason():
    study = study_with("no luck", "no luck", "no memory")
    with pytest.raises(TrainingError, match=r"each of its first 3 trials failed, 2 .* so: no luck"):
        end(failures=3).reason(study)
    assert end(failures=4).reason(study) == ""
    assert end(failures=3).reason(study_with("no luck", "no luck", 1.0)) == ""


def test_it_ends_where_the_holdout_of_the_study_before_was_opened():
    opened = StudyEnd(StoppingConfig(trials=10), opened_before=lambda: True)
    words = "the holdout of a study that it comes after was opened"
    assert opened.reason(study_with(1.0)) == words
    closed = StudyEnd(StoppingConfig(trials=10), opened_before=lambda: False)
    assert closed.reason(study_with(1.0)) == ""
