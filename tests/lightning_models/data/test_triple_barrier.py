"""Triple-barrier labels end at the first barrier, and know nothing of what comes after it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_models import simulate_market
from lightning_models.data import Horizon, label_returns
from lightning_models.data.triple_barrier import label_barriers

HOUR = 3_600_000
FLAT = (100.0, 100.5, 99.5, 100.0)


def labels(prices, *, reaches=(4,), real=None, volatility=0.01, **options):
    count = len(prices)
    return label_barriers(
        np.arange(count, dtype=np.int64) * HOUR,
        np.array(prices, dtype=np.float64).reshape(-1, 4),
        np.ones(count, dtype=bool) if real is None else np.array(real),
        np.broadcast_to(np.asarray(volatility, dtype=np.float64), (count,)),
        horizons=[Horizon(name=f"{reach}h", candles=reach) for reach in reaches],
        period=HOUR,
        **options,
    )


def first(prices, **options):
    """Outcome, return and rows until the end of the label of the first row."""
    found = labels(prices, **options)
    end = int(found.end[0]) // HOUR
    return int(found.outcome[0, 0]), float(found.returns[0, 0]), end and end - 1


# With a volatility of 1 % and four candles the barriers of an entry at 100 are 102 and 98.


def test_a_high_that_reaches_the_upper_barrier_ends_the_label_at_the_barrier():
    outcome, change, row = first([FLAT, FLAT, (100, 102.7, 99, 101), FLAT, FLAT])
    assert (outcome, row) == (1, 2)
    assert change == pytest.approx(0.02)


def test_a_low_that_reaches_the_lower_barrier_ends_the_label_at_the_barrier():
    outcome, change, row = first([FLAT, (100, 101, 97, 100), FLAT, FLAT, FLAT])
    assert (outcome, row) == (-1, 1)
    assert change == pytest.approx(-0.02)


def test_exactly_touching_is_reaching():
    assert first([FLAT, (100, 102, 99, 100), FLAT, FLAT, FLAT])[0] == 1


def test_without_a_touch_the_label_ends_at_the_horizons_close():
    outcome, change, row = first([FLAT, FLAT, FLAT, FLAT, (100, 101, 99, 100.7), FLAT])
    assert (outcome, row) == (0, 4)
    assert change == pytest.approx(0.007)


def test_a_touch_after_the_horizon_does_not_count():
    assert first([FLAT, FLAT, FLAT, FLAT, FLAT, (100, 200, 50, 100)])[0] == 0


def test_a_candle_that_opens_beyond_a_barrier_ends_the_label_at_its_open():
    up = first([FLAT, FLAT, (105, 106, 104, 105), FLAT, FLAT])
    down = first([FLAT, FLAT, (93, 101, 92, 100), FLAT, FLAT])
    assert up == (1, pytest.approx(0.05), 2)
    assert down == (-1, pytest.approx(-0.07), 2)


def test_a_gap_says_which_barrier_came_first_though_the_candle_reaches_both():
    assert first([FLAT, FLAT, (103, 104, 90, 95), FLAT, FLAT])[0] == 1


def test_the_decisions_own_candle_plays_no_part():
    assert first([(100, 300, 20, 100), FLAT, FLAT, FLAT, FLAT])[0] == 0


@pytest.mark.parametrize(("both", "outcome"), [("upper", 1), ("lower", -1)])
def test_a_candle_that_reaches_both_counts_as_it_is_told_to(both, outcome):
    found = labels([FLAT, (100, 103, 97, 100), FLAT, FLAT, FLAT], both=both)
    assert found.outcome[0, 0] == outcome
    assert found.returns[0, 0] == pytest.approx(0.02 * outcome)
    assert found.ambiguous == 0


def test_a_candle_that_reaches_both_leaves_no_label_by_default():
    found = labels([FLAT, (100, 103, 97, 100), FLAT, FLAT, FLAT, FLAT])
    assert np.isnan(found.returns[0, 0])
    assert (found.end[0], found.exit[0, 0], found.ambiguous) == (0, -1, 1)
    assert np.isfinite(found.returns[1, 0])


def test_barriers_lie_at_their_own_distances():
    assert first([FLAT, (100, 103, 99, 100), FLAT, FLAT, FLAT], upper=2.0, lower=0.5)[0] == -1
    assert first([FLAT, (100, 103, 99.2, 100), FLAT, FLAT, FLAT], upper=2.0, lower=0.5)[0] == 0


def test_a_lower_barrier_under_nothing_is_never_reached():
    assert first([FLAT, (100, 101, 0.01, 100), FLAT, FLAT, FLAT], volatility=0.6)[0] == 0


def test_barriers_are_wider_for_longer_horizons():
    prices = [FLAT, (100, 102.5, 99, 100), *[FLAT] * 16]
    found = labels(prices, reaches=(4, 16))
    assert found.outcome[0].tolist() == [1, 0]
    assert found.end[0] == 17 * HOUR


def test_a_label_is_not_entered_on_a_bridged_candle():
    real = [True, False, True, True, True, True, True, True]
    found = labels([FLAT] * 8, real=real)
    assert np.isnan(found.returns[0, 0])
    assert np.isfinite(found.returns[1, 0])


def test_a_bridged_candle_reaches_nothing_and_the_one_after_it_may_open_beyond():
    prices = [FLAT, FLAT, (100, 200, 50, 100), (97, 98, 96, 97), FLAT]
    real = [True, True, False, True, True]
    assert first(prices, real=real) == (-1, pytest.approx(-0.03), 3)


def test_no_time_out_ends_on_a_bridged_candle():
    real = [True, True, True, True, False, True]
    assert np.isnan(labels([FLAT] * 6, real=real).returns[0, 0])


def test_a_label_that_was_reached_before_a_hole_stands():
    real = [True, True, True, False, False, True]
    prices = [FLAT, FLAT, (100, 103, 99, 100), FLAT, FLAT, FLAT]
    assert first(prices, real=real)[0] == 1


def test_nothing_is_known_behind_a_candle_without_prices():
    broken = (100.0, math.nan, 99.0, 100.0)
    before = [FLAT, (100, 103, 99, 100), broken, FLAT, FLAT]
    after = [FLAT, FLAT, broken, (100, 103, 99, 100), FLAT]
    assert first(before)[0] == 1
    assert math.isnan(first(after)[1])


def test_no_label_without_a_volatility():
    assert math.isnan(first([FLAT] * 5, volatility=math.nan)[1])


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_candles_leave_no_labels(count):
    found = labels([FLAT] * count)
    assert np.isnan(found.returns).all()
    assert (found.end == 0).all()


def test_a_row_without_one_of_its_horizons_has_none():
    found = labels([FLAT] * 8, reaches=(1, 5))
    assert np.isfinite(found.returns[:3]).all()
    assert np.isnan(found.returns[3:]).all()
    assert (found.exit[3:] == -1).all()


def test_barriers_nothing_reaches_leave_the_horizons_returns():
    candles = simulate_market(candles=300, seed=3)[0]
    horizons = [Horizon(name="1h", candles=1), Horizon(name="6h", candles=6)]
    real = np.ones(300, dtype=bool)
    wide = label_barriers(
        candles.time,
        candles.ohlcv[:, :4],
        real,
        np.full(300, 0.3),
        horizons=horizons,
        period=HOUR,
        upper=50,
        lower=50,
    )
    plain = label_returns(
        candles.time,
        candles.ohlcv[:, 0],
        candles.ohlcv[:, 3],
        real,
        horizons=horizons,
        period=HOUR,
    )
    np.testing.assert_array_equal(wide.returns, plain.returns)
    np.testing.assert_array_equal(wide.end, plain.end)


def one_by_one(prices, real, volatility, candles, *, upper, lower, both):
    """Each row's outcome, return and last row, followed candle by candle."""
    return [
        _followed(prices, real, volatility, row, candles, upper, lower, both)
        for row in range(len(prices))
    ]


