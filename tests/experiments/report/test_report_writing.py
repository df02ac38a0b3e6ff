"""A report is written wholly or not at all."""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from experiments.report import write_report
from experiments.result import BacktestResult, TradeRecord
from lightning_models.errors import ConfigError, StorageError

NOBODY = 65534


@contextmanager
def disk_that_fills_up_at(size: int):
    """Let every file of this process end at a size, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


@contextmanager
def folder_of_an_ordinary_user():
    """Give a folder and act as its owner, for root may write anywhere."""
    with tempfile.TemporaryDirectory() as name:
        folder, user = Path(name), os.geteuid()
        if user == 0:
            os.chown(folder, NOBODY, -1)
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            os.seteuid(user)
            folder.chmod(0o700)


def test_report_holds_page_result_and_trades(made, tmp_path):
    files = write_report(made.result, **made.arguments, folder=tmp_path / "new" / "report")
    assert sorted(path.name for path in files.html.parent.iterdir()) == [
        "report.html",
        "result.json",
        "trades.csv",
    ]
    assert BacktestResult.model_validate_json(files.result.read_text()) == made.result
    with files.trades.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == list(TradeRecord.model_fields)
    assert len(rows) == 12
    assert float(rows[3]["pnl"]) == made.result.trades[3].pnl
    assert rows[2]["exit_reason"] == ""


def test_trades_csv_of_no_trades_has_a_heading_alone(make, tmp_path):
    none = make(trades=0)
    files = write_report(none.result, **none.arguments, folder=tmp_path)
    assert files.trades.read_text() == ",".join(TradeRecord.model_fields) + "\n"


def test_files_can_be_read_by_others(made, tmp_path):
    files = write_report(made.result, **made.arguments, folder=tmp_path)
    mask = os.umask(0)
    os.umask(mask)
    assert files.html.stat().st_mode & 0o777 == 0o666 & ~mask


def test_full_disk_leaves_the_earlier_report_and_nothing_half_written(made, tmp_path):
    files = write_report(made.result, **made.arguments, folder=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    other = made.with_result(verdict="Another verdict.")
    with disk_that_fills_up_at(100_000), pytest.raises(StorageError, match=r"report\.html"):
        write_report(other.result, **other.arguments, folder=tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    # A plain write on the same disk would have left half a page in the report's place.
    with disk_that_fills_up_at(100_000), pytest.raises(OSError, match="large"):
        files.html.write_bytes(before[files.html])
    assert 0 < files.html.stat().st_size < len(before[files.html])


def test_disk_that_fills_up_at_the_second_file_changes_none(made, tmp_path):
    files = write_report(made.result, **made.arguments, folder=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    # A long curve is thinned on the page, which fits, and written out in the result.
    long = made.with_result(equity_curve=made.result.equity_curve * 400)
    room = len(before[files.html]) + 300_000
    with disk_that_fills_up_at(room), pytest.raises(StorageError, match=r"result\.json"):
        write_report(long.result, **long.arguments, folder=tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_folder_that_is_a_file_is_named(made, tmp_path):
    place = tmp_path / "taken"
    place.write_text("mine")
    with pytest.raises(StorageError, match="taken"):
        write_report(made.result, **made.arguments, folder=place)
    assert place.read_text() == "mine"


def test_read_only_folder_is_named(made):
    with folder_of_an_ordinary_user() as folder:
        assert write_report(made.result, **made.arguments, folder=folder).html.exists()
        for path in folder.iterdir():
            path.unlink()
        folder.chmod(0o500)
        with pytest.raises(StorageError, match=str(folder)):
            write_report(made.result, **made.arguments, folder=folder)
        assert list(folder.iterdir()) == []


def test_missing_forecast_column_is_named_with_its_neighbour(made, tmp_path):
    frame = made.forecasts.rename(columns={"confidence": "confidense"})
    with pytest.raises(ConfigError, match=r"'confidence'.*did you mean 'confidense'"):
        write_report(
            made.result, candles=made.candles, forecasts=frame, outcomes=None, folder=tmp_path
        )
    assert list(tmp_path.iterdir()) == []


def test_forecasts_of_other_candles_are_refused(made, tmp_path):
    with pytest.raises(ConfigError, match="399 rows for 400 candles"):
        write_report(
            made.result,
            candles=made.candles,
            forecasts=pd.DataFrame(made.forecasts.iloc[1:]),
            outcomes=None,
            folder=tmp_path,
        )


def test_result_file_is_strict_json(made, tmp_path):
    files = write_report(made.result, **made.arguments, folder=tmp_path)
    json.loads(files.result.read_text(), parse_constant=lambda word: pytest.fail(word))


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", " =1", "\t=1"])
def test_no_text_of_the_trades_is_computed_by_a_spreadsheet(made, tmp_path, text):
    (first, *rest) = made.result.trades
    harmful = first.model_copy(update={"symbol": text, "exit_reason": text, "pnl": -1.5})
    result = made.result.model_copy(update={"trades": (harmful, *rest)})
    files = write_report(result, **made.arguments, folder=tmp_path)
    with files.trades.open(newline="") as stream:
        (row, *others) = csv.DictReader(stream)
    assert (row["symbol"], row["exit_reason"]) == (f"'{text}", f"'{text}")
    # Numbers below zero stay numbers, and other texts as they are.
    assert float(row["pnl"]) == -1.5
    assert {each["symbol"] for each in others} == {each.symbol for each in rest}
