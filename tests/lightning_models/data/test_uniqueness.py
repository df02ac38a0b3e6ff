"""A label weighs as much as it shares with no other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_models.data.uniqueness import average_uniqueness

spans = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 8)), min_size=1, max_size=25)


def counted(first, last):
    """Every label's bars, looked at one by one."""
    living = [sum(a <= bar <= b for a, b in zip(first, last, strict=True)) for bar in range(60)]
    return [
        sum(1 / living[bar] for bar in range(a, b + 1)) / (b - a + 1)
        for a, b in zip(first, last, strict=True)
    ]


@given(spans=spans)
def test_average_uniqueness_is_what_counting_bar_by_bar_gives(spans):
    first = np.array([begin for begin, _ in spans])
    last = first + np.array([length for _, length in spans])
    unique = average_uniqueness(first, last)
    np.testing.assert_allclose(unique, counted(first.tolist(), last.tolist()), atol=1e-12)
    assert ((unique > 0) & (unique <= 1 + 1e-12)).all()


def test_labels_side_by_side_are_unique():
    assert average_uniqueness(np.array([0, 3, 6]), np.array([2, 5, 8])).tolist() == [1.0, 1.0, 1.0]


def test_twins_share_all_they_have():
    assert average_uniqueness(np.array([4, 4]), np.array([9, 9])).tolist() == [0.5, 0.5]


def test_overlapping_labels_of_one_length_say_as_much_as_so_many_side_by_side():
    first = np.arange(1000)
    assert average_uniqueness(first, first + 9).sum() == pytest.approx(100, rel=0.05)


def test_no_labels_have_no_uniqueness():
    nothing = np.empty(0, dtype=np.int64)
    assert len(average_uniqueness(nothing, nothing)) == 0
