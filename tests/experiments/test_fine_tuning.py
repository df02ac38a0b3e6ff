"""Fine-tuning: newer candles alone, measured against the parent, and what it came from is told."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from experiments import FineTuneConfig, fine_tune, train
from experiments.config import TrainConfig
from experiments.fine_tuning_slices import NEWER_SLICES, NEWER_SLICES_WITHOUT_TEST, candles_needed
from experiments.presets import load_train_config
from experiments.tracking import tracked_run
from lightning_models import load_predictor, simulate_market
from lightning_models.audit.models import audit_model
from lightning_models.bundle import bundle_sha256, read_bundle
from lightning_models.candles import Candles
from lightning_models.errors import (
    BundleError,
    ConfigError,
    ModelNotFoundError,
    TooFewCandlesError,
)
from lightning_models.evaluation.collect import collect_outcomes
from lightning_models.home import Home
from lightning_models.registry import Registry
from lightning_models.series_folder import write_series

OLD, NEW = 1500, 1800


def market_that_turns():
    """The driver's sign changes after the first regime."""
    before = simulate_market(candles=OLD, seed=1, signal=0.6)[0]
    after = simulate_market(candles=NEW, seed=51, signal=-0.6)[0]
    ohlcv = after.ohlcv.copy()
    ohlcv[:, :4] *= before.ohlcv[-1, 3] / ohlcv[0, 0]
    return Candles(
        symbol=before.symbol,
        timeframe=before.timeframe,
        market=before.market,
        time=before.time[0] + before.period_ms * np.arange(OLD + NEW),
        ohlcv=np.vstack([before.ohlcv, ohlcv]),
    )


MARKET = market_that_turns()
BEFORE = MARKET.between(None, int(MARKET.time[OLD]))
FAST = {"learning_rate": 0.01, "patience": 0, "epochs": 6}


@pytest.fixture(scope="module", params=[pytest.param("window", marks=pytest.mark.soak), "sequence"])
def regime(request, tiny_config, empty_home):
    """A model of the first regime, and two continued on the second: with replay and without."""
    settings = tiny_config.model_dump()
    settings["training"] |= {"epochs": 6, "learning_rate": 0.01}
    if request.param == "sequence":
        settings["data"] |= {"mode": "sequence", "chunk": 32, "burn_in": 16}
        settings["training"] |= {"batch_size": 8}
    home = empty_home()
    parent = train(TrainConfig.model_validate(settings), [BEFORE], name="turn", home=home)
    tuned = {
        replay: fine_tune(
            parent.uri, [MARKET], config=FineTuneConfig(replay=replay, **FAST), home=home
        )
        for replay in (0.0, 0.5)
    }
    return home, parent, tuned


def loss(model, home, candles, *, uncalibrated=False, **period):
    predictor = load_predictor(model, home=home)
    found = collect_outcomes(predictor, [candles], **period)
    moved = found.actual != 0
    probability = found.probability_up[moved]
    if uncalibrated:
        probability = predictor.bundle.calibration[0].uncalibrated(probability)
    right = np.where(found.actual[moved] > 0, probability, 1 - probability)
    return -np.log(right).mean()


@pytest.mark.soak
def test_it_is_better_than_its_parent_on_candles_that_neither_has_seen(regime):
    home, parent, tuned = regime
    child = tuned[0.0]
    later = {"start": read_bundle(child.path).unseen_from_ms}
    theirs = loss(parent.uri, home, MARKET, **later)
    ours = loss(child.uri, home, MARKET, **later)
    assert child.metrics["test/parent/log_loss"] == pytest.approx(theirs)
    assert child.metrics["test/log_loss"] == pytest.approx(ours)
    assert child.metrics["test/parent/log_loss_gain"] == pytest.approx(theirs - ours)
    assert child.metrics["test/parent/log_loss_gain_low"] > 0
    assert child.judgement.startswith("Fine-tuning helped: log-loss ")
    assert f"of {parent.uri} on the same" in child.judgement


