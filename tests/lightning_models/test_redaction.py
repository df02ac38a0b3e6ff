"""No password of an address is ever shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_models.redaction import redacted

SHOWN = "postgresql://user:***@host:5432/mlflow is unreachable"
PASSWORDS = st.text(
    st.characters(min_codepoint=32, max_codepoint=126), min_size=6, max_size=20
).filter(lambda text: text not in SHOWN and "://" not in text and "models:/" not in text)


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


@pytest.mark.parametrize(
    "password",
    ["two words", " a ", "p@ss", "p@ss two@words", "a/b c", "a#b", "a#b @/c d", "12 34", "5432/x y",
     "a:b c", "'quo ted'", '"', "tab\there"],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "http"])
def test_all_between_the_user_and_the_last_at_sign_is_hidden(scheme, password):
    told = redacted(f"{scheme}://user:{password}@host:5432/studies is unreachable")
    assert told == f"{scheme}://user:***@host:5432/studies is unreachable"


def test_two_addresses_of_a_line_and_two_lines_are_told_apart():
    told = redacted("from http://a:one two@b to 'mysql://c:three@d'\npostgresql://e:four@f")
    assert told == "from http://a:***@b to 'mysql://c:***@d'\npostgresql://e:***@f"


def test_user_with_the_servers_name_has_a_password_too():
    assert redacted("postgresql://me@tenant:secret@db/x") == "postgresql://me@tenant:***@db/x"


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:5000 keeps models:/btc-6h@champion",
        "http://localhost:5000/ and me@example.org",
        "http://tracker:5000 keeps models:/btc-6h@champion",
    ],
)
def test_port_is_no_password(text):
    assert redacted(text) == text


def test_passwords_in_a_query_are_hidden_too():
    told = redacted("postgresql://host/db?user=me&password=secret&sslmode=require")
    assert told == "postgresql://host/db?user=me&password=***&sslmode=require"
