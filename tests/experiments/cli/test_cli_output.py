"""What appears where: help without heavy imports, quiet libraries, pipes, terminals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HEAVY = ("torch", "mlflow", "pytorch_lightning", "backtrader", "pandas", "matplotlib")
RUN = "from experiments.cli.app import run; run()"
COMMANDS = (
    [], ["quickstart"], ["train"], ["models"], ["models", "promote"], ["predict"], ["backtest"],
    ["benchmark"],
)  # fmt: skip


def python(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_help_of_every_command_takes_no_heavy_import():
    code = (
        "import sys, json\nfrom experiments.cli.app import main\n"
        f"for command in {COMMANDS!r}: assert main([*command, '--help']) == 0, command\n"
        f"sys.stderr.write(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))\n"
    )
    started = time.monotonic()
    ended = python(code)
    assert json.loads(ended.stderr) == []
    assert time.monotonic() - started < 5  # eight of them in a row
    for word in ("Usage: lstm-strategies models promote", "--in-sample", "--resume", "--seed"):
        assert word in ended.stdout
    # The check can fail: predicting needs torch.
    seen = python("import sys, lightning_models.inference\nprint('torch' in sys.modules)")
    assert seen.stdout.strip() == "True"


def test_a_forecast_by_folder_needs_no_mlflow(bundle, market):
    code = (
        "import sys\nfrom experiments.cli.app import main\n"
        "code = main(sys.argv[1:])\n"
        "heavy = [name for name in ('mlflow', 'backtrader') if name in sys.modules]\n"
        "sys.exit(str(heavy) if heavy else code)\n"
    )
    ended = python(code, "predict", "--model", bundle, "--data", market.sim_file, "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout)[0]["symbol"] == "SIM/USDT"


def test_a_forecast_by_folder_needs_no_trainer(bundle, market):
    code = (
        "import sys\nfrom lightning_models import load_predictor, read_candles\n"
        "load_predictor(sys.argv[1]).predict_latest(read_candles(sys.argv[2]))\n"
        "print('pytorch_lightning' in sys.modules)\n"
    )
    assert python(code, bundle, market.sim_file).stdout.strip() == "False"


def test_quickstart_in_a_fresh_home_says_nothing_but_its_results(tmp_path):
    ended = python(
        RUN, "quickstart", "--home", tmp_path / "home", "--set", "training.epochs=1",
        "--set", "network.hidden_size=8",
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    report = tmp_path / "home" / "reports" / "quickstart" / "report.html"
    assert "planted signal" in lines[0]
    assert any("log-loss" in line for line in lines)
    assert any("buy-and-hold" in line for line in lines)
    assert any("confidence after one trial" in line or "verdict" in line for line in lines)
    assert f"report: {report}" in lines
    assert report.is_file()
    assert lines[-1] == (
        f"MLflow: mlflow ui --backend-store-uri sqlite:///{tmp_path / 'home' / 'mlflow.db'}"
    )


def test_quickstart_runs_twice_in_one_home(cli, home):
    given = (
        "quickstart", "--home", home.path, "--seed", 3, "--set", "training.epochs=1",
        "--set", "network.hidden_size=4",
    )  # fmt: skip
    assert "models:/quickstart@champion (version 1)" in cli(*given).done().out
    assert "models:/quickstart@challenger (version 2)" in cli(*given).done().out


def test_a_reader_that_leaves_ends_it_quietly(tmp_path):
    code = (
        "import os, sys\nfrom experiments.cli.app import main\n"
        "reader, writer = os.pipe()\nos.close(reader)\nos.dup2(writer, 1)\n"
        "sys.exit(main(['models', '--json']))\n"
    )
    ended = python(code, LSTM_HOME=str(tmp_path))
    assert (ended.returncode, ended.stderr) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_results_that_cannot_be_written_are_an_error(tmp_path):
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", RUN, "models", "--json", "--home", tmp_path],
            cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert ended.returncode == 1
    assert "the disk is full" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_terminal_without_unicode_gets_question_marks(bundle, market):
    ended = python(
        RUN, "predict", "--model", bundle, "--data", f"bitcoin–€={market.sim_file}",
        PYTHONIOENCODING="ascii",
    )  # fmt: skip
    assert ended.returncode == 0
    assert "bitcoin??" in ended.stdout


def test_no_colour_where_none_is_wanted(bundle, market):
    ended = python(
        RUN, "predict", "--model", bundle, "--data", market.sim_file,
        NO_COLOR="1", FORCE_COLOR="1", TERM="xterm-256color",
    )  # fmt: skip
    assert "\x1b[3" not in ended.stdout


def test_the_benchmark_of_a_training_step_prints_one_document(cli):
    ended = cli(
        "benchmark", "training-step", "--json", "--set", "repeats=1", "--set", "steps=20"
    ).done()
    (figure,) = ended.json
    assert set(figure) == {"name", "value", "unit", "aim", "detail", "met"}
    assert figure["unit"] == "x"
    assert 0.2 < figure["value"] < 20
    assert figure["met"] == (figure["value"] <= figure["aim"])
