"""The sample with two features of one's own: the audit names the one that looks ahead."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from lightning_models import simulate_market
from lightning_models.features import forget_feature, own_features

SAMPLE = Path(__file__).parents[2] / "samples/audit_own_feature.py"


@pytest.fixture(autouse=True)
def _features_forgotten():
    before = set(own_features())
    yield
    for name in set(own_features()) - before:
        forget_feature(name)


def test_audit_own_feature(tmp_path, monkeypatch, capsys):
    path = tmp_path / "SIM_USDT.parquet"
    simulate_market(candles=1500, seed=8)[0].to_frame().to_parquet(path)
    monkeypatch.setattr(sys, "argv", [SAMPLE.name, "--data", str(path)])
    runpy.run_path(str(SAMPLE), run_name="__main__")
    out = capsys.readouterr().out
    assert "range_place: No look-ahead found" in out
    assert "checks failed: centred_momentum(9)" in out
    assert "4 candles later" in out
