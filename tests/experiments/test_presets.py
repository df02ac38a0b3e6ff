"""The presets that are shipped, and those of a user."""

from __future__ import annotations

import pytest

from experiments.presets import load_train_config, preset_names
from lightning_models.errors import ConfigError

SHIPPED = ["bidirectional", "multi-layer", "price-predictor", "quickstart"]


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
    ],
)
def test_a_broken_file_is_named(tmp_path, content, words):
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        load_train_config(str(file))


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'bidirectional'"):
        load_train_config("bidirectonal")
    with pytest.raises(ConfigError, match="known: bidirectional, multi-layer"):
        load_train_config("zzz")