def test_replay_keeps_more_of_the_older_regime(regime):
    home, parent, tuned = regime
    trained_until = read_bundle(parent.path).slices["train"].end
    older = {"end": round(trained_until.timestamp() * 1000), "uncalibrated": True}
    kept, forgotten, known = (
        loss(model, home, MARKET, **older) for model in (tuned[0.5].uri, tuned[0.0].uri, parent.uri)
    )
    assert known < kept < forgotten - 0.02


def test_its_slices_lie_after_all_that_the_parent_has_seen(regime):
    _, parent, tuned = regime
    old, new = read_bundle(parent.path), read_bundle(tuned[0.5].path)
    assert min(span.start for span in new.slices.values()) == old.unseen_from
    assert new.slices["train"].start >= old.slices["calibration"].end
    assert new.unseen_from == new.slices["test"].start > new.slices["calibration"].end
    assert new.unseen_from > old.unseen_from


def test_the_scaler_stays_and_the_rest_is_fitted_anew(regime):
    _, parent, tuned = regime
    old, new = read_bundle(parent.path), read_bundle(tuned[0.5].path)
    assert new.scaler == old.scaler
    for name in ("calibration", "intervals", "thresholds", "base_rate", "weights_sha256"):
        assert getattr(new, name) != getattr(old, name), name
    for name in ("network", "features", "lookback", "horizons", "mode", "warmup"):
        assert getattr(new, name) == getattr(old, name), name


def test_what_it_came_from_is_in_the_bundle_and_in_mlflow(regime):
    home, parent, tuned = regime
    old, child = read_bundle(parent.path), tuned[0.5]
    lineage = read_bundle(child.path).parent
    assert (lineage.model, lineage.run_id) == (parent.uri, parent.run_id)
    assert lineage.bundle_sha256 == bundle_sha256(parent.path)
    assert lineage.unseen_from == old.unseen_from
    assert lineage.trained_on == (old.slices["train"],)
    assert old.parent is None
    assert "parent" not in (parent.path / "bundle.json").read_text()

    client = MlflowClient(home.tracking_uri)
    version = client.get_model_version(child.name, str(child.version))
    assert version.tags["lstm.parent"] == parent.uri
    run = client.get_run(child.run_id)
    assert run.info.status == "FINISHED"
    tags = run.data.tags
    assert (tags["lstm.kind"], tags["lstm.parent"]) == ("fine_tune", parent.uri)
    assert tags["lstm.parent_run"] == parent.run_id
    assert tags["lstm.fine_tuning"] == child.judgement
    assert run.data.params["training.learning_rate"] == "0.01"
    assert run.data.params["fine_tune.replay"] == "0.5"
    contexts = sorted(each.tags[0].value for each in run.inputs.dataset_inputs)
    assert contexts == ["fine-tuning", "replay"]
    alone = client.get_run(tuned[0.0].run_id)
    assert [each.tags[0].value for each in alone.inputs.dataset_inputs] == ["fine-tuning"]


def test_the_audit_finds_nothing_that_looks_ahead(regime):
    home, _, tuned = regime
    checks = audit_model(load_predictor(tuned[0.5].uri, home=home), [MARKET])
    assert not any(one.findings for one in checks)
    # The scaler comes from other train rows: the parent's.
    not_run = [one.name.split(":")[0] for one in checks if one.status == "not run"]
    assert not_run == ["scaler"]


def test_it_is_the_challenger_of_its_parents_name(regime):
    home, parent, tuned = regime
    assert [(one.name, one.alias) for one in tuned.values()] == [("turn", "challenger")] * 2
    assert load_predictor("models:/turn@champion", home=home).model == parent.uri
    assert load_predictor("models:/turn@challenger", home=home).model == tuned[0.5].uri


def test_a_refit_does_not_take_its_epochs_for_those_of_training(regime):
    _, _, tuned = regime
    metrics = tuned[0.5].metrics
    assert "best_epoch" not in metrics
    assert metrics["fine_tune/best_epoch"] <= metrics["fine_tune/epochs_trained"] == 6


