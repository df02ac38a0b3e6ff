"""A triple-barrier model from configuration to indicator line, in both modes."""

from __future__ import annotations

import json

import backtrader as bt
import numpy as np
import pytest

from experiments import train
from experiments.presets import load_train_config
from lightning_models import load_predictor, simulate_market
from lightning_models.data.targets import TripleBarrier
from lightning_models.errors import BundleError, ConfigError, TrainingError
from lightning_models.evaluation.collect import collect_outcomes, labels_of
from lightning_models.evaluation.coverage import measure_coverage
from lightning_models.intervals import AdaptiveIntervals
from lstm_strategies import CandleData, LSTMForecast

CANDLES = simulate_market(candles=1500, symbols=("AAA/USDT", "BBB/USDT"), seed=1, signal=0.5)


def config(mode, *settings):
    return load_train_config(
        "triple-barrier",
        [
            "network.hidden_size=6",
            "data.features=[close, volume]",
            "data.lookback=8",
            "data.horizons=[4, 12]",
            "training.epochs=2",
            f"data.mode={mode}",
            "data.chunk=128",
            "data.burn_in=32",
            *settings,
        ],
    )


@pytest.fixture(scope="module", params=["window", pytest.param("sequence", marks=pytest.mark.soak)])
def model(request, empty_home):
    home = empty_home()
    settings = ["training.batch_size=8"] if request.param == "sequence" else []
    return train(config(request.param, *settings), CANDLES, name="barriers", home=home)


@pytest.fixture(scope="module")
def predictor(model):
    return load_predictor(model.path)


@pytest.fixture(scope="module")
def frame(predictor):
    return predictor.predict_batch(CANDLES[0])


def test_the_bundle_says_what_its_forecasts_are_of(model, predictor):
    assert predictor.bundle.target == TripleBarrier()
    manifest = json.loads((model.path / "bundle.json").read_text())
    assert manifest["target"]["both"] == "drop"
    assert len(manifest["timeouts"]) == 2


def test_every_forecast_has_a_probability_of_a_time_out(predictor, frame):
    there = frame["confidence"].notna()
    assert there.sum() > 1000
    assert frame["p_timeout"].notna().equals(there)
    assert frame["p_timeout"][there].between(0, 1).all()
    other = predictor.predict_batch(CANDLES[0], horizon="12h")["p_timeout"]
    assert not np.allclose(other[there], frame["p_timeout"][there])


def test_the_latest_forecast_is_the_batchs_last(predictor, frame):
    latest = predictor.predict_latest(CANDLES[0])
    assert latest.p_timeout == pytest.approx(frame["p_timeout"].iloc[-1], abs=2e-5)
    assert latest.confidence == pytest.approx(frame["confidence"].iloc[-1], abs=2e-5)
    assert latest.model_dump(mode="json")["p_timeout"] == latest.p_timeout


def test_the_stream_says_what_the_batch_says(predictor, frame):
    candles, stream = CANDLES[0], predictor.stream()
    for known in range(1490, 1501):

        def history(count, known=known):
            rows = slice(max(0, known - count), known)
            return candles.time[rows], candles.ohlcv[rows]

        probability, quantiles = stream.forecast(history)
        row = frame.iloc[known - 1]
        assert max(probability[0], 1 - probability[0]) == pytest.approx(row["confidence"], abs=2e-4)
        assert quantiles[0, -1] == pytest.approx(row["p_timeout"], abs=2e-4)


