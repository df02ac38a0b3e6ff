"""A walk-forward as a whole: what it reports, tracks and registers, and what its forecasts saw."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from experiments.config import TrainConfig
from experiments.walk_forward import (
    FoldTask,
    WalkForwardConfig,
    fit_fold,
    plan_folds,
    walk_forward,
)
from experiments.walk_forward.joining import join_outcomes
from experiments.walk_forward.running import fold_config, fold_data
from lightning_models import load_predictor
from lightning_models.bundle import read_bundle
from lightning_models.candles import Candles
from lightning_models.errors import (
    ConfigError,
    FeatureError,
    TooFewCandlesError,
    TrainingInterrupted,
)
from lightning_models.evaluation import evaluate
from lightning_models.evaluation.collect import collect_outcomes
from lightning_models.registry import Registry

HOUR = 3_600_000


def test_a_joined_forecast_never_comes_from_a_model_that_saw_its_bar(walked_either):
    series, folds = walked_either.series(), walked_either.folds
    for candles in walked_either.candles:
        closes = candles.time + HOUR
        owners = series.members_of(candles.time)
        for close, owner in zip(closes.tolist(), owners.tolist(), strict=True):
            unseen = [fold.slices.unseen_from for fold in folds]
            assert owner == sum(moment <= close for moment in unseen) - 1
            if owner >= 0:
                assert folds[owner].known_until < unseen[owner] <= close
        # The models that are there are the ones the folds speak of.
        for fold, member in zip(folds, series.members, strict=True):
            assert member.bundle.unseen_from_ms == fold.slices.unseen_from
            ends = [span.end for name, span in member.bundle.slices.items() if name != "test"]
            assert max(ends).timestamp() * 1000 == fold.known_until


def test_joined_forecasts_are_those_of_the_fold_that_each_bar_belongs_to(walked_either):
    series = walked_either.series()
    sim = walked_either.candles[1]
    joined = series.forecast_arrays(sim.time, sim.ohlcv).probability[:, 0]
    owners = series.members_of(sim.time)
    assert np.isnan(joined[owners < 0]).all()
    assert np.isfinite(joined[owners >= 0]).all()
    for position, member in enumerate(series.members):
        own = member.forecast_arrays(sim.time, sim.ohlcv).probability[:, 0]
        mine, others = owners == position, (owners >= 0) & (owners != position)
        np.testing.assert_allclose(joined[mine], own[mine], atol=1e-4)
        # Another fold's model says something else: the comparison can fail.
        assert np.abs(joined[others] - own[others]).max() > 1e-2


def test_what_comes_after_a_folds_calibration_changes_nothing_of_its_model(
    walked, two_symbols, tmp_path
):
    fold = walked.folds[0]
    changed = [
        Candles(
            symbol=one.symbol, timeframe=one.timeframe, market=one.market, time=one.time,
            ohlcv=np.where((one.time >= moment)[:, None], 2.0 * one.ohlcv, one.ohlcv),
            incomplete=one.incomplete,
        )
        for one in two_symbols
        for moment in [fold.known_until]
    ]  # fmt: skip
    assert _bundle_without_metrics(walked, changed, tmp_path) == _bundle_without_metrics(walked)


def test_what_comes_before_it_does(walked, two_symbols, tmp_path):
    # The control of the test above: a candle of the calibration slice is one that was seen.
    fold = walked.folds[0]
    changed = [
        Candles(
            symbol=one.symbol, timeframe=one.timeframe, market=one.market, time=one.time,
            ohlcv=np.where(
                (one.time == fold.known_until - 5 * HOUR)[:, None], 1.5 * one.ohlcv, one.ohlcv
            ),
            incomplete=one.incomplete,
        )
        for one in two_symbols
    ]  # fmt: skip
    assert _bundle_without_metrics(walked, changed, tmp_path) != _bundle_without_metrics(walked)


def _bundle_without_metrics(walked, candles=None, folder=None):
    if candles is None:
        bundle = walked.series().members[0].bundle
    else:
        task = FoldTask(walked.folds[0], walked.config, tuple(candles), folder, "run")
        bundle = fit_fold(task).bundle
        bundle = read_bundle(folder / "bundle")
    kept = {"weights_sha256", "scaler", "calibration", "thresholds", "intervals", "base_rate"}
    return bundle.model_dump(include=kept)


def test_each_fold_fits_scaler_network_and_calibration_anew(walked):
    bundles = [member.bundle for member in walked.series().members]
    for part in ("weights_sha256", "scaler", "calibration", "intervals"):
        found = [str(getattr(bundle, part)) for bundle in bundles]
        assert len(set(found)) == len(found), part


def test_the_joined_scores_are_those_of_the_series_forecasting_on_its_own(walked_either):
    series, result = walked_either.series(), walked_either.result
    outcomes = collect_outcomes(
        series, walked_either.candles, start=series.bundle.unseen_from_ms
    )  # fmt: skip
    scores = evaluate(outcomes, seed=walked_either.config.training.seed)
    assert scores.n == result.joined.scores.n == sum(fold.scores.n for fold in result.folds)
    assert scores.log_loss == pytest.approx(result.joined.scores.log_loss, abs=1e-5)
    assert scores.log_loss_gain_low == pytest.approx(
        result.joined.scores.log_loss_gain_low, abs=1e-4
    )
    assert series.bundle.metrics["test/log_loss"] == result.joined.scores.log_loss
    assert {one.asked for one in result.coverage} == {0.8, 0.95}


def test_the_result_states_folds_seeds_periods_and_their_spread(walked):
    result, seed = walked.result, walked.config.training.seed
    assert [fold.seed for fold in result.folds] == [seed, seed + 1, seed + 2]
    assert [fold.number for fold in result.folds] == [1, 2, 3]
    assert result.symbols == ("ALT/USDT", "SIM/USDT")
    for fold, later in zip(result.folds, result.folds[1:], strict=False):
        assert fold.train_from < fold.known_until < fold.tested_from < fold.tested_to
        assert fold.tested_to == later.tested_from
    spread = {one.metric: one for one in result.spread}
    losses = [fold.scores.log_loss for fold in result.folds]
    assert spread["log_loss"].mean == pytest.approx(np.mean(losses))
    assert spread["log_loss"].deviation == pytest.approx(np.std(losses, ddof=1))
    assert result.verdict == result.joined.verdict
    assert [one.name for one in result.joined.baselines][-1] == "gradient-boosting"


def test_runs_are_nested_and_each_fold_keeps_its_metrics_and_bundle(walked):
    client = MlflowClient(walked.home.tracking_uri)
    parent = client.get_run(walked.result.run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["lstm.kind"] == "walk_forward"
    assert parent.data.tags["lstm.symbols"] == "ALT/USDT,SIM/USDT"
    assert parent.data.params["walk_forward.scheme"] == "anchored"
    assert parent.data.metrics["test/log_loss"] == walked.result.joined.scores.log_loss
    spread = {one.metric: one for one in walked.result.spread}
    assert parent.data.metrics["folds/auc_deviation"] == spread["auc"].deviation
    saved = Path(client.download_artifacts(parent.info.run_id, "walk_forward.json")).read_text()
    assert json.loads(saved)["model"] == walked.result.model
    for fold in walked.result.folds:
        run = client.get_run(fold.run_id)
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == walked.result.run_id
        assert (run.data.tags["lstm.kind"], run.data.tags["lstm.fold"]) == (
            "fold",
            str(fold.number),
        )
        assert run.data.params["training.seed"] == str(fold.seed)
        assert run.data.metrics["test/log_loss"] == fold.scores.log_loss
        assert len(client.get_metric_history(fold.run_id, "train/loss")) == fold.epochs_trained
        bundle = client.download_artifacts(fold.run_id, "model")
        assert load_predictor(bundle).sha256 == fold.bundle_sha256


def test_the_series_is_registered_like_any_model(walked):
    (entry,) = Registry(walked.home).entries()
    assert (entry.name, entry.aliases) == ("walked", ("champion",))
    assert entry.symbols == ("ALT/USDT", "SIM/USDT")
    assert entry.metrics["test/log_loss"] == walked.result.joined.scores.log_loss
    loaded = mlflow.pyfunc.load_model("models:/walked@champion")
    sim = walked.candles[1]
    given = sim.between(int(sim.time[-200]), None).to_frame()
    given["timestamp"] = given["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    found = loaded.predict(given)
    assert np.isfinite(found["confidence"].to_numpy()[-1])


def test_a_symbol_that_is_listed_after_a_folds_fit_is_forecast_all_the_same(
    tiny_config, two_symbols, tmp_path
):
    alt, sim = two_symbols
    late = alt.between(int(sim.time[1250]), None)
    fold, later = plan_folds(WalkForwardConfig(folds=2), tiny_config.data, [late, sim])
    fitted = fit_fold(FoldTask(fold, tiny_config, (late, sim), tmp_path, "run"))
    assert fitted.bundle.symbols == ("SIM/USDT",)
    assert set(fitted.outcomes.symbol.tolist()) == {0, 1}
    # The baselines were fitted without it too, and are compared where all have spoken.
    assert set(fitted.outcomes.symbol[fitted.compared].tolist()) == {1}
    data = fold_data(fold_config(tiny_config, later), later, [late, sim])
    assert data.symbols == ("ALT/USDT", "SIM/USDT")


def test_folds_of_barriers_know_their_time_outs_and_so_does_what_is_joined(
    tiny_config, two_symbols, tmp_path
):
    target = {"name": "triple-barrier", "upper": 1.0, "lower": 1.0}
    settings = tiny_config.model_dump()
    settings["data"] |= {"target": target, "horizons": (6,)}
    config = TrainConfig.model_validate(settings)
    fitted = [
        fit_fold(FoldTask(fold, config, two_symbols, tmp_path / str(fold.number), "run"))
        for fold in plan_folds(WalkForwardConfig(folds=2), config.data, two_symbols)
    ]
    for one in fitted:
        share = one.bundle.metrics["test/timeout_share"]
        assert share == one.outcomes.timed_out.mean()
        assert 0.0 < share < 1.0
        assert "test/effective_samples" not in one.bundle.metrics
    joined = join_outcomes(fitted)
    assert joined.timed_out.tolist() == [
        known for one in fitted for known in one.outcomes.timed_out.tolist()
    ]
    assert len(joined.probability_timeout) == len(joined) > len(fitted[0].outcomes)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ("few", TooFewCandlesError, "300 1h candles are too few for 5 folds"),
        ("twice", ConfigError, "given more than once"),
        ("none", ConfigError, "no candles were given"),
        ("path", ConfigError, "runs on Candles, not on a str"),
    ],
)
def test_candles_that_cannot_be_walked_over_are_refused_before_anything_is_written(
    tiny_config, two_symbols, tmp_path, given, error, words
):
    _, sim = two_symbols
    few = sim.between(None, int(sim.time[300]))
    candles = {"few": [few], "twice": [sim, sim], "none": [], "path": ["SIM_USDT.parquet"]}[given]
    home = tmp_path / "home"
    with pytest.raises(error, match=words):
        walk_forward(tiny_config, WalkForwardConfig(), candles, name="wrong", home=home)
    assert not home.exists()


def test_a_fold_that_fails_is_named_and_nothing_is_registered(tiny_config, two_symbols, home):
    _, sim = two_symbols
    walk = WalkForwardConfig(folds=2)
    silent = sim.ohlcv.copy()
    silent[:, 4] = 0.0
    candles = Candles(
        symbol=sim.symbol, timeframe=sim.timeframe, market=sim.market, time=sim.time,
        ohlcv=silent, incomplete=sim.incomplete,
    )  # fmt: skip
    with pytest.raises(FeatureError, match=r"^fold 1 of 2 \(tested from 2020-.*volume"):
        walk_forward(tiny_config, walk, [candles], name="silent", home=home)
    client = MlflowClient(home.tracking_uri)
    (experiment,) = client.search_experiments(filter_string="name = 'silent'")
    runs = client.search_runs([experiment.experiment_id])
    assert {run.data.tags["lstm.kind"] for run in runs} == {"walk_forward", "fold"}
    assert {run.info.status for run in runs} == {"FAILED"}
    assert Registry(home).entries() == []


def test_a_walk_that_is_stopped_says_which_folds_were_kept(tiny_config, two_symbols, home):
    def stop(fold):
        raise KeyboardInterrupt

    walk = WalkForwardConfig(folds=2)
    with pytest.raises(TrainingInterrupted, match="with 1 of 2 folds done: fold 1 is kept"):
        walk_forward(tiny_config, walk, two_symbols, name="stopped", home=home, on_fold=stop)
    client = MlflowClient(home.tracking_uri)
    (experiment,) = client.search_experiments(filter_string="name = 'stopped'")
    runs = client.search_runs([experiment.experiment_id])
    statuses = {run.data.tags.get("lstm.fold", "parent"): run.info.status for run in runs}
    assert statuses == {"parent": "KILLED", "1": "FINISHED", "2": "KILLED"}
    (kept,) = [run for run in runs if run.info.status == "FINISHED"]
    assert load_predictor(client.download_artifacts(kept.info.run_id, "model")).timeframe == "1h"
    assert Registry(home).entries() == []
