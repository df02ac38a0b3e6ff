"""Every feature of the table: causal, free of scale, finite, and what it says it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from experiments.presets import load_train_config
from lightning_models import simulate_market
from lightning_models.features import FEATURES, FeatureDefinition, FeatureSpec, compute_features


def _with_gaps(candles):
    # The simulated market opens where it closed, which would leave a feature at zero.
    ohlcv = candles.ohlcv.copy()
    inside = np.random.default_rng(0).uniform(0, 1, len(ohlcv))
    ohlcv[:, 0] = ohlcv[:, 2] + inside * (ohlcv[:, 1] - ohlcv[:, 2])
    return replace(candles, ohlcv=ohlcv)


CANDLES = _with_gaps(simulate_market(candles=900, seed=3)[0])


def table_of(candles, names, ohlcv=None):
    specs = [FeatureSpec.model_validate(name) for name in names]
    return compute_features(
        candles.time,
        candles.ohlcv if ohlcv is None else ohlcv,
        features=specs,
        timeframe=candles.timeframe,
        market=candles.market,
    )


def feature(name, ohlcv):
    candles = CANDLES.between(None, int(CANDLES.time[-1]) + 1)
    return table_of(candles, [name], ohlcv).values[:, 0]


def changed_by_the_future(name, cut):
    """Return whether rows up to `cut` differ once everything after it is gone or goes wild."""
    ohlcv = CANDLES.ohlcv
    whole = compute_features(CANDLES.time, ohlcv, features=[FeatureSpec(name=name)], timeframe="1h")
    short = compute_features(
        CANDLES.time[:cut], ohlcv[:cut], features=[FeatureSpec(name=name)], timeframe="1h"
    )
    wild = ohlcv.copy()
    wild[cut:] *= 7.0
    changed = compute_features(
        CANDLES.time, wild, features=[FeatureSpec(name=name)], timeframe="1h"
    )
    same = all(
        np.array_equal(whole.values[:cut], other.values[:cut], equal_nan=True)
        and np.array_equal(whole.volatility[:cut], other.volatility[:cut], equal_nan=True)
        for other in (short, changed)
    )
    return not same


@settings(max_examples=6)
@given(cut=st.integers(400, 899))
@pytest.mark.parametrize("name", sorted(FEATURES))
def test_a_feature_does_not_know_what_comes_later(name, cut):
    assert not changed_by_the_future(name, cut)


def test_a_centred_mean_is_caught(monkeypatch):
    def centred(ohlcv):
        return np.convolve(ohlcv[:, 3], np.ones(3) / 3, mode="same") / ohlcv[:, 3] - 1

    monkeypatch.setitem(FEATURES, "centred_mean", FeatureDefinition(centred, warmup=lambda: 1))
    assert changed_by_the_future("centred_mean", 500)


def test_a_feature_scaled_by_the_whole_series_is_caught(monkeypatch):
    def standardised(ohlcv):
        return (ohlcv[:, 3] - ohlcv[:, 3].mean()) / ohlcv[:, 3].std()

    monkeypatch.setitem(FEATURES, "zscore", FeatureDefinition(standardised, warmup=lambda: 1))
    assert changed_by_the_future("zscore", 500)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
@pytest.mark.parametrize("name", sorted(FEATURES))
def test_the_unit_of_prices_and_of_volume_does_not_show(name, factor):
    after = FeatureSpec(name=name).warmup
    plain = feature(name, CANDLES.ohlcv)[after:]
    prices = feature(name, CANDLES.ohlcv * [factor, factor, factor, factor, 1.0])[after:]
    volume = feature(name, CANDLES.ohlcv * [1.0, 1.0, 1.0, 1.0, factor])[after:]
    assert np.ptp(plain) > 0
    np.testing.assert_allclose(prices, plain, atol=1e-9)
    np.testing.assert_allclose(volume, plain, atol=1e-9)


def test_a_feature_in_quote_currency_is_caught(monkeypatch):
    monkeypatch.setitem(
        FEATURES, "price", FeatureDefinition(lambda ohlcv: ohlcv[:, 3], warmup=lambda: 0)
    )
    plain = feature("price", CANDLES.ohlcv)
    scaled = feature("price", CANDLES.ohlcv * [1e6, 1e6, 1e6, 1e6, 1.0])
    assert np.abs(plain - scaled).max() > 1


@pytest.mark.parametrize("price", [1e-6, 1.0, 65_432.1])
@pytest.mark.parametrize("name", sorted(FEATURES))
def test_a_feature_is_finite_on_flat_candles_without_volume(name, price):
    flat = np.column_stack([np.full((900, 4), price), np.zeros(900)])
    assert np.isfinite(feature(name, flat)[FeatureSpec(name=name).warmup :]).all()


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_a_feature_is_finite_where_trading_stops_and_starts_again(name):
    stopping = CANDLES.ohlcv.copy()
    for first, last in ((400, 520), (600, 605), (700, 899)):
        stopping[first:last, :4] = stopping[first - 1, 3]
        stopping[first:last, 4] = 0.0
    assert np.isfinite(feature(name, stopping)[FeatureSpec(name=name).warmup :]).all()


def test_a_naive_band_ratio_is_not_finite_there():
    flat = np.full(900, 5.0)
    upper, _, lower = talib.BBANDS(flat, timeperiod=20)
    with np.errstate(invalid="ignore", divide="ignore"):
        assert not np.isfinite(((flat - lower) / (upper - lower))[20:]).any()


@pytest.mark.parametrize("length", [1, 2, 3, 61])
def test_a_stretch_too_short_for_any_feature_gives_no_window(length):
    ohlcv = CANDLES.ohlcv.copy()
    ohlcv[100] = np.nan
    ohlcv[101 + length] = np.nan
    table = table_of(CANDLES, sorted(FEATURES), ohlcv)
    assert table.steps[101 : 101 + length].tolist() == list(range(1, length + 1))
    assert table.steps[100] == table.steps[101 + length] == 0
    assert not table.ends_window(4, 61, 0.05)[100:160].any()


def settled(name):
    # TA-Lib's stochastic begins where its signal line does, two candles later.
    return slice(FeatureSpec(name=name).warmup + 2, None)


def known_values():
    high, low, close = (np.ascontiguousarray(CANDLES.ohlcv[:, c]) for c in (1, 2, 3))
    macd, signal, histogram = talib.MACD(close)
    upper, middle, lower = talib.BBANDS(close, timeperiod=20, nbdevup=2, nbdevdn=2)
    slow_k, _ = talib.STOCH(high, low, close, fastk_period=14, slowk_period=3, slowd_period=3)
    ema_12, ema_26 = talib.EMA(close, 12), talib.EMA(close, 26)
    return {
        "rsi": talib.RSI(close, 14) / 50 - 1,
        "atr": talib.ATR(high, low, close, 14) / close,
        "adx": talib.ADX(high, low, close, 14) / 50 - 1,
        "macd": macd / close,
        "macd_signal": signal / close,
        "macd_histogram": histogram / close,
        "stochastic_k": slow_k / 50 - 1,
        "bb_upper": upper / close - 1,
        "bb_middle": middle / close - 1,
        "bb_lower": lower / close - 1,
        "ema_12": np.log(close / ema_12),
        "ema_26": np.log(close / ema_26),
        "ema_fast": np.log(close / ema_12),
        "ema_slow": np.log(close / ema_26),
        "sma_20": np.log(close / talib.SMA(close, 20)),
        "sma_50": np.log(close / talib.SMA(close, 50)),
    }


# RSI and ADX fade on quiet stretches, which TA-Lib's do not: close, but not the same.
LOOSE = {"rsi": 1e-2, "adx": 1e-2}


@pytest.mark.parametrize("name", sorted(known_values()))
def test_a_feature_is_the_indicator_of_its_name(name):
    np.testing.assert_allclose(
        feature(name, CANDLES.ohlcv)[settled(name)],
        known_values()[name][settled(name)],
        atol=LOOSE.get(name, 1e-9),
    )


def test_prices_are_log_ratios_to_the_last_close():
    close = CANDLES.ohlcv[:, 3]
    for name, column, base in (("open", 0, -1), ("close", 3, -1), ("high", 1, 0), ("low", 2, 0)):
        expected = np.log(CANDLES.ohlcv[1:, column] / (close[:-1] if base else close[1:]))
        np.testing.assert_allclose(feature(name, CANDLES.ohlcv)[1:], expected)


def test_volume_is_a_log_ratio_to_its_trailing_median():
    values = feature("volume", CANDLES.ohlcv)
    for row in (60, 400, 899):
        volume = CANDLES.ohlcv[row - 59 : row + 1, 4]
        assert values[row] == pytest.approx(np.log(volume[-1] / np.median(volume)))


def test_obv_is_the_balance_of_volume_over_its_window():
    close, volume = CANDLES.ohlcv[:, 3], CANDLES.ohlcv[:, 4]
    signed = np.sign(np.diff(close, prepend=close[0])) * volume
    row = 500
    expected = signed[row - 19 : row + 1].sum() / volume[row - 19 : row + 1].sum()
    assert feature("obv", CANDLES.ohlcv)[row] == pytest.approx(expected)


def test_presets_have_the_feature_sets_of_the_systems_they_stand_for():
    price_predictor = ["close", "volume", "high", "low", "rsi", "ema_fast", "ema_slow"]
    technical = ["open", "high", "low", "close", "volume", "rsi", "macd", "macd_signal"]
    technical += ["macd_histogram", "bb_upper", "bb_middle", "bb_lower", "sma_20", "sma_50"]
    technical += ["ema_12", "ema_26", "atr", "adx", "stochastic_k", "obv"]
    for preset, expected in (("price-predictor", price_predictor), ("multi-layer", technical)):
        features = load_train_config(preset).data.features
        assert [one.name for one in features] == expected
    by_name = {one.name: one for one in load_train_config("price-predictor").data.features}
    assert by_name["rsi"].parameters == {"period": 14}
    assert by_name["ema_fast"].parameters == {"period": 12}
    assert by_name["ema_slow"].parameters == {"period": 26}


def test_a_misspelt_feature_names_its_neighbour():
    with pytest.raises(ValidationError, match=r"unknown feature 'rsii': did you mean 'rsi'"):
        FeatureSpec.model_validate("rsii")


def test_a_misspelt_parameter_names_its_neighbour():
    with pytest.raises(ValidationError, match=r"no parameter 'peroid': did you mean 'period'"):
        FeatureSpec(name="rsi", parameters={"peroid": 14})
    with pytest.raises(ValidationError, match=r"no parameter 'period': none"):
        FeatureSpec(name="close", parameters={"period": 14})


@pytest.mark.parametrize("period", [0, 1, -3, 14.5, float("nan"), float("inf"), 1e9])
def test_a_period_is_a_whole_number_of_candles(period):
    with pytest.raises(ValidationError, match=r"whole number of candles|finite number"):
        FeatureSpec(name="rsi", parameters={"period": period})


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_the_shortest_periods_still_compute(name):
    spec = FeatureSpec(name=name)
    shortest = {key: 2 for key in spec.parameters if key.endswith("period")}
    changed = FeatureSpec(name=name, parameters=shortest)
    table = compute_features(CANDLES.time, CANDLES.ohlcv, features=[changed], timeframe="1h")
    assert np.isfinite(table.values[changed.warmup :]).all()


def test_a_feed_without_volume_is_fine_where_no_feature_needs_it():
    ohlcv = CANDLES.ohlcv.copy()
    ohlcv[:, 4] = np.nan
    without = table_of(CANDLES, ["close", "rsi"], ohlcv)
    np.testing.assert_array_equal(without.values, table_of(CANDLES, ["close", "rsi"]).values)
    assert (table_of(CANDLES, ["close", "volume"], ohlcv).steps == 0).all()
