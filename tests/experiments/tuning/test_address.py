from __future__ import annotations

import traceback

import pytest
import sqlalchemy as sa

from experiments.tuning.address import engine_settings, parsed_address, shown_address
from lightning_models.errors import ConfigError


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("postgres://me:s3cret@db/x", "no database that is known here: write postgresql"),
        ("redis://me:s3cret@db/0", "names no database that is known here"),
        ("oracle+psycopg://me:s3cret@db/x", "names no database that is known here"),
        ("postgresql+psycopg://me:s3cret@[::1/x", "is no address of a database"),
        ("postgresql+psycopg://me:p@s3cret:x/y@db:port/x", "%40 for an @"),
        ("mysql://me:s3cret@db/x", "driver of mysql://me:.* is not installed"),
        ("postgresql+pg8000://me:s3cret@db/x", r"install 'lstm-strategies\[postgres\]'"),
        ("postgresql+psycopg_async://me:s3cret@db/x", "asynchronous driver"),
        ("sqlite://", "keeps nothing once its process ends"),
        ("sqlite:///:memory:", "keeps nothing once its process ends"),
    ],
)
def test_address_that_cannot_be_meant_is_refused(address: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parsed_address(address)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_password_is_not_shown() -> None:
    url = parsed_address("postgresql+psycopg://me:s3cret@db:5433/studies")
    assert (url.host, url.port, url.password) == ("db", 5433, "s3cret")
    assert shown_address(url) == "postgresql+psycopg://me:***@db:5433/studies"


def test_timeouts_of_the_address_itself_hold() -> None:
    url = parsed_address("postgresql+psycopg://db/studies?connect_timeout=3")
    given = engine_settings(url)["connect_args"]
    assert "connect_timeout" not in given
    assert given["tcp_user_timeout"] == 30_000
    _, connection = url.get_dialect()().create_connect_args(url)
    assert connection["connect_timeout"] == "3"


def test_other_drivers_get_no_options_of_postgresqls_own_library() -> None:
    assert "connect_args" not in engine_settings(sa.make_url("mysql+pymysql://db/studies"))
