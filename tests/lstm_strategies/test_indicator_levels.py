"""The indicator's `lower` and `upper` at 80 % and at 95 %."""

from __future__ import annotations

import json
import shutil

import backtrader as bt
import numpy as np
import pytest

from lightning_models.bundle import MANIFEST_FILE
from lightning_models.errors import BundleError
from lightning_models.forecast import LEVELS
from lstm_strategies.feed import CandleData
from lstm_strategies.indicator import LSTMForecast


class Bounds(bt.Strategy):
    """Keep both bounds of every bar."""

    params = (("forecast", None),)

    def __init__(self):
        self.forecast = LSTMForecast(self.data, **self.p.forecast)
        self.bounds = []

    def next(self):
        self.bounds.append((self.forecast.lower[0], self.forecast.upper[0]))


@pytest.fixture(scope="module")
def candles(trained):
    return trained.candles[0].between(None, int(trained.candles[0].time[110]))


def bounds_of(candles, runonce=True, **params):
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(CandleData(dataname=candles))
    cerebro.addstrategy(Bounds, forecast=params)
    return np.array(cerebro.run(runonce=runonce)[0].bounds)


@pytest.mark.parametrize("runonce", [True, False])
@pytest.mark.parametrize("level", LEVELS)
def test_bounds_are_the_predictors_at_that_level(trained, candles, level, runonce, tmp_path):
    found = bounds_of(
        candles, runonce, model=str(trained.model.path), level=level, home=str(tmp_path)
    )
    lines = trained.predictor().predict_batch(candles, level=level)[["lower", "upper"]]
    assert len(found) > 40
    np.testing.assert_allclose(found, lines.to_numpy()[-len(found) :], rtol=1e-5)


def test_what_is_kept_for_one_level_serves_the_other(trained, candles, tmp_path):
    # The cache holds forecasts with the bounds of every level; no other test has these candles.
    candles = candles.between(None, int(candles.time[105]))
    kept = {}
    for level in LEVELS:
        given = {"model": str(trained.model.path), "level": level, "home": str(tmp_path)}
        kept[level] = bounds_of(candles, **given)
        assert len(list(tmp_path.rglob("*.forecasts"))) == 1
    narrow, wide = kept.values()
    assert (wide[:, 0] < narrow[:, 0]).all()
    assert (wide[:, 1] > narrow[:, 1]).all()


def test_an_older_model_gives_eighty_percent_and_refuses_the_rest(trained, candles, tmp_path):
    folder = shutil.copytree(trained.model.path, tmp_path / "older")
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    del manifest["intervals"]
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    given = {"model": str(folder), "home": str(tmp_path)}
    assert np.isfinite(bounds_of(candles, **given)).all()
    with pytest.raises(BundleError, match=r"level=0\.95: .* Train it again for more"):
        bounds_of(candles, level=0.95, **given)
