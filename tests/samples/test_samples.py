"""Each sample runs as its docstring says, on simulated candles and a tiny model."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAMPLES = sorted((ROOT / "samples").glob("*.py"))


@pytest.fixture(scope="module")
def candles(trained):
    """The newest 700 candles: the model has seen less than half of them."""
    return trained.candles[0].between(int(trained.candles[0].time[-700]), None)


@pytest.fixture(scope="module")
def csv_file(candles, tmp_path_factory):
    path = tmp_path_factory.mktemp("samples") / "SIM_USDT.csv"
    frame = candles.to_frame()
    frame["timestamp"] = frame.timestamp.dt.strftime("%Y-%m-%d %H:%M:%S")
    frame.to_csv(path, index=False)
    return path


@pytest.fixture
def run(trained, tmp_path):
    """Run a command from the repository's root, with the model's folder in place of MODEL."""

    def start(*command):
        done = subprocess.run(
            [str(part).replace("MODEL", str(trained.model.path)) for part in command],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT), "LSTM_HOME": str(tmp_path)},
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    return start


def docstring(path):
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_sample_says_that_it_has_no_edge(path):
    words = " ".join(docstring(path).split())
    assert re.search(r"no edge|has an edge", words)
    assert f"samples/{path.name}" in words


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_sample_explains_itself(path, monkeypatch, capsys):
    import runpy

    monkeypatch.setattr(sys, "argv", [path.name, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name="__main__")
    assert ended.value.code == 0
    assert docstring(path).splitlines()[0].split()[0] in capsys.readouterr().out


@pytest.mark.soak
def test_trade_forecasts(run, csv_file, tmp_path):
    picture = tmp_path / "run.png"
    out = run(
        sys.executable,
        "samples/trade_forecasts.py",
        *("--data", csv_file, "--model", "MODEL", "--plot", picture),
    )
    assert int(re.search(r"total_trades: (\d+)", out)[1]) > 5
    assert "before_unseen" in out
    assert picture.stat().st_size > 10_000


def test_forecast_as_signal(run, csv_file):
    out = run(
        sys.executable,
        "samples/forecast_as_signal.py",
        *("--data", csv_file, "--model", "MODEL", "--min-confidence", "0.5"),
    )
    assert int(out.split()[0]) > 20


@pytest.mark.soak
def test_optimise_thresholds(run, csv_file):
    out = run(
        sys.executable,
        "samples/optimise_thresholds.py",
        *("--data", csv_file, "--model", "MODEL", "--cpus", "2"),
    )
    rows = [line.split() for line in out.splitlines()[1:-1]]
    assert [row[0] for row in rows] == ["0.05", "0.10", "0.20", "0.40"]
    trades = [int(row[1]) for row in rows]
    assert 0 < trades[0] < trades[-1]
    assert "no evidence" in out


@pytest.mark.parametrize("feed", ["csv", pytest.param("pandas", marks=pytest.mark.soak)])
def test_own_feed(run, trained, candles, csv_file, feed):
    out = run(
        sys.executable,
        "samples/own_feed.py",
        *("--data", csv_file, "--feed", feed, "--model", "MODEL"),
    )
    forecast = trained.predictor().predict_latest(candles)
    assert len(out.splitlines()) == 5
    assert f"confidence {forecast.confidence:.3f}" in out.splitlines()[-1]
    assert f"expected {forecast.change_pct:+.3f} %" in out.splitlines()[-1]


def test_btrun_with_the_command_of_its_docstring(run, candles, tmp_path):
    path = tmp_path / "candles.csv"
    frame = candles.to_frame()
    frame.insert(0, "Date", frame.timestamp.dt.strftime("%Y-%m-%d"))
    frame.insert(1, "Time", frame.timestamp.dt.strftime("%H:%M:%S"))
    frame.drop(columns="timestamp").assign(OpenInterest=0).to_csv(path, index=False)
    words = docstring(ROOT / "samples/btrun_shim.py").split("\n\n")[1].replace("\\\n", " ")
    command = shlex.split(words)
    assert command[0] == "btrun"
    command[0] = str(Path(sys.executable).parent / "btrun")
    command[command.index("candles.csv")] = str(path)
    out = run(
        *(
            part.replace("models:/btc-1h@champion", "MODEL").replace(
                "'MODEL'", "'MODEL',min_confidence=0.53"
            )
            for part in command
        )
    )
    assert int(re.search(r"total_trades: (\d+)", out)[1]) > 5
