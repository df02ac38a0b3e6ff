from __future__ import annotations

import shutil

import pytest

from lightning_models.errors import BundleError, ModelNotFoundError
from lightning_models.home import Home
from lightning_models.registry import Registry
from lstm_strategies import models
from lstm_strategies.models import cache_folder, predictor_of


@pytest.fixture(autouse=True)
def _nothing_loaded(monkeypatch):
    monkeypatch.setattr(models, "_loaded", {})


@pytest.fixture
def home(trained):
    return str(trained.home.path)


def test_alias_and_version_are_one_predictor(trained, home):
    by_alias = predictor_of(trained.champion, home)
    assert predictor_of(by_alias.model, home) is by_alias
    assert predictor_of(trained.champion, home) is by_alias
    assert by_alias.model == "models:/tiny/1"


def test_name_alone_is_its_champion_and_is_looked_up_each_time(trained, home, tmp_path):
    copied = tmp_path / "home"
    shutil.copytree(trained.home.path, copied)
    assert predictor_of("models:/tiny", str(copied)).model == "models:/tiny/1"
    registry = Registry(Home(copied))
    registry.client.delete_registered_model_alias("tiny", "champion")
    with pytest.raises(ModelNotFoundError):
        predictor_of("models:/tiny", str(copied))
    # A version is what it always was.
    assert predictor_of("models:/tiny/1", str(copied)).model == "models:/tiny/1"


def test_folder_is_read_each_time_and_shared_while_unchanged(trained, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(trained.model.path, folder)
    first = predictor_of(str(folder))
    assert predictor_of(str(folder)) is first
    (folder / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(BundleError):
        predictor_of(str(folder))


def test_homes_do_not_share_names(trained, home, other_home):
    predictor_of("models:/tiny/1", home)
    with pytest.raises(ModelNotFoundError):
        predictor_of("models:/tiny/1", str(other_home.path))


def test_home_of_the_environment_is_the_default(trained, home, monkeypatch):
    monkeypatch.setenv("LSTM_HOME", home)
    assert predictor_of(trained.champion).model == "models:/tiny/1"
    assert cache_folder() == cache_folder(home)
