"""Scaler, labels, samples and slices: computed anew, and wrong ones caught."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_models import simulate_market
from lightning_models.audit import (
    audit_labels,
    audit_later_rows,
    audit_rows,
    audit_scaler,
    audit_slices,
)
from lightning_models.audit.outcomes import independent_labels
from lightning_models.audit.scaling import train_rows
from lightning_models.candles import Candles
from lightning_models.data.datamodule import CandleDataModule, DataConfig
from lightning_models.data.horizons import Horizon
from lightning_models.data.scaling import ScalerFit
from lightning_models.data.slices import Slices
from lightning_models.data.targets import HorizonReturn, TripleBarrier, label_candles
from lightning_models.features import FeatureSpec, compute_features

HORIZONS = (1, 6)


def data_of(candles=None, slices=None, **options):
    config = DataConfig(features=("close", "volume"), lookback=8, horizons=HORIZONS, **options)
    return CandleDataModule(config, candles or MARKET, slices=slices)


def with_gaps(candles):
    # Simulated candles open at the last close: labels from there would be the same.
    opened = np.random.default_rng(0).uniform(0, 1, len(candles))
    ohlcv = candles.ohlcv.copy()
    ohlcv[:, 0] = ohlcv[:, 2] + opened * (ohlcv[:, 1] - ohlcv[:, 2])
    return replace(candles, ohlcv=ohlcv)


MARKET = [
    with_gaps(one)
    for one in simulate_market(candles=1200, symbols=("SIM/USDT", "ALT/USDT"), seed=4)
]


@pytest.fixture
def data():
    return data_of()


def scaler_of(rows):
    fit = ScalerFit(rows.shape[1])
    fit.add(rows)
    return fit.scaler()


def test_scaler_of_train_rows_passes(data):
    features, end = data.config.features, data.slices.edges[1]
    assert audit_scaler(data.scaler, features, data.candles, end).status == "passed"
    later = audit_later_rows(
        data.scaler, lambda others: data_of(others).scaler, features, data.candles, end
    )
    assert later.status == "passed"


def test_scaler_fitted_on_all_rows_is_caught_and_told_apart(data):
    features, end = data.config.features, data.slices.edges[1]

    def fit(candles):
        return scaler_of(train_rows(features, candles, None))

    check = audit_scaler(fit(data.candles), features, data.candles, end)
    assert {one.subject for one in check.findings} == {"close", "volume(60)"}
    assert all("all rows, later ones included" in one.detail for one in check.findings)
    later = audit_later_rows(fit(data.candles), fit, features, data.candles, end)
    assert later.status == "failed"


def test_scaler_of_other_rows_is_caught(data):
    features, end = data.config.features, data.slices.edges[1]
    rows = train_rows(features, data.candles, end)
    check = audit_scaler(scaler_of(rows[:-50]), features, data.candles, end)
    assert "not that of the train rows" in check.findings[0].detail


@pytest.mark.parametrize("target", ["horizon-return", "triple-barrier"])
@pytest.mark.parametrize("mode", ["window", "sequence"])
def test_data_of_the_project_passes(target, mode):
    data = data_of(target=target, mode=mode)
    for check in (audit_labels(data), audit_rows(data), audit_slices(data)):
        assert check.status == "passed", check
        assert check.compared > 50


@pytest.mark.parametrize("target", ["horizon-return", "triple-barrier"])
def test_label_from_the_decisions_own_close_is_caught(target):
    data = data_of([MARKET[0]], target=target)
    (one,) = data.candles
    data.returns[:-1, 0] = one.ohlcv[1:, 3] / one.ohlcv[:-1, 3] - 1.0
    finding = audit_labels(data).findings[0]
    assert finding.subject == "labels of train"
    assert "next open" in finding.detail


def test_targets_shifted_by_a_candle_are_caught(data):
    data.targets = torch.roll(data.targets, 1, dims=0)
    assert audit_labels(data).status == "failed"


def test_features_shifted_by_a_candle_are_caught(data):
    data.features = torch.roll(data.features, -1, dims=0)
    check = audit_rows(data)
    assert {one.subject for one in check.findings} == {"close", "volume(60)"}


def test_slices_without_a_purge_are_caught(data):
    unpurged = data_of(slices=Slices(data.slices.edges, 0))
    told = {one.subject for one in audit_slices(unpurged).findings}
    assert told == {"validation slice", "calibration slice", "test slice", "unseen_from"}


def test_labels_that_reach_over_a_cut_are_caught(data):
    class ByDecision(Slices):
        def members(self, name, decided, label_end):
            start, end = self.bounds(name)
            return (decided >= start) & (decided <= end)

    sliced = data_of(slices=ByDecision(data.slices.edges, data.slices.embargo_ms))
    found = [one for one in audit_slices(sliced).findings if "end after" in one.detail]
    assert "train slice" in {one.subject for one in found}
    assert found[0].size == 6.0
    assert found[0].unit == "candles"


@given(seed=st.integers(0, 1000), market=st.sampled_from(["continuous", "sessions"]),
       both=st.sampled_from(["drop", "lower", "upper", None]), reach=st.integers(1, 7))  # fmt: skip
def test_labels_looked_up_one_by_one_are_those_of_training(seed, market, both, reach):
    random = np.random.default_rng(seed)
    whole = simulate_market(candles=160, seed=seed % 50)[0]
    kept = np.sort(random.choice(160, size=145, replace=False))
    one = Candles(
        symbol="X", timeframe="1h", market=market, time=whole.time[kept], ohlcv=whole.ohlcv[kept]
    )
    target = HorizonReturn() if both is None else TripleBarrier(both=both, upper=0.8)
    horizons = [Horizon(name="1h", candles=1), Horizon(name="n", candles=reach)]
    table = compute_features(
        one.time,
        one.ohlcv,
        features=(FeatureSpec(name="close"),),
        timeframe="1h",
        market=market,
    )
    prices = np.full((len(table.time), 4), np.nan)
    prices[table.rows] = one.ohlcv[:, :4]
    known = label_candles(
        target,
        table.time,
        prices,
        table.real,
        table.volatility,
        horizons=horizons,
        period=one.period_ms,
        market=market,
    )
    returns, end = independent_labels(one, horizons, target)
    assert np.array_equal(end, known.end[table.rows])
    np.testing.assert_allclose(returns, known.returns[table.rows], rtol=1e-12)
