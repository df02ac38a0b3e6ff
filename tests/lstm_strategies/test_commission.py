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


@pytest.mark.parametrize("leverage", [1, 3.0, 125.0])
def test_leverage_up_to_that_of_an_exchange_is_taken(leverage):
    assert CryptoCommission(leverage=leverage).get_leverage() == leverage


@pytest.mark.parametrize("leverage", [0.5, 0, -3.0, 125.5, math.nan, math.inf, True, "3", None])
def test_impossible_leverage_is_refused(leverage):
    with pytest.raises(ParameterError, match=r"leverage=.*from 1 \(none\) to 125"):
        CryptoCommission(leverage=leverage)


def test_initial_margin_given_for_the_leverage_is_named():
    with pytest.raises(ParameterError, match=r"initial margin of 0\.2 write leverage=5"):
        CryptoCommission(leverage=0.2)


@pytest.mark.parametrize(
    ("leverage", "maintenance_margin"), [(10.0, 0.1), (10.0, 0.5), (125.0, 0.008), (1.0, 1.0)]
)
def test_maintenance_margin_that_no_initial_margin_covers_is_refused(leverage, maintenance_margin):
    with pytest.raises(ParameterError, match="liquidated as it opens"):
        CryptoCommission(leverage=leverage, maintenance_margin=maintenance_margin)
    CryptoCommission(leverage=leverage, maintenance_margin=0.99 / leverage)


@pytest.mark.parametrize(
    ("name", "percent", "meant"),
    [
        ("maintenance_margin", 0.5, "for 0.5 % write maintenance_margin=0.005"),
        ("liquidation_fee", 1.5, "for 1.5 % write liquidation_fee=0.015"),
        ("taker_fee", 4, "for 4 % write taker_fee=0.04"),
    ],
)
def test_percent_given_for_a_fraction_is_named(name, percent, meant):
    with pytest.raises(ParameterError, match=meant):
        CryptoCommission(leverage=10.0, **{name: percent})


@pytest.mark.parametrize("name", ["lot_step", "min_notional"])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, "1", None])
def test_impossible_limits_of_sizes_are_refused(name, value):
    with pytest.raises(ParameterError, match=name):
        CryptoCommission(**{name: value})


@pytest.mark.parametrize("leverage", [1.0, 20.0])
def test_size_of_a_notional_is_the_same_at_every_leverage(leverage):
    assert CryptoCommission(leverage=leverage).getsize(50.0, 1_000.0) == 20.0


def test_charging_adds_a_fee_up_to_a_limit_and_ends():
    fees = CryptoCommission(taker_fee=0.001)
    with fees.charging(extra=0.01, at_most=5.0):
        # 100 x 0.011 = 1.1; 1,000 x 0.011 = 11, of which 5 can be paid.
        assert fees.getcommission(-1.0, 100.0) == pytest.approx(1.1, abs=1e-12)
        assert fees.getcommission(-10.0, 100.0) == 5.0
    assert fees.getcommission(-10.0, 100.0) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("fee", [-0.0001, 1.0, 4.0, math.nan, math.inf, "0.1", None])
@pytest.mark.parametrize("name", ["maker_fee", "taker_fee", "liquidation_fee"])
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
