"""A network of several horizons behind the indicator: each by its name."""

from __future__ import annotations

import backtrader as bt
import numpy as np
import pytest
import torch

from lightning_models import load_predictor, simulate_market
from lightning_models.bundle import write_bundle
from lightning_models.data.datamodule import CandleDataModule, DataConfig
from lightning_models.errors import ConfigError
from lightning_models.export import export_bundle
from lightning_models.networks import build_network
from lightning_models.networks.multi_layer import MultiLayerConfig
from lstm_strategies.feed import CandleData
from lstm_strategies.indicator import LSTMForecast

HORIZONS = ("1h", "4h", "1d", "7d")


@pytest.fixture(scope="module")
def candles():
    return simulate_market(candles=2000, seed=6, signal=0.4)[0]


@pytest.fixture(scope="module")
def folder(candles, tmp_path_factory):
    torch.manual_seed(0)
    data = CandleDataModule(
        DataConfig(
            features=("close", "volume"),
            lookback=8,
            horizons=HORIZONS,
            slices={"train": 0.4, "validation": 0.2, "calibration": 0.2, "test": 0.2},
        ),
        [candles],
    )
    config = MultiLayerConfig(hidden_size=4, layers=1)
    network = build_network(config, features=2, horizons=len(HORIZONS)).eval()
    path = tmp_path_factory.mktemp("horizons") / "bundle"
    return write_bundle(path, export_bundle(network, config, data), network)


class Lines(bt.Strategy):
    params = (("model", None), ("home", ""))

    def __init__(self):
        super().__init__()
        self.forecasts = [
            LSTMForecast(self.data, model=self.p.model, home=self.p.home, horizon=name)
            for name in HORIZONS
        ]
        self.rows = []

    def next(self):
        self.rows.append([(one.predicted_price[0], one.upper[0]) for one in self.forecasts])


def test_each_horizons_lines_are_its_own_forecasts(folder, candles, both_ways, tmp_path):
    predictor = load_predictor(folder)
    seen = candles.between(None, int(candles.time[predictor.required_bars + 12]))
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(CandleData(dataname=seen))
    cerebro.addstrategy(Lines, model=str(folder), home=str(tmp_path))
    rows = np.array(cerebro.run(**both_ways)[0].rows)
    for place, name in enumerate(HORIZONS):
        expected = predictor.predict_batch(seen, horizon=name).iloc[-len(rows) :]
        np.testing.assert_allclose(rows[:, place, 0], expected["predicted_price"], rtol=1e-5)
        np.testing.assert_allclose(rows[:, place, 1], expected["upper"], rtol=1e-5)
    assert len(rows) > 10
    assert not np.allclose(rows[:, 0], rows[:, 3], rtol=1e-3)


def test_a_horizon_the_model_lacks_is_refused(folder, candles, tmp_path):
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(CandleData(dataname=candles))
    cerebro.addindicator(LSTMForecast, model=str(folder), home=str(tmp_path), horizon="8h")
    cerebro.addstrategy(bt.Strategy)
    with pytest.raises(ConfigError, match="8h"):
        cerebro.run()
