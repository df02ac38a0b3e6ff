from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_models.candles import COLUMNS, Candles, simulate_market, validate
from lightning_models.errors import CandleError

# The time that an example takes says nothing on a machine that others use.
UNHURRIED = settings(deadline=None, max_examples=60)

HOUR = 3_600_000
START = 1_614_834_000_000  # 2021-03-04T05:00:00Z


def flat(rows: int = 4) -> Candles:
    ohlcv = np.tile([10.0, 12.0, 8.0, 11.0, 5.0], (rows, 1))
    return Candles("BTC/USDT", "1h", "continuous", START + HOUR * np.arange(rows), ohlcv)


def with_cell(row: int, column: str, value: float) -> Candles:
    candles = flat()
    ohlcv = candles.ohlcv.copy()
    ohlcv[row, COLUMNS.index(column)] = value
    return replace(candles, ohlcv=ohlcv)


def test_sound_candles_pass_and_are_returned():
    candles = flat()
    assert validate(candles) is candles
    assert validate(with_cell(1, "volume", 0.0)) is not None
    assert len(validate(candles.between(0, 0))) == 0


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("open", 0.0, "the open is 0.0, and a price is finite and above zero"),
        ("low", -1.0, "the low is -1.0"),
        ("close", float("nan"), "the close is nan"),
        ("high", float("inf"), "the high is inf"),
        ("volume", -0.5, "the volume is -0.5, and a volume is finite and at least zero"),
        ("volume", float("nan"), "the volume is nan"),
        ("volume", float("inf"), "the volume is inf"),
        ("high", 10.5, "the high 10.5 lies below the close 11.0"),
        ("open", 13.0, "the high 12.0 lies below the open 13.0"),
        ("low", 10.5, "the low 10.5 lies above the open 10.0"),
        ("close", 7.0, "the low 8.0 lies above the close 7.0"),
    ],
)
def test_an_untrue_candle_is_named_with_its_row_time_and_reason(column, value, reason):
    with pytest.raises(CandleError) as caught:
        validate(with_cell(2, column, value))
    message = str(caught.value)
    assert message.startswith(f"BTC/USDT: row 2 (2021-03-04T07:00:00Z): {reason}")


def test_the_first_of_several_untrue_rows_is_named():
    candles = with_cell(3, "open", -1.0)
    ohlcv = candles.ohlcv.copy()
    ohlcv[1, 4] = -1.0
    with pytest.raises(CandleError, match=r"row 1 .*volume"):
        validate(replace(candles, ohlcv=ohlcv))


def test_disorder_and_duplicates_have_their_own_messages():
    disordered = replace(flat(), time=START + HOUR * np.array([0, 2, 1, 3]))
    with pytest.raises(CandleError) as caught:
        validate(disordered)
    assert "row 2 (2021-03-04T06:00:00Z) comes after row 1 (2021-03-04T07:00:00Z)" in str(
        caught.value
    )
    assert "sort the candles" in str(caught.value)
    with pytest.raises(CandleError, match="rows 1 and 2 both have the time 2021-03-04T06:00:00Z"):
        validate(replace(flat(), time=START + HOUR * np.array([0, 1, 1, 3])))


def test_a_time_off_the_bins_is_refused():
    with pytest.raises(CandleError, match=r"row 0 .*not the open of a 1h candle"):
        validate(replace(flat(), time=flat().time + 60_000))


def test_the_message_begins_with_where_the_candles_come_from():
    with pytest.raises(CandleError, match=r"^btc\.csv: row 0"):
        validate(with_cell(0, "open", 0.0), origin="btc.csv")


@UNHURRIED
@given(
    row=st.integers(0, 49),
    column=st.integers(0, 4),
    value=st.sampled_from([float("nan"), float("inf"), -float("inf"), -1.0]),
)
def test_a_single_impossible_cell_anywhere_is_found(row, column, value):
    candles = simulate_market(candles=50)[0]
    ohlcv = candles.ohlcv.copy()
    ohlcv[row, column] = value
    with pytest.raises(CandleError, match=rf"row {row} .*the {COLUMNS[column]} is"):
        validate(replace(candles, ohlcv=ohlcv))
