"""What appears where: help without heavy imports, quiet libraries, pipes, terminals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HEAVY = ("torch", "mlflow", "pytorch_lightning", "backtrader", "pandas", "matplotlib")
RUN = "from experiments.cli.app import run; run()"
COMMANDS = (
    [], ["quickstart"], ["train"], ["models"], ["models", "promote"], ["predict"], ["backtest"],
    ["benchmark"], ["walk-forward"], ["audit"], ["ensemble"], ["fine-tune"], ["experiment", "zoo"],
    ["experiment", "modes"],
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
    assert time.monotonic() - started < 2 * len(COMMANDS)
    for word in ("Usage: lstm-strategies models promote", "--in-sample", "--resume", "--seed"):
        assert word in ended.stdout


@pytest.fixture(scope="module")
def imported(bundle, market):
    """What a forecast by folder has imported in a process of its own."""
    code = (
        "import sys, json\nfrom experiments.cli.app import main\n"
        "assert main(sys.argv[1:]) == 0\nprint(json.dumps(sorted(sys.modules)))\n"
    )
    ended = python(code, "predict", "--model", bundle, "--data", market.sim_file, "--json")
    assert ended.stderr == ""
    forecasts, modules = ended.stdout.splitlines()
    assert json.loads(forecasts)[0]["symbol"] == "SIM/USDT"
    return json.loads(modules)


@pytest.mark.parametrize("name", ["mlflow", "backtrader", "plotly"])
def test_a_forecast_by_folder_needs_no_more_than_torch(imported, name):
    assert "torch" in imported
    assert name not in imported


def test_a_forecast_by_folder_needs_no_trainer(imported):
    assert "pytorch_lightning" not in imported


@pytest.mark.soak
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
    assert "models:/quickstart@champion (version 1)" in ended.stdout


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


def test_a_plain_terminal_gets_no_colour_and_question_marks():
    plain = {"PYTHONIOENCODING": "ascii", "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    coloured = python(RUN, "model–s", **plain)
    ended = python(RUN, "model–s", NO_COLOR="1", **plain)
    assert coloured.returncode == ended.returncode == 2
    assert "\x1b[1;31merror:" in coloured.stderr
    assert "\x1b[1;31m" not in ended.stderr
    assert "No such command 'model?s'" in ended.stderr


@pytest.mark.soak
def test_the_benchmark_of_a_training_step_prints_one_document(cli):
    ended = cli(
        "benchmark", "training-step", "--json", "--set", "repeats=1", "--set", "steps=20"
    ).done()
    (figure,) = ended.json
    assert set(figure) == {"name", "value", "unit", "aim", "at_least", "detail", "met"}
    assert figure["unit"] == "x"
    assert 0.2 < figure["value"] < 20
    assert figure["met"] == (figure["value"] <= figure["aim"])


def test_the_version_is_the_distributions(cli):
    assert cli("--version").done().out.strip() == f"lstm-strategies {version('lstm-strategies')}"
