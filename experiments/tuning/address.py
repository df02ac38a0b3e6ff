"""Addresses of databases: what they mean, and how to connect there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc

from lightning_models.errors import ConfigError
from lightning_models.redaction import redacted

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

__all__ = ["engine_settings", "parsed_address", "shown_address"]


def parsed_address(storage: str) -> URL:
    """Return a database's address in its parts, once its driver is found to be installed.

    Parameters
    ----------
    storage
        As SQLAlchemy writes it.

    Raises
    ------
    ConfigError
        If it cannot be meant as it is written, or its driver is not installed.
    """
    try:
        url = sa.make_url(storage)
        dialect = url.get_dialect()
        dialect.import_dbapi()
    except (exc.NoSuchModuleError, AttributeError):
        raise ConfigError(
            f"{redacted(storage)!r} names no database that is known here: write "
            "postgresql+psycopg://USER:PASSWORD@HOST/DATABASE or sqlite:////PATH, or the path of "
            "a journal file"
        ) from None
    except ImportError as error:
        install = (
            "pip install 'lstm-strategies[postgres]' and write postgresql+psycopg://"
            if url.get_backend_name() == "postgresql"
            else "install it"
        )
        raise ConfigError(
            f"the driver of {redacted(storage)} is not installed ({error}): {install}"
        ) from None
    except (exc.ArgumentError, ValueError):
        # Without the cause, whose message may hold a part of the password.
        raise ConfigError(
            f"{redacted(storage)!r} is no address of a database: write postgresql+psycopg://"
            "USER:PASSWORD@HOST/DATABASE, with %40 for an @ and %2F for a slash in the password"
        ) from None
    if dialect.is_async:
        raise ConfigError(
            f"{redacted(storage)} names an asynchronous driver: write postgresql+psycopg:// or "
            "sqlite:///"
        )
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise ConfigError(
            f"{redacted(storage)} keeps nothing once its process ends: write sqlite:////PATH"
        )
    return url


def engine_settings(url: URL) -> dict[str, Any]:
    """Return how SQLAlchemy is to connect to a database: `create_engine`'s arguments."""
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": 60}}
    # One connection stays open: a server of the usual 100 then has room for 90 workers. The
    # heartbeat's thread opens its own for a moment.
    settings: dict[str, Any] = {"pool_pre_ping": True, "pool_size": 1, "max_overflow": 10}
    if url.get_driver_name() in ("psycopg", "psycopg2"):
        # A machine that is switched off answers nothing, and by default that is found out after
        # two minutes while connecting and a quarter of an hour later on.
        patience = {
            "connect_timeout": 10,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
        }
        settings["connect_args"] = {
            name: value for name, value in patience.items() if name not in url.query
        }
    return settings


def shown_address(url: URL) -> str:
    """Return an address for a message, its passwords as ``***``."""
    return redacted(url.render_as_string(hide_password=False))
