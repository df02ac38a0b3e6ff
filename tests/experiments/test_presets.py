"""The presets that are shipped, and those of a user."""

from __future__ import annotations

import pytest

from experiments.presets import load_train_config, preset_names
from lightning_models import simulate_market
from lightning_models.data.datamodule import CandleDataModule
from lightning_models.errors import ConfigError, TooFewCandlesError

SHIPPED = [
    "attention",
    "bidirectional",
    "ensemble",
    "gradient-boosting",
    "layer-norm",
    "logistic-regression",
    "majority-class",
    "multi-layer",
    "price-predictor",
    "quickstart",
    "statistical",
    "transformer",
    "triple-barrier",
    "univariate",
    "zero-return",
]


def test_the_presets_that_are_promised_are_shipped():
    assert preset_names() == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_preset_is_valid_and_goes_by_its_name(name):
    assert load_train_config(name).preset == name


def test_the_presets_hold_the_numbers_of_the_systems_they_follow():
    predictor = load_train_config("price-predictor")
    assert predictor.network.units == (128, 64, 32)
    assert predictor.data.lookback == 60
    assert len(predictor.data.features) == 7
    layers = load_train_config("multi-layer")
    assert (layers.network.hidden_size, layers.network.layers) == (128, 3)
    assert len(layers.data.features) == 20
    univariate = load_train_config("univariate")
    assert [feature.name for feature in univariate.data.features] == ["close"]
    assert (univariate.network.hidden_size, univariate.data.lookback) == (32, 20)
    assert (univariate.training.epochs, univariate.training.learning_rate) == (100, 0.001)
    assert load_train_config("layer-norm").network.units == predictor.network.units


def test_networks_that_can_run_as_a_stream_do_where_there_are_candles_for_chunks():
    modes = {name: load_train_config(name).data.mode for name in SHIPPED}
    assert {name for name, mode in modes.items() if mode == "sequence"} == {
        "layer-norm",
        "multi-layer",
    }


def test_five_hundred_candles_are_enough_for_the_univariate_preset():
    candles = simulate_market(candles=500, seed=1)
    data = CandleDataModule(load_train_config("univariate").data, candles)
    assert min(len(samples) for samples in data.samples.values()) >= 32
    shares = "{train: 0.7, validation: 0.1, calibration: 0.05, test: 0.15}"
    usual = load_train_config("univariate", [f"data.slices={shares}"])
    with pytest.raises(TooFewCandlesError, match="calibration slice"):
        CandleDataModule(usual.data, candles)


def test_a_file_of_the_users_own_goes_by_its_stem(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("network: {kind: multi-layer}\ndata: {features: [close, rsi]}\n")
    config = load_train_config(str(file), ["training.epochs=3"])
    assert (config.preset, config.training.epochs) == ("mine", 3)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: [1\n", "is no readable YAML: line 2, column 1"),
        (b"a: \x00", "is no readable YAML"),
        (b"- 1\n", "holds no mapping"),
        (b"", "holds no mapping"),
        (b"\xff\xff", "cannot be read"),
        (b"network: {kind: multi-layer}\n", "data is missing"),
        (b"1: 2\n", "mine.yaml"),
        (b"a: 2020-13-45\n", "is no readable YAML: month must be in"),
        (b"a: " + b"[" * 5000, "is no readable YAML"),
        (b"data: {}\nx: 1\ndata: {}\n", "line 3, column 1: data is there twice, first on line 1"),
        (b"x:\n  - {a: 1, 'a': 2}\n", "line 2, column 12: a is there twice, first on line 2"),
    ],
)
def test_a_broken_file_is_named(tmp_path, content, words):
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        load_train_config(str(file))


def test_a_key_of_a_mapping_that_is_laid_under_may_come_again(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "network: &own {<<: {kind: multi-layer, layers: 2}, <<: {hidden_size: 8}, layers: 3}\n"
        "data: {features: [close]}\n"
        "training: {epochs: 3}\n"
    )
    config = load_train_config(str(file))
    assert (config.network.layers, config.network.hidden_size) == (3, 8)


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'bidirectional'"):
        load_train_config("bidirectonal")
    with pytest.raises(ConfigError, match="known: attention, bidirectional"):
        load_train_config("zzz")


def test_a_file_of_ones_own_is_offered_in_a_sentence_of_its_own():
    for name, end in (("bidirectonal", "?"), ("zzz", f"{preset_names()[-1]}.")):
        with pytest.raises(ConfigError) as caught:
            load_train_config(name)
        assert f"{end} A file of your own is named by its path" in str(caught.value)
