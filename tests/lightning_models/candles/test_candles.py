from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

import numpy as np
import pytest

from lightning_models.candles import Candles, fingerprint_of, read_candles, simulate_market
from lightning_models.errors import CandleError, ConfigError

HOUR = 3_600_000
ROW = [1.0, 2.0, 1.0, 2.0, 3.0]


def test_arrays_are_read_only_copies():
    ohlcv = np.array([ROW])
    candles = Candles("X", "1h", "continuous", np.array([0]), ohlcv)
    ohlcv[0, 0] = 99.0
    assert candles.ohlcv[0, 0] == 1.0
    for array in (candles.time, candles.ohlcv, candles.incomplete):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_fingerprint_is_sha256_over_little_endian_times_then_prices():
    candles = Candles("X", "1h", "continuous", [0, HOUR], [ROW, ROW])
    written = struct.pack("<2q", 0, HOUR) + struct.pack("<10d", *ROW, *ROW)
    assert candles.fingerprint == hashlib.sha256(written).hexdigest()


def test_fingerprint_of_several_symbols_does_not_depend_on_their_order():
    one, two = simulate_market(candles=5, symbols=("A", "B"))
    assert fingerprint_of([one, two]) == fingerprint_of([two, one])
    digest = hashlib.sha256()
    for each in (one, two):
        digest.update(each.time.tobytes() + each.ohlcv.tobytes())
    assert fingerprint_of([two, one]) == digest.hexdigest()


def test_fingerprint_changes_with_the_last_bit_of_a_price():
    candles = simulate_market(candles=5)[0]
    ohlcv = candles.ohlcv.copy()
    ohlcv[2, 4] = np.nextafter(ohlcv[2, 4], np.inf)
    assert replace(candles, ohlcv=ohlcv).fingerprint != candles.fingerprint
    assert replace(candles, ohlcv=candles.ohlcv).fingerprint == candles.fingerprint


def test_between_takes_the_start_and_leaves_the_end():
    candles = simulate_market(candles=5)[0]
    part = candles.between(int(candles.time[1]), int(candles.time[3]))
    assert part.time.tolist() == candles.time[1:3].tolist()
    assert len(candles.between(None, None)) == 5
    assert len(candles.between(int(candles.time[-1]) + 1, None)) == 0


def test_frame_names_its_columns_and_its_symbol():
    candles = simulate_market(candles=3, symbols=("BTC/USDT",))[0]
    frame = candles.to_frame()
    assert list(frame.columns) == ["timestamp", "open", "high", "low", "close", "volume"]
    assert str(frame["timestamp"].dt.tz) == "UTC"
    assert read_candles(frame).symbol == "BTC/USDT"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"timeframe": "3h"}, ConfigError, "unknown timeframe '3h'"),
        ({"market": "continous"}, ConfigError, "did you mean 'continuous'"),
        ({"time": [0.5, 1.0]}, CandleError, "float64.*give integers"),
        ({"time": [[0, HOUR]]}, CandleError, r"shape \(1, 2\)"),
        ({"ohlcv": [ROW]}, CandleError, r"shape \(1, 5\) beside 2 open times; give \[2, 5\]"),
        ({"ohlcv": [ROW[:4]] * 2}, CandleError, r"shape \(2, 4\)"),
        ({"incomplete": [True]}, CandleError, r"incomplete has the shape \(1,\)"),
    ],
)
def test_wrong_types_and_shapes_are_refused(change, error, message):
    sound = {
        "symbol": "X",
        "timeframe": "1h",
        "market": "continuous",
        "time": [0, HOUR],
        "ohlcv": [ROW, ROW],
    }
    assert len(Candles(**sound)) == 2
    with pytest.raises(error, match=message):
        Candles(**{**sound, **change})


def test_candles_are_shown_in_one_line():
    candles = Candles("BTC/USDT", "1h", "continuous", [0, HOUR], [ROW, ROW])
    shown = "<2 candles of BTC/USDT 1h 1970-01-01T00:00:00Z to 1970-01-01T01:00:00Z>"
    assert repr(candles) == shown
    assert repr(candles.between(0, 0)) == "<0 candles of BTC/USDT 1h>"
