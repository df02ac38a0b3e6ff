"""A PostgreSQL server of one's own, which lasts as long as a benchmark or a test."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from lightning_models.errors import LSTMStrategiesError

__all__ = ["PostgresDatabase", "PostgresServer", "find_programs"]

USER = "tuner"


def find_programs() -> Path | None:
    """Return the folder of `initdb` and `pg_ctl`, None where no server is installed."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    newest_first = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda folder: (len(folder.parent.name), folder.parent.name),
        reverse=True,
    )
    for folder in (*folders, *newest_first):
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    return None


class ServerFailedError(LSTMStrategiesError):
    """A server that could not be made or started."""


class PostgresServer:
    """With a password, and not as root, which the server refuses.

    What it writes is lost with it, and is not safe from a crash of the machine.

    Parameters
    ----------
    programs
        As `find_programs` returns it.
    host
        Address of this machine to listen on; whoever is in its network may give the password.

    Raises
    ------
    ServerFailedError
        If it cannot be made.
    """

    def __init__(self, programs: Path, host: str = "127.0.0.1") -> None:
        self._programs = programs
        self._host = host
        self.password = secrets.token_urlsafe(12) + "/@{"
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._as_user: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = _account()
            os.chown(self._folder, account.pw_uid, account.pw_gid)
            self._as_user = {
                "user": account.pw_uid,
                "group": account.pw_gid,
                "extra_groups": [],
            }
        self._port = 0
        self._make()

    def start(self) -> None:
        """Start it, at the same address as before.

        Raises
        ------
        ServerFailedError
            If it does not start.
        """
        for _ in range(5):
            port = self._port or _free_port(self._host)
            started = self._try_run(
                "pg_ctl", "-D", self._data, "-l", self._folder / "log", "-w", "-o",
                f"-p {port} -c listen_addresses={self._host} -c unix_socket_directories='' "
                "-c fsync=off -c full_page_writes=off",
                "start",
            )  # fmt: skip
            if started.returncode == 0:
                self._port = port
                return
        raise ServerFailedError((self._folder / "log").read_text("utf-8"))

    def stop(self) -> None:
        """Stop it as a crash does: no client is told."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")

    def is_running(self) -> bool:
        """Return whether it runs."""
        return self._try_run("pg_ctl", "-D", self._data, "status").returncode == 0

    def remove(self) -> None:
        """Stop it and remove all it wrote."""
        if self.is_running():
            self.stop()
        shutil.rmtree(self._folder)

    def address(self, database: str, password: str | None = None) -> str:
        """Return the address of a database, with the password that clients must give."""
        url = sa.URL.create(
            "postgresql+psycopg",
            username=USER,
            password=self.password if password is None else password,
            host=self._host,
            port=self._port,
            database=database,
        )
        return url.render_as_string(hide_password=False)

    def execute(self, statement: str) -> None:
        """Execute a statement outside of a transaction."""
        engine = sa.create_engine(self.address("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _make(self) -> None:
        secret = self._folder / "password"
        secret.write_text(self.password + "\n", "utf-8")
        secret.chmod(0o644)  # of a database that lasts as long as the tests
        self._run(
            "initdb", "-D", self._data, "-U", USER, "--auth=scram-sha-256", "--pwfile", secret,
            "--encoding=UTF8", "--locale=C", "--no-sync",
        )  # fmt: skip
        with (self._data / "pg_hba.conf").open("a", encoding="utf-8") as admitted:
            admitted.write("host all all samenet scram-sha-256\n")

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = self._try_run(program, *arguments)
        if done.returncode:
            raise ServerFailedError(f"{program} failed: {done.stdout}")

    def _try_run(self, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        # Not through a pipe: the server would hold it open, and its end never come.
        with tempfile.TemporaryFile("w+") as said:
            done = subprocess.run(  # noqa: S603 - the server's own programs
                [str(self._programs / program), *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                check=False,
                **self._as_user,
            )
            said.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, said.read())


class PostgresDatabase:
    """An empty database of one server.

    Parameters
    ----------
    server
        That runs.
    """

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.name = f"test_{secrets.token_hex(6)}"
        server.execute(f"CREATE DATABASE {self.name}")

    @property
    def url(self) -> str:
        """Its address, with the password."""
        return self.server.address(self.name)

    @property
    def password(self) -> str:
        """Of the server."""
        return self.server.password

    def stop(self) -> None:
        """Stop the server."""
        self.server.stop()

    def start(self) -> None:
        """Start the server."""
        self.server.start()

    def drop(self) -> None:
        """Remove it, whoever is connected."""
        if not self.server.is_running():
            self.server.start()
        self.server.execute(f"DROP DATABASE {self.name} WITH (FORCE)")


def _account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
