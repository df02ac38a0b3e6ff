"""Python code of the user's own, named on the command line."""

from __future__ import annotations

import sys

import pytest

from experiments.user_code import load_features, load_strategy
from lightning_models.errors import ConfigError
from lightning_models.features import forget_feature, own_features

FEATURE = """
from lightning_models.features import register_feature
register_feature("from_a_file", lambda ohlcv: ohlcv[:, 3] * 0, warmup=0)
"""

STRATEGY = """
import backtrader as bt
class Mine(bt.Strategy):
    pass
number = 3
"""


@pytest.fixture(autouse=True)
def _no_features_of_ones_own():
    modules = set(sys.modules)
    for name in own_features():
        forget_feature(name)
    yield
    for name in own_features():
        forget_feature(name)
    for name in set(sys.modules) - modules:
        if name.startswith(("user_", "my_")):
            del sys.modules[name]


def test_features_of_a_file_are_registered(tmp_path):
    (tmp_path / "my_features.py").write_text(FEATURE)
    load_features(str(tmp_path / "my_features.py"))
    assert "from_a_file" in own_features()


def test_module_in_the_current_folder_is_found_and_the_path_left_alone(tmp_path, monkeypatch):
    (tmp_path / "my_features_module.py").write_text(FEATURE)
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    load_features("my_features_module")
    assert "from_a_file" in own_features()
    assert sys.path == before


def test_strategy_of_a_file_or_a_package(tmp_path):
    (tmp_path / "mine.py").write_text(STRATEGY)
    assert load_strategy(f"{tmp_path / 'mine.py'}:Mine").__name__ == "Mine"
    assert load_strategy("lstm_strategies:LSTMStrategy").__name__ == "LSTMStrategy"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("1 / 0", "failed while it was read, with ZeroDivisionError"),
        ("import nothing_of_that_name", "needs the module 'nothing_of_that_name'"),
        ("x = 3", "registers no feature"),
    ],
)
def test_file_without_features_is_wrong_use(tmp_path, content, words):
    (tmp_path / "bad.py").write_text(content)
    with pytest.raises(ConfigError, match=words):
        load_features(str(tmp_path / "bad.py"))


@pytest.mark.parametrize(
    ("source", "words"),
    [("missing.py", "no such file"), ("no_such_module_at_all", "is installed or lies in")],
)
def test_missing_code_is_wrong_use(source, words):
    with pytest.raises(ConfigError, match=words):
        load_features(source)


@pytest.mark.parametrize(
    ("name", "words"),
    [("Mien", "did you mean 'Mine'"), ("number", "no backtrader strategy"), ("", "write it as")],
)
def test_wrong_strategy_is_wrong_use(tmp_path, name, words):
    (tmp_path / "mine.py").write_text(STRATEGY)
    with pytest.raises(ConfigError, match=words):
        load_strategy(f"{tmp_path / 'mine.py'}:{name}")
