"""Disks that are full or read-only, servers that are not there, and passwords in addresses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def small_disk(tmp_path, migrated_database):
    """A home on a disk with room for its database and little else."""
    folder = tmp_path / "small"
    folder.mkdir()
    room = migrated_database.stat().st_size // 1024 + 70
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={room}k", "none", folder],
        capture_output=True, check=False,
    )  # fmt: skip
    if not mounted or mounted.returncode:
        pytest.skip("a small disk can be mounted by root on Linux only")
    try:
        shutil.copy(migrated_database, folder / "mlflow.db")
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_disk_that_fills_up_in_training_registers_nothing(cli, market, small_disk, tiny_options):
    cli(
        "train", "--preset", "quickstart", "--data", market.sim_file, "--name", "x",
        "--home", small_disk, *tiny_options,
    ).failed("full", "choose another --home")  # fmt: skip
    assert not list(small_disk.rglob("*.part"))
    for manifest in small_disk.glob("artifacts/**/bundle.json"):
        assert manifest.with_name("model.safetensors").is_file()
    for checkpoint in small_disk.glob("checkpoints/*"):
        assert shutil.rmtree(checkpoint) is None  # room to look into the registry
    assert cli("models", "--json", "--home", small_disk).json == []


def test_a_disk_that_fills_up_in_a_report_leaves_none(cli, bundle, market, home, small_disk):
    cli(
        "backtest", "--model", bundle, "--data", market.sim_file, "--home", home.path,
        "--report", small_disk / "report",
    ).failed("report.html", "No space left on device", "free some space")  # fmt: skip
    assert list((small_disk / "report").iterdir()) == []


def test_a_limit_on_file_sizes_leaves_no_half_report(cli, bundle, market, home, tmp_path):
    resource = pytest.importorskip("resource", reason="this system limits no file sizes")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * 2**20, hard))
    try:
        ended = cli(
            "backtest", "--model", bundle, "--data", market.sim_file, "--home", home.path,
            "--report", tmp_path / "report",
        )  # fmt: skip
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    ended.failed("report.html: File too large")
    assert list((tmp_path / "report").iterdir()) == []


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that not even root writes")
def test_a_home_that_cannot_be_made_is_named(cli, market, tiny_options):
    cli(
        "train", "--preset", "quickstart", "--data", market.sim_file, "--name", "x",
        "--home", "/proc/lstm-home", *tiny_options,
    ).failed("/proc/lstm-home", "--home or $LSTM_HOME")  # fmt: skip
    cli("quickstart", "--home", "/proc/lstm-home").failed("/proc/lstm-home", "--home")


def test_a_home_that_is_a_file_is_named(cli, tmp_path):
    (tmp_path / "home").write_text("")
    cli("quickstart", "--home", tmp_path / "home").failed(str(tmp_path / "home"), "--home")


def test_a_server_that_is_not_there_is_named_in_seconds_and_without_its_password(
    cli, bundle, market, closed_port, monkeypatch, tiny_options, tmp_path
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:hidden@127.0.0.1:{closed_port}")
    told = f"MLflow at http://me:***@127.0.0.1:{closed_port} cannot be used"
    data = ("--data", market.sim_file, "--home", tmp_path)
    for command in (
        ("train", "--preset", "quickstart", *data, "--name", "x", *tiny_options),
        ("backtest", "--model", bundle, *data),
    ):
        started = time.monotonic()
        ended = cli(*command).failed(told)
        assert time.monotonic() - started < 20
        assert "hidden" not in ended.err
    ended = cli("models", "--home", tmp_path, "--debug")
    assert "Traceback" in ended.err
    assert told in ended.err
    assert "hidden" not in ended.err


@pytest.mark.soak
def test_the_environment_of_the_user_stays(tmp_path):
    code = (
        "import os\nfrom experiments.cli.app import main\nmain(['models', '--json'])\n"
        "print(*(os.environ['MLFLOW_' + name] for name in "
        "('HTTP_REQUEST_MAX_RETRIES', 'HTTP_REQUEST_TIMEOUT', 'DISABLE_TELEMETRY', "
        "'SUPPRESS_PRINTING_URL_TO_STDOUT')))\n"
    )
    environment = {**os.environ, "LSTM_HOME": str(tmp_path)}
    environment |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "6", "MLFLOW_DISABLE_TELEMETRY": "false"}
    environment.pop("MLFLOW_HTTP_REQUEST_TIMEOUT", None)
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ended.stdout.splitlines() == ["[]", "6 30 false true"]


def test_a_missing_database_driver_says_what_to_install(cli, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "MySQLdb", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mysql://me:hid@den@127.0.0.1:9/db")
    cli("models", "--home", tmp_path).failed("MySQLdb", "pip install 'mysqlclient'")
    ended = cli("models", "--home", tmp_path, "--debug")
    assert "Traceback" in ended.err
    assert "hid" not in ended.err
