"""Moments as users write them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.moment import moment_of
from lightning_models.errors import ConfigError

MOMENTS = st.datetimes(
    min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1)
)  # naive, as hypothesis draws them


@given(moment=MOMENTS, hours=st.integers(-14, 14))
def test_a_zone_moves_the_text_but_not_the_moment(moment, hours):
    aware = moment.replace(tzinfo=UTC)
    there = aware.astimezone(timezone(timedelta(hours=hours)))
    assert moment_of(there.isoformat()) == aware
    assert moment_of(moment.isoformat()) == aware
    assert moment_of(f"{moment.isoformat()}Z") == aware


def test_a_date_is_its_midnight():
    midnight = datetime(2022, 6, 30, tzinfo=UTC)
    assert moment_of("2022-06-30") == moment_of(date(2022, 6, 30)) == midnight
    assert moment_of(" 2022-06-30 00:00 ") == midnight


@pytest.mark.parametrize(
    "written",
    ["2022", "1656612000", "20220630", "2022-W26", "30.06.2022", "now", "", 1656612000, None, True,
     "2022-02-30", "0001-01-01T00:00+14:00"],
)  # fmt: skip
def test_anything_else_is_refused_and_never_guessed(written):
    with pytest.raises(ConfigError, match="unreadable --at"):
        moment_of(written, option="--at")
