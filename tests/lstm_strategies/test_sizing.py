"""What each limit allows a position of 10,000 of equity, to the last lot."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_strategies.sizing import LIMITS, common_step, round_down, size_limits

ACCOUNT = {"price": 100.0, "equity": 10_000.0, "free_cash": 10_000.0}


def limits(**given_values):
    return size_limits(**(ACCOUNT | given_values))


@pytest.mark.parametrize(
    ("given_values", "binding", "size"),
    [
        # 2 % of 10,000 is 200, at 4 a unit
        ({"stop_distance": 4.0}, "risk", 50.0),
        ({"stop_distance": 4.0, "risk": 0.01}, "risk", 25.0),
        # a tenth of 10,000 as margin buys 10 units, at a leverage of 3 three times as many
        ({"position_size": 0.1}, "position_size", 10.0),
        ({"position_size": 0.1, "leverage": 3.0}, "position_size", 30.0),
        # units of 100 that deviate by 2 may move 1 % of 10,000
        ({"volatility_target": 0.01, "volatility": 0.02}, "volatility_target", 50.0),
        # 0.25 times the equity
        ({"exposure_left": 0.25}, "max_exposure", 25.0),
        # what the cash pays for
        ({}, "cash", 100.0),
        ({"leverage": 3.0}, "cash", 300.0),
        ({"free_cash": 4_000.0, "leverage": 4.0}, "cash", 160.0),
        # 10,000 / (100 * (1 + 0.25))
        ({"fee": 0.05, "cash_buffer": 0.2}, "cash", 80.0),
        # 10,000 / (100 * (1 / 4 + 0.25)): fee and buffer are fractions of the notional
        ({"fee": 0.05, "cash_buffer": 0.2, "leverage": 4.0}, "cash", 200.0),
    ],
)
def test_each_limit_binds_in_turn(given_values, binding, size):
    found = limits(**given_values)
    assert (found.binding, found.size, found.reason) == (binding, size, "")
    assert getattr(found, binding) == pytest.approx(size, rel=1e-12)


def test_all_limits_are_told_and_the_smallest_is_the_size():
    found = limits(
        stop_distance=4.0,
        position_size=0.1,
        leverage=3.0,
        volatility_target=0.01,
        volatility=0.02,
        exposure_left=0.25,
    )
    told = [getattr(found, name) for name in LIMITS]
    assert told == pytest.approx([50.0, 30.0, 50.0, 25.0, 300.0])
    assert (found.binding, found.size) == ("max_exposure", 25.0)


def test_limits_that_are_off_are_infinite():
    found = limits()
    assert [getattr(found, name) for name in LIMITS] == [math.inf] * 4 + [100.0]


def test_without_a_stop_the_risk_is_no_limit():
    assert limits(stop_distance=math.inf, risk=0.0001).size == 100.0
    assert limits(stop_distance=1e9, risk=0.0001).size == 0.0


@pytest.mark.parametrize(
    ("given_values", "size"),
    [
        ({"stop_distance": 4.0, "lot_step": 0.15}, 49.95),
        ({"stop_distance": 3.0, "lot_step": 0.001}, 66.666),
        ({"stop_distance": 3.0, "lot_step": 10.0}, 60.0),
        ({"stop_distance": 4.0, "lot_step": 50.0}, 50.0),
    ],
)
def test_sizes_are_rounded_down_to_the_lot(given_values, size):
    assert limits(**given_values).size == size


def test_less_than_a_lot_is_nothing():
    found = limits(stop_distance=4.0, lot_step=60.0)
    assert (found.size, found.binding) == (0.0, "risk")
    assert found.reason == "risk allows 50, which is less than one lot of 60"


def test_under_the_least_notional_is_nothing():
    found = limits(stop_distance=4.0, min_notional=5_000.01)
    assert (found.size, found.risk) == (0.0, 50.0)
    assert found.reason == "a notional of 5000 is under the least one of 5000.01"
    assert limits(stop_distance=4.0, min_notional=5_000.0).size == 50.0


def test_the_least_notional_is_that_of_whole_lots():
    # 0.15 lots of 49.95 in place of 50
    assert limits(stop_distance=4.0, lot_step=0.15, min_notional=4_995.0).size == 49.95
    assert limits(stop_distance=4.0, lot_step=0.15, min_notional=4_996.0).size == 0.0


def test_a_notional_right_on_the_least_one_is_enough_in_decimals():
    assert 0.29 * 100.0 < 29.0
    assert limits(exposure_left=0.002_95, lot_step=0.01, min_notional=29.0).size == 0.29


@pytest.mark.parametrize(
    ("unknown", "reason"),
    [
        ({"stop_distance": math.nan}, "the stop distance is nan"),
        ({"stop_distance": 0.0}, "the stop distance is 0.0"),
        ({"stop_distance": -1.0}, "the stop distance is -1.0"),
        ({"stop_distance": -math.inf}, "the stop distance is -inf"),
        ({"volatility_target": 0.01}, "the expected volatility is nan"),
        ({"volatility_target": 0.01, "volatility": 0.0}, "the expected volatility is 0.0"),
        ({"volatility_target": 0.01, "volatility": math.inf}, "the expected volatility is inf"),
        ({"exposure_left": 0.0}, "the exposure left is 0 of the equity"),
        ({"exposure_left": math.nan}, "the exposure left is nan of the equity"),
        ({"position_size": math.nan}, "the position size is nan of the equity"),
        ({"free_cash": 0.0}, "the free cash is 0.00"),
        ({"free_cash": -3.0}, "the free cash is -3.00"),
        ({"free_cash": math.nan}, "the free cash is nan"),
        ({"price": math.nan}, "the price is nan"),
        ({"price": 0.0}, "the price is 0.0"),
        ({"equity": -5.0}, "the equity is -5.0"),
        ({"equity": math.nan}, "the equity is nan"),
    ],
)
def test_what_is_unknown_or_used_up_allows_nothing_and_is_named(unknown, reason):
    found = limits(**unknown)
    assert (found.size, found.reason) == (0.0, reason)
    assert getattr(found, found.binding) == 0.0


def test_a_volatility_that_nothing_asks_for_may_be_unknown():
    assert limits(volatility=math.nan).size == 100.0


STEPS = st.sampled_from([1e-8, 1e-5, 0.001, 0.01, 0.1, 0.15, 1.0, 5.0])


@given(
    price=st.floats(0.01, 1e5),
    equity=st.floats(1.0, 1e7),
    cash=st.floats(0.0, 1e7),
    leverage=st.floats(1.0, 100.0),
    stop=st.floats(0.01, 1e4) | st.just(math.inf),
    position_size=st.floats(0.0, 1.0),
    target=st.floats(0.0, 1.0),
    volatility=st.floats(1e-4, 1.0),
    room=st.floats(0.0, 10.0) | st.just(math.inf),
    step=STEPS,
    least=st.floats(0.0, 100.0),
)
def test_no_size_is_off_the_lot_or_above_any_limit(
    price, equity, cash, leverage, stop, position_size, target, volatility, room, step, least
):
    found = size_limits(
        price=price,
        equity=equity,
        free_cash=cash,
        fee=0.001,
        leverage=leverage,
        cash_buffer=0.01,
        stop_distance=stop,
        position_size=position_size,
        volatility_target=target,
        volatility=volatility,
        exposure_left=room,
        lot_step=step,
        min_notional=least,
    )
    size, slack = found.size, 1.0 + 1e-9
    assert Decimal(repr(size)) % Decimal(repr(step)) == 0
    assert all(size <= getattr(found, name) for name in LIMITS)
    assert size * stop <= 0.02 * equity * slack or math.isinf(stop)
    assert not position_size or size * price <= position_size * equity * leverage * slack
    assert not target or size * volatility * price <= target * equity * slack
    assert size * price <= room * equity * slack
    assert size * price * (1 / leverage + 0.011) <= cash * slack
    assert not size or size * price >= least / slack
    assert bool(found.reason) == (size == 0.0)
    # No limit is missed by a whole lot: one more would break the one that binds.
    if size:
        assert size + step > getattr(found, found.binding) / slack


@pytest.mark.parametrize(
    ("first", "second", "common"),
    [
        (0.001, 1e-8, 0.001),
        (1e-8, 0.001, 0.001),
        (0.1, 0.15, 0.3),
        (2.0, 3.0, 6.0),
        (10.0, 0.25, 10.0),
        (0.0, 0.1, 0.1),
        (0.1, 0.0, 0.1),
        (0.1, 0.1, 0.1),
    ],
)
def test_lot_steps_of_two_sources_are_both_kept(first, second, common):
    assert common_step(first, second) == common


@given(first=STEPS, second=STEPS, size=st.floats(0.0, 1e6))
def test_sizes_on_the_common_step_are_on_both(first, second, size):
    rounded = round_down(size, common_step(first, second))
    for step in (first, second):
        assert round_down(rounded, step) == rounded


def test_rounding_to_one_step_after_the_other_would_leave_the_first():
    assert round_down(round_down(0.55, 0.15), 0.1) == 0.4
    assert round_down(0.4, 0.15) != 0.4
    assert round_down(0.55, common_step(0.15, 0.1)) == 0.3


@given(size=st.floats(0.0, 1e6), step=STEPS)
def test_rounding_never_exceeds_the_size_and_loses_less_than_a_lot(size, step):
    rounded = round_down(size, step)
    exact, unit = Decimal(repr(size)), Decimal(repr(step))
    assert Decimal(repr(rounded)) <= exact
    assert exact - Decimal(repr(rounded)) < unit
    assert Decimal(repr(rounded)) % unit == 0
    assert round_down(rounded, step) == rounded


def test_rounding_in_binary_would_lose_a_lot():
    assert math.floor(0.3 / 0.1) * 0.1 != 0.3
    assert round_down(0.3, 0.1) == 0.3
    assert round_down(np.inf, 0.1) == 0.0
