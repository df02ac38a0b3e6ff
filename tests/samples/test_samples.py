"""Each sample runs as its docstring says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"


@pytest.fixture(scope="module")
def candle_files(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("candles")
    frame = trained.candles[0].to_frame()
    frame.to_parquet(folder / "SIM_USDT.parquet")
    text = frame.rename(columns={"timestamp": "datetime"})
    text["datetime"] = text["datetime"].dt.strftime("%Y-%m-%d %H:%M:%S")
    text.to_csv(folder / "generic.csv", index=False, float_format="%.17g")
    return folder


def run(command: list[str], home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LSTM_HOME": str(home), "MPLBACKEND": "Agg"}
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def run_sample(name: str, home: Path, *options: str) -> str:
    done = run([sys.executable, str(SAMPLES / name), *options], home)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_every_sample_says_that_it_has_no_edge(path):
    docstring = path.read_text().split('"""')[1].lower()
    assert "no edge" in docstring


def test_forecasts_are_traded_out_of_sample(trained, candle_files):
    printed = run_sample(
        "trade_forecasts.py",
        trained.home.path,
        "--data",
        str(candle_files / "SIM_USDT.parquet"),
        "--model",
        trained.champion,
        "--top-share",
        "0.5",
    )
    metrics = json.loads(printed)
    assert metrics["total_trades"] > 0
    assert metrics["fees_paid"] > 0


def test_thresholds_are_tried_by_two_workers(trained, candle_files):
    printed = run_sample(
        "optimise_thresholds.py",
        trained.home.path,
        "--data",
        str(candle_files / "SIM_USDT.parquet"),
        "--model",
        trained.champion,
        "--cpus",
        "2",
    )
    assert re.findall(r"top_share (\S+)", printed) == ["0.05", "0.1", "0.2", "0.4"]


def test_the_indicator_is_a_signal(trained, candle_files):
    printed = run_sample(
        "forecast_as_signal.py",
        trained.home.path,
        "--data",
        str(candle_files / "SIM_USDT.parquet"),
        "--model",
        trained.champion,
    )
    value = float(re.search(r"worth ([\d.]+)", printed).group(1))
    assert value > 0
    assert value != 10_000


def test_stock_feeds_give_one_forecast(trained, candle_files):
    printed = run_sample(
        "own_feed.py",
        trained.home.path,
        "--csv",
        str(candle_files / "generic.csv"),
        "--model",
        str(trained.model.path),
    )
    generic, pandas = (line.split(": ", 1)[1] for line in printed.splitlines())
    assert generic == pandas
    latest = trained.predictor().predict_latest(trained.candles[0])
    assert f"confidence {latest.confidence:.4f}" in generic


def test_btrun_takes_the_shim(trained, candle_files, tmp_path):
    # backtrader's own CSV layout: date, time, prices, volume, open interest.
    frame = trained.candles[0].to_frame()
    rows = [
        f"{row.timestamp:%Y-%m-%d},{row.timestamp:%H:%M:%S},{row.open!r},{row.high!r},"
        f"{row.low!r},{row.close!r},{row.volume!r},0"
        for row in frame.itertuples()
    ]
    source = tmp_path / "candles.csv"
    source.write_text("Date,Time,Open,High,Low,Close,Volume,OpenInterest\n" + "\n".join(rows))
    shim = SAMPLES / "btrun_shim.py"
    done = run(
        [
            str(Path(sys.executable).parent / "btrun"),
            "--csvformat",
            "btcsv",
            "--data",
            str(source),
            "--timeframe",
            "minutes",
            "--compression",
            "60",
            "--strategy",
            f"{shim}:LSTMStrategy:model='{trained.model.path}',top_share=0.5",
            "--analyzer",
            ":TradeAnalyzer",
            "--pranalyzer",
        ],
        trained.home.path,
    )
    assert done.returncode == 0, done.stderr
    total = re.search(r"- total: (\d+)", done.stdout)
    assert total is not None, done.stdout
    assert int(total.group(1)) > 0
