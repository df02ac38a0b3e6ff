"""`lstm-strategies ensemble`, and `predict` step by step."""

from __future__ import annotations

import shutil

import pytest
import torch

from lightning_models import load_predictor
from lightning_models.bundle import write_bundle
from lightning_models.candles import iso_utc
from lightning_models.data.datamodule import CandleDataModule, DataConfig
from lightning_models.export import export_bundle
from lightning_models.networks import build_network
from lightning_models.networks.multi_layer import MultiLayerConfig


def untrained(folder, candles, **data):
    """A bundle of fresh weights."""
    module = CandleDataModule(DataConfig(features=("close", "volume"), lookback=6, **data), candles)
    config = MultiLayerConfig(hidden_size=4, layers=1)
    torch.manual_seed(0)
    network = build_network(config, features=2, horizons=len(module.horizons)).eval()
    return write_bundle(folder, export_bundle(network, config, module), network)


def test_two_models_become_one_that_forecasts(cli, shop, market, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(shop.home, home)  # other tests count the models of the shop
    second = untrained(tmp_path / "second", [market.sim])
    ended = cli(
        "ensemble", "--member", shop.champion, "--member", second,
        "--data", market.sim_file, "--name", "both", "--home", home,
    ).done()  # fmt: skip
    told = " ".join(ended.out.split())
    assert "Members" in told
    assert "models:/tiny/1" in told
    assert "Members count by their log-loss gain" in told
    assert "registered as models:/both@champion (version 1)" in told
    forecast = cli(
        "predict", "--model", "models:/both", "--data", market.sim_file, "--home", home,
        "--json",
    ).done()  # fmt: skip
    assert forecast.json[0]["model"] == "models:/both/1"


@pytest.mark.parametrize(
    ("options", "words", "code"),
    [
        ((), "at least two", 2),
        (("--member", "models:/nobody"), "no model 'models:/nobody'", 1),
    ],
)
def test_members_that_are_not_there_are_asked_for(cli, shop, market, options, words, code):
    cli(
        "ensemble", "--member", shop.champion, *options, "--data", market.sim_file,
        "--name", "none", "--home", shop.home,
    ).failed(words, code=code)  # fmt: skip


def test_steps_give_a_path_as_json_and_as_a_table(cli, bundle, market):
    asked = ("predict", "--model", bundle, "--data", market.sim_file, "--steps", "6")
    (fan,) = cli(*asked, "--json").done().json
    expected = load_predictor(bundle).forecast_path(market.sim, steps=6)
    assert fan == expected.to_json()
    assert [step["candles"] for step in fan["steps"]] == [1, 2, 3, 4, 5, 6]
    table = cli(*asked, "--level", "0.95").done().out
    assert "95% bounds" in table
    # Stamps lie just before the end of a bar; a reader is told when it closes.
    assert [step["time"][-10:] for step in fan["steps"]] == ["59:59.999Z"] * 6
    closes = [iso_utc(int(time) + 1) for time in expected.times]
    assert [line.split()[1] for line in table.splitlines() if "%)" in line] == closes


def test_steps_and_a_horizon_of_the_models_own_exclude_each_other(cli, bundle, market):
    cli(
        "predict", "--model", bundle, "--data", market.sim_file, "--steps", "6",
        "--set", "horizon=1h",
    ).failed("leave out one of the two", code=2)  # fmt: skip


def test_steps_beyond_all_reason_are_refused(cli, bundle, market):
    cli(
        "predict", "--model", bundle, "--data", market.sim_file, "--steps", "0"
    ).failed("from 1 to 1,000", code=2)  # fmt: skip


@pytest.mark.soak
def test_each_of_several_horizons_is_forecast(cli, market, tmp_path):
    model = untrained(tmp_path / "far", [market.sim], horizons=("1h", "4h", "1d"))
    asked = ("predict", "--model", model, "--data", market.sim_file)
    fan = load_predictor(model).forecast_fan(market.sim).to_json()["steps"]
    every = cli(*asked, "--json").done().json
    assert [one["horizon"] for one in every] == [step["horizon"] for step in fan]
    assert [one["lower"] for one in every] == pytest.approx([step["lower"] for step in fan])
    lines = cli(*asked).done().out.splitlines()
    for one in every:
        (row,) = [line for line in lines if line.startswith("SIM") and one["horizon"] in line]
        assert f"{one['confidence']:.1%}" in row
    (day,) = cli(*asked, "--json", "--set", "horizon=1d").done().json
    assert day["horizon"] == "1d"
    cli(*asked, "--set", "horizon=2d").failed("2d", code=2)
    cli(*asked, "--steps", "3").done()
