"""The weights of a model's last window, as numbers and as a figure."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from lightning_models import simulate_market
from lightning_models.bundle import write_bundle
from lightning_models.data.datamodule import CandleDataModule, DataConfig
from lightning_models.errors import ConfigError, NoForecastError, TooFewCandlesError
from lightning_models.evaluation.attention import attention_figure, attention_weights
from lightning_models.export import export_bundle
from lightning_models.loading import load_predictor_from
from lightning_models.networks import build_network
from lightning_models.networks.attention import AttentionConfig
from lightning_models.networks.bidirectional import BidirectionalConfig

LOOKBACK = 24
CANDLES = simulate_market(candles=900, seed=6)[0]


def predictor_of(config, folder):
    torch.manual_seed(0)
    data = CandleDataModule(
        DataConfig(features=("close", "volume", "high"), lookback=LOOKBACK), CANDLES
    )
    network = build_network(config, features=3, horizons=1).eval()
    write_bundle(folder, export_bundle(network, config, data), network)
    return load_predictor_from(folder, "btc")


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    """A model with attention, its weights as they were drawn."""
    config = AttentionConfig(hidden_size=5, layers=1, attention_size=4)
    return predictor_of(config, tmp_path_factory.mktemp("attention") / "bundle")


def without(candles, rows):
    keep = np.setdiff1d(np.arange(len(candles)), rows)
    return replace(
        candles, time=candles.time[keep], ohlcv=candles.ohlcv[keep], incomplete=np.zeros(0, bool)
    )


def test_there_is_a_weight_for_each_candle_of_the_last_window(predictor):
    weights = attention_weights(predictor, CANDLES)
    assert list(weights.columns) == ["timestamp", "weight"]
    opened = CANDLES.to_frame()["timestamp"].tail(LOOKBACK)
    assert weights["timestamp"].tolist() == opened.tolist()
    assert weights["weight"].sum() == pytest.approx(1.0, abs=1e-6)
    assert (weights["weight"] > 0).all()


def test_weights_come_from_the_features_that_the_forecast_is_made_from(predictor):
    weights = attention_weights(predictor, CANDLES)["weight"].to_numpy()
    frame = attention_weights(predictor, CANDLES.to_frame())["weight"].to_numpy()
    np.testing.assert_array_equal(frame, weights)
    changed = CANDLES.ohlcv.copy()
    changed[-5, 4] *= 3.0
    other = attention_weights(predictor, replace(CANDLES, ohlcv=changed))["weight"].to_numpy()
    assert np.abs(other - weights).max() > 1e-4


def test_earlier_candles_than_the_required_ones_are_not_looked_at(predictor):
    weights = attention_weights(predictor, CANDLES)
    enough = CANDLES.between(int(CANDLES.time[-predictor.required_bars]), None)
    pd.testing.assert_frame_equal(attention_weights(predictor, enough), weights)
    later = attention_weights(predictor, CANDLES.between(None, int(CANDLES.time[-1])))
    assert not np.allclose(later["weight"], weights["weight"], atol=1e-6)


def test_a_missing_candle_has_its_row(predictor):
    weights = attention_weights(predictor, without(CANDLES, [890]))
    assert len(weights) == LOOKBACK
    assert set(weights["timestamp"].diff().dropna()) == {pd.Timedelta(hours=1)}


def test_where_there_is_no_forecast_there_are_no_weights(predictor):
    with pytest.raises(TooFewCandlesError, match="Give more history"):
        attention_weights(predictor, CANDLES.between(None, int(CANDLES.time[50])))
    with pytest.raises(NoForecastError, match="are missing"):
        attention_weights(predictor, without(CANDLES, [885, 888, 891]))


def test_a_network_without_attention_is_refused(tmp_path):
    plain = predictor_of(BidirectionalConfig(hidden_size=3, layers=1), tmp_path / "bundle")
    for ask in (attention_weights, attention_figure):
        with pytest.raises(ConfigError, match=r"btc is .* 'bidirectional'.* --preset attention"):
            ask(plain, CANDLES)


@pytest.mark.parametrize("missing", [[], [890]])
def test_the_figure_shows_the_close_and_the_weights_of_the_same_candles(predictor, missing):
    candles = without(CANDLES, missing)
    weights = attention_weights(predictor, candles)["weight"].to_numpy()
    figure = attention_figure(predictor, candles)
    price, share = figure.axes
    (line,) = price.lines
    shown = LOOKBACK - len(missing)
    np.testing.assert_array_equal(line.get_ydata(), candles.ohlcv[-shown:, 3])
    heights = [bar.get_height() for bar in share.patches]
    np.testing.assert_allclose(heights, weights)
    assert price.get_xlim() == share.get_xlim()
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    assert stream.getvalue().startswith(b"\x89PNG")


def test_torch_and_matplotlib_are_loaded_when_they_are_needed():
    program = (
        "import sys; import lightning_models.evaluation.attention; "
        "assert not {'matplotlib', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
