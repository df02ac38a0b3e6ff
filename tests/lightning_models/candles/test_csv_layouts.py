from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest

from lightning_models.candles import read_candles
from lightning_models.candles.layouts import ohlcv_of
from lightning_models.errors import CandleError

START = 1_614_834_000_000  # 2021-03-04T05:00:00Z
HOUR = 3_600_000
ROWS = [(START + row * HOUR, 10.0 + row, 12.0 + row, 9.0, 11.0 + row, 5.5) for row in range(4)]
OHLCV = [list(row[1:]) for row in ROWS]
CLOCK = [str(pd.Timestamp(row[0], unit="ms")) for row in ROWS]


def binance(row, unit=1):
    close_time = (row[0] + HOUR) * unit - 1
    return [row[0] * unit, *row[1:], close_time, "61.5", 42, "3.1", "30.2", "0"]


def text(rows, header=None, separator=","):
    lines = [header] if header else []
    return "\n".join(lines + [separator.join(str(cell) for cell in row) for row in rows]) + "\n"


BINANCE_HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    "taker_buy_volume,taker_buy_quote_volume,ignore"
)
CCXT_HEADER = "timestamp,open,high,low,close,volume"

LAYOUTS = {
    "ccxt": text(ROWS, CCXT_HEADER),
    "ccxt without header": text(ROWS),
    "byte order mark": "\ufeff" + text(ROWS, CCXT_HEADER),
    "blank first line": "\n" + text(ROWS, CCXT_HEADER),
    "semicolons": text(ROWS, CCXT_HEADER.replace(",", ";"), ";"),
    "tabs": text(ROWS, CCXT_HEADER.replace(",", "\t"), "\t"),
    "quoted": text(ROWS, '"Timestamp","Open","High","Low","Close","Volume"'),
    "text times without header": text([(c, *r[1:]) for c, r in zip(CLOCK, ROWS, strict=True)]),
    "backtrader generic": text(
        [(c, *r[1:], 0) for c, r in zip(CLOCK, ROWS, strict=True)],
        "datetime,open,high,low,close,volume,openinterest",
    ),
    "date beside time": text(
        [(*c.split(" "), *r[1:]) for c, r in zip(CLOCK, ROWS, strict=True)],
        "<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOLUME>",
    ),
    "other order": text(
        [(r[5], r[4], r[3], r[2], r[1], r[0]) for r in ROWS], "Volume,Close,Low,High,Open,Time"
    ),
    "binance": text([binance(row) for row in ROWS]),
    "binance with header": text([binance(row) for row in ROWS], BINANCE_HEADER),
    "binance in microseconds": text([binance(row, 1000) for row in ROWS]),
    "binance changing its unit": text(
        [binance(row, 1000 if position > 1 else 1) for position, row in enumerate(ROWS)]
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("extension", ["csv", "txt", "csv.gz"])
def test_every_layout_gives_the_same_candles(tmp_path, layout, extension):
    path = tmp_path / f"BTC_USDT.{extension}"
    content = LAYOUTS[layout].encode()
    path.write_bytes(gzip.compress(content) if extension.endswith("gz") else content)
    candles = read_candles(path)
    assert candles.symbol == "BTC/USDT"
    assert candles.timeframe == "1h"
    assert candles.time.tolist() == [row[0] for row in ROWS]
    assert candles.ohlcv.tolist() == OHLCV


def test_yahoo_prices_are_adjusted_and_its_volume_is_not(tmp_path):
    path = tmp_path / "nvda.csv"
    path.write_text(
        "Date,Open,High,Low,Close,Adj Close,Volume\n"
        "2020-01-02,100,110,90,100,25,1000\n"
        "2020-01-03,100,120,90,110,110,1000\n"
    )
    candles = read_candles(path, market="sessions")
    assert candles.ohlcv.tolist() == [[25, 27.5, 22.5, 25, 1000], [100, 120, 90, 110, 1000]]


def test_adjusting_keeps_the_high_the_highest():
    random = np.random.default_rng(0)
    close = random.uniform(1, 2, 20_000).round(6)
    adjusted = (close * random.uniform(0.1, 1, close.size)).round(6)
    frame = pd.DataFrame(
        {"open": close, "high": close, "low": close, "close": close, "volume": 1.0}
    ).assign(adj_close=adjusted)
    ohlcv = ohlcv_of(frame, origin="x")
    assert (ohlcv[:, 1] >= ohlcv[:, 3]).all()
    assert (ohlcv[:, 2] <= ohlcv[:, 3]).all()
    # The control: the adjusted close itself rounds apart from the other three.
    assert (ohlcv[:, 1] < adjusted).any()


def write(tmp_path, content):
    path = tmp_path / "candles.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        (CCXT_HEADER + "\n", "holds no candles"),
        ("timestamp,open,high,low,close,vol\n1,1,1,1,1,1\n", "no column 'volume'.*did you mean"),
        ("timestamp,open,high,low,volume\n1,1,1,1,1\n", "no column 'close'; its columns are time"),
        ("moment,open,high,low,close,volume\n1,1,1,1,1,1\n", "no column with times"),
        (
            text(ROWS, CCXT_HEADER).replace("11.0", "n/a!", 1),
            r"row 0, column 'close': 'n/a!' is no",
        ),
        (
            text(ROWS, CCXT_HEADER).replace("13.0", "", 1),
            r"row 1, column 'high': the cell is empty",
        ),
        (text(ROWS, CCXT_HEADER).replace("5.5", "1_0"), r"row 0, column 'volume': '1_0' is no"),
        (text([(*row, 0) for row in ROWS]), "no header and 7 columns"),
        (text([(*row, 0) for row in ROWS], CCXT_HEADER), "row 0 has 7 cells, the header 6"),
        (text(ROWS, CCXT_HEADER) + "1,2,3,4,5,6,7\n", "cannot be read as CSV"),
        (text(ROWS, "time,open,high,low,close,Close"), "columns 'close' and 'Close'; remove one"),
        (text(ROWS, "time,open,high,low,close,close"), "columns 'close' and 'close'; remove one"),
        (text(ROWS, CCXT_HEADER) + f"{START + 4 * HOUR},1\n", "row 4, column 'high'.*empty"),
        (b"\xff\xfe\x00\x00\x81", "cannot be read as CSV"),
        ("candles\n1\n", "no column with times"),
    ],
)
def test_a_damaged_file_is_refused_with_what_is_wrong(tmp_path, content, message):
    with pytest.raises(CandleError, match=message):
        read_candles(write(tmp_path, content), timeframe="1h")


