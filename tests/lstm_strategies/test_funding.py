from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_models.errors import CandleError, ConfigError
from lstm_strategies.errors import ParameterError
from lstm_strategies.funding import FundingRates

HOUR = 3_600_000
START = 1_609_459_200_000  # 2021-01-01


def frame_of(hours, rates, *, time="timestamp", rate="rate"):
    stamps = [START + hour * HOUR for hour in hours]
    return pd.DataFrame({time: stamps, rate: rates})


def test_constant_rate_is_due_at_0_8_and_16_utc():
    due = FundingRates.constant(0.0003).due(START - HOUR, START + 16 * HOUR)
    assert due == [(START, 0.0003), (START + 8 * HOUR, 0.0003)]


def test_span_holds_its_beginning_and_not_its_end():
    rates = FundingRates.read(frame_of([1, 2, 3], [0.1e-3, 0.2e-3, 0.3e-3]))
    for same in (rates, pickle.loads(pickle.dumps(rates))):
        assert same.due(START + HOUR, START + 3 * HOUR) == [
            (START + HOUR, 0.0001),
            (START + 2 * HOUR, 0.0002),
        ]


@given(
    hours=st.lists(st.integers(0, 200), unique=True, min_size=1).map(sorted),
    cuts=st.lists(st.integers(-10, 210), max_size=6).map(sorted),
)
def test_every_payment_is_due_once_however_time_is_cut(hours, cuts):
    rates = FundingRates.read(frame_of(hours, [0.0001] * len(hours)))
    edges = [START + hour * HOUR for hour in (-20, *cuts, 220)]
    due = [time for begin, end in pairwise(edges) for time, _ in rates.due(begin, end)]
    assert due == [START + hour * HOUR for hour in hours]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_file_of_an_exchange_library_is_read(tmp_path, suffix):
    frame = frame_of([0, 8], [0.0001, -0.0002], rate="fundingRate")
    frame.insert(0, "symbol", "BTC/USDT:USDT")
    path = tmp_path / f"rates{suffix}"
    frame.to_parquet(path) if suffix == ".parquet" else frame.to_csv(path, index=False)
    for source in (path, str(path), frame):
        rates = FundingRates.read(source)
        assert rates.time.tolist() == [START, START + 8 * HOUR]
        assert rates.rate.tolist() == [0.0001, -0.0002]


def test_times_as_text_are_read():
    frame = pd.DataFrame({"Timestamp": ["2021-01-01T00:00:00Z", "2021-01-01T08:00:00Z"]})
    frame["Rate"] = ["0.0001", "0.0002"]
    assert FundingRates.read(frame).time.tolist() == [START, START + 8 * HOUR]


def test_stamps_a_few_milliseconds_late_count_as_on_time():
    frame = pd.DataFrame({"timestamp": [START + 4, START + 8 * HOUR - 3], "rate": [0.0, 0.0]})
    assert FundingRates.read(frame).time.tolist() == [START, START + 8 * HOUR]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (frame_of([0], [0.0], rate="funding"), "timestamp, funding: .* need timestamp and rate"),
        (frame_of([0], [0.0], time="when"), "need timestamp and rate"),
        (frame_of([], []), "no funding rates"),
        (frame_of([0, 8, 4], [0.0] * 3), "row 2, 2021-01-01T04:00:00Z, comes after a later one"),
        (frame_of([0, 8, 8], [0.0] * 3), "row 2, 2021-01-01T08:00:00Z, is there twice"),
        (frame_of([0, 8], [0.0, 0.06]), "row 1, .* has the rate 0.06"),
        (frame_of([0, 8], [-0.051, 0.0]), "row 0, .* has the rate -0.051"),
        (frame_of([0, 8], [0.0, None]), "row 1, .* has the rate nan"),
        (frame_of([0], ["much"]), "has the rate nan"),
    ],
)
def test_tables_that_cannot_be_true_are_refused(frame, message):
    with pytest.raises(CandleError, match=message):
        FundingRates.read(frame)


def test_time_that_cannot_be_read_is_refused():
    with pytest.raises(CandleError, match="row 0"):
        FundingRates.read(pd.DataFrame({"timestamp": ["noon"], "rate": [0.0]}))


def test_missing_and_foreign_files_are_refused(tmp_path):
    (tmp_path / "rates.xlsx").write_bytes(b"")
    (tmp_path / "rates.parquet").write_bytes(b"not parquet")
    for name, message in (
        ("none.csv", "no file"),
        ("rates.xlsx", "read from .csv"),
        ("rates.parquet", "cannot be read"),
    ):
        with pytest.raises(ConfigError, match=message):
            FundingRates.read(tmp_path / name)
    with pytest.raises(ConfigError, match="cannot be read from a list"):
        FundingRates.read([1, 2])


@pytest.mark.parametrize("rate", [0.051, -0.1, float("nan"), True, "0.0001", None])
def test_absurd_constant_rates_are_refused(rate):
    with pytest.raises(ParameterError, match=r"fraction of the notional from -0\.05 to 0\.05"):
        FundingRates.constant(rate)


def test_multiplied_rates_fall_due_at_the_same_times():
    rates = FundingRates.read(frame_of([0, 8], [0.0001, -0.0002])).times(2.0)
    assert rates.due(START, START + 9 * HOUR) == [
        (START, 0.0002),
        (START + 8 * HOUR, -0.0004),
    ]
    with pytest.raises(ParameterError, match="factor"):
        rates.times(-1.0)


def test_share_of_the_run_without_rates():
    every8 = FundingRates.read(frame_of(range(16, 80, 8), [0.0] * 8))
    span = START, START + 100 * HOUR
    # 8 hours are covered before the first at 16:00 and after the last at 72:00.
    assert every8.uncovered(*span) == pytest.approx((8 + 20) / 100)
    assert every8.uncovered(START + 8 * HOUR, START + 80 * HOUR) == 0.0
    assert every8.uncovered(START - 50 * HOUR, START - 10 * HOUR) == 1.0
    gap = FundingRates.read(frame_of([0, 8, 16, 64, 72, 80], [0.0] * 6))
    assert gap.uncovered(START, START + 80 * HOUR) == pytest.approx(40 / 80)
    # A schedule that changes from 8 to 4 hours has no gap.
    assert FundingRates.read(frame_of([0, 8, 16, 20, 24, 28], [0.0] * 6)).uncovered(*span) > 0.6
    assert (
        FundingRates.read(frame_of([0, 8, 16, 20, 24, 28], [0.0] * 6)).uncovered(
            START, START + 28 * HOUR
        )
        == 0.0
    )
    assert FundingRates.constant(0.0).uncovered(*span) == 0.0


def test_rates_of_other_shapes_are_refused():
    with pytest.raises(CandleError, match=r"give \[N\] of each"):
        FundingRates(np.array([1, 2]), np.array([0.0]))
