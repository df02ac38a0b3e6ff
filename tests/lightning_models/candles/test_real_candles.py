from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lightning_models.candles import read_candles
from lightning_models.errors import CandleError
from lightning_models.timeframes import floor_to_open

HOUR = 3_600_000
DAY = 24 * HOUR


@pytest.fixture(scope="module")
def bitcoin(real_data):
    return read_candles(real_data / "candles/binance/1h/BTC_USDT.parquet")


@pytest.fixture(scope="module")
def nvidia(real_data):
    return read_candles(real_data / "stocks/nvda-1999-2014.txt", market="sessions")


def test_bitcoin_hours_are_read_with_their_holes(bitcoin):
    assert (bitcoin.symbol, bitcoin.timeframe, bitcoin.market) == ("BTC/USDT", "1h", "continuous")
    assert len(bitcoin) == 42_565
    assert int((np.diff(bitcoin.time) // HOUR - 1).sum()) == 127
    assert int((bitcoin.ohlcv[:, 4] == 0).sum()) == 3


def test_six_hours_of_bitcoin_keep_the_holes_and_flag_what_lacks_hours(bitcoin):
    six = bitcoin.resample("6h")
    frame = bitcoin.to_frame().set_index("timestamp")
    parts = frame["close"].resample("6h", origin="epoch").count()
    present = parts[parts > 0]
    assert len(six) == len(present)
    assert six.time.tolist() == (present.index.as_unit("ms").asi8).tolist()
    assert int((parts == 0).sum()) == int((np.diff(six.time) // (6 * HOUR) - 1).sum()) > 0
    np.testing.assert_array_equal(six.incomplete, present.to_numpy() < 6)
    # It starts at 04:00, two thirds into its first six hours.
    assert bool(six.incomplete[0])
    assert six.ohlcv[:, 4].sum() == pytest.approx(bitcoin.ohlcv[:, 4].sum(), rel=1e-12)


def test_reading_at_six_hours_is_reading_and_resampling(real_data, bitcoin):
    six = read_candles(real_data / "candles/binance/1h/BTC_USDT.parquet", timeframe="6h")
    assert six.fingerprint == bitcoin.resample("6h").fingerprint


def test_every_real_symbol_is_valid(real_data):
    paths = sorted((real_data / "candles/binance/1h").glob("*.parquet"))
    assert len(paths) == 10
    for path in paths:
        candles = read_candles(path)
        assert candles.symbol.endswith("/USDT")
        assert candles.timeframe == "1h"


def test_nvidia_is_read_as_sessions_and_adjusted(real_data, nvidia):
    assert (nvidia.symbol, nvidia.timeframe, nvidia.market) == ("nvda-1999-2014", "1d", "sessions")
    raw = pd.read_csv(real_data / "stocks/nvda-1999-2014.txt")
    assert len(nvidia) == len(raw) == 4012
    frame = nvidia.to_frame()
    assert frame["timestamp"].dt.strftime("%Y-%m-%d").tolist() == raw["Date"].tolist()
    np.testing.assert_allclose(frame["close"], raw["Adj Close"], rtol=1e-12)
    np.testing.assert_allclose(frame["open"], raw["Open"] * raw["Adj Close"] / raw["Close"])
    assert frame["volume"].tolist() == raw["Volume"].tolist()


def test_nvidia_weeks_begin_on_monday_and_lack_nothing(nvidia):
    weeks = nvidia.resample("1w")
    assert set((weeks.time - 4 * DAY) % (7 * DAY)) == {0}
    assert weeks.time.tolist() == np.unique(floor_to_open(nvidia.time, "1w"))[:-1].tolist()
    assert not weeks.incomplete.any()


def test_the_week_that_isnt_over_is_left_out(nvidia):
    # 2014-12-31 was a Wednesday.
    last = nvidia.resample("1w").time[-1]
    assert nvidia.to_frame()["timestamp"].iloc[-1] == pd.Timestamp("2014-12-31", tz="UTC")
    assert pd.Timestamp(last, unit="ms") == pd.Timestamp("2014-12-22")


def test_hours_of_another_time_zone_are_refused_at_six_hours(bitcoin):
    """Six-hour candles cut in New York open at other hours than in UTC."""
    shifted = bitcoin.to_frame()[["timestamp", "open", "high", "low", "close", "volume"]]
    local = shifted.set_index(shifted["timestamp"].dt.tz_convert("America/New_York"))
    six = local.drop(columns="timestamp").resample("6h").last().dropna()
    with pytest.raises(CandleError, match="into its 6h candle"):
        read_candles(six, timeframe="6h")
