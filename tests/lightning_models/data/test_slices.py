"""Four slices in time that share no outcome."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from lightning_models.data import SLICE_NAMES, SliceConfig, cut_slices
from lightning_models.errors import TooFewCandlesError

HOUR = 3_600_000


def cut(count=1000, reach=1, **shares):
    return cut_slices(SliceConfig(**shares), 0, count * HOUR, reach * HOUR)


def members_of(slices, count, reach):
    decided = (np.arange(count) + 1) * HOUR
    ends = decided + reach * HOUR
    return {name: slices.members(name, decided, ends) for name in SLICE_NAMES}, decided, ends


def test_shares_are_those_of_the_time_span():
    assert cut().edges == tuple(share * HOUR for share in (0, 700, 800, 850, 1000))


@given(count=st.integers(500, 3000), reach=st.integers(1, 10))
def test_no_label_of_one_slice_ends_in_a_later_one(count, reach):
    slices = cut(count, reach)
    members, decided, ends = members_of(slices, count, reach)
    for before, after in pairwise(SLICE_NAMES):
        assert ends[members[before]].max() <= decided[members[after]].min()
        # The first label of the later slice begins after the earlier one's last has ended.
        assert decided[members[after]].min() - slices.edges[SLICE_NAMES.index(after)] >= (
            reach * HOUR
        )


def test_without_the_purge_labels_would_overlap():
    slices = cut(1000, 5)
    _, decided, ends = members_of(slices, 1000, 5)
    naive = (decided >= 0) & (decided <= slices.edges[1])
    assert ends[naive].max() > slices.edges[1]


@given(count=st.integers(500, 2000), reach=st.integers(1, 10))
def test_nothing_the_model_has_seen_is_at_or_after_unseen_from(count, reach):
    slices = cut(count, reach)
    members, decided, ends = members_of(slices, count, reach)
    for name in ("train", "validation", "calibration"):
        assert ends[members[name]].max() <= slices.unseen_from
    assert decided[members["test"]].min() >= slices.unseen_from
    assert slices.unseen_from == slices.edges[3] + reach * HOUR


@given(
    count=st.integers(300, 2000),
    train=st.floats(0.3, 0.8),
    calibration=st.floats(0.03, 0.15),
)
def test_no_sample_is_in_two_slices(count, train, calibration):
    rest = 1 - train - calibration
    assume(rest > 0.05)
    slices = cut(count, 2, train=train, calibration=calibration, validation=rest, test=0.0)
    members, _, _ = members_of(slices, count, 2)
    assert np.sum(list(members.values()), axis=0).max() <= 1
    assert not members["test"].any()


def test_shares_that_do_not_add_up_are_refused():
    with pytest.raises(ValidationError, match=r"must add up to 1, not 1\.1"):
        SliceConfig(train=0.8)


def test_a_slice_shorter_than_its_labels_is_named_with_both_lengths():
    with pytest.raises(
        TooFewCandlesError, match=r"validation slice .* is 10 h, .*reach 24 h need 48 h"
    ):
        cut(100, 24)


def test_the_lengths_are_told_in_minutes_markets_too():
    with pytest.raises(TooFewCandlesError, match=r"is 0\.\d+ h, .*reach 0\.1 h need 0\.2 h"):
        cut_slices(SliceConfig(), 0, 100 * 60_000, 6 * 60_000)
