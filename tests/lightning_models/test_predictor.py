"""The predictor: the same forecast in bulk and alone, from the past alone, or none."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_models import Forecast, load_predictor, simulate_market
from lightning_models.bundle import write_bundle
from lightning_models.candles import Candles
from lightning_models.data.datamodule import CandleDataModule, DataConfig
from lightning_models.errors import (
    BundleError,
    CandleError,
    ConfigError,
    ModelNotFoundError,
    NoForecastError,
    TooFewCandlesError,
)
from lightning_models.export import export_bundle
from lightning_models.forecast import LINE_NAMES, ForecastArrays, forecast_lines
from lightning_models.inference import NetworkRunner
from lightning_models.networks import build_network
from lightning_models.networks.multi_layer import MultiLayerConfig

MARKET = simulate_market(candles=700, seed=12, signal=0.3)[0]
PRICES = ("predicted_price", "lower", "upper")


@pytest.fixture(scope="module")
def predictor(trained):
    return trained.predictor()


@pytest.fixture(scope="module")
def recursive(tmp_path_factory):
    """A model over every kind of feature, two horizons, with weights as they were drawn."""
    config = DataConfig(
        features=("close", "volume", "rsi", "adx", "macd", "bb_upper", "obv", "stochastic_k"),
        lookback=12,
        horizons=(1, "4h"),
    )
    data = CandleDataModule(config, simulate_market(candles=1800, seed=11))
    network_config = MultiLayerConfig(hidden_size=8, layers=2)
    network = build_network(network_config, features=8, horizons=2).eval()
    bundle = export_bundle(network, network_config, data)
    folder = write_bundle(tmp_path_factory.mktemp("bundles") / "recursive", bundle, network)
    return load_predictor(folder)


def with_holes(candles, holes):
    keep = np.setdiff1d(np.arange(len(candles)), holes)
    return replace(
        candles, time=candles.time[keep], ohlcv=candles.ohlcv[keep], incomplete=np.zeros(0, bool)
    )


def assert_latest_agrees(predictor, candles, row, batch, horizon):
    until = candles.between(None, int(candles.time[row]) + 1)
    line = batch.iloc[row]
    if np.isnan(line["confidence"]):
        with pytest.raises(NoForecastError):
            predictor.predict_latest(until, horizon=horizon)
        return
    latest = predictor.predict_latest(until, horizon=horizon)
    assert latest.confidence == pytest.approx(line["confidence"], abs=1e-5)
    assert latest.change_pct / 100 == pytest.approx(line["change_pct"] / 100, abs=1e-5)
    for name in PRICES:
        assert getattr(latest, name) == pytest.approx(line[name], rel=1e-5)
    if abs(line["confidence"] - 0.5) > 1e-5:
        assert latest.direction == line["direction"]


@settings(max_examples=10)
@given(
    holes=st.sets(st.integers(1, 698), max_size=30),
    rows=st.sets(st.integers(0, 200), min_size=1, max_size=4),
    horizon=st.sampled_from(["1h", "4h"]),
)
def test_one_forecast_equals_the_one_in_bulk_on_every_bar(recursive, holes, rows, horizon):
    candles = with_holes(simulate_market(candles=1400, seed=13)[0], np.array(sorted(holes)) + 690)
    batch = recursive.predict_batch(candles, horizon=horizon)
    for row in rows:
        assert_latest_agrees(recursive, candles, len(candles) - 1 - 3 * row, batch, horizon)


def test_bars_around_real_holes_agree(recursive, real_hours):
    start = 1_515_000_000_000
    candles = real_hours("BTC_USDT").between(start, start + 1500 * 3_600_000)
    batch = recursive.predict_batch(candles)
    holes = np.flatnonzero(np.diff(candles.time) > candles.period_ms)
    around = [row for hole in holes for row in (hole, hole + 1, hole + 2, hole + 12, hole + 13)]
    checked = [row for row in around if recursive.required_bars <= row < len(candles)]
    assert checked
    for row in checked:
        assert_latest_agrees(recursive, candles, row, batch, "")
    missing = np.isnan(batch["confidence"].to_numpy()[recursive.required_bars :])
    assert missing.any()
    assert not missing.all()


@settings(max_examples=10)
@given(cut=st.integers(80, 699))
def test_a_forecast_does_not_know_what_comes_later(predictor, cut):
    whole = predictor.forecast_arrays(MARKET.time, MARKET.ohlcv)
    wild = MARKET.ohlcv.copy()
    wild[cut:] *= 9.0
    for time, ohlcv in ((MARKET.time[:cut], MARKET.ohlcv[:cut]), (MARKET.time, wild)):
        other = predictor.forecast_arrays(time, ohlcv)
        np.testing.assert_allclose(
            other.probability[:cut], whole.probability[:cut], atol=1e-6, equal_nan=True
        )
        np.testing.assert_allclose(
            other.quantiles[:cut], whole.quantiles[:cut], atol=1e-6, equal_nan=True
        )


def test_a_forecast_that_looked_one_candle_ahead_would_be_caught(predictor):
    whole = predictor.forecast_arrays(MARKET.time, MARKET.ohlcv).probability
    ahead = np.vstack([whole[1:], whole[-1:]])
    wild = MARKET.ohlcv.copy()
    wild[400:] *= 9.0
    changed = predictor.forecast_arrays(MARKET.time, wild).probability
    changed_ahead = np.vstack([changed[1:], changed[-1:]])
    assert np.nanmax(np.abs(changed_ahead[:400] - ahead[:400])) > 1e-6


def test_there_is_a_row_for_each_candle_with_the_frames_own_index(predictor):
    frame = MARKET.to_frame()
    frame.index = [f"row {number}" for number in range(len(frame))]
    batch = predictor.predict_batch(frame)
    assert tuple(batch.columns) == LINE_NAMES
    assert batch.index.equals(frame.index)
    assert predictor.predict_batch(MARKET).index.equals(pd.RangeIndex(700))
    by_time = MARKET.to_frame().set_index("timestamp")
    assert predictor.predict_batch(by_time).index.equals(by_time.index)


def test_the_first_forecast_comes_with_the_required_bars(predictor):
    batch = predictor.predict_batch(MARKET)
    first = predictor.required_bars - 1
    assert predictor.required_bars == predictor.lookback + predictor.warmup == 8 + 60
    assert batch.iloc[:first].isna().to_numpy().all()
    assert batch.iloc[first:].notna().to_numpy().all()


def test_too_few_candles_give_no_line_in_bulk_and_say_how_many_are_needed_alone(predictor):
    few = MARKET.between(None, int(MARKET.time[67]))
    assert predictor.predict_batch(few).isna().to_numpy().all()
    with pytest.raises(TooFewCandlesError, match=r"has 67 1h candles; .* needs 68: 60 to warm"):
        predictor.predict_latest(few)
    predictor.predict_latest(MARKET.between(None, int(MARKET.time[68])))


def test_a_window_with_too_many_missing_candles_gives_no_forecast(predictor):
    holed = with_holes(MARKET, [400])
    batch = predictor.predict_batch(holed)
    # One of eight is more than five per cent, until the hole has left the window.
    assert batch["signal"].isna().to_numpy()[398:410].tolist() == [False] * 2 + [True] * 7 + (
        [False] * 3
    )
    with pytest.raises(NoForecastError, match=r"more than 5% of its last 8 candles are missing"):
        predictor.predict_latest(holed.between(None, int(holed.time[405])))


@pytest.mark.parametrize("column", range(5))
def test_an_unusable_row_restarts_the_warm_up(predictor, column):
    ohlcv = MARKET.ohlcv.copy()
    ohlcv[300, column] = np.nan
    broken = predictor.forecast_arrays(MARKET.time, ohlcv)
    plain = predictor.forecast_arrays(MARKET.time, MARKET.ohlcv)
    np.testing.assert_allclose(
        broken.probability[:300], plain.probability[:300], atol=1e-6, equal_nan=True
    )
    assert np.isnan(broken.probability[300 : 300 + 68]).all()
    np.testing.assert_allclose(broken.probability[368:], plain.probability[368:], atol=1e-6)
    rows = slice(301, 301 + 68)
    latest, _ = predictor.forecast_latest(MARKET.time[rows], ohlcv[rows])
    np.testing.assert_allclose(latest, broken.probability[368], atol=1e-6)
    rows = slice(300, 300 + 68)
    assert np.isnan(predictor.forecast_latest(MARKET.time[rows], ohlcv[rows])[0]).all()


def test_broken_candles_in_a_frame_are_refused_by_row(predictor):
    frame = MARKET.to_frame()
    frame.loc[5, "close"] = np.nan
    with pytest.raises(CandleError, match="row 5"):
        predictor.predict_batch(frame)


def test_another_timeframe_is_refused_with_what_to_do(predictor):
    minutes = simulate_market(candles=700, timeframe="15m", seed=1)[0]
    with pytest.raises(BundleError, match=r"another timeframe: resample them with read_candles"):
        predictor.predict_batch(minutes)
    with pytest.raises(BundleError, match="reads 1h candles"):
        predictor.predict_latest(MARKET.resample("6h"))


def test_an_unknown_horizon_names_the_ones_there_are(recursive):
    assert recursive.horizons == ("1h", "4h")
    with pytest.raises(ConfigError, match=r"does not forecast '3h': known: 1h, 4h"):
        recursive.predict_batch(MARKET, horizon="3h")


def test_each_horizon_has_its_own_forecast_and_the_first_is_the_default(recursive):
    short, long = (recursive.predict_batch(MARKET, horizon=each) for each in ("1h", "4h"))
    pd.testing.assert_frame_equal(recursive.predict_batch(MARKET), short)
    last = -1
    width = (short["upper"] - short["lower"]).iloc[last], (long["upper"] - long["lower"]).iloc[last]
    assert width[1] > 1.5 * width[0]
    assert recursive.predict_latest(MARKET, horizon="4h").horizon == "4h"


def test_a_symbol_never_trained_on_can_be_forecast(predictor):
    frame = replace(MARKET, symbol="NEW/USDT").to_frame()
    frame[["open", "high", "low", "close"]] *= 1e-6
    forecast = predictor.predict_latest(frame)
    assert forecast.symbol == "NEW/USDT"
    assert forecast.confidence == pytest.approx(
        predictor.predict_latest(MARKET).confidence, abs=1e-5
    )
    assert forecast.symbol not in predictor.bundle.symbols


def test_a_forecast_is_stamped_at_the_end_of_its_candle_and_speaks_json(predictor):
    forecast = predictor.predict_latest(MARKET)
    stamp = int(MARKET.time[-1]) + 3_600_000 - 1
    assert round(forecast.time.timestamp() * 1000) == stamp
    content = json.loads(forecast.model_dump_json())
    assert content["time"] == pd.Timestamp(stamp, unit="ms").strftime("%Y-%m-%dT%H:%M:%S.999Z")
    assert tuple(content) == (
        *("symbol", "time", "horizon", "price", "direction", "change_pct", "lower", "upper"),
        *("interval", "confidence", "predicted_price", "model"),
    )
    assert content["price"] == MARKET.ohlcv[-1, 3]
    assert content["predicted_price"] == pytest.approx(
        content["price"] * (1 + content["change_pct"] / 100)
    )
    assert Forecast.model_validate(content) == forecast


def test_bars_stamped_at_their_end_give_the_same_forecasts(predictor):
    frame = MARKET.to_frame()
    frame["timestamp"] += pd.Timedelta(hours=1) - pd.Timedelta(milliseconds=1)
    pd.testing.assert_frame_equal(predictor.predict_batch(frame), predictor.predict_batch(MARKET))


def test_two_threads_get_what_one_gets(predictor):
    expected = predictor.predict_batch(MARKET)
    with ThreadPoolExecutor(2) as pool:
        batches = list(pool.map(lambda _: predictor.predict_batch(MARKET), range(4)))
        latest = list(pool.map(lambda _: predictor.predict_latest(MARKET), range(8)))
    for batch in batches:
        pd.testing.assert_frame_equal(batch, expected)
    assert len(set(latest)) == 1


def test_a_predictor_leaves_its_candles_and_itself_as_they_are(predictor):
    frame, before = MARKET.to_frame(), MARKET.to_frame()
    first = predictor.predict_batch(frame)
    pd.testing.assert_frame_equal(frame, before)
    predictor.predict_batch(simulate_market(candles=400, seed=77)[0])
    pd.testing.assert_frame_equal(predictor.predict_batch(frame), first)


@given(
    up=st.floats(0, 1),
    median=st.floats(-0.1, 0.1),
    spread=st.floats(0, 0.1),
    least=st.floats(0, 1),
)
def test_a_signal_is_the_direction_where_it_is_sure_and_the_median_agrees(
    up, median, spread, least
):
    arrays = ForecastArrays(
        np.array([[up]]), np.array([[[median - spread, median, median + spread]]])
    )
    lines = forecast_lines(arrays, np.array([200.0]), horizon=0, min_confidence=least)
    line = {name: float(values[0]) for name, values in lines.items()}
    assert line["direction"] == (1 if up >= 0.5 else -1)
    assert line["confidence"] == max(up, 1 - up)
    agrees = median * line["direction"] > 0
    assert line["signal"] == (line["direction"] if agrees and max(up, 1 - up) >= least else 0)
    assert line["lower"] <= line["predicted_price"] <= line["upper"]


def test_without_a_forecast_every_line_is_nan():
    arrays = ForecastArrays(np.full((2, 1), np.nan), np.full((2, 1, 3), np.nan))
    lines = forecast_lines(arrays, np.ones(2), horizon=0, min_confidence=0.0)
    assert all(np.isnan(values).all() for values in lines.values())


def test_a_folder_that_is_not_there_says_how_models_are_named(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"no such folder.*models:/NAME@champion"):
        load_predictor(tmp_path / "nothing")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"bundle\.json is missing"):
        load_predictor(tmp_path)


@pytest.mark.parametrize("threads", ["0", "two", "-1"])
def test_an_unreadable_number_of_threads_is_refused(predictor, monkeypatch, threads):
    monkeypatch.setenv("LSTM_THREADS", threads)
    with pytest.raises(ConfigError, match="give a number of threads"):
        predictor.predict_latest(MARKET)


def test_a_runner_asks_for_no_gradients(predictor):
    network = build_network(MultiLayerConfig(hidden_size=2, layers=1), features=1, horizons=1)
    NetworkRunner(network, 3)
    assert not any(weight.requires_grad for weight in network.parameters())


@pytest.mark.parametrize("given", [MARKET.ohlcv, [1.0, 2.0], 3, None])
def test_what_are_no_candles_is_refused_with_what_to_give(predictor, given):
    message = f"not from a {type(given).__name__}: give a DataFrame with a column timestamp"
    for predict in (predictor.predict_batch, predictor.predict_latest):
        with pytest.raises(ConfigError, match=message):
            predict(given)


@pytest.mark.parametrize("path", ["/x.csv", Path("/x.csv")])
def test_a_path_is_to_be_read_first(predictor, path):
    for predict in (predictor.predict_batch, predictor.predict_latest):
        with pytest.raises(ConfigError, match=r"read it first, with read_candles\('/x\.csv'\)$"):
            predict(path)


@pytest.mark.parametrize("model", [3, None, ["models:/a@champion"]])
def test_what_names_no_model_is_refused_with_what_does(model):
    with pytest.raises(ConfigError, match=r"names no model: give models:/NAME@champion"):
        load_predictor(model)


def test_at_another_timeframe_it_counts_the_same_candles(trained):
    predictor, candles = trained.predictor(), trained.candles[0]
    other = predictor.at_timeframe("4h")
    stretched = Candles(
        symbol=candles.symbol,
        timeframe="4h",
        market=candles.market,
        time=candles.time[0] // 14_400_000 * 14_400_000
        + np.arange(len(candles), dtype=np.int64) * 14_400_000,
        ohlcv=candles.ohlcv,
    )
    np.testing.assert_allclose(
        other.predict_batch(stretched)["confidence"], predictor.predict_batch(candles)["confidence"]
    )
    assert other.timeframe == "4h"
    assert other.sha256 != predictor.sha256
    assert other.horizons == ("4h",)
    with pytest.raises(BundleError, match="reads 1h candles"):
        predictor.predict_batch(stretched)
