"""Every network of the table behind the indicator: its lines are the predictor's forecasts."""

from __future__ import annotations

import backtrader as bt
import numpy as np
import pytest
import torch

from lightning_models import load_predictor, simulate_market
from lightning_models.bundle import write_bundle
from lightning_models.data.datamodule import CandleDataModule, DataConfig
from lightning_models.export import export_bundle
from lightning_models.forecast import LINE_NAMES
from lightning_models.networks import NETWORKS, build_network
from lstm_strategies.feed import CandleData
from lstm_strategies.indicator import LSTMForecast

FEATURES = ("close", "volume", "high")
PRICES = ("predicted_price", "lower", "upper")


@pytest.fixture(scope="module")
def candles():
    return simulate_market(candles=900, seed=6, signal=0.4)[0]


@pytest.fixture(scope="module", params=sorted(NETWORKS))
def folder(request, candles, tmp_path_factory):
    """A bundle of each kind at its own size, not trained."""
    torch.manual_seed(0)
    data = CandleDataModule(DataConfig(features=FEATURES, lookback=8), candles)
    config = NETWORKS[request.param].Config()
    network = telling(build_network(config, features=len(FEATURES), horizons=1), data)
    path = tmp_path_factory.mktemp(request.param) / "bundle"
    return write_bundle(path, export_bundle(network, config, data), network)


def telling(network, data):
    """Make a fresh network, which says almost the same of every bar, differ from bar to bar."""
    (batch,) = data.loader("validation")
    with torch.no_grad():
        for _ in range(50):
            network.train()(batch.window)  # batch normalisation gets its statistics
        network.eval()
        network.change.projection.weight *= 0.3 / network(batch.window).quantiles[:, 0, 1].std()
    return network


class Lines(bt.Strategy):
    params = (("model", None), ("home", ""))

    def __init__(self):
        super().__init__()
        self.forecast = LSTMForecast(self.data, model=self.p.model, home=self.p.home)
        self.rows = []

    def next(self):
        self.rows.append([line[0] for line in self.forecast.lines])


def test_the_lines_of_every_network_are_its_forecasts(folder, candles, both_ways, tmp_path):
    seen = candles.between(None, int(candles.time[90]))
    predictor = load_predictor(folder)
    expected = predictor.predict_batch(seen).iloc[predictor.required_bars - 1 :]
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(CandleData(dataname=seen))
    cerebro.addstrategy(Lines, model=str(folder), home=str(tmp_path))
    rows = np.array(cerebro.run(**both_ways)[0].rows)
    assert len(rows) == len(expected) > 20
    assert np.isfinite(rows).all()
    for column, name in enumerate(LINE_NAMES):
        tolerance = {"rtol": 1e-5} if name in PRICES else {"rtol": 0, "atol": 1e-5}
        np.testing.assert_allclose(rows[:, column], expected[name], **tolerance, err_msg=name)
    # A bar late, they would be seen to differ.
    late = np.abs(np.diff(rows[:, LINE_NAMES.index("change_pct")]))
    assert late.max() > 1e-3
