"""Small slices, and forecasters fitted to them, for the specifications of this folder."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_models import simulate_market
from lightning_models.bundle import write_bundle
from lightning_models.candles import Candles
from lightning_models.data.datamodule import CandleDataModule, DataConfig
from lightning_models.export import export_bundle
from lightning_models.forecasters import FORECASTERS
from lightning_models.forecasters.fitting import fit_forecaster
from lightning_models.loading import load_predictor_from
from lightning_models.networks import build_network

FEATURES = ("volume", "close", "high")
SMALL = {"gradient-boosting": {"trees": 8, "depth": 2}}


def make_data(candles=900, *, seed=6, signal=0.4, horizons=(1, 3), **options):
    market = (
        candles
        if isinstance(candles, list)
        else simulate_market(candles=candles, seed=seed, signal=signal)
    )
    config = DataConfig(**{"features": FEATURES, "horizons": horizons, **options})
    return CandleDataModule(config, market)


def make_config(kind, **changes):
    return FORECASTERS[kind].Config(**{**SMALL.get(kind, {}), **changes})


def make_forecaster(kind, data, **changes):
    return build_network(
        make_config(kind, **changes),
        features=len(data.config.features),
        horizons=len(data.horizons),
    )


def make_prices(returns, *, wick=0.0):
    """Candles without gaps from returns of each close over the one before."""
    close = 100.0 * np.cumprod(1.0 + np.asarray(returns))
    opened = np.concatenate([[100.0], close[:-1]])
    high = np.maximum(opened, close) * (1 + wick)
    low = np.minimum(opened, close) * (1 - wick)
    time = 1_609_459_200_000 + 3_600_000 * np.arange(len(close), dtype=np.int64)
    ohlcv = np.column_stack([opened, high, low, close, np.full(len(close), 10.0)])
    return Candles(symbol="BTC/USDT", timeframe="1h", market="continuous", time=time, ohlcv=ohlcv)


@pytest.fixture(scope="session")
def slices_of():
    return make_data


@pytest.fixture(scope="session")
def config_of():
    return make_config


@pytest.fixture(scope="session")
def forecaster_of():
    return make_forecaster


@pytest.fixture(scope="session")
def prices_of():
    return make_prices


@pytest.fixture(scope="session")
def data():
    return make_data()


@pytest.fixture(scope="session")
def fitted(data, tmp_path_factory):
    """From each kind to its fit, the folder of its bundle and its predictor."""
    made = {}

    def of(kind):
        if kind not in made:
            result = fit_forecaster(make_forecaster(kind, data), data)
            bundle = export_bundle(result.network, make_config(kind), data)
            folder = tmp_path_factory.mktemp(kind) / "bundle"
            write_bundle(folder, bundle, result.network)
            made[kind] = result, folder, load_predictor_from(folder, kind)
        return made[kind]

    return of
