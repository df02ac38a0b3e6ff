"""Write a backtest's report, wholly or not at all."""

from __future__ import annotations

import csv
import io
import logging
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.report.page import render_page
from experiments.result import TradeRecord
from lightning_models.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from experiments.result import BacktestResult
    from lightning_models.candles.candles import Candles
    from lightning_models.evaluation.outcomes import Outcomes

__all__ = [
    "ReportFiles",
    "SummaryFiles",
    "put_in_place",
    "trades_csv",
    "write_files",
    "write_report",
    "write_summary",
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReportFiles:
    """Where a report's files lie."""

    html: Path
    """One self-contained page."""
    result: Path
    """`BacktestResult` as JSON."""
    trades: Path
    """One row a trade, as CSV; a text that a spreadsheet would compute starts with ``'``."""


@dataclass(frozen=True)
class SummaryFiles:
    """Where the summary of several backtests lies."""

    html: Path
    """One self-contained page."""
    result: Path
    """The result as JSON."""


def write_report(
    result: BacktestResult,
    *,
    candles: Candles,
    forecasts: pd.DataFrame | None,
    outcomes: Outcomes | None,
    folder: str | Path,
) -> ReportFiles:
    """Write ``report.html``, ``result.json`` and ``trades.csv`` into a folder.

    Every file is written beside its place, forced to disk and only then put there, so that a
    reader never meets half of one and a failure leaves an earlier report as it was.

    Parameters
    ----------
    result
        What the backtest found.
    candles
        The candles it ran on, warm-up included.
    forecasts
        One row a candle, in the candles' order: ``signal``, ``direction``, ``change_pct``,
        ``confidence``, ``predicted_price``, ``lower``, ``upper``; not-a-number where the
        model gave none. None where the strategy has no model.
    outcomes
        Forecasts with the returns that followed, or None where there are none.
    folder
        Created where it is missing.

    Returns
    -------
    ReportFiles
        The paths.

    Raises
    ------
    StorageError
        If the folder cannot be made or written: full, read-only, or no folder.
    ConfigError
        If `forecasts` lacks a column or has another number of rows than the candles.
    """
    page = render_page(result, candles=candles, forecasts=forecasts, outcomes=outcomes)
    return write_files(
        folder,
        page=page,
        result=result.model_dump_json(),
        trades=trades_csv(result.trades),
    )


def write_files(folder: str | Path, *, page: str, result: str, trades: str) -> ReportFiles:
    """Write ``report.html``, ``result.json`` and ``trades.csv``, or none of them.

    Parameters
    ----------
    folder
        Created where it is missing.
    page
        HTML.
    result
        JSON.
    trades
        CSV, as `trades_csv` returns it.

    Raises
    ------
    StorageError
        As `write_report` does.
    """
    place = Path(folder)
    files = ReportFiles(place / "report.html", place / "result.json", place / "trades.csv")
    put_in_place(
        place,
        {
            files.html: page.encode(),
            files.result: (result + "\n").encode(),
            files.trades: trades.encode(),
        },
    )
    _log.info("wrote the report to %s", files.html)
    return files


def write_summary(folder: str | Path, page: str, result: str) -> SummaryFiles:
    """Write ``report.html`` and ``result.json``, or neither.

    Parameters
    ----------
    folder
        Created where it is missing.
    page
        HTML.
    result
        JSON.

    Raises
    ------
    StorageError
        As `write_report` does.
    """
    place = Path(folder)
    files = SummaryFiles(place / "report.html", place / "result.json")
    put_in_place(place, {files.html: page.encode(), files.result: (result + "\n").encode()})
    _log.info("wrote the report to %s", files.html)
    return files


def trades_csv(trades: tuple[TradeRecord, ...]) -> str:
    """Return trades as CSV with a heading; a text that a spreadsheet would compute is quoted."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(TradeRecord.model_fields), lineterminator="\n")
    writer.writeheader()
    for trade in trades:
        row = trade.model_dump()
        writer.writerow({name: _unformulated(value) for name, value in row.items()})
    return text.getvalue()


def _unformulated(value: object) -> object:
    # A spreadsheet computes a text that starts so, and a formula can send data away.
    if isinstance(value, str) and value.lstrip().startswith(("=", "+", "-", "@")):
        return f"'{value}"
    return value


def put_in_place(folder: Path, contents: Mapping[Path, bytes]) -> None:
    """Write files of one folder, each of them whole or not at all.

    Parameters
    ----------
    folder
        Made if need be.
    contents
        From each file's path in it. Several processes may write the same one at once.

    Raises
    ------
    StorageError
        If one cannot be written.
    """
    staged: list[tuple[Path, Path]] = []
    current = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in contents.items():
            current = path
            part = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
            staged.append((part, path))
            with part.open("xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        for part, path in staged:
            current = path
            part.replace(path)
        _sync_folder(folder)
    except OSError as error:
        raise StorageError(
            f"cannot write {current}: {error.strerror or error}; free some space, or give a "
            "folder that can be written"
        ) from error
    finally:
        for part, _ in staged:
            _remove(part)


def _sync_folder(folder: Path) -> None:
    # The renames last through a power cut only once the folder itself is on disk.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except OSError:
        _log.warning("could not remove %s", part)
