"""The registry: versions of a name, their aliases, and what MLflow itself makes of them."""

from __future__ import annotations

import os
import shutil
import sqlite3

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from lightning_models import load_predictor
from lightning_models.bundle import bundle_sha256
from lightning_models.errors import BundleError, ConfigError, ModelNotFoundError, StorageError
from lightning_models.home import Home, find_home
from lightning_models.pyfunc import _load_pyfunc
from lightning_models.registry import CHALLENGER, CHAMPION, Registry, check_name, storage_error


def register(home, trained, name="btc", *, promote=False):
    """Register the trained model once more, in another home."""
    registry = Registry(home)
    found = mlflow.get_experiment_by_name("of-tests")
    experiment = (
        found.experiment_id
        if found
        else mlflow.create_experiment("of-tests", artifact_location=home.artifacts.as_uri())
    )
    with mlflow.start_run(experiment_id=experiment) as run:
        return registry.register(
            trained.model.path, name=name, run_id=run.info.run_id, promote=promote
        )


def aliases(home, name="btc"):
    found = MlflowClient(home.tracking_uri).get_registered_model(name).aliases
    return {alias: int(version) for alias, version in found.items()}


def test_the_first_version_is_the_champion_and_later_ones_challenge_it(home, trained):
    first, second, third = (register(home, trained) for _ in range(3))
    assert [first.alias, second.alias, third.alias] == [CHAMPION, CHALLENGER, CHALLENGER]
    assert aliases(home) == {CHAMPION: 1, CHALLENGER: 3}
    assert (first.uri, first.version) == ("models:/btc/1", 1)


def test_a_version_can_become_the_champion_at_once(home, trained):
    register(home, trained)
    assert register(home, trained, promote=True).alias == CHAMPION
    assert aliases(home) == {CHAMPION: 2}


def test_promoting_moves_the_alias_and_a_predictor_keeps_the_version_it_had(home, trained):
    register(home, trained)
    register(home, trained)
    before = load_predictor("models:/btc@champion", home=home)
    Registry(home).promote("btc", 2)
    assert aliases(home) == {CHAMPION: 2}
    assert before.model == "models:/btc/1"
    assert load_predictor("models:/btc@champion", home=home).model == "models:/btc/2"
    assert load_predictor("models:/btc", home=home).model == "models:/btc/2"
    assert load_predictor("models:/btc/1", home=home).model == "models:/btc/1"


def test_where_the_champion_was_taken_away_the_next_version_takes_its_place(home, trained):
    register(home, trained)
    MlflowClient(home.tracking_uri).delete_registered_model_alias("btc", CHAMPION)
    assert register(home, trained).alias == CHAMPION


def test_an_unknown_model_lists_what_there_is_and_how_to_train_it(home, trained):
    register(home, trained)
    for model in ("models:/btc@champio", "models:/btc/7"):
        with pytest.raises(ModelNotFoundError) as caught:
            load_predictor(model, home=home)
        assert "There is models:/btc@champion, models:/btc/1" in str(caught.value)
        assert "lstm-strategies train" not in str(caught.value)
    with pytest.raises(ModelNotFoundError) as caught:
        load_predictor("models:/btv@champion", home=home)
    assert "did you mean 'btc'? Registered: btc; `lstm-strategies models`" in str(caught.value)
    assert "To train it: lstm-strategies train --preset" in str(caught.value)
    with pytest.raises(ModelNotFoundError, match=r"did you mean 'models:/btc@champion'"):
        load_predictor("models:/btc@champio", home=home)


def test_an_empty_registry_says_how_to_train_the_first(home):
    with pytest.raises(ModelNotFoundError, match=r"holds none yet.*--name eth"):
        load_predictor("models:/eth@champion", home=home)


@pytest.mark.parametrize("model", ["models:/", "models:/a/b/c", "models:/a@b@c", "models:a"])
def test_a_model_that_cannot_be_read_is_refused(home, model):
    with pytest.raises(ConfigError, match=r"give models:/NAME@champion, models:/NAME/3 or"):
        load_predictor(model, home=home)


def test_promoting_what_is_not_there_changes_nothing(home, trained):
    register(home, trained)
    with pytest.raises(ModelNotFoundError):
        Registry(home).promote("btc", 9)
    assert aliases(home) == {CHAMPION: 1}


