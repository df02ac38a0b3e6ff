"""Facts come from the bar and those before it, and say None where there is nothing to say."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from lightning_models.errors import (
    CandleError,
    ConfigError,
    NoForecastError,
    TooFewCandlesError,
)
from lstm_strategies.analyst import FACT_BARS, FactReading, MarketFacts, market_facts

HOURS = 3_600_000
START = 1_600_000_000_000


def times_of(count):
    return START + 6 * HOURS * np.arange(1, count + 1) - 1


def straight(count):
    """Close 101, 102, ...; a low 1 below and a high 3 above it; volume 10."""
    close = 100.0 + np.arange(1.0, count + 1)
    return np.column_stack([close - 0.5, close + 3.0, close - 1.0, close, np.full(count, 10.0)])


def test_figures_of_a_straight_rise():
    market = straight(100)
    market[-1, 4] = 25.0
    facts = market_facts("BTC/USDT", "6h", START, market, [("rsi", 71.5, "overbought")])
    assert facts.price == 200.0
    assert facts.change_1_pct == pytest.approx(100 * 1 / 199)
    assert facts.change_6_pct == pytest.approx(100 * 6 / 194)
    assert facts.change_24_pct == pytest.approx(100 * 24 / 176)
    assert facts.change_72_pct == pytest.approx(100 * 72 / 128)
    returns = 1.0 / np.arange(176.0, 200.0)
    mean = sum(returns) / 24
    deviation = (sum((returns - mean) ** 2) / 23) ** 0.5
    assert facts.volatility_pct == pytest.approx(100 * deviation)
    # Low 128 at the first of 72 bars, high 203 at the last.
    assert facts.range_position == pytest.approx((200 - 128) / (203 - 128))
    assert facts.volume_ratio == pytest.approx(2.5)
    assert facts.readings == (FactReading("rsi", 71.5, "overbought"),)
    assert (facts.symbol, facts.timeframe, facts.time) == ("BTC/USDT", "6h", START)


def test_later_rows_change_nothing(rows):
    market, times = rows(150), times_of(150)
    other = market.copy()
    other[100:] *= 7.0
    first = market_facts("A", "6h", times[99], market, times=times)
    assert market_facts("A", "6h", times[99], other, times=times) == first
    assert market_facts("A", "6h", times[99], market[:100]) == first
    # Control: the bar itself counts, and one bar later the change is seen.
    other[99] *= 7.0
    assert market_facts("A", "6h", times[99], other, times=times) != first
    assert market_facts("A", "6h", times[100], other, times=times) != market_facts(
        "A", "6h", times[100], market, times=times
    )


def test_rows_before_the_last_73_change_nothing(rows):
    market = rows(150)
    facts = market_facts("A", "6h", START, market)
    assert FACT_BARS == 73
    assert market_facts("A", "6h", START, market[-FACT_BARS:]) == facts
    assert market_facts("A", "6h", START, market[-FACT_BARS + 1 :]) != facts


@pytest.mark.parametrize(
    ("count", "known"),
    [
        (1, set()),
        (2, {"change_1_pct"}),
        (7, {"change_1_pct", "change_6_pct"}),
        (
            25,
            {"change_1_pct", "change_6_pct", "change_24_pct", "volatility_pct", "volume_ratio"},
        ),
    ],
)
def test_figures_that_reach_further_back_than_the_rows_are_none(count, known):
    facts = market_facts("A", "6h", START, straight(count))
    figures = facts.model_dump(exclude={"symbol", "timeframe", "time", "price", "readings"})
    assert {name for name, value in figures.items() if value is not None} == known


def test_holes_and_markets_that_stand_still_give_none():
    flat = np.tile([100.0, 100.0, 100.0, 100.0, 0.0], (100, 1))
    facts = market_facts("A", "6h", START, flat)
    assert facts.range_position is None
    assert facts.volume_ratio is None
    assert facts.volatility_pct == 0.0
    holed = straight(100)
    holed[-7] = np.nan
    facts = market_facts("A", "6h", START, holed)
    assert facts.change_6_pct is None
    assert facts.volatility_pct is None
    assert facts.range_position is None
    assert facts.volume_ratio is None
    assert facts.change_1_pct == pytest.approx(100 / 199)


def test_reading_without_a_value_is_none():
    readings = [("rsi", np.nan, ""), ("adx", None, ""), ("ema", np.float32(1.5), "above")]
    facts = market_facts("A", "6h", START, straight(3), readings)
    assert [each.value for each in facts.readings] == [None, None, 1.5]


@pytest.mark.parametrize("price", [np.nan, 0.0, -1.0, np.inf])
def test_bar_without_a_price_is_refused(price):
    market = straight(10)
    market[-1, 3] = price
    with pytest.raises(NoForecastError, match=r"A has no price at the bar"):
        market_facts("A", "6h", START, market)


def test_other_shapes_and_times_are_refused():
    market, times = straight(10), times_of(10)
    with pytest.raises(CandleError, match=r"shape \(10, 4\): give \[T, 5\]"):
        market_facts("A", "6h", START, market[:, :4])
    with pytest.raises(TooFewCandlesError, match="no candle"):
        market_facts("A", "6h", START, market[:0])
    with pytest.raises(CandleError, match=r"\(9,\) times for 10 candles"):
        market_facts("A", "6h", times[0], market, times=times[:9])
    with pytest.raises(CandleError, match=f"no candle closed at {times[0] - 1}"):
        market_facts("A", "6h", times[0] - 1, market, times=times)
    with pytest.raises(ConfigError, match="unknown timeframe '7h'"):
        market_facts("A", "7h", START, market)


def test_facts_are_frozen_and_take_nothing_else(facts_of):
    facts = facts_of()
    with pytest.raises(ValidationError, match="frozen"):
        facts.price = 1.0
    with pytest.raises(ValidationError, match="next_close"):
        MarketFacts(**facts.model_dump(), next_close=1.0)
    assert MarketFacts.model_validate_json(facts.model_dump_json()) == facts