@pytest.mark.parametrize("runonce", [True, False])
def test_the_indicators_lines_are_the_batchs(model, frame, runonce):
    class Watch(bt.Strategy):
        def __init__(self):
            self.forecast = LSTMForecast(self.data, model=str(model.path))
            self.seen = []

        def next(self):
            self.seen.append((self.forecast.confidence[0], self.forecast.change_pct[0]))

    count = 1500 if runonce else 200
    cerebro = bt.Cerebro(stdstats=False)
    head = CANDLES[0].between(None, int(CANDLES[0].time[count - 1]) + 1)
    cerebro.adddata(CandleData(dataname=head, timeframe="1h"))
    cerebro.addstrategy(Watch)
    (run,) = cerebro.run(runonce=runonce)
    expected = frame[["confidence", "change_pct"]].to_numpy()[: len(head)][-20:]
    np.testing.assert_allclose(np.array(run.seen[-20:]), expected, atol=3e-4)


def test_evaluation_pairs_forecasts_with_exits(predictor):
    candles = CANDLES[0]
    found = collect_outcomes(predictor, [candles], start=predictor.bundle.unseen_from_ms)
    labels = labels_of(candles, predictor.bundle)
    rows = np.searchsorted(candles.time, found.time + 1 - 3_600_000)
    np.testing.assert_array_equal(found.actual, labels.returns[rows, 0])
    np.testing.assert_array_equal(found.timed_out, labels.outcome[rows, 0] == 0)
    assert found.probability_timeout.shape == found.actual.shape
    assert measure_coverage(found)[0].n == len(found)


def test_time_outs_and_touched_labels_are_among_the_metrics(predictor):
    metrics = predictor.bundle.metrics
    assert 0 < metrics["test/timeout_share"] < 1
    assert 0 < metrics["test/effective_samples"] < metrics["test/timeout/n"]
    assert metrics["test/timeout/log_loss"] > 0
    assert metrics["test/touched/n"] < metrics["test/timeout/n"]
    assert metrics["test/log_loss"] > 0
    assert metrics["test/coverage_80"] > 0.5


def test_with_the_horizons_return_nothing_speaks_of_time_outs(trained):
    predictor = trained.predictor()
    assert "p_timeout" not in predictor.predict_batch(trained.candles[0])
    assert "p_timeout" not in predictor.predict_latest(trained.candles[0]).model_dump()
    assert "target" not in json.loads((trained.model.path / "bundle.json").read_text())
    assert not any("timeout" in name for name in predictor.bundle.metrics)


@pytest.mark.soak
def test_a_forecaster_without_gradients_states_the_share_of_time_outs(empty_home):
    wanted = load_train_config(
        "majority-class",
        [
            "data.target=triple-barrier",
            "data.features=[close, volume]",
            "data.lookback=8",
            "data.horizons=[12]",
        ],
    )
    model = train(wanted, CANDLES, name="baseline", home=empty_home())
    found = load_predictor(model.path)
    told = found.predict_batch(CANDLES[0])["p_timeout"].dropna()
    (calibration,) = found.bundle.timeouts
    assert told.nunique() == 1
    assert abs(told.iloc[0] - calibration.rate) < 0.2


def test_adaptive_intervals_that_would_learn_from_another_outcome_are_refused(predictor):
    with pytest.raises(BundleError, match="return up to a barrier"):
        AdaptiveIntervals(predictor)


def test_a_refit_on_another_target_is_refused(model, predictor):
    home = model.path
    while not (home / "mlflow.db").exists():
        home = home.parent
    other = config(predictor.bundle.mode, "data.target.upper=1.5")
    with pytest.raises(TrainingError, match="differs in target"):
        train(other, CANDLES, name="barriers", home=home, refit=True)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("data.target.uper=2", "unknown key 'data.target.uper': did you mean 'data.target.upper'"),
        ("data.target.upper=-1", "data.target.upper=-1"),
        ("data.target.both=first", "data.target.both='first'"),
        ("data.target=quadruple-barrier", "data.target.name: no 'quadruple-barrier': did you mean"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named(setting, words):
    with pytest.raises(ConfigError, match=words):
        config("window", setting)


def test_barriers_want_their_name():
    with pytest.raises(ConfigError, match=r"data\.target\.name is missing"):
        load_train_config("quickstart", ["data.target.upper=2"])
