"""What a user gets wrong about files, models and options, and what is said about it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from lightning_models import simulate_market


@pytest.fixture
def frame(market):
    return market.sim.to_frame()


@pytest.fixture
def predict(cli, bundle):
    """Forecast from files, each a specification of ``--data``."""

    def run(*specs, model=bundle, options=()):
        data = [part for spec in specs for part in ("--data", spec)]
        return cli("predict", "--model", model, *data, *options)

    return run


@pytest.fixture
def write(tmp_path):
    """Write a frame to a file and return its path."""

    def to_file(frame, name="SIM_USDT.parquet"):
        path = tmp_path / name
        (frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path))
        return path

    return to_file


TRAIN = "lstm-strategies train"


class TestBrokenCandles:
    def test_a_missing_number_names_its_row(self, predict, write, frame):
        frame.loc[17, "close"] = np.nan
        predict(write(frame)).failed("SIM_USDT.parquet", "row 17, column 'close'", "repair")

    def test_disorder_names_its_row_and_both_times(self, predict, write, frame):
        frame.loc[[20, 21], "timestamp"] = frame.loc[[21, 20], "timestamp"].to_numpy()
        predict(write(frame)).failed("row 21", "2020-01-06T20:00:00Z", "sort the candles")

    def test_a_double_names_both_rows(self, predict, write, frame):
        doubled = pd.concat([frame[:31], frame[30:]], ignore_index=True)
        predict(write(doubled)).failed("rows 30 and 31 both have the time", "remove one")

    def test_a_missing_column_is_named(self, predict, write, frame):
        predict(write(frame.drop(columns="volume"))).failed("volume")

    def test_a_high_below_the_close_names_its_row(self, predict, write, frame):
        frame.loc[5, "high"] = frame.loc[5, "close"] / 2
        predict(write(frame)).failed("row 5", "the high")

    def test_local_times_across_a_shift_of_clocks_are_seen(self, predict, write, frame):
        local = frame["timestamp"].dt.tz_convert("Asia/Kolkata").dt.tz_localize(None)
        predict(write(frame.assign(timestamp=local))).failed("30 min into its 1h candle", "UTC")

    def test_an_empty_file(self, predict, write, frame):
        predict(write(frame[:0])).failed("holds no candles")

    def test_text_instead_of_parquet(self, predict, tmp_path):
        (tmp_path / "SIM_USDT.parquet").write_text("no candles")
        predict(tmp_path / "SIM_USDT.parquet").failed("cannot be read as Parquet")

    def test_the_same_in_training_and_backtest(self, cli, bundle, write, frame, home, tiny_options):
        frame.loc[17, "close"] = np.nan
        file = write(frame)
        cli(
            "train", "--preset", "quickstart", "--data", file, "--name", "x", "--home", home.path,
            *tiny_options,
        ).failed("row 17, column 'close'")  # fmt: skip
        cli("backtest", "--model", bundle, "--data", file, "--home", home.path).failed(
            "row 17, column 'close'"
        )


class TestSpecifications:
    def test_no_such_file(self, predict, tmp_path):
        predict(tmp_path / "nothing.parquet").failed("no file", "nothing.parquet", code=2)

    def test_a_glob_that_matches_nothing(self, predict, tmp_path):
        predict(tmp_path / "*.parquet").failed("*.parquet", "matches no file", "quote", code=2)

    def test_an_empty_specification(self, predict):
        predict("").failed("--data is empty", "SYMBOL=file", code=2)

    def test_a_folder(self, predict, market):
        predict(market.folder).failed("is a directory", "quoted glob")

    def test_a_file_of_another_kind(self, predict, tmp_path):
        (tmp_path / "notes.md").write_text("x")
        predict(tmp_path / "notes.md").failed("notes.md", ".parquet, .csv", code=2)

    @pytest.mark.parametrize("spec", ["=x.parquet", "BTC=", "=", " = "])
    def test_half_a_symbol(self, predict, spec):
        predict(spec).failed(f"{spec!r}", "BTC/USDT=btc.parquet", code=2)

    def test_a_symbol_of_no_file(self, predict):
        predict("BTC/USDT=nothing.parquet").failed("no file nothing.parquet", code=2)

    def test_one_symbol_for_several_files(self, predict, market):
        predict(f"BTC/USDT={market.folder}/*.parquet").failed("2 files", "name one", code=2)

    def test_a_symbol_with_a_glob_of_one_file(self, predict, market):
        ended = predict(f"BTC={market.folder}/S*.parquet", options=["--json"])
        assert ended.done().json[0]["symbol"] == "BTC"

    def test_a_name_with_an_equals_sign_is_a_file(self, predict, write, frame, tmp_path):
        write(frame, "a=b_USDT.parquet")
        ended = predict(tmp_path / "a=b_USDT.parquet", options=["--json"]).done()
        assert ended.json[0]["symbol"] == "a=b/USDT"
        (tmp_path / "year=2020").mkdir()
        write(frame, "year=2020/SIM_USDT.parquet")
        ended = predict(tmp_path / "year=*/*.parquet", options=["--json"]).done()
        assert ended.json[0]["symbol"] == "SIM/USDT"

    def test_two_files_of_one_symbol(self, predict, market, write, frame):
        predict(market.sim_file, write(frame)).failed(
            "SIM/USDT was given more than once", "--data OTHER=", code=2
        )

    def test_files_that_agree_in_nothing(self, cli, market, write, home, tiny_options):
        six = write(simulate_market(candles=400, timeframe="6h")[0].to_frame(), "SIX_USDT.parquet")
        cli(
            "train", "--preset", "quickstart", "--data", market.sim_file, "--data", six, "--name",
            "x", "--home", home.path, *tiny_options,
        ).failed("differ in timeframe: 1h, 6h", "--timeframe")  # fmt: skip


class TestTimeframe:
    def test_coarser_candles_than_the_models_are_refused(self, predict, write):
        six = simulate_market(candles=400, timeframe="6h")[0].to_frame()
        predict(write(six)).failed("6h", "1h", code=2)

    def test_an_unknown_timeframe_names_the_nearest(self, cli, market, home):
        cli(
            "train", "--preset", "quickstart", "--data", market.sim_file, "--name", "x",
            "--timeframe", "1hour", "--home", home.path,
        ).failed("unknown timeframe '1hour'", "1h", code=2)  # fmt: skip

    def test_an_unknown_market(self, cli, market, home):
        cli(
            "train", "--preset", "quickstart", "--data", market.sim_file, "--name", "x",
            "--market", "session", "--home", home.path,
        ).failed("unknown market 'session'", "did you mean 'sessions'?", code=2)  # fmt: skip


class TestTraining:
    @pytest.fixture
    def train(self, cli, home, tiny_options):
        def run(data, *options, preset="quickstart", name="x"):
            return cli(
                "train", "--preset", preset, "--data", data, "--name", name, "--home", home.path,
                *tiny_options, *options,
            )  # fmt: skip

        return run

    def test_too_few_candles_say_how_many_and_why(self, train, write, frame):
        train(write(frame[:50])).failed("SIM/USDT has 50 1h candles", "needs", "8 for the window")
        train(write(frame[:300])).failed("slice", "at least 32 are needed", "more candles")

    def test_volume_that_is_always_zero(self, train, write, frame):
        train(write(frame.assign(volume=0.0))).failed("volume", "SIM/USDT", "has any volume")

    def test_an_unknown_preset_names_the_nearest(self, train, market):
        train(market.sim_file, preset="multi-layr").failed(
            "no preset 'multi-layr'", "did you mean 'multi-layer'?", code=2
        )
        train(market.sim_file, preset="none.yaml").failed(
            "no preset 'none.yaml'", "named by its path", code=2
        )

    def test_a_name_that_no_model_can_have(self, train, market):
        train(market.sim_file, name="a/b").failed("'a/b' cannot name a model", code=2)

    def test_a_run_to_resume_that_is_not_there(self, train, market):
        train(market.sim_file, "--resume", "last").failed("no run 'last' to resume")
        train(market.sim_file, "--resume", "abc").failed("no run 'abc' to resume")

    def test_a_refit_of_what_was_never_evaluated(self, train, market):
        train(market.sim_file, "--refit").failed("no evaluated version of 'x'", "without --refit")


class TestModels:
    @pytest.fixture
    def copy(self, bundle, tmp_path):
        folder = tmp_path / "copy"
        shutil.copytree(bundle, folder)
        return folder

    @pytest.mark.parametrize(
        ("model", "words"),
        [
            ("models:/tyni@champion", ["did you mean 'tiny'?", TRAIN]),
            ("models:/tiny@champ", ["did you mean 'models:/tiny@champion'"]),
            ("models:/tiny/7", ["There is models:/tiny@champion, models:/tiny/1"]),
            ("models:/other", ["Registered: ", "tiny", TRAIN]),
        ],
    )
    def test_an_unknown_model_names_what_there_is(self, cli, shop, market, model, words):
        for command in ("predict", "backtest"):
            cli(command, "--model", model, "--data", market.sim_file, "--home", shop.home).failed(
                f"no model {model!r}", *words
            )

    def test_an_unreadable_name(self, cli, shop, market):
        cli(
            "predict", "--model", "models:tiny", "--data", market.sim_file, "--home", shop.home
        ).failed("unreadable model 'models:tiny'", "models:/NAME@champion", code=2)

    def test_no_such_folder(self, predict, market):
        predict(market.sim_file, model="nowhere").failed("no model 'nowhere'", "no such folder")

    def test_a_foreign_folder(self, predict, market):
        predict(market.sim_file, model=market.folder).failed("is no model of this project")

    def test_exchanged_weights(self, predict, market, copy):
        weights = copy / "model.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
        predict(market.sim_file, model=copy).failed("does not match the hash", "Train the model")

    def test_a_cut_manifest(self, predict, market, copy):
        manifest = copy / "bundle.json"
        manifest.write_text(manifest.read_text()[:100])
        predict(market.sim_file, model=copy).failed("bundle.json cannot be read")

    def test_a_newer_schema(self, predict, market, copy):
        manifest = copy / "bundle.json"
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "schema": 99}))
        predict(market.sim_file, model=copy).failed("has schema 99", "upgrade")


class TestUse:
    def test_a_misspelt_option(self, cli):
        cli("backtest", "--modl", "x").failed("--modl", "--model", code=2)

    def test_a_misspelt_command(self, cli):
        cli("modles").failed("'modles'", "'models'", code=2)

    def test_a_missing_option(self, cli):
        cli("predict").failed("Missing option '--model'", "predict --help", code=2)

    def test_a_number_that_is_none(self, cli):
        cli("backtest", "--model", "x", "--data", "y", "--cash", "much").failed(
            "'--cash'", "'much'", code=2
        )

    def test_nothing_at_all_prints_the_help(self, cli):
        ended = cli()
        assert ended.code == 2
        assert "quickstart" in ended.out + ended.err
        assert "error" not in ended.err

    def test_an_unknown_benchmark(self, cli):
        cli("benchmark", "bactest").failed("no benchmark 'bactest'", "'backtest'", code=2)


class TestDebug:
    def test_a_traceback_comes_with_debug_only(self, cli, market):
        given = ("predict", "--model", "nowhere", "--data", market.sim_file)
        assert "Traceback" not in cli(*given).err
        ended = cli(*given, "--debug")
        assert ended.code == 1
        assert "Traceback (most recent call last)" in ended.err
        assert "ModelNotFoundError" in ended.err
        assert "error: no model 'nowhere'" in ended.err

    def test_debug_ends_with_its_command(self, cli, market):
        given = ("predict", "--model", "nowhere", "--data", market.sim_file)
        cli(*given, "--debug")
        assert "Traceback" not in cli(*given).err
        assert "Traceback" not in cli("nonsense").err

    def test_an_error_that_nobody_foresaw_asks_for_a_report(self, cli, bundle, market, monkeypatch):
        import lightning_models.predictor

        monkeypatch.delattr(lightning_models.predictor.Predictor, "predict_latest")
        cli("predict", "--model", bundle, "--data", market.sim_file).failed(
            "unexpected AttributeError", "defect of lstm-strategies", "--debug"
        )
