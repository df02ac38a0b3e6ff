from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_models.candles.timestamps import (
    iso_utc,
    iso_utc_of,
    milliseconds_of,
    milliseconds_utc,
)
from lightning_models.errors import CandleError

# The time that an example takes says nothing on a machine that others use.
UNHURRIED = settings(deadline=None, max_examples=60)

FIVE = 1_614_834_000_000  # 2021-03-04T05:00:00Z
CET = dt.timezone(dt.timedelta(hours=1))


@pytest.mark.parametrize(
    "times",
    [
        [FIVE // 1000],
        [FIVE],
        [FIVE * 1000],
        [FIVE * 1_000_000],
        [float(FIVE)],
        [FIVE / 1000],
        [str(FIVE)],
        ["2021-03-04T05:00:00Z"],
        ["2021-03-04 05:00"],
        ["2021-03-04T06:00:00+01:00"],
        [dt.datetime(2021, 3, 4, 5)],
        [dt.datetime(2021, 3, 4, 6, tzinfo=CET)],
        [pd.Timestamp("2021-03-04", tz="America/New_York")],
        pd.Series([FIVE], dtype="UInt64"),
        pd.Series(["2021-03-04 05:00:00+00:00"], dtype="category"),
    ],
    ids=repr,
)
def test_every_spelling_of_a_moment_is_the_same_moment(times):
    assert milliseconds_utc(pd.Series(times), origin="x").tolist() == [FIVE]


@UNHURRIED
@given(st.integers(10**10, 9 * 10**12))
def test_seconds_milliseconds_microseconds_and_nanoseconds_agree(moment):
    spellings = [moment, moment * 1000, moment * 1_000_000]
    if moment % 1000 == 0:
        spellings.append(moment // 1000)
    assert set(milliseconds_utc(pd.Series(spellings), origin="x").tolist()) == {moment}


def test_an_archive_that_changes_its_unit_midway_reads_as_one_series():
    times = pd.Series([FIVE, FIVE + 3_600_000, (FIVE + 7_200_000) * 1000])
    assert np.diff(milliseconds_utc(times, origin="x")).tolist() == [3_600_000, 3_600_000]


@UNHURRIED
@given(st.integers(10**12, 2 * 10**12).filter(lambda moment: moment % 1000))
def test_a_fraction_of_a_second_is_the_nearest_millisecond(moment):
    assert milliseconds_utc(pd.Series([moment / 1000]), origin="x").tolist() == [moment]


def test_eight_digits_are_a_calendar_day():
    days = milliseconds_utc(pd.Series([20210304, 20210305]), origin="x")
    assert [iso_utc(day) for day in days] == ["2021-03-04T00:00:00Z", "2021-03-05T00:00:00Z"]


def test_each_row_is_converted_by_its_own_offset():
    clocks_go_back = ["2021-10-31T02:00:00+02:00", "2021-10-31T02:00:00+01:00"]
    objects = pd.Series([dt.datetime.fromisoformat(each) for each in clocks_go_back], dtype=object)
    for times in (pd.Series(clocks_go_back), objects):
        read = [iso_utc(each) for each in milliseconds_utc(times, origin="x")]
        assert read == ["2021-10-31T00:00:00Z", "2021-10-31T01:00:00Z"]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["2021-03-04", "01/02/2021"], "x: row 1: the time '01/02/2021' cannot be read"),
        (["01/02/2021"], "row 0: the time '01/02/2021' cannot be read; write ISO-8601"),
        ([20210304, 20211405], "row 1: the time '20211405' cannot be read"),
        (["2021-03-04", None], "row 1 has no time"),
        ([pd.Timestamp("2021-03-04"), pd.NaT], "row 1 has no time"),
        ([float(FIVE), float("nan")], "row 1 has the time nan"),
        ([True, False], "true and false"),
        (["2021-03-04", 5], "row 1 has the number 5 for its time, others have text"),
        ([2**63], "row 0 has the time 9.2"),
        ([dt.timedelta(days=1)], "row 0: the time '1 day"),
    ],
)
def test_an_unreadable_time_is_named(times, message):
    with pytest.raises(CandleError, match=message):
        milliseconds_utc(pd.Series(times), origin="x")


def test_milliseconds_are_shown_only_where_there_are_any():
    assert iso_utc(FIVE) == "2021-03-04T05:00:00Z"
    assert iso_utc(FIVE - 1) == "2021-03-04T04:59:59.999Z"


@UNHURRIED
@given(st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(2200, 1, 1), timezones=st.just(CET)))
def test_a_moment_is_rounded_down_to_the_millisecond(moment):
    milliseconds = milliseconds_of(moment)
    behind = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC) - dt.timedelta(0, 0, 0, milliseconds)
    assert dt.timedelta(0) <= behind < dt.timedelta(milliseconds=1)
    assert iso_utc_of(moment) == iso_utc(milliseconds)


def test_a_moment_without_time_zone_is_refused():
    with pytest.raises(TypeError, match="offset-naive"):
        milliseconds_of(dt.datetime(2021, 3, 4))