def test_two_homes_in_one_process_do_not_mix(home, other_home, trained):
    first, second = Registry(home), Registry(other_home)
    register(home, trained, "mine")
    register(other_home, trained, "theirs")
    assert first.names() == ["mine"]
    assert second.names() == ["theirs"]
    assert load_predictor("models:/mine@champion", home=home).model == "models:/mine/1"
    # The first registry still finds its own files although the second spoke last.
    assert first.resolve("models:/mine@champion")[0].is_relative_to(home.path)
    with pytest.raises(ModelNotFoundError):
        load_predictor("models:/mine@champion", home=other_home)


def test_the_users_tracking_server_is_used_where_one_is_named(
    home, other_home, trained, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", other_home.tracking_uri)
    register(home, trained)
    assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{other_home.path / 'mlflow.db'}"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert Registry(home).names() == []
    assert Registry(other_home).names() == ["btc"]


def test_using_a_home_leaves_no_tracking_server_behind_for_the_next(home, trained):
    register(home, trained)
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_entries_show_every_version_of_every_model(home, trained):
    register(home, trained, "btc")
    register(home, trained, "btc")
    register(home, trained, "a-model")
    rows = [(row.name, row.version, row.aliases) for row in Registry(home).entries()]
    assert rows == [
        ("a-model", 1, (CHAMPION,)),
        ("btc", 2, (CHALLENGER,)),
        ("btc", 1, (CHAMPION,)),
    ]
    row = Registry(home).entries()[0]
    assert (row.symbols, row.timeframe) == (("SIM/USDT",), "1h")
    assert row.metrics == trained.model.metrics


def test_models_of_other_projects_on_a_shared_server_are_left_alone(home, trained):
    register(home, trained)
    client = MlflowClient(home.tracking_uri, home.tracking_uri)
    client.create_registered_model("theirs")
    foreign = home.path / "foreign"
    foreign.mkdir()
    (foreign / "weights.bin").write_bytes(b"x")
    client.create_model_version("theirs", foreign.as_uri())
    assert [row.name for row in Registry(home).entries()] == ["btc"]
    with pytest.raises(ModelNotFoundError, match=r"was not registered by lstm-strategies.*btc/1"):
        load_predictor("models:/theirs/1", home=home)


def test_a_damaged_version_does_not_hide_the_others(home, trained, caplog):
    damaged = register(home, trained)
    register(home, trained)
    (damaged.path / "bundle.json").write_text("{}")
    assert [row.version for row in Registry(home).entries()] == [2]
    assert "models:/btc/1 is left out" in caplog.text


def test_more_models_than_fit_on_a_page_are_all_named(home):
    client = MlflowClient(home.tracking_uri, home.tracking_uri)
    for number in range(105):
        client.create_registered_model(f"model-{number:03}")
    assert len(Registry(home).names()) == 105


def test_a_version_is_tagged_with_the_hash_of_its_bundle(home, trained):
    made = register(home, trained)
    version = MlflowClient(home.tracking_uri).get_model_version("btc", str(made.version))
    assert version.tags["lstm.bundle_sha256"] == bundle_sha256(made.path)
    assert made.path.is_relative_to(home.path)


def candles_as(times, trained):
    frame = trained.candles[0].to_frame().tail(120).reset_index(drop=True)
    frame.attrs = {}
    stamps = frame["timestamp"]
    if times == "text":
        frame["timestamp"] = stamps.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    elif times == "without a zone":
        frame["timestamp"] = stamps.dt.tz_localize(None)
    elif times == "nanoseconds":
        frame["timestamp"] = stamps.astype("datetime64[ns, UTC]")
    return frame


@pytest.fixture(scope="module")
def served(trained):
    Registry(trained.home)
    return mlflow.pyfunc.load_model(trained.champion)


@pytest.mark.parametrize("times", ["with a zone", "without a zone", "text", "nanoseconds"])
def test_mlflow_itself_loads_and_asks_a_model(served, trained, times):
    frame = candles_as(times, trained)
    lines = served.predict(frame)
    expected = trained.predictor().predict_batch(trained.candles[0].to_frame().tail(120))
    np.testing.assert_allclose(lines.to_numpy(), expected.to_numpy(), equal_nan=True)
    assert isinstance(lines, pd.DataFrame)


def test_mlflow_accepts_candles_whose_prices_are_whole_numbers(served):
    count = 100
    frame = pd.DataFrame({"timestamp": pd.date_range("2022", periods=count, freq="h", tz="UTC")})
    for column in ("open", "high", "low", "close", "volume"):
        frame[column] = np.full(count, 100.0)
    assert np.isfinite(served.predict(frame)["confidence"].iloc[-1])


def test_the_description_of_a_logged_model_names_no_pickle(trained):
    root = trained.model.path
    while not (root / "MLmodel").is_file():
        root = root.parent
    text = (root / "MLmodel").read_text()
    assert "lightning_models.pyfunc" in text
    for word in ("pickle", ".pkl", "python_model", "code_paths", "cloudpickle"):
        assert word not in text
        assert word not in (root / "requirements.txt").read_text()


def test_mlflow_finds_a_bundle_in_a_folder_or_below_it(trained, tmp_path):
    with pytest.raises(BundleError, match="no model of this project"):
        _load_pyfunc(str(tmp_path))
    shutil.copytree(trained.model.path, tmp_path / "data" / "bundle")
    for folder in (tmp_path, tmp_path / "data", trained.model.path):
        assert _load_pyfunc(str(folder)).predictor.required_bars == 68


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "a@b", "-a", " ", "a'b", "a\nb"])
def test_a_name_that_aliases_cannot_carry_is_refused(name):
    with pytest.raises(ConfigError, match="cannot name a model"):
        check_name(name)


