"""Features of the user's own: registered, checked, used and forgotten."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from lightning_models import simulate_market
from lightning_models.bundle import read_bundle
from lightning_models.errors import BundleError, ConfigError, FeatureError
from lightning_models.features import (
    FEATURES,
    FeatureSpec,
    compute_features,
    forget_feature,
    own_features,
    register_feature,
    unknown_features,
)

CANDLES = simulate_market(candles=200, seed=5)[0]


@pytest.fixture(autouse=True)
def _forgotten():
    before = set(own_features())
    yield
    for name in set(own_features()) - before:
        forget_feature(name)


def body(ohlcv):
    return np.log(ohlcv[:, 3] / ohlcv[:, 0])


def values_of(*names):
    features = [FeatureSpec(name=name) for name in names]
    return compute_features(CANDLES.time, CANDLES.ohlcv, features=features, timeframe="1h").values


def test_registered_feature_is_used_like_a_shipped_one():
    register_feature("candle_body", body, warmup=0)
    assert "candle_body" in own_features()
    assert np.array_equal(values_of("candle_body", "close")[:, 0], body(CANDLES.ohlcv))


def test_parameters_have_defaults_and_may_set_the_warmup():
    def change(ohlcv, period):
        return np.log(ohlcv[:, 3] / np.roll(ohlcv[:, 3], int(period)))

    register_feature("change", change, warmup=lambda period: int(period), defaults={"period": 5})
    assert FeatureSpec(name="change").warmup == 5
    assert FeatureSpec(name="change", parameters={"period": 9}).label == "change(9)"
    with pytest.raises(ValidationError, match="period must be a whole number"):
        FeatureSpec(name="change", parameters={"period": 2.5})


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("close", {"warmup": 0}, "is shipped and cannot be replaced"),
        ("my feature", {"warmup": 0}, "use letters, digits and underscores"),
        ("mine", {"warmup": -1}, "0 or more"),
        ("mine", {"warmup": True}, "0 or more"),
        ("mine", {"warmup": 0, "defaults": {"period": "5"}}, "no name with a number"),
    ],
)
def test_what_cannot_be_meant_is_refused(name, options, words):
    before = dict(FEATURES)
    with pytest.raises(ConfigError, match=words):
        register_feature(name, body, **options)
    assert before == FEATURES


def test_something_that_is_no_function_is_refused():
    with pytest.raises(ConfigError, match="give a function"):
        register_feature("mine", 3, warmup=0)


def test_feature_cannot_change_the_rows_of_the_next_one():
    def spoils(ohlcv):
        ohlcv[:, 3] = 1.0
        return ohlcv[:, 3]

    register_feature("spoils", spoils, warmup=0)
    with pytest.raises(FeatureError, match="'spoils' failed on 200 candles with ValueError"):
        values_of("spoils", "close")


def test_volume_is_there_only_for_features_that_ask_for_it():
    # Otherwise a feature would see volume or not, depending on its neighbours.
    register_feature("quiet", lambda ohlcv: ohlcv[:, 4], warmup=0)
    register_feature("loud", lambda ohlcv: ohlcv[:, 4], warmup=0, needs_volume=True)
    quiet, loud = values_of("quiet", "loud").T
    assert (quiet == 0).all()
    assert np.array_equal(loud, CANDLES.ohlcv[:, 4])


def test_wrong_shape_is_told():
    register_feature("short", lambda ohlcv: ohlcv[1:, 3], warmup=0)
    with pytest.raises(FeatureError, match=r"returned the shape \(199,\) for 200 candles"):
        values_of("short")


def test_forgotten_feature_is_unknown():
    register_feature("passing", body, warmup=0)
    spec = FeatureSpec(name="passing")
    forget_feature("passing")
    assert unknown_features(["close", "passing"]) == ("passing",)
    with pytest.raises(FeatureError, match="not registered in this process"):
        _ = spec.definition
    with pytest.raises(ConfigError, match="never registered"):
        forget_feature("close")


def test_bundle_with_an_unregistered_feature_says_what_to_do(trained, tmp_path):
    import shutil

    folder = shutil.copytree(trained.model.path, tmp_path / "bundle")
    text = (folder / "bundle.json").read_text()
    (folder / "bundle.json").write_text(text.replace('"volume"', '"volume_of_mine"'))
    with pytest.raises(BundleError, match=r"volume_of_mine.*register_feature.*--features FILE"):
        read_bundle(folder)
