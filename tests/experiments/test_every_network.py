"""Every network and forecaster in each of its modes: fitted, saved, loaded, forecasting alike."""

from __future__ import annotations

import backtrader as bt
import numpy as np
import pytest

from experiments.fitting import fit_model
from experiments.presets import load_train_config
from lightning_models import load_predictor, simulate_market
from lightning_models.bundle import write_bundle
from lightning_models.data.datamodule import CandleDataModule
from lightning_models.export import export_bundle
from lightning_models.forecast import LINE_NAMES
from lightning_models.inference import runner_of
from lightning_models.networks import NETWORKS
from lightning_models.predictor import Predictor
from lstm_strategies import CandleData, LSTMForecast

SMALL = {
    "univariate": ("network.hidden_size=6",),
    "price-predictor": ("network.units=[8, 6, 4]", "network.dense=[6, 4]"),
    "layer-norm": ("network.units=[8, 6, 4]", "network.dense=[6, 4]"),
    "multi-layer": ("network.hidden_size=8", "network.layers=2"),
    "bidirectional": ("network.hidden_size=8",),
    "attention": ("network.hidden_size=8",),
    "transformer": ("network.width=8", "network.attention_heads=2"),
    "ensemble": ("training.batch_size=64",),
    "zero-return": (),
    "majority-class": (),
    "statistical": ("data.lookback=60",),
    "logistic-regression": ("network.rows=2",),
    "gradient-boosting": (),
    "triple-barrier": ("network.hidden_size=8", "data.horizons=[6]"),
}
"""Presets at a size that trains in a second; one of each kind in the table of networks."""

FEW = ("close", "volume", "high")
PRICES = ("predicted_price", "lower", "upper")
STREAMS = ("layer-norm", "multi-layer", "univariate", "triple-barrier")
CASES = [(name, "window") for name in SMALL] + [(name, "sequence") for name in STREAMS]


@pytest.fixture(scope="module")
def candles():
    return simulate_market(candles=1_800, seed=6, signal=0.4)[0]


def config_of(preset, mode):
    shared = [f"data.mode={mode}", "data.lookback=12"]
    if preset != "ensemble":
        shared.append("training.epochs=2")
    if preset not in ("univariate", "statistical", "ensemble"):
        shared.append(f"data.features=[{', '.join(FEW)}]")
    if mode == "sequence":
        shared += ["data.chunk=64", "data.burn_in=16", "training.batch_size=8"]
    if preset == "ensemble":
        shared = ["training.epochs=2"]
    return load_train_config(preset, [*shared, *SMALL[preset]])


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(case))
def made(request, candles, tmp_path_factory):
    """A model in memory, and the same from its folder."""
    config = config_of(*request.param)
    data = CandleDataModule(
        config.data, [candles], batch_size=config.training.batch_size, seed=config.training.seed
    )
    folder = tmp_path_factory.mktemp("-".join(request.param))
    (folder / "checkpoints").mkdir()
    fitted = fit_model(config, data, checkpoints=folder / "checkpoints")
    bundle = export_bundle(fitted.network, config.network, data)
    runner = runner_of(fitted.network, lookback=bundle.lookback, burn_in=bundle.burn_in)
    path = write_bundle(folder / "bundle", bundle, fitted.network)
    return Predictor(bundle, runner, model="", sha256=""), load_predictor(path), path


@pytest.fixture(scope="module")
def batch(made, candles):
    """The newest candles, and a loaded model's forecasts of them in bulk."""
    _, loaded, _ = made
    rows = loaded.required_bars + 60
    seen = candles.between(int(candles.time[-rows]), None)
    return seen, loaded.predict_batch(seen)


def close_to(loaded, name):
    # In sequence mode a start elsewhere is felt within the bundle's own tolerance.
    felt = loaded.bundle.burn_in_tolerance or 0.0
    if name in PRICES:
        return {"rtol": 1e-5 + felt}
    return {"rtol": 0.0, "atol": 1e-5 + 10.0 * felt}


def test_every_kind_of_network_is_here():
    kinds = {config_of(name, "window").network.kind for name in SMALL}
    assert kinds >= set(NETWORKS)


def test_a_loaded_model_forecasts_as_the_one_that_was_saved(made, candles):
    before, loaded, _ = made
    theirs = before.forecast_arrays(candles.time, candles.ohlcv)
    ours = loaded.forecast_arrays(candles.time, candles.ohlcv)
    np.testing.assert_array_equal(ours.probability, theirs.probability)
    np.testing.assert_array_equal(ours.quantiles, theirs.quantiles)
    assert np.isfinite(ours.probability[-100:]).all()


def test_the_newest_forecast_is_the_last_of_many(made, batch):
    _, loaded, _ = made
    seen, many = batch
    newest = loaded.predict_latest(seen)
    last = many.iloc[-1]
    for name in ("change_pct", "confidence", "predicted_price", "lower", "upper"):
        np.testing.assert_allclose(
            getattr(newest, name), last[name], err_msg=name, **close_to(loaded, name)
        )


def test_a_stream_says_bar_by_bar_what_is_said_in_bulk(made, batch):
    _, loaded, _ = made
    seen, _ = batch
    stream, said = loaded.stream(), []
    for last in range(loaded.required_bars - 1, len(seen)):

        def history(count, last=last):
            rows = slice(max(0, last + 1 - count), last + 1)
            return seen.time[rows], seen.ohlcv[rows]

        said.append(stream.forecast(history)[0][0])
    expected = loaded.forecast_arrays(seen.time, seen.ohlcv).probability[-len(said) :, 0]
    assert len(said) > 50
    np.testing.assert_allclose(said, expected, **close_to(loaded, "confidence"))


class Lines(bt.Strategy):
    params = (("model", None), ("home", ""))

    def __init__(self):
        super().__init__()
        self.forecast = LSTMForecast(self.data, model=self.p.model, home=self.p.home)
        self.rows = []

    def next(self):
        self.rows.append([line[0] for line in self.forecast.lines])


@pytest.mark.parametrize("runonce", [True, False], ids=["once", "next"])
def test_the_indicators_lines_are_the_models_forecasts(made, batch, runonce, tmp_path):
    _, loaded, path = made
    seen, many = batch
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(CandleData(dataname=seen))
    cerebro.addstrategy(Lines, model=str(path), home=str(tmp_path))
    rows = np.array(cerebro.run(runonce=runonce)[0].rows)
    expected = many.iloc[-len(rows) :]
    assert len(rows) > 50
    for column, name in enumerate(LINE_NAMES):
        np.testing.assert_allclose(
            rows[:, column], expected[name], err_msg=name, **close_to(loaded, name)
        )