def _followed(prices, real, volatility, row, candles, upper, lower, both):
    nothing = (0, math.nan, -1)
    if row + 1 >= len(prices) or not real[row + 1] or math.isnan(volatility[row]):
        return nothing
    entry = prices[row + 1][0]
    unit = volatility[row] * math.sqrt(candles)
    above, below = entry * (1 + upper * unit), entry * (1 - lower * unit)
    for bar in range(row + 1, row + candles + 1):
        if bar >= len(prices):
            return nothing
        if not real[bar]:
            continue
        opened, high, low, close = prices[bar]
        if not all(math.isfinite(price) for price in prices[bar]):
            return nothing
        if bar > row + 1 and opened >= above:
            return 1, opened / entry - 1, bar
        if bar > row + 1 and opened <= below:
            return -1, opened / entry - 1, bar
        if high >= above and low <= below:
            if both == "drop":
                return nothing
            return (1, above / entry - 1, bar) if both == "upper" else (-1, below / entry - 1, bar)
        if high >= above:
            return 1, above / entry - 1, bar
        if low <= below:
            return -1, below / entry - 1, bar
    return (0, close / entry - 1, bar) if real[bar] else nothing


@st.composite
def markets(draw):
    """Coarse prices, so that touches, gaps and both at once are common."""
    count = draw(st.integers(1, 25))
    steps = st.integers(-3, 3)
    prices, last = [], 100.0
    for _ in range(count):
        opened = last + draw(steps)
        close = opened + draw(steps)
        high = max(opened, close) + draw(st.integers(0, 3))
        low = min(opened, close) - draw(st.integers(0, 3))
        broken = draw(st.integers(0, 19)) == 0
        prices.append((opened, math.nan if broken else high, low, close))
        last = close
    real = [draw(st.integers(0, 9)) > 0 for _ in range(count)]
    volatility = draw(
        st.lists(st.sampled_from([0.005, 0.01, 0.02, math.nan]), min_size=count, max_size=count)
    )
    return prices, real, volatility


