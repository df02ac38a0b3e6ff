"""`--set` and YAML of `train`, as a user meets their mistakes."""

from __future__ import annotations

import pytest


@pytest.fixture
def train(cli, market, home):
    def run(*options, preset="quickstart"):
        return cli(
            "train", "--preset", preset, "--data", market.sim_file, "--name", "x",
            "--home", home.path, *options,
        )  # fmt: skip

    return run


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("trainng.epochs=3", "unknown key 'trainng': did you mean 'training'?"),
        ("training.epoch=3", "unknown key 'training.epoch': did you mean 'training.epochs'?"),
        (
            "network.hiden_size=3",
            "did you mean 'network.hidden_size'?",
        ),
        (
            "data.slices.tain=0.5",
            "did you mean 'data.slices.train'",
        ),
        (
            "data.features=[{nam: rsi}]",
            "did you mean 'data.features.0.name'?",
        ),
        ("training.epochs=many", "training.epochs='many': give a whole number"),
        ("epochs=3", "unknown key 'epochs': did you mean 'training.epochs'?"),
        ("network.kind=multi", "network.kind: no 'multi': did you mean 'multi-layer'?"),
        ("data.features=[clos]", "unknown feature 'clos': did you mean 'close'?"),
        ("training", "unreadable --set 'training': write it as training.epochs=3"),
        ("=3", "unreadable --set '=3'"),
        ("training.epochs=[1", "is no YAML value"),
    ],
)
def test_a_mistake_is_named_with_its_path_and_what_was_meant(train, setting, words):
    train("--set", setting).failed(words, code=2)


def test_all_mistakes_are_named_at_once(train):
    train(
        "--set", "training.epoch=3", "--set", "network.layers=0", "--set", "data.lookback=x"
    ).failed("'training.epoch'", "network.layers=0", "data.lookback='x'", code=2)


def test_mistakes_in_a_file_are_named_the_same_way(train, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("network: {kind: multi-layer, hiden: 3}\ndata: {features: [close]}\nextra: 1\n")
    train(preset=file).failed(f"preset {file}", "'network.hiden'", "unknown key 'extra'", code=2)


def test_unreadable_yaml_is_named_with_its_line(train, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("network:\n  kind: [multi-layer\n")
    train(preset=file).failed(f"{file} is no readable YAML", "line 3, column 1", code=2)
    file.write_text("just text")
    train(preset=file).failed("holds no mapping", code=2)
    file.write_bytes(b"\xff\xfe\x00")
    train(preset=file).failed("cannot be read", code=2)
