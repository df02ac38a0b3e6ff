"""A fan over a model's own horizons."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from lightning_models import simulate_market
from lightning_models.data.datamodule import CandleDataModule, DataConfig
from lightning_models.errors import BundleError, ConfigError, TooFewCandlesError
from lightning_models.export import export_bundle
from lightning_models.inference import runner_of
from lightning_models.networks import build_network
from lightning_models.networks.multi_layer import MultiLayerConfig
from lightning_models.predictor import Predictor

HORIZONS = ("1d", "1h", "7d", "4h")


@pytest.fixture(scope="module")
def candles():
    return simulate_market(candles=1900, seed=3, signal=0.4)[0]


def untrained(candles, horizons):
    """A model of fresh weights, whose bounds are as conformal as any other's."""
    torch.manual_seed(0)
    data = CandleDataModule(
        DataConfig(
            features=("close", "volume"),
            lookback=6,
            horizons=horizons,
            slices={"train": 0.4, "validation": 0.2, "calibration": 0.2, "test": 0.2},
        ),
        [candles],
    )
    config = MultiLayerConfig(hidden_size=4, layers=1)
    network = build_network(config, features=2, horizons=len(horizons)).eval()
    bundle = export_bundle(network, config, data)
    runner = runner_of(network, lookback=bundle.lookback, burn_in=None)
    return Predictor(bundle, runner, model="untrained", sha256="")


@pytest.fixture(scope="module")
def predictor(candles):
    return untrained(candles, HORIZONS)


def test_horizons_named_in_time_are_counted_in_candles_and_shown_nearest_first(predictor, candles):
    fan = predictor.forecast_fan(candles)
    assert fan.names == ("1h", "4h", "1d", "7d")
    assert fan.candles.tolist() == [1, 4, 24, 168]
    last = int(candles.time[-1])
    assert fan.time == last + 3_600_000 - 1
    assert (fan.times - fan.time).tolist() == [3_600_000 * count for count in (1, 4, 24, 168)]
    assert len(fan) == 4


@pytest.mark.parametrize("level", [0.80, 0.95])
def test_each_step_is_the_forecast_of_its_horizon(predictor, candles, level):
    fan = predictor.forecast_fan(candles, level=level)
    for step, name in enumerate(fan.names):
        forecast = predictor.predict_latest(candles, horizon=name, level=level)
        assert fan.median[step] == pytest.approx(forecast.predicted_price, rel=1e-12)
        assert fan.lower[step] == pytest.approx(forecast.lower, rel=1e-12)
        assert fan.upper[step] == pytest.approx(forecast.upper, rel=1e-12)
        assert fan.median_pct[step] == pytest.approx(forecast.change_pct, abs=1e-9)
    assert (fan.price, fan.symbol, fan.level) == (candles.ohlcv[-1, 3], "SIM/USDT", level)


@pytest.mark.parametrize("horizon", HORIZONS)
def test_every_horizon_is_forecast_alike_in_bulk_and_at_the_last_candle(
    predictor, candles, horizon
):
    row = predictor.predict_batch(candles, horizon=horizon).iloc[-1]
    latest = predictor.predict_latest(candles, horizon=horizon)
    assert row["confidence"] == pytest.approx(latest.confidence, abs=1e-5)
    assert row["predicted_price"] == pytest.approx(latest.predicted_price, rel=1e-5)


def test_the_frame_and_the_json_hold_the_same_steps(predictor, candles):
    fan = predictor.forecast_fan(candles)
    frame = fan.to_frame()
    assert list(frame.columns) == [
        "horizon", "candles", "time", "median", "lower", "upper", "median_pct", "lower_pct",
        "upper_pct",
    ]  # fmt: skip
    content = json.loads(json.dumps(fan.to_json(), allow_nan=False))
    assert content["interval"] == 0.8
    assert len(content["steps"]) == len(frame) == 4
    for step, (_, row) in zip(content["steps"], frame.iterrows(), strict=True):
        assert step["median"] == row["median"]
        assert step["horizon"] == row["horizon"]
        assert pd.Timestamp(step["time"]) == row["time"]
    np.testing.assert_allclose(frame["lower_pct"], 100 * (fan.lower / fan.price - 1))


def test_a_fan_cannot_be_changed(predictor, candles):
    fan = predictor.forecast_fan(candles)
    with pytest.raises(ValueError, match="read-only"):
        fan.median[0] = 0.0
    with pytest.raises(AttributeError):
        fan.price = 0.0


def test_the_figure_starts_at_the_last_close_and_shows_what_came_before(predictor, candles):
    fan = predictor.forecast_fan(candles)
    past, bounds, median = fan.figure(candles, shown=10).data
    assert len(past.x) == 10
    assert past.y[-1] == median.y[0] == fan.price
    assert past.x[-1] == median.x[0]
    assert list(median.y[1:]) == fan.median.tolist()
    assert max(bounds.y) == fan.upper.max()
    assert len(fan.figure().data) == 2


def test_what_cannot_be_forecast_is_said_as_elsewhere(predictor, candles):
    short = candles.between(None, int(candles.time[20]))
    with pytest.raises(TooFewCandlesError, match="Give more history"):
        predictor.forecast_fan(short)
    with pytest.raises(ConfigError, match=r"level=0\.5"):
        predictor.forecast_fan(candles, level=0.5)
    with pytest.raises(BundleError, match="1h"):
        predictor.forecast_fan(candles.resample("4h"))


def test_a_horizon_between_two_candles_is_refused_with_the_nearest_that_is_none(candles):
    with pytest.raises(ConfigError, match=r"'7h' is no multiple of the 6h .* such as 6h"):
        CandleDataModule(
            DataConfig(features=("close",), lookback=6, horizons=("1d", "7h")),
            [candles.resample("6h")],
        )