widths = st.sampled_from([0.5, 1.0, 1.7])
rules = st.sampled_from(["drop", "lower", "upper"])


@given(market=markets(), reach=st.integers(1, 6), upper=widths, lower=widths, both=rules)
def test_labels_are_those_of_following_each_row_candle_by_candle(market, reach, upper, lower, both):
    prices, real, volatility = market
    options = {"upper": upper, "lower": lower, "both": both}
    found = labels(prices, reaches=(reach,), real=real, volatility=volatility, **options)
    expected = one_by_one(prices, real, volatility, reach, **options)
    assert found.outcome[:, 0].tolist() == [outcome for outcome, _, _ in expected]
    assert found.exit[:, 0].tolist() == [row for _, _, row in expected]
    np.testing.assert_allclose(
        found.returns[:, 0], [change for _, change, _ in expected], rtol=0, atol=1e-12
    )


@given(market=markets(), reach=st.integers(1, 6), cut=st.integers(1, 25), both=rules)
def test_a_label_is_made_of_what_comes_before_its_own_end(market, reach, cut, both):
    prices, real, volatility = market
    cut = min(cut, len(prices))
    whole = labels(prices, reaches=(reach,), real=real, volatility=volatility, both=both)
    early = labels(
        prices[:cut], reaches=(reach,), real=real[:cut], volatility=volatility[:cut], both=both
    )
    known = (whole.exit[:cut, 0] >= 0) & (whole.exit[:cut, 0] < cut)
    np.testing.assert_array_equal(early.returns[known], whole.returns[:cut][known])
    np.testing.assert_array_equal(early.end, np.where(known, whole.end[:cut], 0))


def test_a_label_that_stated_too_early_an_end_would_fail_that():
    prices = [FLAT, FLAT, FLAT, (100, 103, 99, 100), FLAT]
    whole, early = labels(prices), labels(prices[:3])
    stated = whole.exit[0, 0] - 1
    assert stated < 3
    assert np.isfinite(whole.returns[0, 0]) != np.isfinite(early.returns[0, 0])


@given(market=markets(), reach=st.integers(1, 6), factor=st.sampled_from([2.0**-20, 2.0**20]))
def test_labels_do_not_depend_on_the_unit_of_the_price(market, reach, factor):
    prices, real, volatility = market
    scaled = np.array(prices).reshape(-1, 4) * factor
    one = labels(prices, reaches=(reach,), real=real, volatility=volatility)
    other = labels(scaled, reaches=(reach,), real=real, volatility=volatility)
    np.testing.assert_array_equal(one.returns, other.returns)
    np.testing.assert_array_equal(one.exit, other.exit)


def test_in_a_market_with_sessions_a_label_ends_when_its_own_candle_closes():
    prices = np.array([FLAT, FLAT, (100, 103, 99, 100), FLAT, FLAT])
    time = np.array([0, 1, 2, 50, 51], dtype=np.int64) * HOUR
    found = label_barriers(
        time,
        prices,
        np.ones(5, dtype=bool),
        np.full(5, 0.01),
        horizons=[Horizon(name="3h", candles=3)],
        period=HOUR,
    )
    assert found.end[:2].tolist() == [3 * HOUR, 3 * HOUR]
