"""`lstm-strategies train`: what it registers, prints and logs."""

from __future__ import annotations

import shutil

import pytest

from lightning_models.bundle import read_bundle
from lightning_models.candles.timestamps import milliseconds_of


@pytest.fixture(scope="module")
def place(migrated_database, tmp_path_factory):
    """A home for the versions that this file trains."""
    folder = tmp_path_factory.mktemp("trainings")
    shutil.copy(migrated_database, folder / "mlflow.db")
    return folder


@pytest.fixture(scope="module")
def train(cli, market, place, tiny_options):
    def run(*options, data=(market.sim_file,), name="coin", home=place):
        specs = [part for one in data for part in ("--data", one)]
        return cli(
            "train", "--preset", "quickstart", *specs, "--name", name, "--home", home,
            *tiny_options, *options,
        )  # fmt: skip

    return run


def test_it_prints_scores_a_verdict_the_version_and_the_way_to_the_runs(shop):
    ended = shop.ended.done()
    lines = ended.out.splitlines()
    assert ended.err == "3,000 1h candles of 1 symbol\n"
    assert any("log-loss" in line and "…" in line for line in lines)
    assert any(line.startswith("Skill found: over") for line in lines)
    assert any(line.startswith("registered as models:/tiny@champion (version 1)") for line in lines)
    assert lines[-1] == (
        f"runs and figures: mlflow ui --backend-store-uri sqlite:///{shop.home / 'mlflow.db'}"
    )


@pytest.mark.soak
def test_the_first_version_is_champion_the_next_challenger_and_promote_makes_it_champion(
    train, cli, place, market
):
    first = train().done()
    assert "models:/coin@champion (version 1)" in first.out
    second = train("--set", "training.seed=1").done()
    assert "models:/coin@challenger (version 2)" in second.out
    third = train("--set", "training.seed=2", "--promote").done()
    assert "models:/coin@champion (version 3)" in third.out
    rows = {one["version"]: one["aliases"] for one in cli("models", "--json", "--home", place).json}
    assert rows == {1: [], 2: ["challenger"], 3: ["champion"]}


@pytest.mark.soak
def test_a_refit_reaches_the_newest_candle_and_claims_no_metrics(train, cli, place, market):
    evaluated = train(name="refitted").done()
    (run,) = _words_after(evaluated.out, "run")
    ended = train("--refit", name="refitted").done()
    assert f"Not evaluated: its configuration was, by run {run}" in ended.out
    assert "log-loss" not in ended.out
    refit, first = cli("models", "--json", "--home", place).json[-2:]
    assert (refit["version"], first["version"]) == (2, 1)
    assert refit["metrics"] == {}
    assert first["metrics"]["test/log_loss"] is not None
    bundles = [read_bundle(path.parent) for path in place.glob("artifacts/refitted/**/bundle.json")]
    (bundle,) = [one for one in bundles if not one.metrics]
    assert bundle.evaluated_by == run
    close_of_last = int(market.sim.time[-1]) + market.sim.period_ms
    assert milliseconds_of(bundle.unseen_from) > close_of_last
    # So there is nothing yet to test it on.
    cli(
        "backtest", "--model", "models:/refitted/2", "--data", market.sim_file, "--home", place
    ).failed("nothing to trade on", "Give newer candles, or --in-sample")


def test_a_finished_run_has_nothing_to_resume(train):
    train(name="finished").done()
    train("--resume", "last", name="finished").failed("has finished", "nothing to resume")


@pytest.mark.soak
def test_symbols_are_counted_and_finer_candles_resampled(train, market):
    data = (market.sim_file, market.alt_file)
    ended = train("--timeframe", "2h", data=data, name="both").done()
    assert ended.err == "3,000 2h candles of 2 symbols\n"


@pytest.mark.soak
def test_the_environment_names_the_tracking_server(
    train, market, other_home, monkeypatch, tmp_path
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other_home.path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    ended = train(home=tmp_path / "unused", name="elsewhere").done()
    assert f"mlflow ui --backend-store-uri sqlite:///{other_home.path / 'mlflow.db'}" in ended.out
    assert not (tmp_path / "unused" / "mlflow.db").exists()


def _words_after(text, word):
    return [line.split(f"{word} ")[1] for line in text.splitlines() if f", {word} " in line]
