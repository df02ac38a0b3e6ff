"""Models that follow one another: who forecasts which bar, and what the folder holds."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_models import load_predictor, simulate_market
from lightning_models.bundle import write_bundle
from lightning_models.data import SliceConfig
from lightning_models.data.datamodule import CandleDataModule, DataConfig
from lightning_models.errors import BundleError
from lightning_models.export import export_bundle
from lightning_models.forecast_series import ForecastSeries
from lightning_models.networks import build_network
from lightning_models.networks.multi_layer import MultiLayerConfig
from lightning_models.series_folder import (
    describe_model,
    find_model,
    is_series,
    model_sha256,
    read_series,
    write_series,
)

HOUR = 3_600_000
CANDLES = simulate_market(candles=700, seed=6, signal=0.4)[0]
KNOWN = (400, 500, 600)
NOTHING = SliceConfig(train=0.7, validation=0.1, calibration=0.2, test=0.0)


def make_bundle(folder, known, *, seed, mode="window", lookback=8):
    torch.manual_seed(seed)
    config = DataConfig(features=("close",), lookback=lookback, mode=mode, slices=NOTHING)
    data = CandleDataModule(config, CANDLES.between(None, int(CANDLES.time[known])))
    network_config = MultiLayerConfig(hidden_size=4, layers=1)
    network = build_network(network_config, features=1, horizons=1).eval()
    return write_bundle(folder, export_bundle(network, network_config, data), network)


def join(folder, bundles):
    return write_series(
        folder,
        bundles,
        metrics={"test/log_loss": 0.69},
        evaluated_by="run",
        data_fingerprint="f" * 64,
        created_at=datetime(2024, 1, 1, tzinfo=UTC),
    )


@pytest.fixture(scope="module", params=["window", "sequence"])
def folder(request, tmp_path_factory):
    """Three models of 400, 500 and 600 candles."""
    path = tmp_path_factory.mktemp(request.param)
    bundles = [
        make_bundle(path / f"bundle-{seed}", known, seed=seed, mode=request.param)
        for seed, known in enumerate(KNOWN)
    ]
    return join(path / "series", bundles)


@pytest.fixture(scope="module")
def series(folder):
    found = load_predictor(folder)
    assert isinstance(found, ForecastSeries)
    return found


@pytest.fixture(scope="module")
def batch(series):
    return series.forecast_arrays(CANDLES.time, CANDLES.ohlcv)


def test_a_bar_belongs_to_the_newest_model_that_had_not_seen_it(series):
    begins = [member.bundle.unseen_from_ms for member in series.members]
    # The calibration slice ends with the last candle known, and the purge is one candle.
    assert begins == [int(CANDLES.time[known]) + HOUR for known in KNOWN]
    assert series.bundle.unseen_from_ms == begins[0]

    @given(st.integers(0, len(CANDLES) - 1), st.sampled_from([0, HOUR - 1]))
    def check(bar, stamped):
        moment = CANDLES.time[bar : bar + 1]
        (owner,) = series.members_of(moment + stamped).tolist()
        close = int(moment[0]) + HOUR
        assert owner == sum(begin <= close for begin in begins) - 1

    check()


def test_each_bar_is_forecast_by_its_own_model_and_none_before_the_first(series, batch):
    owners = series.members_of(CANDLES.time)
    assert np.isnan(batch.probability[owners < 0]).all()
    for position, member in enumerate(series.members):
        alone = member.forecast_arrays(CANDLES.time, CANDLES.ohlcv)
        mine = owners == position
        assert mine.sum() == 100
        np.testing.assert_allclose(batch.probability[mine], alone.probability[mine], atol=1e-4)
        np.testing.assert_allclose(batch.quantiles[mine], alone.quantiles[mine], atol=1e-4)
    # The models disagree: a series that took the wrong one would be noticed.
    for one, other in pairwise(series.members):
        first, second = (
            each.forecast_arrays(CANDLES.time, CANDLES.ohlcv).probability[-100:]
            for each in (one, other)
        )
        assert np.abs(first - second).min() > 1e-3


def test_batch_latest_and_stream_agree_on_every_bar_over_each_change(series, batch):
    stream = series.stream()
    for change in KNOWN:
        for bar in range(change - 4, change + 5):

            def history(count, bar=bar):
                rows = slice(max(0, bar + 1 - count), bar + 1)
                return CANDLES.time[rows], CANDLES.ohlcv[rows]

            wanted = batch.probability[bar]
            latest, _ = series.forecast_latest(*history(series.required_bars))
            streamed, _ = stream.forecast(history)
            again, _ = stream.forecast(history)
            np.testing.assert_allclose(latest, wanted, atol=1e-4)
            np.testing.assert_allclose(streamed, wanted, atol=1e-4)
            np.testing.assert_array_equal(again, streamed)
            assert np.isnan(wanted).all() == (bar < KNOWN[0])


def test_a_stream_that_is_replayed_from_an_earlier_bar_goes_back_to_its_model(series, batch):
    stream = series.stream()
    for bar in (520, 521, 480, 481, 650):

        def history(count, bar=bar):
            rows = slice(bar + 1 - count, bar + 1)
            return CANDLES.time[rows], CANDLES.ohlcv[rows]

        found, _ = stream.forecast(history)
        np.testing.assert_allclose(found, batch.probability[bar], atol=1e-4)


def test_the_first_question_of_a_stream_is_for_a_whole_history(series):
    # By its first bars a feed is told to be of the right timeframe; one bar tells nothing.
    asked = []

    def history(count):
        asked.append(count)
        return CANDLES.time[500 - count : 500], CANDLES.ohlcv[500 - count : 500]

    series.stream().forecast(history)
    assert asked[0] == series.required_bars


def test_later_candles_change_no_forecast(series, batch):
    for until in (405, 505, 601):
        cut = series.forecast_arrays(CANDLES.time[:until], CANDLES.ohlcv[:until])
        np.testing.assert_allclose(cut.probability, batch.probability[:until], atol=1e-6)


def test_the_series_describes_itself_without_the_later_models(series, folder):
    first = series.members[0].bundle
    bundle = describe_model(folder)
    for part in ("scaler", "calibration", "thresholds", "intervals", "network"):
        assert getattr(bundle, part) == getattr(first, part)
    assert bundle.metrics == {"test/log_loss": 0.69}
    assert bundle.required_bars == max(one.required_bars for one in series.members)
    assert series.sha256 == model_sha256(folder)
    assert find_model(folder.parent / "series") == folder


def test_the_folder_holds_no_pickle(folder):
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert names == {"series.json", "bundle.json", "model.safetensors"}
    assert is_series(folder)
    assert not is_series(folder / "fold-1")


def test_models_that_do_not_fit_together_are_not_joined(tmp_path):
    one = make_bundle(tmp_path / "one", 400, seed=0)
    wider = make_bundle(tmp_path / "wider", 500, seed=1, lookback=12)
    with pytest.raises(BundleError, match="differs from the first in lookback"):
        join(tmp_path / "series", [one, wider])
    assert not (tmp_path / "series").exists()
    with pytest.raises(BundleError, match="out of order"):
        join(tmp_path / "series", [one, one])


def _tampered(folder, tmp_path, change):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    change(copy)
    return copy


def _edit(change):
    def edit(copy):
        path = copy / "series.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return edit


def _exchange(copy):
    shutil.rmtree(copy / "fold-1")
    shutil.copytree(copy / "fold-2", copy / "fold-1")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_exchange, "does not match its hash"),
        (lambda copy: (copy / "series.json").write_text("{"), "damaged or foreign"),
        (lambda copy: shutil.rmtree(copy / "fold-2"), "bundle.json"),
        (_edit(lambda content: content.update(schema=99)), "written by a newer release"),
        (_edit(lambda content: content.update(members=[])), "damaged or foreign"),
        (
            _edit(lambda content: content["members"][0].update(folder="../elsewhere")),
            "damaged or foreign",
        ),
        (
            _edit(lambda content: content["members"][1].update(unseen_from="2019-01-01T00:00:00Z")),
            "other periods than their bundles",
        ),
    ],
    ids=["exchanged", "broken", "missing", "newer", "empty", "outside", "period"],
)
def test_a_damaged_or_foreign_series_is_refused(folder, tmp_path, change, words):
    with pytest.raises(BundleError, match=words):
        load_predictor(_tampered(folder, tmp_path, change))
    # The copy itself is fine: it is the change that is refused.
    assert read_series(folder)[0].members
