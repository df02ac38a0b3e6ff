"""Configurations: what they accept, and what they say of the rest."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from experiments.config import BacktestConfig, TrainConfig, flatten, parse_settings, validated
from experiments.presets import load_train_config
from experiments.walk_forward import WalkForwardConfig
from lightning_models.errors import ConfigError

MINIMAL = {"preset": "mine", "network": {"kind": "bidirectional"}, "data": {"features": ["close"]}}

NAMES = st.text("abcdefgh_", min_size=1, max_size=6)
TREES = st.recursive(
    st.integers() | st.booleans() | st.text("xyz", min_size=1),
    lambda below: st.dictionaries(NAMES, below, min_size=1, max_size=3),
    max_leaves=8,
).filter(lambda tree: isinstance(tree, dict))


def test_settings_lie_over_the_file_and_leave_the_rest():
    plain = load_train_config("quickstart")
    changed = load_train_config("quickstart", ["training.epochs=3", "data.slices.test=0.15"])
    assert changed.training.epochs == 3
    assert changed.training.batch_size == plain.training.batch_size
    assert changed.data == plain.data
    assert changed.network == plain.network


@given(tree=TREES)
def test_flattened_settings_come_back_as_the_tree(tree):
    import json

    settings = [f"{path}={json.dumps(value)}" for path, value in flatten(tree).items()]
    assert parse_settings(settings) == tree


def test_a_later_setting_of_the_same_key_wins():
    assert parse_settings(["a=1", "a=2"]) == {"a": 2}


@pytest.mark.parametrize("settings", [["a=1", "a.b=2"], ["a.b=2", "a=1"], ["a.b=1", "a.b.c=2"]])
def test_a_branch_and_its_leaf_are_not_both_settable(settings):
    with pytest.raises(ConfigError, match=r"--set gives both a.* and a.*: leave out one"):
        parse_settings(settings)


@pytest.mark.parametrize("setting", ["a", "=1", ".a=1", "a..b=1", "a.=1", " =1"])
def test_a_setting_without_a_path_or_a_value_is_refused(setting):
    with pytest.raises(ConfigError, match="unreadable --set"):
        parse_settings([setting])


def test_every_problem_is_named_with_its_path():
    content = {
        "network": {"kind": "price-predictor", "unit": [1], "dropout": 1.5},
        "data": {"features": ["close", {"name": "rsi", "paramters": {}}], "slices": {"tran": 1}},
        "trainig": {},
    }
    with pytest.raises(ConfigError) as error:
        validated(TrainConfig, content, ["training.seed=-1"], origin="mine.yaml")
    told = str(error.value)
    assert told.startswith("mine.yaml: ")
    for words in (
        "unknown key 'network.unit': did you mean 'network.units'?",
        "network.dropout=1.5",
        "unknown key 'data.features.1.paramters': did you mean 'data.features.1.parameters'?",
        "unknown key 'data.slices.tran': did you mean 'data.slices.train'?",
        "unknown key 'trainig': did you mean 'training'?",
        "training.seed=-1",
    ):
        assert words in told


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (
            {"kind": "bidirektional"},
            "network.kind: no 'bidirektional': did you mean 'bidirectional'",
        ),
        ({}, "network.kind is missing"),
        ({"kind": None}, "network.kind: no 'None'"),
        (5, "network=5"),
    ],
)
def test_an_unknown_network_names_those_there_are(network, words):
    with pytest.raises(ConfigError, match=words):
        validated(TrainConfig, {**MINIMAL, "network": network}, origin="x")


def test_a_value_that_fits_no_kind_is_named_once():
    with pytest.raises(ConfigError) as error:
        validated(TrainConfig, MINIMAL, ["data.horizons=[0, []]"], origin="x")
    assert str(error.value).count("data.horizons.0") == 1
    assert "data.horizons.0=0: give more than 0, or" in str(error.value)


def test_refused_features_are_not_said_to_be_missing():
    with pytest.raises(ConfigError) as error:
        validated(TrainConfig, MINIMAL, ["data.features=[clos]"], origin="x")
    assert "did you mean 'close'?" in str(error.value)
    assert "at least 1 item" not in str(error.value)
    with pytest.raises(ConfigError, match="at least 1 item"):
        validated(TrainConfig, MINIMAL, ["data.features=[]"], origin="x")


def test_configurations_are_frozen():
    config = BacktestConfig(model="m")
    with pytest.raises(ValueError, match="frozen"):
        config.cash = 5.0


def test_times_without_a_zone_are_utc():
    config = validated(
        BacktestConfig,
        {"model": "m"},
        ["start=2022-01-02", "end=2022-01-02T05:00+02:00"],
        origin="x",
    )
    assert config.start == datetime(2022, 1, 2, tzinfo=UTC)
    assert config.end == datetime(2022, 1, 2, 3, tzinfo=UTC)


def test_a_period_without_length_is_refused():
    same = {"model": "m", "start": "2022-01-02", "end": "2022-01-02"}
    with pytest.raises(ConfigError, match="not after its start"):
        validated(BacktestConfig, same, origin="x")


@pytest.mark.parametrize(
    "setting",
    [
        "cash=0", "cash=.inf", "cash=.nan", "min_confidence=-0.1", "min_edge=.inf", "top_share=1.1",
        "risk_per_trade=0", "atr_period=0", "atr_stop=-1", "taker_fee=1", "leverage=0.5",
        "funding_rate=0.1", "days_back=0", "slippage=-0.1",
        "replications=10", "seed=-1", "start=yesterday", "end=2022",
    ],
)  # fmt: skip
def test_a_value_out_of_its_range_is_named(setting):
    name = setting.partition("=")[0]
    with pytest.raises(ConfigError, match=f"backtest: {name}="):
        validated(BacktestConfig, {"model": "m"}, [setting], origin="backtest")


def test_what_mlflow_logs_builds_the_same_configuration():
    config = validated(BacktestConfig, {"model": "m", "start": "2022-01-02"}, origin="x")
    dumped = config.model_dump(mode="json")
    assert validated(BacktestConfig, dumped, origin="x") == config
    train = load_train_config("price-predictor")
    assert validated(TrainConfig, train.model_dump(mode="json"), origin="x") == train


@pytest.mark.parametrize(
    "setting",
    [
        f"{name}={value}"
        for name in (
            "training.learning_rate",
            "training.weight_decay",
            "training.gradient_clip",
            "network.dropout",
            "data.bridged_share",
            "data.slices.test",
        )
        for value in (".inf", "-.inf", ".nan")
    ],
)
def test_numbers_that_are_infinite_or_none_are_refused(setting):
    name = setting.partition("=")[0]
    with pytest.raises(ConfigError, match=f"{name}="):
        load_train_config("quickstart", [setting])


def test_a_model_may_be_given_by_its_path(tmp_path):
    assert BacktestConfig(model=tmp_path / "bundle").model == str(tmp_path / "bundle")
    assert BacktestConfig(model="models:/btc@champion").model == "models:/btc@champion"
    with pytest.raises(ConfigError, match="model"):
        validated(BacktestConfig, {"model": 3}, origin="x")


def _models_within(annotation, found):
    for part in get_args(annotation):
        _models_within(part, found)
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    if is_model and annotation not in found:
        found.append(annotation)
        for field in annotation.model_fields.values():
            _models_within(field.annotation, found)
    return found


@pytest.mark.parametrize("config", [TrainConfig, BacktestConfig, WalkForwardConfig])
def test_no_number_of_any_part_of_a_configuration_may_be_infinite(config):
    # A part does not take this over from the whole it belongs to: each has to say it.
    lax = [
        (part.__name__, name)
        for part in _models_within(config, [])
        for name, field in part.model_fields.items()
        if "float" in str(field.annotation) and part.model_config.get("allow_inf_nan") is not False
    ]
    assert lax == []


def test_a_part_that_takes_infinite_numbers_is_found():
    class Lax(BaseModel):
        rate: float

    class Whole(BaseModel):
        parts: tuple[Lax, ...] | None = None

    assert _models_within(Whole, []) == [Whole, Lax]
