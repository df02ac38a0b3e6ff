from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_models.candles import Candles, read_candles, simulate_market, symbol_of_path
from lightning_models.errors import CandleError, ConfigError, TooFewCandlesError
from lightning_models.timeframes import TIMEFRAMES

# The time that an example takes says nothing on a machine that others use.
UNHURRIED = settings(deadline=None, max_examples=60)

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_614_816_000_000  # 2021-03-04T00:00:00Z


def frame_at(times) -> pd.DataFrame:
    flat = {"open": 1.0, "high": 2.0, "low": 1.0, "close": 2.0, "volume": 3.0}
    return pd.DataFrame({"timestamp": times, **flat})


def every(hours: float, rows: int, offset: int = 0) -> list[int]:
    return [START + int(row * hours * HOUR) + offset for row in range(rows)]


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_the_timeframe_is_the_most_common_step(timeframe):
    candles = simulate_market(candles=6, timeframe=timeframe)[0]
    kept = candles.to_frame().drop(index=2)
    assert read_candles(kept).timeframe == timeframe
    assert read_candles(kept).time.tolist() == np.delete(candles.time, 2).tolist()


@pytest.mark.parametrize("behind", [0, HOUR - 1, HOUR - 1000])
def test_bars_stamped_at_either_end_have_the_same_open_time(behind):
    candles = read_candles(frame_at(every(1, 5, offset=behind)))
    assert candles.time.tolist() == every(1, 5)


def test_a_stamp_in_microseconds_has_the_same_open_time():
    times = pd.to_datetime(every(24, 3), unit="ms") + pd.Timedelta(days=1) - pd.Timedelta("1us")
    assert read_candles(frame_at(times)).time.tolist() == every(24, 3)


def test_days_that_open_off_midnight_utc_are_a_time_zone_mix_up():
    midnights = pd.date_range("2021-03-04", periods=4, tz="America/New_York")
    with pytest.raises(CandleError) as caught:
        read_candles(frame_at(midnights))
    message = str(caught.value)
    assert "row 0 (2021-03-04T05:00:00Z) lies 5 h into its 1d candle" in message
    assert "convert local times to UTC" in message
    # The control: the same days, opening at midnight UTC.
    assert len(read_candles(frame_at(midnights.tz_localize(None)))) == 4


def test_rows_stamped_in_different_ways_are_refused():
    times = every(1, 5)
    times[3] += HOUR - 1
    with pytest.raises(CandleError, match=r"row 3 \(2021-03-04T03:59:59.999Z\)"):
        read_candles(frame_at(times))


