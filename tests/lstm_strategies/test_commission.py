from __future__ import annotations

import math

import backtrader as bt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_strategies.commission import CryptoCommission
from lstm_strategies.errors import ParameterError


def test_fee_is_a_fraction_of_the_notional():
    fees = CryptoCommission(maker_fee=0.001, taker_fee=0.002)
    assert fees.getcommission(-2.0, 50.0) == pytest.approx(0.2, abs=1e-12)
    with fees.resting():
        assert fees.getcommission(2.0, 50.0) == pytest.approx(0.1, abs=1e-12)
    assert fees.getcommission(2.0, 50.0) == pytest.approx(0.2, abs=1e-12)


def test_resting_ends_when_a_fill_fails():
    fees = CryptoCommission()
    with pytest.raises(RuntimeError), fees.resting():
        raise RuntimeError
    assert fees.getcommission(1.0, 100.0) == pytest.approx(0.04)


@given(cash=st.floats(0.0, 1e9), price=st.floats(1e-6, 1e6))
def test_size_is_not_cut_to_a_whole_number(cash, price):
    assert CryptoCommission().getsize(price, cash) * price == pytest.approx(cash, rel=1e-12)


def test_stock_scheme_cuts_the_size_to_nothing():
    assert bt.CommInfoBase().getsize(60_000.0, 10_000.0) == 0


def test_no_size_at_no_price():
    assert CryptoCommission().getsize(0.0, 100.0) == 0.0


@pytest.mark.parametrize("leverage", [3.0, 0.5, 0, None])
def test_leverage_is_refused(leverage):
    with pytest.raises(ParameterError, match="liquidation"):
        CryptoCommission(leverage=leverage)


@pytest.mark.parametrize("fee", [-0.0001, 1.0, 4.0, math.nan, math.inf, "0.1", None])
@pytest.mark.parametrize("name", ["maker_fee", "taker_fee"])
def test_impossible_fees_are_refused(name, fee):
    with pytest.raises(ParameterError, match=name):
        CryptoCommission(**{name: fee})


@pytest.mark.parametrize(
    "ignored",
    [{"commission": 0.001}, {"mult": 10.0}, {"margin": 100.0}, {"automargin": 0.1}],
)
def test_parameters_it_would_ignore_are_refused(ignored):
    with pytest.raises(ParameterError, match="would ignore"):
        CryptoCommission(**ignored)
