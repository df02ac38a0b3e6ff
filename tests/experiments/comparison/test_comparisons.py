"""Many trainings beside each other, kept in MLflow and taken up again."""

from __future__ import annotations

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from experiments.comparison import ZOO, compare_modes, run_zoo
from experiments.comparison.trial import Trial
from experiments.presets import load_train_config
from lightning_models import simulate_market
from lightning_models.errors import ConfigError
from lightning_models.forecasters.table import FORECASTERS
from lightning_models.home import find_home
from lightning_models.networks.table import NETWORKS

QUICK = ("network.hidden_size=4", "network.layers=1", "training.epochs=3", "data.lookback=8")


def test_the_zoo_holds_every_network_and_forecaster_there_is():
    kinds = [load_train_config(name).network.kind for name in ZOO]
    assert sorted(kinds) == sorted([*NETWORKS, *FORECASTERS, "ensemble"])


@pytest.fixture(scope="module")
def market():
    return simulate_market(symbols=("SIM/USDT", "SAM/USDT"), candles=1_500, seed=4, signal=0.3)


@pytest.fixture(scope="module")
def home(empty_home):
    return empty_home()


@pytest.fixture(scope="module")
def zoo(market, home):
    ran = []
    result = run_zoo(
        market, presets=("majority-class", "logistic-regression"), home=home, on_trial=ran.append
    )
    return result, ran


@pytest.mark.soak
def test_every_preset_is_scored_on_every_symbol(zoo, market):
    result, ran = zoo
    pairs = [(one.label, one.symbol) for one in result.trials]
    symbols = [one.symbol for one in market]
    assert pairs == [
        (preset, symbol)
        for preset in ("majority-class", "logistic-regression")
        for symbol in symbols
    ]
    assert len(ran) == 4
    for one in result.trials:
        assert one.seconds >= 0.0
        assert {"test/log_loss", "test/auc", "test/coverage_80"} <= set(one.metrics)


@pytest.mark.soak
def test_a_planted_signal_is_found_by_who_can_and_not_by_who_cannot(zoo):
    result, _ = zoo
    assert result.overall["logistic-regression"]["log_loss_gain"].low > 0.0
    assert result.overall["majority-class"]["log_loss_gain"].low <= 0.0
    assert "logistic-regression: 1 of 2" in result.verdict


@pytest.mark.soak
def test_trials_are_runs_below_the_comparison(zoo, home):
    result, _ = zoo
    client = MlflowClient(tracking_uri=find_home(home).tracking_uri)
    parent = client.get_run(result.run_id)
    assert parent.data.tags["lstm.kind"] == "zoo"
    assert parent.data.metrics["logistic-regression/log_loss_gain_low"] > 0.0
    children = client.search_runs(
        [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{result.run_id}'"
    )
    assert len(children) == 4
    assert all(one.data.tags["lstm.kind"] == "trial" for one in children)
    assert all("train_seconds" in one.data.metrics for one in children)


@pytest.mark.soak
def test_finished_trials_are_not_run_again(zoo, market, home):
    first, _ = zoo
    again = run_zoo(market, presets=("logistic-regression", "zero-return"), home=home)
    kept = {(one.label, one.symbol): one for one in first.trials}
    for one in again.trials:
        if one.label == "logistic-regression":
            before = kept[one.label, one.symbol]
            assert one.seconds == before.seconds  # read back, not measured anew
            assert one.metrics == before.metrics
            for name in ("time", "probability_up", "actual", "bounds"):
                np.testing.assert_array_equal(
                    getattr(one.outcomes, name), getattr(before.outcomes, name)
                )


def test_whatever_decides_a_result_makes_another_trial(market):
    def key(*settings: str, candles=market[0], preset: str = "logistic-regression") -> str:
        return Trial("any", load_train_config(preset, settings), candles).key

    keys = [
        key(),
        key("training.seed=1"),
        key("data.slices.test=0.1", "data.slices.calibration=0.1"),
        key(candles=market[1]),
        key(preset="majority-class"),
    ]
    assert len(set(keys)) == len(keys)
    assert key() == key()


@pytest.mark.soak
def test_both_modes_are_trained_and_the_window_again_in_the_sequences_time(market, home):
    result = compare_modes(
        market[:1],
        preset="multi-layer",
        settings=(*QUICK, "data.features=[close, volume]", "data.chunk=32", "data.burn_in=8"),
        seeds=2,
        home=home,
        jobs=1,
    )
    assert {arm: len(trials) for arm, trials in result.arms.items()} == {
        "sequence": 2,
        "window": 2,
        "window in the sequence's time": 2,
    }
    for quick, long, short in zip(*result.arms.values(), strict=True):
        fitting = sum(end <= quick.seconds for end in long.epoch_seconds)
        assert len(short.epoch_seconds) == max(1, min(fitting, len(long.epoch_seconds)))
        if len(short.epoch_seconds) == len(long.epoch_seconds):
            assert short.metrics == long.metrics
    assert "Sequence mode" in result.verdict


def test_a_network_that_cannot_be_a_stream_is_refused(market, home):
    with pytest.raises(ConfigError, match="bidirectional"):
        compare_modes(market[:1], preset="bidirectional", seeds=1, home=home)


@pytest.mark.parametrize("given", [{"presets": ()}, {"seeds": 0}])
def test_nothing_to_compare_is_refused(market, home, given):
    with pytest.raises(ConfigError, match="nothing to compare"):
        run_zoo(market, home=home, **given)
