"""The shapes in which exchanges, brokers and backtrader write candles, told apart and read."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from typing import IO, TYPE_CHECKING, Any, Final, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from lightning_models.candles.candles import COLUMNS
from lightning_models.errors import CandleError
from lightning_models.spelling import nearest_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["ohlcv_of", "read_csv_layout", "times_of"]

# In the order of preference where a source has several.
_TIME_NAMES: Final = ("timestamp", "datetime", "open_time", "date", "time")
_ADJUSTED_NAMES: Final = ("adj_close", "adjclose", "adjusted_close", "adjusted")

_CCXT: Final = ("timestamp", *COLUMNS)
_BINANCE: Final = (
    "open_time",
    *COLUMNS,
    "close_time",
    "quote_volume",
    "count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignore",
)
# Prices must keep their last bit. pandas 3.1 reads them so by default and warns when asked to.
_PANDAS: Final = tuple(int(part) for part in pd.__version__.split(".")[:2])
_EXACT: Final[dict[str, Any]] = {} if _PANDAS >= (3, 1) else {"float_precision": "round_trip"}

_HEADERLESS: Final = {len(layout): layout for layout in (_CCXT, _BINANCE)}


def read_csv_layout(path: Path, *, origin: str) -> pd.DataFrame:
    """Return a CSV file as a frame whose columns have names.

    Files with a header are read by it: ccxt's, backtrader's, Yahoo's, Binance's. Without a
    header, six columns are ccxt's layout and twelve Binance's. The separator is a comma, a
    semicolon or a tab.

    Parameters
    ----------
    path
        The file, gzip-compressed where its name ends in ``.gz``.
    origin
        The name for messages.

    Returns
    -------
    pandas.DataFrame
        ``[T, columns]``, values as written.

    Raises
    ------
    CandleError
        If the file is empty, is no text, has no header and an unknown number of columns, or
        has rows of different lengths.
    """
    try:
        with _open_text(path) as text:
            separator, head = _first_rows(text)
        if not head:
            raise CandleError(f"{origin} is empty; give a file with candles")
        names = _header(head[0])
        if names is None:
            if len(head[0]) not in _HEADERLESS:
                raise CandleError(
                    f"{origin} has no header and {len(head[0])} columns; without a header 6 "
                    f"columns are {', '.join(_CCXT)} and 12 are Binance's: add a header"
                )
            columns: Sequence[str] = _HEADERLESS[len(head[0])]
        else:
            columns = names
            _refuse_repeated(columns, origin)
        if len(head) > 1 and len(head[1]) != len(columns):
            raise CandleError(
                f"{origin}: row 0 has {len(head[1])} cells, the header {len(columns)}; "
                "repair the file"
            )
        frame: pd.DataFrame = pd.read_csv(
            path,
            sep=separator,
            header=None if names is None else 0,
            names=list(columns),
            encoding="utf-8-sig",
            low_memory=False,
            **_EXACT,
        )
        return frame
    except (OSError, EOFError, ValueError, csv.Error, zlib.error) as error:
        raise CandleError(f"{origin} cannot be read as CSV: {error}") from error


def times_of(frame: pd.DataFrame, *, origin: str) -> pd.Series[Any]:
    """Return the column, columns or index of a frame that hold its times, as written.

    A ``DatetimeIndex`` comes first, then a column named timestamp, datetime, open_time, date
    or time in any case; a text ``date`` beside a ``time`` is joined with it.

    Parameters
    ----------
    frame
        Candles, a row each.
    origin
        Where they come from, for the message.

    Raises
    ------
    CandleError
        If there is no such column.
    """
    if isinstance(frame.index, pd.DatetimeIndex):
        return pd.Series(frame.index)
    columns = _columns_by_name(frame, origin)
    found = [name for name in _TIME_NAMES if name in columns]
    if not found:
        if _plain(frame.index.name) in _TIME_NAMES:
            return frame.index.to_series()
        raise CandleError(
            f"{origin} has no column with times ({', '.join(_TIME_NAMES)}); "
            f"{_what_there_is('timestamp', frame)}"
        )
    times: pd.Series[Any] = frame[columns[found[0]]]
    if found[0] == "date" and "time" in columns:
        clock = frame[columns["time"]]
        if all(pd.api.types.infer_dtype(part) == "string" for part in (times, clock)):
            return cast("pd.Series[Any]", times + " " + clock)
    return times


def ohlcv_of(frame: pd.DataFrame, *, origin: str) -> npt.NDArray[np.float64]:
    """Return open, high, low, close and volume, adjusted where the source says how.

    Where there is an adjusted close, the four prices are multiplied by adjusted ÷ close.
    Multiplying the close too, instead of taking the adjusted one, rounds all four the same
    way, so the high stays the highest.

    Parameters
    ----------
    frame
        Candles, a row each; column names in any case.
    origin
        Where they come from, for the message.

    Returns
    -------
    numpy.ndarray
        ``float64 [T, 5]``.

    Raises
    ------
    CandleError
        If a column is missing, or a cell is empty or no number; the message names the row,
        counted from 0, and the column.
    """
    columns = _columns_by_name(frame, origin)
    for name in COLUMNS:
        if name not in columns:
            raise CandleError(f"{origin} has no column {name!r}; {_what_there_is(name, frame)}")
    ohlcv = np.column_stack([_numbers(frame, columns[name], origin) for name in COLUMNS])
    adjusted_name = next((name for name in _ADJUSTED_NAMES if name in columns), None)
    if adjusted_name is None:
        return ohlcv
    adjusted = _numbers(frame, columns[adjusted_name], origin)
    close = ohlcv[:, 3]
    # A close that is no price is left for the validation to name.
    usable = np.isfinite(close) & (close > 0)
    factor = np.divide(adjusted, close, out=np.ones_like(close), where=usable)
    wrong = ~(np.isfinite(factor) & (factor > 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise CandleError(
            f"{origin}: row {row}, column {columns[adjusted_name]!r}: {adjusted[row]} is no "
            "adjusted price, which is finite and above zero; repair it or drop the column"
        )
    ohlcv[:, :4] *= factor[:, np.newaxis]
    return ohlcv


def _open_text(path: Path) -> IO[str]:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _first_rows(text: Iterator[str]) -> tuple[str, list[list[str]]]:
    lines: list[str] = []
    for line in text:
        if line.strip():
            lines.append(line)
        if len(lines) == 2:
            break
    separator = max(",;\t", key=lines[0].count) if lines else ","
    return separator, list(csv.reader(lines, delimiter=separator))


def _header(cells: list[str]) -> list[str] | None:
    # A header holds names; the first candle holds a time and then numbers.
    if all(_is_number(cell) for cell in cells[1:]) and len(cells) > 1:
        return None
    return [cell.strip() for cell in cells]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _plain(name: object) -> str:
    return re.sub(r"[\s.\-]+", "_", str(name).strip().strip("<>").lower())


def _columns_by_name(frame: pd.DataFrame, origin: str) -> dict[str, Any]:
    if frame.columns.nlevels > 1:
        raise CandleError(
            f"{origin} has {frame.columns.nlevels} levels of column names; keep one symbol and "
            "drop the other levels with frame.droplevel(level, axis=1)"
        )
    _refuse_repeated(list(frame.columns), origin)
    return {_plain(column): column for column in frame.columns}


def _refuse_repeated(columns: Sequence[object], origin: str) -> None:
    wanted = {*_TIME_NAMES, *_ADJUSTED_NAMES, *COLUMNS}
    seen: dict[str, object] = {}
    for column in columns:
        name = _plain(column)
        if name in wanted and name in seen:
            raise CandleError(
                f"{origin} has the columns {seen[name]!r} and {column!r}; remove one of them"
            )
        seen[name] = column


def _what_there_is(name: str, frame: pd.DataFrame) -> str:
    names = [str(column) for column in frame.columns]
    there = f"its columns are {', '.join(names)}"
    near = nearest_names(name, [_plain(column) for column in names])
    return f"{there}: {near}" if near.startswith("did you mean") else there


def _numbers(frame: pd.DataFrame, column: Any, origin: str) -> npt.NDArray[np.float64]:
    series = frame[column]
    kind = series.dtype
    plain_numbers = pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind)
    if plain_numbers and not pd.api.types.is_complex_dtype(kind):
        values = np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)
        missing = np.isnan(values)
        if missing.any():
            row = int(np.argmax(missing))
            raise CandleError(
                f"{origin}: row {row}, column {column!r}: the cell is empty; "
                "remove the row or repair it"
            )
        return values
    values = np.empty(len(series))
    for row, cell in enumerate(series.to_numpy(dtype=object)):
        values[row] = _number(cell, f"{origin}: row {row}, column {column!r}")
    return values


def _number(cell: Any, where: str) -> float:
    if pd.api.types.is_scalar(cell) and pd.isna(cell):
        raise CandleError(f"{where}: the cell is empty; remove the row or repair it")
    # float() would take True for 1 and "1_0" for 10, which no exchange writes.
    if not isinstance(cell, bool | np.bool_) and "_" not in str(cell):
        try:
            return float(cell)
        except (TypeError, ValueError):
            pass
    raise CandleError(f"{where}: {cell!r} is no number; repair the cell")
