"""The command that opens the runs works as it is printed."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from lightning_models.home import Home

BIN = Path(sys.executable).parent


def test_in_an_activated_environment_the_command_is_printed_by_its_name(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(BIN))
    assert Home(tmp_path).ui_command == (
        f"mlflow ui --backend-store-uri sqlite:///{tmp_path / 'mlflow.db'}"
    )


def test_elsewhere_it_is_printed_with_its_folder_and_can_run(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    command = shlex.split(Home(tmp_path).ui_command)
    assert command[0] == str(BIN / "mlflow")
    assert os.access(command[0], os.X_OK)


def test_a_server_is_opened_in_the_browser(monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@host:5000")
    assert Home(tmp_path).ui_command == "open http://me:***@host:5000"