def test_sessions_are_floored_to_their_candle():
    nights = pd.date_range("2021-03-04", periods=10, freq="B", tz="America/New_York")
    candles = read_candles(frame_at(nights), market="sessions")
    assert candles.timeframe == "1d"
    assert candles.market == "sessions"
    assert (candles.time % DAY == 0).all()
    assert candles.time.tolist() == [
        int(day.value // 10**6) for day in nights.tz_localize(None).as_unit("ns")
    ]


def test_two_rows_of_one_session_candle_are_refused():
    times = every(24, 4)
    times.insert(2, times[1] + HOUR)
    with pytest.raises(CandleError, match=r"rows 1 .* and 2 .* lie in the same 1d candle"):
        read_candles(frame_at(times), market="sessions")
    assert len(read_candles(frame_at(every(24, 4)), market="sessions")) == 4


def test_a_frame_with_more_holes_than_candles_is_what_the_caller_says():
    times = [START + step * 6 * HOUR for step in (0, 1, 3, 5, 7)]
    candles = read_candles(frame_at(times), timeframe="6h")
    assert candles.timeframe == "6h"
    assert candles.time.tolist() == times
    with pytest.raises(CandleError, match="pass timeframe='6h' if these are 6h candles with holes"):
        read_candles(frame_at(times))


def test_days_are_not_hours_whatever_the_caller_says():
    with pytest.raises(ConfigError, match="6h is finer than 1d"):
        read_candles(frame_at(every(24, 10)), timeframe="6h")


def test_a_coarser_timeframe_is_resampled_to():
    candles = read_candles(frame_at(every(1, 14)), timeframe="6h")
    assert candles.timeframe == "6h"
    assert candles.time.tolist() == every(6, 2)
    assert candles.ohlcv[:, 4].tolist() == [18.0, 18.0]


def test_a_timeframe_that_is_no_multiple_is_refused():
    with pytest.raises(ConfigError, match="12h is no multiple of 8h"):
        read_candles(frame_at(every(8, 10)), timeframe="12h")


def test_a_step_that_is_no_timeframe_is_refused():
    with pytest.raises(CandleError, match="most rows are 3 h apart, which is no timeframe"):
        read_candles(frame_at(every(3, 10)))


def test_a_single_row_needs_its_timeframe():
    with pytest.raises(ConfigError, match=r"single row.*pass timeframe"):
        read_candles(frame_at(every(1, 1)))
    assert read_candles(frame_at(every(1, 1)), timeframe="1h").timeframe == "1h"


def test_candles_that_complete_no_coarser_one_are_too_few():
    with pytest.raises(TooFewCandlesError, match="none of 5 candles of 1h completes one of 6h"):
        read_candles(frame_at(every(1, 5)), timeframe="6h")
    assert len(read_candles(frame_at(every(1, 6)), timeframe="6h")) == 1


def test_a_frame_without_rows_is_too_few():
    with pytest.raises(TooFewCandlesError, match="the frame holds no candles"):
        read_candles(frame_at([]))


def test_disorder_and_duplicates_are_named_before_anything_is_made_of_them():
    times = every(1, 4)
    with pytest.raises(CandleError, match=r"row 1 .* comes after row 0 .* sort the candles"):
        read_candles(frame_at(times[::-1]))
    with pytest.raises(CandleError, match="rows 1 and 2 both have the time 2021-03-04T01:00:00Z"):
        read_candles(frame_at([*times[:2], *times[1:]]))


def test_untrue_prices_are_named():
    frame = frame_at(every(1, 4))
    frame.loc[2, "high"] = 1.5
    with pytest.raises(CandleError, match=r"the frame: row 2 \(2021-03-04T02:00:00Z\): the high"):
        read_candles(frame)


@pytest.mark.parametrize("name", ["Timestamp", "DATETIME", "date", "time", "Open time"])
def test_times_are_found_by_any_of_their_names(name):
    frame = frame_at(every(1, 3))
    assert len(read_candles(frame.rename(columns={"timestamp": name}))) == 3
    assert len(read_candles(frame.set_index("timestamp").rename_axis(name))) == 3


def test_a_datetime_index_needs_no_name():
    frame = frame_at(pd.to_datetime(every(1, 3), unit="ms")).set_index("timestamp")
    assert read_candles(frame.rename_axis(None)).time.tolist() == every(1, 3)


def test_a_frame_of_repeated_index_labels_is_read_by_its_rows():
    frame = frame_at(every(1, 4))
    frame.index = pd.Index([0, 0, 1, 1])
    assert read_candles(frame).time.tolist() == every(1, 4)


def test_the_frame_is_left_as_it_was():
    frame = frame_at(every(1, 4))
    before = frame.copy()
    read_candles(frame, timeframe="2h")
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("path", "symbol"),
    [
        ("a/BTC_USDT.parquet", "BTC/USDT"),
        ("BTC_USDT.csv.gz", "BTC/USDT"),
        ("ETH_2_BTC.CSV", "ETH_2/BTC"),
        ("nvda-1999-2014.txt", "nvda-1999-2014"),
        ("BRK.B.csv", "BRK.B"),
    ],
)
def test_the_symbol_is_the_stem_with_its_last_underscore_as_a_slash(path, symbol):
    assert symbol_of_path(path) == symbol


def test_the_symbol_of_a_frame():
    frame = frame_at(every(1, 3))
    assert read_candles(frame).symbol == "UNKNOWN"
    frame.attrs["symbol"] = "BTC/USDT"
    assert read_candles(frame).symbol == "BTC/USDT"
    assert read_candles(frame, symbol="ETH/USDT").symbol == "ETH/USDT"
    with pytest.raises(ConfigError, match="symbol is empty"):
        read_candles(frame, symbol=" ")


