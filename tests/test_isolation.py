"""What every test can rely on: no network, a home of its own, no leftovers."""

from __future__ import annotations

import os
import socket
import urllib.request
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("family", "address"),
    [
        (socket.AF_INET, ("192.0.2.1", 80)),
        (socket.AF_INET, ("example.invalid", 443)),
        (socket.AF_INET6, ("2001:db8::1", 80, 0, 0)),
    ],
)
def test_a_far_machine_is_never_reached(family, address):
    for method in ("connect", "connect_ex"):
        with (
            socket.socket(family, socket.SOCK_STREAM) as far,
            pytest.raises(RuntimeError, match="no machine but this one"),
        ):
            getattr(far, method)(address)


def test_a_datagram_to_a_far_machine_is_refused():
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
        pytest.raises(RuntimeError, match="no machine but this one"),
    ):
        far.sendto(b"x", ("192.0.2.1", 53))


def test_the_refusal_reaches_through_libraries():
    with pytest.raises(RuntimeError, match="no machine but this one"):
        urllib.request.urlopen("http://192.0.2.1/", timeout=1)


def test_loopback_and_unix_sockets_work(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
    with (
        socket.socket(socket.AF_UNIX) as server,
        socket.socket(socket.AF_UNIX) as client,
    ):
        server.bind(str(tmp_path / "socket"))
        server.listen()
        client.connect(str(tmp_path / "socket"))


def test_each_test_has_a_home_of_its_own():
    home = Path(os.environ["LSTM_HOME"])
    assert list(home.iterdir()) == []
    (home / "left-behind").touch()


def test_what_another_test_left_in_its_home_is_not_here():
    assert list(Path(os.environ["LSTM_HOME"]).iterdir()) == []


def test_no_tracking_server_is_inherited():
    assert "MLFLOW_TRACKING_URI" not in os.environ
    os.environ["MLFLOW_TRACKING_URI"] = "sqlite:////nowhere.db"


def test_a_tracking_server_set_by_another_test_is_gone():
    assert "MLFLOW_TRACKING_URI" not in os.environ
