"""When an account has lost enough, and until when that holds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_strategies.breakers import Breakers
from lstm_strategies.errors import ParameterError

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_609_459_200_000  # 2021-01-01
LAST = DAY - 1  # stamp of the day's last bar


def watch(breakers, *seen):
    """The answers to observations of (milliseconds after the start, equity)."""
    return [breakers.observe(START + after, equity) for after, equity in seen]


def test_the_first_day_counts_from_the_first_equity_seen():
    seen = [(HOUR, 1_000.0), (2 * HOUR, 1_100.0), (3 * HOUR, 950.01), (4 * HOUR, 950.0)]
    assert watch(Breakers(max_daily_loss=0.05), *seen) == ["", "", "", "daily_loss"]


def test_a_day_counts_from_the_last_equity_of_the_day_before():
    seen = [(HOUR, 1_000.0), (LAST, 2_000.0), (LAST + HOUR, 1_900.01), (LAST + 2 * HOUR, 1_900.0)]
    assert watch(Breakers(max_daily_loss=0.05), *seen) == ["", "", "", "daily_loss"]


def test_a_gap_overnight_is_a_loss_of_the_new_day():
    seen = [(LAST, 1_000.0), (LAST + 1, 940.0)]
    assert watch(Breakers(max_daily_loss=0.05), *seen) == ["", "daily_loss"]


def test_a_days_loss_blocks_until_the_next_utc_day_even_when_made_good():
    seen = [(0, 1_000.0), (HOUR, 900.0), (2 * HOUR, 1_000.0), (LAST, 1_000.0), (DAY, 1_000.0)]
    found = watch(Breakers(max_daily_loss=0.05), *seen)
    assert found == ["", "daily_loss", "daily_loss", "daily_loss", ""]


def test_after_days_without_a_bar_the_last_equity_seen_counts():
    seen = [(0, 1_000.0), (HOUR, 980.0), (4 * DAY, 931.01), (4 * DAY + HOUR, 931.0)]
    assert watch(Breakers(max_daily_loss=0.05), *seen) == ["", "", "", "daily_loss"]


def test_drawdown_counts_from_the_highest_equity_and_blocks_for_good():
    seen = [
        (0, 1_000.0),
        (DAY, 1_500.0),
        (2 * DAY, 1_200.1),
        (3 * DAY, 1_200.0),
        (9 * DAY, 3_000.0),
    ]
    found = watch(Breakers(max_drawdown=0.2), *seen)
    assert found == ["", "", "", "drawdown", "drawdown"]


def test_a_drawdown_outlasts_the_days_loss_that_came_first():
    breakers = Breakers(max_daily_loss=0.05, max_drawdown=0.2)
    seen = [(0, 1_000.0), (HOUR, 900.0), (2 * HOUR, 800.0), (DAY, 800.0)]
    assert watch(breakers, *seen) == ["", "daily_loss", "drawdown", "drawdown"]
    assert breakers.blocked == "drawdown"


def test_switched_off_nothing_blocks():
    seen = [(0, 1_000.0), (HOUR, 1.0), (2 * HOUR, -500.0), (DAY, 0.0)]
    assert watch(Breakers(), *seen) == [""] * 4
    # What the breakers would have said of the same account.
    assert watch(Breakers(0.05, 0.2), *seen)[1] == "drawdown"


@pytest.mark.parametrize("unknown", [math.nan, math.inf, -math.inf])
def test_an_unknown_equity_is_ignored(unknown):
    seen = [(0, unknown), (HOUR, 1_000.0), (2 * HOUR, unknown), (3 * HOUR, 950.0), (DAY, unknown)]
    found = watch(Breakers(max_daily_loss=0.05), *seen)
    assert found == ["", "", "", "daily_loss", "daily_loss"]


def test_what_is_older_than_the_last_observation_is_ignored():
    seen = [(DAY, 1_000.0), (HOUR, 500.0), (DAY + HOUR, 960.0)]
    assert watch(Breakers(max_daily_loss=0.05, max_drawdown=0.1), *seen) == [""] * 3


def test_an_account_that_starts_with_nothing_has_lost_nothing():
    seen = [(0, 0.0), (HOUR, 0.0), (DAY, 1_000.0), (2 * DAY, 1_000.0)]
    assert watch(Breakers(max_daily_loss=0.05, max_drawdown=0.1), *seen) == [""] * 4


@pytest.mark.parametrize("name", ["max_daily_loss", "max_drawdown"])
@pytest.mark.parametrize("wrong", [5, -0.1, math.nan, "0.05", True, None])
def test_what_is_no_fraction_is_refused(name, wrong):
    with pytest.raises(ParameterError, match=f"{name}=.*give a fraction from 0 to 1"):
        Breakers(**{name: wrong})


EQUITIES = st.floats(0.01, 1e6) | st.just(math.nan)


@given(
    steps=st.lists(st.tuples(st.integers(0, 3 * DAY), EQUITIES), max_size=30),
    limit=st.floats(0.01, 1.0),
)
def test_asked_again_for_the_same_bar_the_answers_stay(steps, limit):
    once, again = Breakers(limit, limit), Breakers(limit, limit)
    time = START
    for step, equity in steps:
        time += step
        expected = once.observe(time, equity)
        assert [again.observe(time, equity) for _ in range(3)] == [expected] * 3
        assert once.blocked == again.blocked == expected


@given(st.lists(st.tuples(st.integers(1, 3 * DAY), st.floats(0.01, 1e6)), min_size=1, max_size=30))
def test_breakers_trip_where_a_look_at_the_whole_account_says_so(steps):
    breakers = Breakers(max_daily_loss=0.1, max_drawdown=0.5)
    times, equities, blocked_day = [], [], None
    time, fallen = START, False
    for step, equity in steps:
        time += step
        times.append(time)
        equities.append(equity)
        found = breakers.observe(time, equity)
        day = time // DAY
        earlier = [e for t, e in zip(times, equities, strict=True) if t // DAY < day]
        start = earlier[-1] if earlier else equities[0]
        fallen = fallen or max(equities) - equity >= 0.5 * max(equities)
        if start - equity >= 0.1 * start:
            blocked_day = day
        assert found == ("drawdown" if fallen else "daily_loss" if blocked_day == day else "")