def test_a_damaged_database_is_told(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(StorageError, match=r"cannot be used: .*choose another --home"):
        Registry(Home(tmp_path)).names()


def test_a_database_of_a_newer_mlflow_is_told(home):
    with sqlite3.connect(home.path / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    database.close()
    with pytest.raises(StorageError, match="cannot be used"):
        Registry(home).names()


def test_files_of_a_registered_model_that_were_deleted_are_told(home, trained):
    made = register(home, trained)
    shutil.rmtree(made.path)
    with pytest.raises((ModelNotFoundError, StorageError)):
        load_predictor("models:/btc@champion", home=home)


def test_a_home_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot be made.*--home or \$LSTM_HOME"):
        Home(tmp_path / "file" / "home").create()


def test_the_home_is_the_one_given_or_the_users_own(tmp_path, monkeypatch):
    assert find_home(tmp_path).path == tmp_path
    assert find_home(Home(tmp_path)).path == tmp_path
    monkeypatch.setenv("LSTM_HOME", str(tmp_path / "set"))
    assert find_home().path == tmp_path / "set"
    monkeypatch.delenv("LSTM_HOME")
    assert find_home().path.is_absolute()


def test_a_file_is_no_home(tmp_path):
    (tmp_path / "home").write_text("")
    with pytest.raises(StorageError, match="home is a file: choose another with --home"):
        find_home(tmp_path / "home")


SERVER = "postgresql://me:p4ssw0rd@db/mlflow"


def test_no_message_of_a_server_that_fails_holds_its_password(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", SERVER)
    told = str(storage_error(Home(tmp_path), OSError(f"cannot connect to {SERVER}")))
    assert told.count("postgresql://me:***@db/mlflow") == 2
    assert "p4ssw0rd" not in told
    assert "MLFLOW_TRACKING_URI" in told


@pytest.mark.filterwarnings("ignore:Query string argument")
def test_an_empty_registry_is_named_without_its_password(home, monkeypatch):
    database = f"sqlite:///{home.path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{database}?password=p4ssw0rd")
    with pytest.raises(ModelNotFoundError, match=r"password=\*\*\* holds none yet"):
        load_predictor("models:/eth@champion", home=home)


@pytest.mark.parametrize("server", [SERVER, "http://me:p4ssw0rd@host:5000"])
def test_the_command_that_opens_the_pages_holds_no_password(tmp_path, monkeypatch, server):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    assert Home(tmp_path).ui_command.endswith(server.replace("p4ssw0rd", "***"))


def test_names_far_from_any_model_are_followed_by_those_there_are(home, trained):
    register(home, trained)
    with pytest.raises(ModelNotFoundError, match=r"'models:/zzzzzzzzzzzz/1': Registered: btc;"):
        load_predictor("models:/zzzzzzzzzzzz/1", home=home)
