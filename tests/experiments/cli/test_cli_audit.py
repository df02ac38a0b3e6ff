"""`lstm-strategies audit`: 0 where nothing looks ahead, 1 where something does, 2 on wrong use."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from lightning_models.features import forget_feature, own_features

SAMPLE = Path(__file__).parents[3] / "samples/audit_own_feature.py"
SMALL = ("--set", "data.lookback=8", "--set")

STRATEGY = """
import backtrader as bt


class Peeks(bt.Strategy):
    params = (("size", 1.0),)

    def next(self):
        if self.data.close[1] > self.data.close[0] and not self.position:
            self.buy(size=self.p.size)
        elif self.position:
            self.close()


class Waits(Peeks):
    def next(self):
        if len(self) > 1 and self.data.close[0] > self.data.close[-1] and not self.position:
            self.buy(size=self.p.size)
        elif self.position:
            self.close()
"""


@pytest.fixture(autouse=True)
def _features_forgotten():
    before = set(own_features())
    yield
    for name in set(own_features()) - before:
        forget_feature(name)
    for name in [name for name in sys.modules if name.startswith("user_")]:
        del sys.modules[name]


@pytest.fixture
def strategies(tmp_path):
    path = tmp_path / "peeking.py"
    path.write_text(STRATEGY)
    return path


def test_clean_preset_ends_with_0_and_says_so(cli, market):
    ended = cli("audit", "--preset", "quickstart", "--data", market.sim_file, *SMALL,
                "data.features=[close, rsi]").done()  # fmt: skip
    assert "✓" in ended.out
    assert "✗" not in ended.out
    assert "No look-ahead found in 9 checks of preset quickstart" in ended.out


def test_leak_in_a_users_own_feature_ends_with_1_and_names_feature_bar_and_cause(cli, market):
    ended = cli("audit", "--preset", "quickstart", "--data", market.sim_file, "--features", SAMPLE,
                *SMALL, "data.features=[close, range_place, centred_momentum]")  # fmt: skip
    assert ended.code == 1
    assert ended.err == ""
    lines = [line for line in ended.out.splitlines() if line.startswith("✗ ")]
    assert all("centred_momentum(9)" in line for line in lines)
    assert "of SIM/USDT at 20" in lines[0]
    assert "4 candles later, by " in lines[0]
    assert "Usually: it reads ahead" in lines[0]
    assert "range_place" not in ended.out


def test_json_alone_on_standard_output(cli, market):
    ended = cli("audit", "--preset", "quickstart", "--data", market.sim_file, "--features", SAMPLE,
                *SMALL, "data.features=[centred_momentum]", "--json")  # fmt: skip
    assert ended.code == 1
    assert ended.json["clean"] is False
    first = ended.json["checks"][0]
    assert first["status"] == "failed"
    assert first["findings"][0]["subject"] == "centred_momentum(9)"
    assert first["findings"][0]["time"].endswith("Z")


def test_registered_model_is_audited_whole(cli, market, shop):
    ended = cli("audit", "--model", shop.champion, "--data", market.sim_file, "--home", shop.home)
    ended.done()
    for name in ("forecasts: one bar at a time", "calibration: its own slice only"):
        assert name in ended.out
    assert "models:/tiny/1" in ended.out


@pytest.mark.soak
def test_strategy_that_peeks_ends_with_1_and_an_honest_one_with_0(cli, market, strategies):
    peeks = cli("audit", "--strategy", f"{strategies}:Peeks", "--data", market.sim_file)
    assert peeks.code == 1
    assert "data.close[1]" in peeks.out
    cli("audit", "--strategy", f"{strategies}:Waits", "--data", market.sim_file,
        "--set", "size=2").done()  # fmt: skip


def test_candles_are_resampled_to_the_timeframe(cli, market):
    ended = cli("audit", "--preset", "quickstart", "--data", market.sim_file, *SMALL,
                "data.features=[close]", "--timeframe", "2h").done()  # fmt: skip
    assert "each 2h candle has closed when it appears" in ended.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "audit needs --preset"),
        (("--preset", "quickstart", "--model", "x"), "not both"),
        (("--preset", "quickstart", "--strategy", "a:B"), "audit runs a strategy with a model"),
        (("--model", "x", "--set", "a=1"), "a model is audited as it is"),
        (("--preset", "quickstrat"), "quickstart"),
        (("--preset", "quickstart", "--features", "none.py"), "there is no such file"),
        (("--strategy", "nothing"), "unreadable --strategy"),
    ],
)
def test_wrong_use_ends_with_2(cli, market, options, words):
    cli("audit", "--data", market.sim_file, *options).failed(words, code=2)


@pytest.mark.soak
def test_model_with_an_own_feature_loads_only_where_it_is_registered(
    cli, market, migrated_database, tmp_path, tiny_options
):
    home = tmp_path / "own"
    home.mkdir()
    shutil.copy(migrated_database, home / "mlflow.db")
    place = ("--home", home)
    options = [*tiny_options, "--set", "data.features=[close, range_place]"]
    cli("train", "--preset", "quickstart", "--data", market.sim_file, "--name", "own", *place,
        *options, "--features", SAMPLE)  # fmt: skip
    (model,) = home.glob("artifacts/**/bundle.json")
    forget_feature("range_place")
    ended = cli("predict", "--model", model.parent, "--data", market.sim_file, *place)
    ended.failed("trained with range_place", "--features FILE")
    again = ("--model", model.parent, "--data", market.sim_file, *place, "--features", SAMPLE)
    assert cli("predict", *again, "--json").done().json
    cli("audit", *again).done()
