"""A database server for studies that many machines would share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from experiments.benchmark.postgres_server import (
    PostgresDatabase,
    PostgresServer,
    find_programs,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this process of the tests."""
    programs = find_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server on this machine: apt-get install postgresql")
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    server = PostgresServer(programs)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[PostgresDatabase]:
    """An empty database, with `url`, `stop()` and `start()`; the server runs when it begins."""
    if not postgres_server.is_running():
        postgres_server.start()
    database = PostgresDatabase(postgres_server)
    yield database
    database.drop()