@pytest.fixture(scope="module")
def again(regime):
    home, _, tuned = regime
    child = tuned[0.5]
    # What is left for a second fine-tuning: the first one's test slice.
    config = FineTuneConfig(epochs=1, slices=NEWER_SLICES_WITHOUT_TEST)
    return fine_tune(child.uri, [MARKET], config=config, home=home, name="twice")


def test_a_fine_tuned_model_can_be_fine_tuned(regime, again):
    home, parent, tuned = regime
    lineage = read_bundle(again.path).parent
    assert (again.name, again.alias) == ("twice", "champion")
    assert lineage.model == tuned[0.5].uri
    assert lineage.trained_on == (
        read_bundle(parent.path).slices["train"],
        read_bundle(tuned[0.5].path).slices["train"],
    )
    run = MlflowClient(home.tracking_uri).get_run(again.run_id)
    # Its parent's rate was a fine-tuning's already.
    assert run.data.params["training.learning_rate"] == "0.01"


def test_without_a_test_slice_nothing_is_claimed(again):
    assert again.comparison is None
    assert read_bundle(again.path).evaluated_by is None
    assert not any(name.startswith("test/") for name in again.metrics)
    assert again.judgement.startswith("Whether fine-tuning helped cannot be said")
    assert again.verdict == "Not evaluated: it has no test slice."


def newer_part(bundle, count):
    """The market up to so many candles after what a model has seen."""
    first = int(np.searchsorted(MARKET.time, bundle.unseen_from_ms))
    return MARKET.between(None, int(MARKET.time[first + count]))


@pytest.mark.soak
def test_a_seed_gives_the_same_weights_and_the_rate_is_a_tenth(trained_turn, tmp_path):
    home, parent, config = trained_turn
    made = [
        fine_tune(parent.uri, [MARKET], config=FineTuneConfig(epochs=1, seed=seed), home=home)
        for seed in (3, 3, 4)
    ]
    hashes = [read_bundle(one.path).weights_sha256 for one in made]
    assert hashes[0] == hashes[1] != hashes[2]
    run = MlflowClient(home.tracking_uri).get_run(made[0].run_id)
    rate = float(run.data.params["training.learning_rate"])
    assert rate == pytest.approx(config.training.learning_rate / 10)
    assert made[0].replay == 0.25


@pytest.fixture(scope="module")
def trained_turn(tiny_config, empty_home):
    home = empty_home()
    config = tiny_config.model_copy(
        update={"training": tiny_config.training.model_copy(update={"epochs": 1})}
    )
    return home, train(config, [BEFORE], name="turn", home=home), config


def test_too_few_newer_candles_say_how_many_it_takes(trained_turn):
    home, parent, _ = trained_turn
    bundle = read_bundle(parent.path)
    needed = candles_needed(NEWER_SLICES_WITHOUT_TEST, reach=1)
    short = newer_part(bundle, needed - 7)
    with pytest.raises(TooFewCandlesError, match=rf"at least {needed}\. Give 7 more"):
        fine_tune(parent.uri, [short], home=home)
    assert mlflow.active_run() is None
    with pytest.raises(TooFewCandlesError, match=r": 0 come after"):
        fine_tune(parent.uri, [newer_part(bundle, -50)], home=home)


@pytest.mark.parametrize("slices", [NEWER_SLICES, NEWER_SLICES_WITHOUT_TEST])
def test_as_many_as_it_says_are_enough(trained_turn, slices):
    home, parent, _ = trained_turn
    needed = candles_needed(slices, reach=1)
    config = FineTuneConfig(epochs=1, slices=slices)
    tuned = fine_tune(
        parent.uri, [newer_part(read_bundle(parent.path), needed)], config=config, home=home
    )
    assert (tuned.comparison is None) == (slices.test == 0)


