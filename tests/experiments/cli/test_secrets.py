"""No password of an address is ever shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.cli.secrets import redacted
from lightning_models.home import Home

PASSWORDS = st.text(
    st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=20
).filter(lambda text: text not in "postgresql://user:***@host:5432/mlflow is unreachable")


@given(password=PASSWORDS, scheme=st.sampled_from(["postgresql", "http", "mysql+pymysql", "HTTPS"]))
def test_no_password_survives_whatever_is_in_it(password, scheme):
    told = redacted(f"{scheme}://user:{password}@host:5432/mlflow is unreachable")
    assert password not in told
    assert told == f"{scheme}://user:***@host:5432/mlflow is unreachable"


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:5000",
        "sqlite:////home/me/mlflow.db",
        "models:/btc-6h@champion",
        "open https://mlflow.example.org/path?page=2",
        "10:30:00 me@example.org",
    ],
)
def test_what_holds_no_password_stays_as_it_is(text):
    assert redacted(text) == text


def test_passwords_in_a_query_are_hidden_too():
    told = redacted("postgresql://host/db?user=me&password=secret&sslmode=require")
    assert told == "postgresql://host/db?user=me&password=***&sslmode=require"


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
