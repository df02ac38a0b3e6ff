"""No password of an address is ever printed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.cli import secrets
from lightning_models import redaction
from lightning_models.home import Home


@given(st.text(st.sampled_from("ab:/@?&=; *") | st.characters(), max_size=40))
@pytest.mark.parametrize("around", ["{}", "http://{}", "{}@host", "?password={}"])
def test_what_is_printed_is_redacted_as_everywhere(around, text):
    told = around.format(text)
    assert secrets.redacted(told) == redaction.redacted(told)


def test_the_command_that_opens_the_pages_is_printed_without(cli, capsys, monkeypatch, tmp_path):
    from experiments.cli.console import say

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:secret@db/mlflow")
    say(f"MLflow: {Home(tmp_path).ui_command}", copied=True)
    assert capsys.readouterr().out == (
        "MLflow: mlflow ui --backend-store-uri postgresql://me:***@db/mlflow\n"
    )


def test_log_lines_are_printed_without(capsys):
    import logging

    from experiments.cli.logs import set_up_logging

    root = logging.getLogger()
    before = list(root.handlers), root.level
    try:
        set_up_logging()
        logging.getLogger("experiments").warning("lost %s", "http://me:secret@host")
    finally:
        root.handlers[:], root.level = before
    assert capsys.readouterr().err == "warning: lost http://me:***@host\n"