@pytest.mark.soak
def test_where_the_older_candles_are_missing_nothing_is_replayed(trained_turn, caplog):
    home, parent, _ = trained_turn
    bundle = read_bundle(parent.path)
    begin = round((bundle.slices["train"].end + timedelta(hours=5)).timestamp() * 1000)
    late = MARKET.between(begin, None)
    with caplog.at_level(logging.WARNING):
        tuned = fine_tune(parent.uri, [late], config=FineTuneConfig(epochs=1), home=home)
    assert tuned.replay == 0.0
    assert "do not reach back to those that models:/turn/1 was trained on" in caplog.text
    with pytest.raises(ConfigError, match=r"give these candles too, or --replay 0"):
        fine_tune(parent.uri, [late], config=FineTuneConfig(replay=0.25), home=home)


def test_candles_of_another_timeframe_are_refused(trained_turn):
    home, parent, _ = trained_turn
    with pytest.raises(BundleError, match=r"reads 1h candles .* are 4h.*--timeframe 1h"):
        fine_tune(parent.uri, [MARKET.resample("4h")], home=home)
    with pytest.raises(ConfigError, match="no candles were given"):
        fine_tune(parent.uri, [], home=home)


def test_a_model_whose_run_does_not_say_its_rate_needs_one(trained_turn, tmp_path):
    home = Home(Path(shutil.copytree(trained_turn[0].path, tmp_path / "copy")))
    parent = trained_turn[1]
    with sqlite3.connect(home.path / "mlflow.db") as database:
        database.execute("delete from params where key = 'training.learning_rate'")
    with pytest.raises(ConfigError, match=r"does not say its learning rate.*--set learning_rate="):
        fine_tune(parent.uri, [MARKET], home=home)


@pytest.mark.parametrize(
    ("preset", "words"),
    [("majority-class", "majority-class forecaster"), ("ensemble", "an ensemble")],
)
def test_what_was_not_trained_by_gradients_is_refused(empty_home, preset, words):
    settings = ["data.features=[close, volume, high, low]", "data.lookback=8"]
    if preset == "ensemble":
        kinds = ("majority-class", "zero-return")
        members = ", ".join(f"{{name: {kind}, network: {{kind: {kind}}}}}" for kind in kinds)
        settings.append(f"network.members=[{members}]")
    home = empty_home()
    train(load_train_config(preset, settings), [BEFORE], name="other", home=home)
    with pytest.raises(ConfigError, match=rf"cannot be fine-tuned: it .*{words}"):
        fine_tune("models:/other@champion", [MARKET], home=home)


def test_a_series_of_models_is_refused(trained_turn, tmp_path):
    home, parent, _ = trained_turn
    bundle = read_bundle(parent.path)
    series = write_series(
        tmp_path / "series",
        [parent.path],
        metrics={},
        evaluated_by=parent.run_id,
        data_fingerprint=bundle.data_fingerprint,
        created_at=bundle.created_at,
    )
    with tracked_run(home, "walk", run_name="walk") as run:
        Registry(home).register(series, name="walk", run_id=run, promote=False)
    with pytest.raises(ConfigError, match=r"follow one another.*lstm-strategies walk-forward"):
        fine_tune("models:/walk@champion", [MARKET], home=home)


def test_what_is_not_registered_is_refused(trained_turn):
    home, parent, _ = trained_turn
    with pytest.raises(ConfigError, match="is not a registered model"):
        fine_tune(str(parent.path), [MARKET], home=home)
    with pytest.raises(ConfigError, match="was never trained"):
        fine_tune("statistical:1h", [MARKET], home=home)
    with pytest.raises(ModelNotFoundError, match="did you mean 'turn'"):
        fine_tune("models:/torn@champion", [MARKET], home=home)


@pytest.mark.parametrize(
    "wrong", [{"replay": 1.0}, {"learning_rate": 0}, {"epochs": 0}, {"rate": 0.1}]
)
def test_a_configuration_that_cannot_be_meant_is_refused(wrong):
    with pytest.raises(ValueError, match="FineTuneConfig"):
        FineTuneConfig(**wrong)
