"""A study that is being stopped: who may take that back, and what is left of one never begun."""

from __future__ import annotations

from datetime import UTC, datetime

import optuna
import pytest

from experiments.settings import validated
from experiments.tuning.config import StudyConfig
from experiments.tuning.ownership import Worker, end_worker, record_owner, this_process
from experiments.tuning.search import tune
from experiments.tuning.storage import open_storage
from experiments.tuning.study_record import ask_to_stop, is_asked_to_stop
from lightning_models import simulate_market
from lightning_models.errors import ConfigError, TooFewCandlesError

BASIC = {
    "name": "tried",
    "preset": "logistic-regression",
    "space": {"network.l2": {"low": 1e-4, "high": 1.0, "log": True}},
    "walk_forward": {"folds": 2},
    "stopping": {"trials": 4},
}

# A second process of this machine, alive as this one is; and one that cannot be seen from here.
NEAR = this_process().model_copy(update={"id": "near"})
FAR = this_process().model_copy(update={"id": "far", "host": "elsewhere"})


def study_of(**further):
    return validated(StudyConfig, BASIC | further, origin="study tried")


def one(trial, candidate, candles):
    return 1.0


@pytest.fixture(scope="module")
def market():
    return simulate_market(candles=1200, signal=0.4)


@pytest.fixture
def stopped(home, market):
    """A study of two trials that its worker, who has left, was asked to stop."""

    def asked(trial, candidate, candles):
        if trial.number == 1:
            ask_to_stop(trial.study)
        return 1.0

    assert tune(study_of(), market, home=home, objective=asked).ended == "it was asked to stop"
    storage = open_storage(None, home=home, name="tried")
    return optuna.load_study(study_name="tried", storage=storage)


def register(study, owner):
    worker = Worker(owner=owner, since=datetime.now(UTC), state="running")
    study.set_user_attr(f"worker:{owner.id}", worker.model_dump(mode="json"))


def test_whoever_comes_after_all_workers_have_left_takes_it_back(stopped, home, market):
    assert tune(study_of(), market, home=home, objective=one).ended == "4 trials are done"
    assert not is_asked_to_stop(stopped)


def test_whoever_comes_while_one_is_still_at_its_trial_is_refused(stopped, home, market):
    register(stopped, NEAR)
    with pytest.raises(ConfigError, match=r"tried is being stopped.*: process \d+ on .*Join it ag"):
        tune(study_of(stopping={"trials": 9}), market, home=home, objective=one)
    assert is_asked_to_stop(stopped)
    assert len(stopped.trials) == 2
    end_worker(stopped, NEAR)
    assert tune(study_of(), market, home=home, objective=one).ended == "4 trials are done"


def test_one_of_another_machine_counts_for_as_long_as_it_has_a_trial(stopped, home, market):
    register(stopped, FAR)
    record_owner(stopped.ask(), FAR)
    with pytest.raises(ConfigError, match=r"on elsewhere.*or give --other-hosts if"):
        tune(study_of(), market, home=home, objective=one)
    found = tune(study_of(), market, home=home, objective=one, other_hosts=True)
    assert found.ended == "4 trials are done"
    assert found.progress.again == 1


def test_one_of_another_machine_without_a_trial_has_left_or_is_about_to(stopped, home, market):
    register(stopped, FAR)
    assert tune(study_of(), market, home=home, objective=one).ended == "4 trials are done"


@pytest.mark.parametrize(
    ("further", "words"),
    [
        ({"preset": "nowhere"}, "no preset 'nowhere'"),
        ({"space": {"network.l": {"low": 1, "high": 2}}}, "did you mean 'network.l2'"),
        ({"space": {"network.l2": {"low": 5.0, "high": 9.0}}}, "the preset's own"),
        ({"preset": None, "after": "earlier"}, "there is no such study"),
        ({"walk_forward": {"folds": 60}}, "too few for 60 folds"),
    ],
)
def test_a_study_that_cannot_work_leaves_no_journal(home, market, further, words):
    study = {key: value for key, value in (BASIC | further).items() if value is not None}
    with pytest.raises((ConfigError, TooFewCandlesError), match=words):
        tune(validated(StudyConfig, study, origin="study"), market, home=home)
    assert not (home.path / "studies").exists()


def test_one_that_can_work_leaves_its_own(home, market):
    tune(study_of(), market, home=home, objective=one)
    assert [path.name for path in (home.path / "studies").glob("*.journal")] == ["tried.journal"]
