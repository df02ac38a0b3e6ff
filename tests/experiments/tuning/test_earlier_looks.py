"""A stretch that another study looked at is no unseen one, in the chain or beside it."""

from __future__ import annotations

import logging
from dataclasses import replace

import optuna
import pytest

from experiments.tuning.earlier_looks import (
    earlier_looks,
    opened_before,
    refuse_if_looked_at,
    studies_before,
)
from experiments.tuning.holdout_look import EarlierLook
from experiments.tuning.storage import open_storage
from lightning_models import simulate_market
from lightning_models.errors import ConfigError
from tests.experiments.tuning.made_study import described_study

MARCH = "2024-03-01T00:00:00+00:00"
MAY = "2024-05-01T00:00:00+00:00"


@pytest.fixture(scope="module")
def market():
    return simulate_market(candles=1000, seed=1)


@pytest.fixture
def storage():
    return optuna.storages.InMemoryStorage()


def journal(home, name):
    return open_storage(None, home=home, name=name)


def cut(candles, first, last):
    (one,) = candles
    return [one.between(int(one.time[first]), int(one.time[last - 1]) + 1)]


def renamed(candles, symbol):
    return [replace(one, symbol=symbol) for one in candles]


def looks_of(described, home):
    return earlier_looks(*described, home)


def refuse(described, storage, home):
    _, record = described
    refuse_if_looked_at(record.config, record.data, storage=storage, home=home)


class TestChain:
    def test_studies_before_are_found_in_the_same_storage(self, storage, home, market):
        described_study(storage, "first", market)
        described_study(storage, "second", market, after="first")
        _, third = described_study(storage, "third", market, after="second")
        before = studies_before(third.config, storage=storage, home=home)
        assert [record.config.name for _, record in before] == ["second", "first"]

    def test_each_in_a_journal_of_its_own_is_found_in_the_home(self, home, market):
        described_study(journal(home, "first"), "first", market)
        described_study(journal(home, "second"), "second", market, after="first")
        kept = journal(home, "third")
        _, third = described_study(kept, "third", market, after="second")
        before = studies_before(third.config, storage=kept, home=home)
        assert [record.config.name for _, record in before] == ["second", "first"]

    def test_looking_for_a_study_makes_none(self, storage, home, market):
        _, record = described_study(storage, "later", market, after="nobody")
        assert list(studies_before(record.config, storage=storage, home=home)) == []
        assert not (home.path / "studies" / "nobody.journal").exists()

    def test_studies_that_come_after_each_other_are_walked_once(self, storage, home, market):
        described_study(storage, "first", market, after="second")
        _, second = described_study(storage, "second", market, after="first")
        before = studies_before(second.config, storage=storage, home=home)
        assert [record.config.name for _, record in before] == ["first"]

    @pytest.mark.parametrize(("opened_at", "refused"), [(MARCH, True), ("", False)])
    def test_study_is_at_its_end_once_one_far_before_it_was_opened(
        self, storage, home, market, opened_at, refused
    ):
        described_study(storage, "first", market, opened_at=opened_at)
        described_study(storage, "second", market, after="first")
        third = described_study(storage, "third", market, after="second")
        if not refused:
            refuse(third, storage, home)
            return
        with pytest.raises(
            ConfigError,
            match=r"study third: it comes after first, and the study first is at its end: its "
            r"holdout was opened on 2024-03-01",
        ):
            refuse(third, storage, home)

    @pytest.mark.parametrize(("first_until", "spoilt"), [(800, False), (801, True)])
    def test_study_goes_on_where_its_own_holdout_begins_after_all_that_was_looked_at(
        self, storage, home, market, first_until, spoilt
    ):
        described_study(storage, "first", cut(market, 0, first_until), opened_at=MARCH)
        _, later = described_study(storage, "later", market, after="first")
        found = opened_before(later.config, later.data, storage=storage, home=home)
        assert (found is not None) is spoilt

    def test_study_that_holds_nothing_out_is_refused_too(self, storage, home, market):
        described_study(storage, "first", market, opened_at=MARCH)
        later = described_study(storage, "later", market, after="first", holdout=0.0)
        with pytest.raises(ConfigError, match="study first is at its end"):
            refuse(later, storage, home)


class TestBeside:
    def test_first_look_has_none_before_it(self, storage, home, market):
        described_study(storage, "first", market)
        assert looks_of(described_study(storage, "second", market), home) == ()

    def test_opened_study_of_the_same_storage_is_named(self, storage, home, market):
        described_study(storage, "first", market, opened_at=MARCH)
        second = described_study(storage, "second", market)
        assert looks_of(second, home) == (EarlierLook(study="first", opened_at=MARCH),)

    def test_opened_study_of_a_journal_in_the_home_is_named(
        self, storage, home, other_home, market
    ):
        described_study(journal(home, "first"), "first", market, opened_at=MARCH)
        second = described_study(storage, "second", market)
        assert looks_of(second, home) == (EarlierLook(study="first", opened_at=MARCH),)
        assert looks_of(second, other_home) == ()

    def test_study_that_was_opened_itself_is_no_other_one(self, home, market):
        own = described_study(journal(home, "made"), "made", market, opened_at=MARCH)
        assert looks_of(own, home) == ()

    def test_look_that_came_later_spoils_no_earlier_one(self, storage, home, market):
        first = described_study(storage, "first", market, opened_at=MARCH)
        second = described_study(storage, "second", market, opened_at=MAY)
        assert looks_of(first, home) == ()
        assert [one.study for one in looks_of(second, home)] == ["first"]

    # Of 1,000 candles the holdout is the last fifth.
    @pytest.mark.parametrize(
        ("first", "last", "seen"), [(0, 801, True), (0, 800, False), (500, 1000, True)]
    )
    def test_stretches_that_share_a_candle_count(self, storage, home, market, first, last, seen):
        described_study(storage, "first", cut(market, first, last), opened_at=MARCH)
        assert bool(looks_of(described_study(storage, "second", market), home)) is seen

    @pytest.mark.parametrize(("symbol", "seen"), [("SIM/USDT", True), ("OTHER/USDT", False)])
    def test_only_studies_that_share_a_symbol_count(self, storage, home, market, symbol, seen):
        third = renamed(market, "THIRD/USDT")
        described_study(storage, "first", [*market, *third], opened_at=MARCH)
        asked = described_study(storage, "second", renamed(market, symbol))
        assert bool(looks_of(asked, home)) is seen

    def test_study_that_holds_nothing_out_looks_at_nothing(self, storage, home, market):
        described_study(storage, "first", market, opened_at=MARCH)
        assert looks_of(described_study(storage, "second", market, holdout=0.0), home) == ()

    def test_damaged_journal_is_told_and_hides_no_other(self, storage, home, market, caplog):
        described_study(journal(home, "first"), "first", market, opened_at=MARCH)
        broken = home.path / "studies" / "broken.journal"
        broken.write_bytes(b'{"op_code":0,"worker_id":"a","user_attr":{"holdout\n{}\n')
        second = described_study(storage, "second", market)
        with caplog.at_level(logging.WARNING):
            assert [one.study for one in looks_of(second, home)] == ["first"]
        assert "broken.journal tells of an opened holdout is not known" in caplog.text

    def test_attribute_of_another_program_is_no_opening(self, storage, home, market):
        foreign = optuna.create_study(storage=storage, study_name="foreign")
        foreign.set_user_attr("holdout", "2024")
        foreign.set_user_attr("holdout_share", 0.2)
        assert looks_of(described_study(storage, "second", market), home) == ()
