"""`lstm-strategies models` and `models promote`."""

from __future__ import annotations

import os
import shutil

import pytest

from lightning_models.candles.timestamps import milliseconds_of


@pytest.fixture
def two_versions(shop, tmp_path):
    """A home with two versions of the model; a change of aliases stays in it."""
    import mlflow
    from mlflow.tracking import MlflowClient

    home = tmp_path / "two"
    home.mkdir()
    shutil.copy(shop.home / "mlflow.db", home / "mlflow.db")
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    mlflow.set_tracking_uri(client.tracking_uri)  # where the source of a version is looked up
    first = client.get_model_version("tiny", "1")
    second = client.create_model_version("tiny", first.source, first.run_id, tags=first.tags)
    client.set_registered_model_alias("tiny", "challenger", second.version)
    mlflow.set_tracking_uri(None)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    return home


def test_json_lists_every_version(cli, two_versions, bundle):
    ended = cli("models", "--json", "--home", two_versions).done()
    assert ended.err == ""
    second, first = ended.json
    assert set(first) == {
        "name", "version", "aliases", "symbols", "timeframe", "created_at", "metrics",
    }  # fmt: skip
    assert (first["name"], first["version"], first["aliases"]) == ("tiny", 1, ["champion"])
    assert (second["version"], second["aliases"]) == (2, ["challenger"])
    assert first["symbols"] == ["SIM/USDT"]
    assert first["timeframe"] == "1h"
    assert first["created_at"].endswith("Z")
    assert 0 < first["metrics"]["test/log_loss"] < 1


def test_a_table_without_json(cli, two_versions):
    ended = cli("models", "--home", two_versions).done()
    for words in ("tiny", "champion", "challenger", "1h SIM/USDT", "log-loss"):
        assert words in ended.out


def test_promote_makes_a_version_the_champion(cli, two_versions):
    ended = cli("models", "promote", "tiny", 2, "--home", two_versions).done()
    assert ended.out == "models:/tiny@champion is version 2\n"
    second, first = cli("models", "--json", "--home", two_versions).json
    assert (first["aliases"], second["aliases"]) == ([], ["champion"])


def test_promote_takes_the_home_that_stands_before_it(cli, two_versions):
    cli("models", "--home", two_versions, "promote", "tiny", 2).done()
    assert cli("models", "--json", "--home", two_versions).json[0]["aliases"] == ["champion"]


def test_promote_of_an_unknown_version_or_name_says_what_there_is(cli, two_versions):
    cli("models", "promote", "tiny", 9, "--home", two_versions).failed(
        "no model 'models:/tiny/9'", "models:/tiny/1", "models:/tiny/2"
    )
    cli("models", "promote", "tyni", 1, "--home", two_versions).failed(
        "no model 'models:/tyni/1'", "did you mean 'tiny'?"
    )
    cli("models", "promote", "tiny", "x", "--home", two_versions).failed("'x'", code=2)


def test_no_models_yet_says_how_to_train_one_and_leaves_nothing(cli, tmp_path):
    home = tmp_path / "empty"
    ended = cli("models", "--home", home)
    assert (ended.code, ended.out) == (0, "")
    assert "lstm-strategies train --preset price-predictor --data FILE --name NAME" in ended.err
    assert cli("models", "--json", "--home", home).json == []
    assert not home.exists()


def test_there_is_nothing_to_set(cli, shop):
    cli("models", "--home", shop.home, "--set", "a=1").failed("models has no settings", code=2)
    cli("models", "promote", "tiny", 1, "--set", "a=1").failed("has no settings", code=2)


def test_the_environment_names_the_home(cli, shop, monkeypatch):
    monkeypatch.setenv("LSTM_HOME", str(shop.home))
    assert cli("models", "--json").json[-1]["name"] == "tiny"


def test_an_option_goes_before_the_environment(cli, shop, monkeypatch, tmp_path):
    monkeypatch.setenv("LSTM_HOME", str(shop.home))
    assert cli("models", "--json", "--home", tmp_path).json == []


def test_two_homes_do_not_mix(cli, shop, home, market):
    assert cli("models", "--json", "--home", shop.home).json
    assert cli("models", "--json", "--home", home.path).json == []
    cli("predict", "--model", shop.champion, "--data", market.sim_file, "--home", home.path).failed(
        "no model 'models:/tiny@champion'", "holds none yet", "lstm-strategies train"
    )
    assert cli("models", "--json", "--home", shop.home).json


def test_the_tracking_server_of_the_environment_is_used(cli, shop, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shop.home / 'mlflow.db'}")
    assert cli("models", "--json", "--home", tmp_path).json[-1]["name"] == "tiny"


def test_creation_times_are_utc(cli, shop):
    from datetime import UTC, datetime

    created = datetime.fromisoformat(
        cli("models", "--json", "--home", shop.home).json[-1]["created_at"]
    )
    assert 0 <= milliseconds_of(datetime.now(UTC)) - milliseconds_of(created) < 3_600_000
