"""The sample that wraps a strategy: as it stands, and with candles and a model of one's own."""

from __future__ import annotations

import ast
import re
import runpy
import sys
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parents[2] / "samples/confirm_own_strategy.py"


@pytest.fixture
def run(monkeypatch, capsys):
    def start(*arguments):
        monkeypatch.setattr(sys, "argv", [SAMPLE.name, *map(str, arguments)])
        runpy.run_path(str(SAMPLE), run_name="__main__")
        return capsys.readouterr().out

    return start


def numbers(out):
    return {name.strip(): int(count) for name, count in re.findall(r"^ *(\w+): (\d+)\b", out, re.M)}


def test_it_runs_on_the_simulated_market_with_an_untrained_model(run):
    out = run()
    told = numbers(out)
    assert "model: statistical:1h" in out
    assert told["contradicted"] == told["refused"] > 5
    assert told["passed"] > 5
    assert told["entries"] == told["passed"] + told["refused"]
    assert told["alone"] > told["confirmed"] > 0
    assert "no evidence" in out.splitlines()[-1]


def test_it_takes_candles_and_a_model(run, trained, tmp_path):
    candles = trained.candles[0].between(int(trained.candles[0].time[-700]), None)
    path = tmp_path / "SIM_USDT.parquet"
    candles.to_frame().to_parquet(path)
    out = run("--data", path, "--model", trained.model.path, "--min-confidence", "0.53")
    told = numbers(out)
    assert told["confirmed"] > 0
    assert told["contradicted"] > 0
    assert "before_unseen" in out


def test_it_promises_nothing():
    words = " ".join(ast.get_docstring(ast.parse(SAMPLE.read_text(encoding="utf-8"))).split())
    assert "have no edge" in words
    assert "nothing is promised" in words
