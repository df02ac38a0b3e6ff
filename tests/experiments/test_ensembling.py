"""Several registered models as one: joined, recalibrated, evaluated, registered."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import backtrader as bt
import mlflow
import numpy as np
import pytest
import torch

from experiments import audit, ensemble, train
from experiments.config import TrainConfig
from lightning_models import load_predictor, simulate_market
from lightning_models.bundle import write_bundle
from lightning_models.candles.timestamps import iso_utc_of
from lightning_models.data.datamodule import CandleDataModule
from lightning_models.data.windows import gather_windows
from lightning_models.errors import BundleError, ConfigError, TooFewCandlesError
from lightning_models.export import export_bundle
from lightning_models.forecasters.untrained import statistical_predictor
from lightning_models.networks import build_network
from lightning_models.series_folder import write_series
from lstm_strategies import CandleData, LSTMForecast

OTHER = ["close", "rsi", "volume"]


def changed(config, *, data=None, network=None, **training):
    """The configuration with some of its settings exchanged."""
    settings = config.model_dump()
    settings["data"] |= data or {}
    settings["network"] |= network or {}
    settings["training"] |= training
    return TrainConfig.model_validate(settings)


@pytest.fixture(scope="module")
def joined(trained, trained_stream, empty_home):
    """A window model, a stream and a third of other features, joined in a home of its own."""
    home = empty_home()
    other = changed(trained.config, data={"features": OTHER, "lookback": 5}, seed=3)
    third = train(other, trained.candles, name="third", home=home)
    members = [trained.model.path, trained_stream.model.path, "models:/third"]
    model = ensemble(members, trained.candles, name="both", home=home)
    tags = mlflow.get_run(model.run_id).data
    predictors = [load_predictor(one, home=home) for one in members]
    return SimpleNamespace(
        home=home,
        model=model,
        run=tags,
        members=predictors,
        third=third,
        predictor=load_predictor("models:/both", home=home),
        candles=trained.candles,
    )


def test_each_member_says_within_what_it_says_by_itself(joined):
    predictor, candles = joined.predictor, joined.candles[0]
    table = predictor.feature_table(candles.time, candles.ohlcv)
    ends = np.array([1200, 2000, 2999])
    rows = torch.from_numpy(predictor.scaled(table))
    window = gather_windows(rows, torch.from_numpy(ends), predictor.lookback)
    for part, member in zip(predictor.network.members, joined.members, strict=True):
        with torch.inference_mode():
            inside = torch.sigmoid(part(window).logits).numpy()
        alone = member.forecast_arrays(candles.time, candles.ohlcv).probability[ends]
        np.testing.assert_allclose(inside, alone, atol=1e-4)
        assert np.ptp(alone) > 1e-3, "members that say the same of every bar would prove nothing"


def test_a_member_clips_a_broken_candle_as_it_did_alone(joined):
    candles = joined.candles[0]
    ohlcv = candles.ohlcv[-joined.predictor.required_bars :].copy()
    time = candles.time[-len(ohlcv) :]
    ohlcv[-1, 1] *= 40.0  # a high of 40 times the close lies far beyond every clip
    scaled = joined.predictor.scaled(joined.predictor.feature_table(time, ohlcv))
    assert scaled.max() > 100
    member, part = joined.members[0], joined.predictor.network.members[0]
    window = torch.from_numpy(scaled[-joined.predictor.lookback :])[None]
    with torch.inference_mode():
        inside = torch.sigmoid(part(window).logits).numpy()[0]
    alone, _ = member.forecast_latest(time[-member.required_bars :], ohlcv[-member.required_bars :])
    np.testing.assert_allclose(inside, alone, atol=1e-5)


def test_weights_follow_the_skill_on_validation_and_are_logged(joined):
    rows = joined.model.members
    assert [row.model for row in rows] == [one.model for one in joined.members]
    assert sum(row.weight for row in rows) == pytest.approx(1.0)
    assert sorted(rows, key=lambda row: row.weight) == sorted(rows, key=lambda row: row.gain)
    assert "log-loss gain" in joined.model.weighting
    for place, row in enumerate(rows, start=1):
        assert joined.run.params[f"members.{place}.model"] == row.model
        assert joined.run.params[f"members.{place}.bundle_sha256"] == row.sha256
        assert float(joined.run.params[f"members.{place}.weight"]) == pytest.approx(row.weight)
    assert joined.run.metrics["member/3-models-third-1/weight"] == pytest.approx(rows[2].weight)
    assert joined.run.tags["lstm.kind"] == "ensemble"
    assert joined.run.tags["lstm.members"].endswith(",models:/third/1")


def test_it_is_evaluated_on_what_comes_after_its_recalibration(joined, trained):
    metrics = joined.model.metrics
    assert {"test/log_loss", "test/auc", "test/coverage_80", "val/log_loss"} <= set(metrics)
    assert "test/baseline/majority-class/log_loss_gain" in metrics
    assert metrics["test/log_loss_gain"] > 0
    assert "below the majority class's" in joined.model.verdict
    own, first = joined.predictor.bundle, trained.predictor().bundle
    # Members of the same slices: the same test slice, whose figures compare.
    assert own.slices["test"].start == first.slices["test"].start
    assert own.slices["calibration"].start == first.slices["calibration"].start


def test_it_has_seen_what_any_member_has_seen(joined):
    reach = max(one.bundle.unseen_from for one in joined.members)
    assert joined.predictor.bundle.unseen_from >= reach
    calibration = joined.predictor.bundle.slices["calibration"]
    assert calibration.start > max(one.bundle.slices["validation"].end for one in joined.members)
    assert joined.predictor.bundle.unseen_from > calibration.end


def test_it_reads_what_any_member_reads(joined):
    bundle = joined.predictor.bundle
    names = [feature.name for feature in bundle.features]
    assert names == ["close", "volume", "high", "low", "rsi"]
    assert bundle.lookback == max(joined.members[1].bundle.burn_in, 8)
    assert bundle.warmup == max(one.warmup for one in joined.members)
    assert bundle.mode == "window"
    # No member's own window may hold more bridged candles than it allows.
    allowed = [int(one.bundle.bridged_share * one.lookback) for one in joined.members]
    assert int(bundle.bridged_share * bundle.lookback) == min(allowed)


def test_batch_latest_stream_and_indicator_agree(joined, tmp_path):
    predictor = joined.predictor
    seen = joined.candles[0].between(None, int(joined.candles[0].time[predictor.required_bars + 6]))
    expected = predictor.predict_batch(seen).iloc[predictor.required_bars - 1 :]
    latest = predictor.predict_latest(seen)
    assert expected["confidence"].iloc[-1] == pytest.approx(latest.confidence, abs=1e-5)
    assert expected["upper"].iloc[-1] == pytest.approx(latest.upper, rel=1e-5)
    for runonce in (True, False):
        cerebro = bt.Cerebro(stdstats=False)
        cerebro.adddata(CandleData(dataname=seen))
        cerebro.addstrategy(Lines, model=str(joined.model.path), home=str(tmp_path))
        (run,) = cerebro.run(runonce=runonce)
        rows = np.array(run.rows)
        np.testing.assert_allclose(rows[:, 0], expected["confidence"], atol=1e-5)
        np.testing.assert_allclose(rows[:, 1], expected["predicted_price"], rtol=1e-5)


class Lines(bt.Strategy):
    params = (("model", None), ("home", ""))

    def __init__(self):
        super().__init__()
        self.forecast = LSTMForecast(self.data, model=self.p.model, home=self.p.home)
        self.rows = []

    def next(self):
        self.rows.append([self.forecast.confidence[0], self.forecast.predicted_price[0]])


def test_the_audit_finds_nothing(joined):
    assert audit(joined.predictor, joined.candles).clean


def test_its_bundle_names_its_members_and_holds_no_pickle(joined):
    manifest = json.loads((joined.model.path / "bundle.json").read_text())
    assert [one["name"] for one in manifest["network"]["members"]][2] == "models:/third/1"
    assert {path.name for path in joined.model.path.iterdir()} == {
        "bundle.json", "model.safetensors",
    }  # fmt: skip


@pytest.mark.soak
def test_a_slice_of_its_own_may_be_given(joined, trained):
    end = joined.predictor.bundle.slices["calibration"].end
    later = end + timedelta(days=6)
    model = ensemble(
        [trained.model.path, joined.third.path],
        joined.candles,
        name="later",
        calibrate_from=iso_utc_of(end),
        calibrate_to=later,
        home=joined.home,
    )
    bundle = load_predictor(model.path).bundle
    assert bundle.slices["calibration"].start > end
    assert bundle.slices["calibration"].end == later
    assert bundle.unseen_from > later


def test_a_recalibration_slice_that_a_member_was_fitted_on_is_refused(joined, trained):
    members = [trained.model.path, joined.third.path]
    bundle = trained.predictor().bundle
    early = bundle.slices["validation"].end - timedelta(hours=1)
    with pytest.raises(ConfigError, match=r"validated on candles up to .* would begin at") as told:
        ensemble(members, joined.candles, name="no", calibrate_from=early, home=joined.home)
    assert iso_utc_of(early) in str(told.value)
    soon = bundle.slices["calibration"].end - timedelta(hours=1)
    with pytest.raises(ConfigError, match=r"was calibrated on candles up to .* would end at"):
        ensemble(members, joined.candles, name="no", calibrate_to=soon, home=joined.home)


def test_candles_that_lack_what_it_needs_are_named(joined, trained):
    members = [trained.model.path, joined.third.path]
    candles = trained.candles[0]
    end = int(trained.predictor().bundle.slices["calibration"].end.timestamp() * 1000)
    cases = [
        (candles.between(None, end), TooFewCandlesError, "nothing comes after it"),
        (candles.between(end - 300 * 3_600_000, None), TooFewCandlesError, "they were trained on"),
        (candles.resample("4h"), BundleError, "members read 1h candles"),
    ]
    for given, error, words in cases:
        with pytest.raises(error, match=words):
            ensemble(members, [given], name="no", home=joined.home)
    with pytest.raises(ConfigError, match="no candles"):
        ensemble(members, [], name="no", home=joined.home)


def test_members_that_cannot_be_joined_are_named(joined, trained, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(trained.model.path, copy)
    series = write_series(
        tmp_path / "series",
        [joined.third.path],
        metrics={},
        evaluated_by="run",
        data_fingerprint="f" * 64,
        created_at=datetime(2024, 1, 1, tzinfo=UTC),
    )
    cases = [
        ([trained.model.path], ConfigError, "at least two"),
        ([trained.model.path, copy], ConfigError, "are the same model"),
        ([trained.model.path, series], ConfigError, "series of models that follow one another"),
        ([trained.model.path, statistical_predictor("1h")], ConfigError, "never trained"),
    ]
    for members, error, words in cases:
        with pytest.raises(error, match=words):
            ensemble(members, joined.candles, name="no", home=joined.home)


def untrained(config, candles, folder):
    """A bundle of fresh weights."""
    data = CandleDataModule(config.data, candles)
    network = build_network(
        config.network,
        features=len(config.data.features),
        horizons=len(data.horizons),
        target=config.data.target.name,
    ).eval()
    return write_bundle(folder, export_bundle(network, config.network, data), network)


@pytest.fixture(scope="module")
def strangers(trained, tmp_path_factory):
    """Models of another timeframe, of other horizons and of another target."""
    root, hours = tmp_path_factory.mktemp("strangers"), trained.candles
    four = simulate_market(candles=1500, seed=1, signal=0.5, timeframe="4h")
    far = changed(trained.config, data={"horizons": (1, "4h")})
    barriers = changed(trained.config, data={"target": "triple-barrier"})
    return {
        "timeframes": untrained(trained.config, four, root / "four"),
        "horizons": untrained(far, hours, root / "far"),
        "targets": untrained(barriers, hours, root / "barriers"),
    }


@pytest.mark.parametrize(
    ("differing", "words"),
    [
        ("timeframes", "has 1h and .* has 4h"),
        ("horizons", "has 1h and .* has 1h, 4h"),
        ("targets", "has horizon-return and .* has triple-barrier"),
    ],
)
def test_bundles_that_differ_cannot_be_joined(joined, trained, strangers, differing, words):
    members = [trained.model.path, strangers[differing]]
    with pytest.raises(
        BundleError, match=f"ensemble of bundles with different {differing}.*{words}"
    ):
        ensemble(members, joined.candles, name="no", home=joined.home)


@pytest.mark.soak
def test_an_ensemble_is_trained_by_a_preset_like_any_network(trained, empty_home):
    settings = trained.config.model_dump()
    small = {"kind": "multi-layer", "hidden_size": 4, "layers": 1}
    settings["network"] = {
        "kind": "ensemble",
        "members": [
            {"name": "all", "network": small},
            {"name": "volume", "network": small, "features": ["volume"], "lookback": 3},
        ],
    }
    config = TrainConfig.model_validate(settings)
    home = empty_home()
    model = train(config, trained.candles, name="small", home=home)
    metrics = mlflow.get_run(model.run_id).data.metrics
    assert metrics["member/1-all/weight"] + metrics["member/2-volume/weight"] == pytest.approx(1)
    assert "member/2-volume/val/loss" in metrics
    predictor = load_predictor("models:/small", home=home)
    assert predictor.bundle.network == config.network
    assert predictor.bundle.metrics["test/log_loss_gain"] > 0
    with pytest.raises(ConfigError, match="fit the members again by themselves"):
        train(config, trained.candles, name="small", home=home, refit=True)