def test_a_damaged_archive_is_refused(tmp_path):
    path = tmp_path / "candles.csv.gz"
    whole = gzip.compress(text(ROWS * 50, CCXT_HEADER).encode())
    for content in (b"no archive", whole[: len(whole) // 2], whole[:30] + b"????" + whole[34:]):
        path.write_bytes(content)
        with pytest.raises(CandleError, match="cannot be read as CSV"):
            read_candles(path)


@pytest.mark.parametrize("adjusted", ["0", "-3", "inf"])
def test_an_impossible_adjustment_is_refused(tmp_path, adjusted):
    content = f"Date,Open,High,Low,Close,Adj Close,Volume\n2020-01-02,1,1,1,1,{adjusted},1\n"
    with pytest.raises(CandleError, match=r"row 0, column 'Adj Close': .* is no adjusted price"):
        read_candles(write(tmp_path, content), timeframe="1d")
    assert read_candles(write(tmp_path, content.replace(f",{adjusted},", ",1,")), timeframe="1d")


@pytest.mark.parametrize("cells", [[True, True], [1 + 2j, 1j], [None, 1.0], [[1], [2]]])
def test_cells_of_a_frame_that_are_no_numbers_are_refused(cells):
    frame = pd.DataFrame({"open": [1.0, 1.0], "high": 1.0, "low": 1.0, "close": 1.0})
    frame["volume"] = pd.Series(cells)
    with pytest.raises(CandleError, match="row 0, column 'volume'"):
        ohlcv_of(frame, origin="x")


def test_numbers_as_text_keep_their_last_digit():
    frame = pd.DataFrame({"open": ["0.1"], "high": ["1e-7"], "low": [2], "close": [3], "volume": 4})
    frame["high"] = frame["high"].astype(object)
    assert ohlcv_of(frame, origin="x").tolist() == [[0.1, 1e-7, 2.0, 3.0, 4.0]]


def test_columns_in_several_levels_are_refused():
    frame = pd.DataFrame([[1.0] * 5], columns=["open", "high", "low", "close", "volume"])
    assert ohlcv_of(frame, origin="x").shape == (1, 5)
    frame.columns = pd.MultiIndex.from_product([frame.columns, ["NVDA"]])
    with pytest.raises(CandleError, match="2 levels of column names"):
        ohlcv_of(frame, origin="x")
