"""A refit sees the newest candles, trains as long as its evaluation, and claims no metrics."""

from __future__ import annotations

import pytest
import torch

from experiments import train
from experiments.refit import REFIT_SLICES
from lightning_models import load_predictor, simulate_market
from lightning_models.bundle import read_bundle
from lightning_models.errors import ConfigError, ModelNotFoundError, TrainingError

MARKET = simulate_market(candles=1000, seed=21, signal=0.4)


@pytest.fixture(scope="module")
def config(tiny_config):
    training = tiny_config.training.model_copy(
        update={"epochs": 6, "learning_rate": 0.05, "patience": 2}
    )
    return tiny_config.model_copy(update={"training": training})


@pytest.fixture(scope="module")
def shared(empty_home):
    """A home that these specifications share."""
    return empty_home()


@pytest.fixture(scope="module")
def evaluated(shared, config):
    return train(config, MARKET, name="x", home=shared)


@pytest.fixture(scope="module")
def refitted(shared, config, evaluated):
    newer = simulate_market(candles=1100, seed=21, signal=0.4)
    return train(config, newer, name="x", home=shared, refit=True), newer


def test_a_refit_names_its_evaluation_and_claims_no_metrics_of_its_own(evaluated, refitted):
    model, _ = refitted
    bundle = read_bundle(model.path)
    assert bundle.evaluated_by == evaluated.run_id != model.run_id
    assert bundle.metrics == model.metrics == {}
    assert "Skill found" not in model.verdict
    assert evaluated.run_id in model.verdict


def test_a_refit_reaches_to_the_newest_candle(refitted):
    model, newer = refitted
    bundle = read_bundle(model.path)
    last_close = int(newer[0].time[-1]) + newer[0].period_ms
    assert bundle.slices["calibration"].end.timestamp() * 1000 == last_close
    assert bundle.unseen_from_ms == last_close + newer[0].period_ms
    assert bundle.slices["test"].samples == bundle.slices["validation"].samples == 0
    total = REFIT_SLICES.train + REFIT_SLICES.calibration
    assert total == 1.0


def test_a_refit_trains_for_as_many_epochs_as_its_evaluation_found_best(
    shared, evaluated, refitted
):
    model, _ = refitted
    checkpoint = torch.load(shared.checkpoints(model.run_id) / "last.ckpt", weights_only=True)
    assert checkpoint["epoch"] + 1 == read_bundle(evaluated.path).metrics["best_epoch"]


def test_a_refit_is_a_new_version_and_challenges(shared, refitted):
    model, newer = refitted
    assert (model.version, model.alias) == (2, "challenger")
    load_predictor("models:/x@challenger", home=shared).predict_latest(newer[0])


def test_a_refit_after_a_refit_rests_on_the_evaluated_version(shared, config, evaluated, refitted):
    again = train(config, MARKET, name="x", home=shared, refit=True, promote=True)
    assert read_bundle(again.path).evaluated_by == evaluated.run_id
    assert again.alias == "champion"


def test_what_was_never_evaluated_is_not_refitted(home, config):
    with pytest.raises(ModelNotFoundError, match="train it without --refit first"):
        train(config, MARKET, name="x", home=home, refit=True)


def test_a_refit_needs_candles(home, config):
    with pytest.raises(ConfigError, match="no candles"):
        train(config, [], name="x", home=home, refit=True)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"lookback": 9}, "lookback"),
        ({"horizons": (2,)}, "horizons"),
        ({"bridged_share": 0.5}, "bridged_share"),
        ({"features": ("close",)}, "features"),
    ],
)
def test_a_refit_must_be_the_model_that_was_evaluated(shared, config, evaluated, change, named):
    data = type(config.data).model_validate(config.data.model_dump() | change)
    with pytest.raises(TrainingError, match=rf"differs in {named}: give the same preset"):
        train(config.model_copy(update={"data": data}), MARKET, name="x", home=shared, refit=True)


@pytest.mark.soak
def test_a_refit_rests_on_the_version_that_was_trained_alike(home, config):
    config = config.model_copy(
        update={"training": config.training.model_copy(update={"epochs": 1})}
    )
    first = train(config, MARKET, name="x", home=home)
    otherwise = config.model_copy(
        update={"training": config.training.model_copy(update={"seed": 5})}
    )
    second = train(otherwise, MARKET, name="x", home=home, promote=True)
    again = train(config, MARKET, name="x", home=home, refit=True)
    assert read_bundle(again.path).evaluated_by == first.run_id
    again = train(otherwise, MARKET, name="x", home=home, refit=True)
    assert read_bundle(again.path).evaluated_by == second.run_id
    third = config.model_copy(update={"training": config.training.model_copy(update={"seed": 6})})
    with pytest.raises(TrainingError, match=r"training\.seed \(5 then, 6 now\)"):
        train(third, MARKET, name="x", home=home, refit=True)


def test_another_network_or_timeframe_is_named(shared, config, evaluated):
    network = config.network.model_copy(update={"hidden_size": 9})
    hourly = [MARKET[0].resample("2h")]
    with pytest.raises(TrainingError, match=r"differs in network, timeframe"):
        train(
            config.model_copy(update={"network": network}),
            hourly,
            name="x",
            home=shared,
            refit=True,
        )
