"""Which part of an order closes, which opens, and which belongs to a refused entry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_strategies.opening_orders import OrderParts, parts_of

SIZES = st.floats(0.0, 1e6)


@pytest.mark.parametrize(
    ("size", "held", "refused", "parts"),
    [
        (1.0, 0.0, 0.0, OrderParts(0.0, 0.0, 1.0)),
        (1.0, 3.0, 0.0, OrderParts(0.0, 0.0, 1.0)),
        (1.0, -3.0, 0.0, OrderParts(1.0, 0.0, 0.0)),
        (5.0, -3.0, 0.0, OrderParts(3.0, 0.0, 2.0)),
        (5.0, -3.0, -1.0, OrderParts(3.0, 1.0, 1.0)),
        (1.0, 0.0, 1.0, OrderParts(0.0, 0.0, 1.0)),
        (0.0, -3.0, 0.0, OrderParts(0.0, 0.0, 0.0)),
    ],
)
def test_parts(size, held, refused, parts):
    assert parts_of(size, held, refused) == parts


def test_rest_of_lots_in_binary_opens_nothing():
    held = -(0.1 + 0.1 + 0.1)
    assert 0.3 + held != 0.0
    assert parts_of(0.3, held).opening == 0.0
    assert parts_of(0.1 + 0.1 + 0.1, -0.3).opening == 0.0


@given(SIZES, st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_parts_make_up_the_order_and_close_no_more_than_is_held(size, held, refused):
    parts = parts_of(size, held, refused)
    assert min(parts) >= 0.0
    assert sum(parts) == pytest.approx(size, rel=1e-8)
    assert parts.closing <= max(0.0, -held)
    assert parts.withheld <= max(0.0, -refused)