def test_candles_are_returned_or_resampled_and_keep_their_market():
    candles = replace(simulate_market(candles=12)[0], market="sessions")
    assert read_candles(candles) is candles
    assert read_candles(candles, symbol="X").symbol == "X"
    coarse = read_candles(candles, timeframe="6h")
    assert (coarse.timeframe, coarse.market, len(coarse)) == ("6h", "sessions", 2)


def test_candles_made_by_hand_are_validated_too():
    sound = Candles("X", "1h", "continuous", [0], [[1.0, 2.0, 1.0, 2.0, 0.0]])
    assert read_candles(sound) is sound
    with pytest.raises(CandleError, match=r"X: row 0 .* the high"):
        read_candles(replace(sound, ohlcv=[[1.0, 0.5, 1.0, 2.0, 0.0]]))


def test_a_missing_file_is_a_wrong_request(tmp_path):
    with pytest.raises(ConfigError, match=r"no file .*gone\.parquet; give a Parquet or CSV") as no:
        read_candles(tmp_path / "gone.parquet")
    assert no.value.exit_code == 2


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(CandleError, match="is a directory"):
        read_candles(str(tmp_path))


def test_an_unknown_extension_is_refused(tmp_path):
    path = tmp_path / "candles.xlsx"
    path.write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"read from \.parquet, \.csv, \.csv\.gz, \.txt"):
        read_candles(path)


@pytest.mark.parametrize("content", [b"", b"no parquet at all, but long enough to be one"])
def test_unreadable_parquet_is_refused(tmp_path, content):
    path = tmp_path / "candles.parquet"
    path.write_bytes(content)
    with pytest.raises(CandleError, match="cannot be read as Parquet"):
        read_candles(path)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"timeframe": "6hour"}, "unknown timeframe '6hour'"),
        ({"market": "session"}, "did you mean 'sessions'"),
    ],
)
def test_misspelt_options_are_named(wrong, message):
    frame = frame_at(every(1, 3))
    with pytest.raises(ConfigError, match=message):
        read_candles(frame, **wrong)


def test_parquet_csv_and_frame_give_the_same_fingerprint(tmp_path):
    candles = simulate_market(candles=200, seed=5)[0]
    frame = candles.to_frame()
    assert read_candles(frame).fingerprint == candles.fingerprint
    assert read_candles(frame.set_index("timestamp")).fingerprint == candles.fingerprint
    frame.to_parquet(tmp_path / "whole.parquet")
    frame.set_index("timestamp").to_parquet(tmp_path / "indexed.parquet")
    frame.to_csv(tmp_path / "text.csv", index=False)
    frame.to_csv(tmp_path / "text.csv.gz", index=False)
    frame.assign(timestamp=candles.time).to_csv(tmp_path / "numbers.csv", index=False, header=False)
    for path in sorted(tmp_path.iterdir()):
        assert read_candles(path).fingerprint == candles.fingerprint, path.name


PRICES = st.floats(1e-9, 1e9)


@UNHURRIED
@given(prices=st.lists(PRICES, min_size=2, max_size=20), volume=st.floats(0, 1e15))
def test_any_price_survives_csv_to_the_last_bit(tmp_path_factory, prices, volume):
    ohlcv = np.array([[price, price, price, price, volume] for price in prices])
    time = START + HOUR * np.arange(len(prices))
    candles = Candles("X", "1h", "continuous", time, ohlcv)
    path = tmp_path_factory.mktemp("csv") / "X.csv"
    candles.to_frame().to_csv(path, index=False)
    assert read_candles(path).fingerprint == candles.fingerprint


@pytest.mark.parametrize("source", [np.ones((3, 5)), [1, 2], 3, None, b"candles.csv"])
def test_a_source_of_another_type_is_refused(source):
    message = f"cannot be read from a {type(source).__name__}: give the path of a file, Candles"
    with pytest.raises(ConfigError, match=message):
        read_candles(source)
