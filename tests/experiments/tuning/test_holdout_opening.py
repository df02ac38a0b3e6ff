"""A holdout is opened by one process for one trial, however many ask at the same moment."""

from __future__ import annotations

import threading

import optuna
import pytest

from experiments.tuning.holdout_opening import (
    claimed_for,
    holdout_opened,
    opening_of,
    refuse_if_opened,
    write_opening,
)
from experiments.tuning.ownership import this_process
from experiments.tuning.storage import open_storage
from lightning_models import simulate_market
from lightning_models.errors import ConfigError
from tests.experiments.tuning.made_study import described_study

CLAIM = "holdout_claim:"
OPENED = {"opened_at": "2024-03-01T00:00:00+00:00", "trial": 4, "host": "alpha"}


class Watched(optuna.storages.InMemoryStorage):
    """A storage that runs what a test likes once a claim is written, or after the next reading."""

    on_claim = staticmethod(lambda: None)
    after_reading = None

    def set_study_user_attr(self, study_id, key, value):
        super().set_study_user_attr(study_id, key, value)
        if key.startswith(CLAIM) and value is not None:
            self.on_claim()

    def get_study_user_attrs(self, study_id):
        found = dict(super().get_study_user_attrs(study_id))
        if self.after_reading is not None:
            happens, self.after_reading = self.after_reading, None
            happens()
        return found


@pytest.fixture
def study():
    return optuna.create_study(storage=Watched(), study_name="made")


def claim_of(study, trial, **changes):
    """Say that another process than this one is about to open it."""
    owner = this_process().model_copy(update={"id": "another", **changes})
    claim = {"trial": trial, "opened_at": OPENED["opened_at"], "owner": owner.as_attribute()}
    study.set_user_attr(f"{CLAIM}another", claim)


def claims_in(study):
    return [value for key, value in study.user_attrs.items() if key.startswith(CLAIM) and value]


def opens(study, trial):
    with claimed_for(study, trial):
        return write_opening(study, trial)


def side_by_side(calls):
    """What each of these comes to, or how it is refused, all begun at the same moment."""
    begin = threading.Barrier(len(calls))
    found = [None] * len(calls)

    def run(place, call):
        begin.wait()
        try:
            found[place] = call()
        except ConfigError as error:
            found[place] = error

    threads = [threading.Thread(target=run, args=one) for one in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_what_is_opened_is_told_to_whoever_asks(study):
    assert holdout_opened(study) is None
    opening = opens(study, 1)
    assert (opening.trial, opening.host, opening.look) == (1, this_process().host, None)
    assert holdout_opened(study) == opening == opening_of(study.user_attrs)
    with pytest.raises(ConfigError, match=r"for trial 1, and not for trial 0: a second look"):
        opens(study, 0)
    assert opens(study, 1) == opening


def test_two_that_claim_at_the_same_instant_never_both_have_their_way(study):
    both = threading.Barrier(2)
    study._storage.on_claim = both.wait
    found = side_by_side([lambda: opens(study, 0), lambda: opens(study, 1)])
    refused = [str(one) for one in found if isinstance(one, ConfigError)]
    assert refused
    assert all("is about to be opened for trial" in one or "second look" in one for one in refused)
    assert len(claims_in(study)) == 2 - len(refused)


def test_two_that_both_were_refused_may_ask_again(study):
    def claim_too():
        study._storage.on_claim = lambda: None
        with pytest.raises(ConfigError, match="about to be opened for trial 0"):
            opens(study, 1)
        claim_of(study, 1)

    study._storage.on_claim = claim_too
    with pytest.raises(ConfigError, match="about to be opened for trial 1"):
        opens(study, 0)
    study.set_user_attr(f"{CLAIM}another", None)
    assert claims_in(study) == []
    assert holdout_opened(study) is None
    assert opens(study, 0).trial == 0


def test_without_a_claim_both_would_have_had_their_way(study):
    both = threading.Barrier(2)

    def opens_late(trial):
        assert holdout_opened(study) is None
        both.wait()
        study.set_user_attr("holdout", {**OPENED, "trial": trial})
        return trial

    assert side_by_side([lambda: opens_late(0), lambda: opens_late(1)]) == [0, 1]


def test_two_that_open_it_for_the_same_trial_at_the_same_instant_both_may(study):
    both = threading.Barrier(2)
    study._storage.on_claim = both.wait
    found = side_by_side([lambda: opens(study, 1), lambda: opens(study, 1)])
    assert [one.trial for one in found] == [1, 1]


def test_at_most_one_trial_wins_in_a_journal_that_two_open_at_any_moment(home):
    for turn in range(15):
        name = f"turn-{turn}"
        first = optuna.create_study(
            storage=open_storage(None, home=home, name=name), study_name=name
        )
        second = optuna.load_study(
            storage=open_storage(None, home=home, name=name), study_name=name
        )
        found = side_by_side([lambda: opens(first, 0), lambda: opens(second, 1)])  # noqa: B023
        won = [one.trial for one in found if not isinstance(one, ConfigError)]
        assert len(won) <= 1
        opening = holdout_opened(first)
        assert won == ([] if opening is None else [opening.trial])


def test_claim_of_a_living_process_counts_as_opened(study):
    claim_of(study, 4)
    assert (holdout_opened(study).trial, holdout_opened(study).look) == (4, None)
    with pytest.raises(ConfigError, match="its holdout was opened on 2024-03-01"):
        refuse_if_opened(study)
    with pytest.raises(ConfigError, match=r"about to be opened for trial 4 by process \d+ on"):
        opens(study, 1)
    assert opens(study, 4).trial == 4


def test_claim_of_another_machines_process_counts_since_nobody_sees_it_die(study):
    claim_of(study, 4, host="beta")
    with pytest.raises(ConfigError, match="by process"):
        opens(study, 1)


def test_claim_of_a_dead_process_that_had_opened_nothing_is_passed_over(study):
    claim_of(study, 4, started="long ago")
    assert holdout_opened(study) is None
    refuse_if_opened(study)
    assert opens(study, 1).trial == 1


def test_what_a_process_opened_before_it_died_stands(study):
    claim_of(study, 4, started="long ago")
    # Between the moment its claim is read and that in which it is found to be dead.
    study._storage.after_reading = lambda: study.set_user_attr("holdout", OPENED)
    assert holdout_opened(study).trial == 4
    study.set_user_attr("holdout", None)
    study._storage.on_claim = lambda: setattr(
        study._storage, "after_reading", lambda: study.set_user_attr("holdout", OPENED)
    )
    with pytest.raises(ConfigError, match="for trial 4, and not for trial 1"):
        opens(study, 1)


def test_claim_is_withdrawn_where_nothing_came_of_it(study):
    def fails():
        with claimed_for(study, 1):
            assert holdout_opened(study).trial == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert holdout_opened(study) is None
    assert opens(study, 0).trial == 0


def test_further_search_is_sent_to_candles_that_come_later(home):
    candles = simulate_market(candles=600)
    study, record = described_study(optuna.storages.InMemoryStorage(), "made", candles)
    refuse_if_opened(study)
    opens(study, 0)
    assert record.data.until == int(candles[0].time[-1]) + candles[0].period_ms
    with pytest.raises(
        ConfigError,
        match=r"newer candles: wait for candles that come after 2020-01-31, and begin another "
        r"study on them with --new$",
    ):
        refuse_if_opened(study)
