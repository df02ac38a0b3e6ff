"""No password of an address is ever shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_models.redaction import redacted

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
