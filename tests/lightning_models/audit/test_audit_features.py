"""The truncation test of features: what is shipped passes, what looks ahead is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lightning_models import read_candles, simulate_market
from lightning_models.audit import audit_features
from lightning_models.errors import FeatureError
from lightning_models.features import FEATURES, FeatureSpec, own_features

SHIPPED = sorted(set(FEATURES) - set(own_features()))
CUT = "features: future cut off"
EXCHANGED = "features: future exchanged"
START = "features: start of the data"
FINITE = "features: finite"
DATA = Path(__file__).parents[3] / "../shared/data/candles/binance/1h"


@pytest.fixture(scope="module")
def candles():
    return simulate_market(candles=1300, seed=3)


@pytest.fixture
def audited(candles):
    def run(*features, on=None):
        return {check.name: check for check in audit_features(features, on or candles)}

    return run


def failed(checks):
    return [name for name, check in checks.items() if check.status == "failed"]


# What a user might write without thinking of it, each of [B, 5] and to [B].


def tomorrows_close(ohlcv):
    close = ohlcv[:, 3]
    return np.append(np.log(close[1:] / close[:-1]), 0.0)


def centred_mean(ohlcv):
    close = pd.Series(ohlcv[:, 3])
    return np.log(close / close.rolling(9, center=True, min_periods=1).mean())


def centred_mean_with_gaps(ohlcv):
    close = pd.Series(ohlcv[:, 3])
    return np.log(close / close.rolling(9, center=True).mean())


def backfilled(ohlcv):
    change = pd.Series(ohlcv[:, 3]).pct_change()
    return change.where(change > 0).bfill().fillna(0.0)


def global_score(ohlcv):
    change = np.log(ohlcv[:, 3] / ohlcv[:, 0])
    return (change - change.mean()) / change.std()


def global_rank(ohlcv):
    return pd.Series(ohlcv[:, 3] / ohlcv[:, 0]).rank(pct=True)


def unfinished_coarser_candle(ohlcv):
    rows = np.arange(len(ohlcv))
    last = np.minimum(rows // 4 * 4 + 3, len(ohlcv) - 1)
    return np.log(ohlcv[last, 3] / ohlcv[:, 3])


def crash_to_come(ohlcv):
    close = pd.Series(ohlcv[:, 3])
    lowest = close[::-1].rolling(6, min_periods=1).min()[::-1]
    return (lowest < 0.6 * close).astype(float)


LEAKS = {
    tomorrows_close: ("1 candle later", "shift(-1)"),
    centred_mean: ("4 candles later", "centred window"),
    centred_mean_with_gaps: ("4 candles later", "rolling(center=True)"),
    backfilled: ("later", "backfill"),
    global_score: ("as far back as it was compared", "whole series"),
    global_rank: ("as far back as it was compared", "whole series"),
    unfinished_coarser_candle: ("3 candles later", "coarser candle that had not closed"),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_feature_looks_nowhere_ahead(audited, name):
    checks = audited(FeatureSpec(name=name))
    assert failed(checks) == []
    assert all(check.compared > 500 for check in checks.values())


def test_real_candles_with_their_holes_are_audited_too(audited):
    path = DATA / "BTC_USDT.parquet"
    if not path.exists():
        pytest.skip(f"no candles in {DATA}")
    candles = read_candles(path)
    section = candles.between(None, int(candles.time[3000]))
    checks = audited(FeatureSpec(name="rsi"), FeatureSpec(name="volume"), on=[section])
    assert failed(checks) == []


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
def test_look_ahead_is_caught_and_named(audited, plant, leak):
    detail, cause = LEAKS[leak]
    checks = audited(FeatureSpec(name="close"), plant(leak, warmup=16))
    assert {CUT, EXCHANGED} <= set(failed(checks))
    told = [one for name in (CUT, EXCHANGED) for one in checks[name].findings]
    assert {one.subject for one in told} == {"planted"}
    assert all(one.time is not None and one.symbol == "SIM/USDT" for one in told)
    assert any(detail in one.detail for one in told), told
    assert any(cause in one.cause for one in told), told


def test_first_changed_candle_and_size_are_those_of_the_feature(audited, plant, candles):
    finding = audited(plant(tomorrows_close))[CUT].findings[0]
    (one,) = candles
    row = int(np.flatnonzero(one.time == finding.time.timestamp() * 1000)[0])
    values = tomorrows_close(one.ohlcv)
    assert abs(values[row]) > 0
    assert 0 < finding.size <= np.abs(values).max() / values.std() * 1.2


def test_rare_event_shows_only_when_the_future_is_exchanged(audited, plant):
    # In calm candles no crash comes, with the future and without it.
    checks = audited(plant(crash_to_come))
    assert checks[CUT].status == "passed"
    assert checks[EXCHANGED].status == "failed"


def test_length_of_the_data_shows_only_when_the_future_is_cut_off(audited, plant):
    checks = audited(plant(lambda ohlcv: np.arange(len(ohlcv)) / len(ohlcv)))
    assert checks[CUT].status == "failed"
    assert checks[EXCHANGED].status == "passed"


def test_values_looked_up_by_position_show_where_the_data_starts(audited, plant, candles):
    known = tomorrows_close(candles[0].ohlcv)
    checks = audited(plant(lambda ohlcv: known[: len(ohlcv)]))
    assert START in failed(checks)
    assert "outside the candles" in checks[START].findings[0].cause


@pytest.mark.parametrize(("warmup", "status"), [(20, "failed"), (400, "passed")])
def test_warmup_must_be_long_enough(audited, plant, warmup, status):
    def average(ohlcv):
        close = pd.Series(ohlcv[:, 3])
        return np.log(close / close.ewm(alpha=0.1, adjust=False).mean())

    assert audited(plant(average, warmup=warmup))[START].status == status


def test_feature_without_a_number_is_named_with_its_share(audited, plant):
    def often_nothing(ohlcv):
        return np.where(np.arange(len(ohlcv)) % 4 == 0, np.nan, 1.0)

    finding = audited(plant(often_nothing))[FINITE].findings[0]
    assert finding.subject == "planted"
    assert finding.size == pytest.approx(0.25, abs=0.01)


def test_feature_that_needs_the_whole_series_fails_by_its_message(audited, plant, candles):
    whole = len(candles[0])

    def demanding(ohlcv):
        if len(ohlcv) < whole:
            raise ValueError("I need all of it")
        return ohlcv[:, 3] * 0.0

    checks = audited(plant(demanding))
    assert CUT in failed(checks)
    assert "I need all of it" in checks[CUT].findings[0].detail


def test_feature_that_always_fails_is_an_error_and_no_finding(audited, plant):
    with pytest.raises(FeatureError, match="'planted' failed on 1300 candles with KeyError"):
        audited(plant(lambda ohlcv: {}["no such key"]))


def test_too_few_candles_are_no_pass(audited, candles):
    short = candles[0].between(None, int(candles[0].time[40]))
    checks = audited(FeatureSpec(name="rsi"), on=[short])
    assert {check.status for check in checks.values()} == {"not run"}
    assert "SIM/USDT" in checks[CUT].reason
