"""A journal loses nothing that was written, and takes nothing for its own that is not."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_models.errors import ConfigError, StorageError
from lightning_models.intervals.journal import Journal

HEADER = {"journal": 1, "symbol": "BTC/USDT"}
RECORDS = [{"time": number, "close": 100 + number / 7} for number in range(5)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "btc.jsonl"


def written(path, records=RECORDS):
    journal = Journal(path, HEADER)
    journal.append(records)
    journal.close()
    return path.read_bytes()


def read(path):
    journal = Journal(path, HEADER)
    journal.close()
    return journal.records


def test_what_was_written_comes_back_in_its_order(path):
    written(path)
    assert read(path) == RECORDS
    written(path, [{"time": 9}])
    assert read(path) == [*RECORDS, {"time": 9}]


def test_each_line_is_json_and_the_first_says_whose_they_are(path):
    lines = written(path).decode().splitlines()
    assert [json.loads(line) for line in lines] == [HEADER, *RECORDS]


def test_nothing_to_write_writes_nothing(path):
    assert written(path, []) == written(path, [])


def test_a_line_torn_at_any_byte_is_cut_off_and_the_others_stay(path, caplog):
    content = written(path)
    before_last = content.rstrip(b"\n").rfind(b"\n") + 1
    for end in range(before_last + 1, len(content)):
        path.write_bytes(content[:end])
        with caplog.at_level(logging.WARNING, logger="lightning_models.intervals.journal"):
            assert read(path) == RECORDS[:-1]
        assert path.read_bytes() == content[:before_last]
    assert "was torn" in caplog.text


def test_a_last_line_of_zeros_as_a_power_cut_leaves_it_is_cut_off(path):
    content = written(path)
    path.write_bytes(content + bytes(40))
    assert read(path) == RECORDS
    assert path.read_bytes() == content


def test_after_a_torn_line_the_journal_goes_on(path):
    content = written(path)
    path.write_bytes(content[:-3])
    written(path, [{"time": 9}])
    assert read(path) == [*RECORDS[:-1], {"time": 9}]


def test_a_damaged_line_with_others_after_it_is_refused_and_left(path):
    lines = written(path).splitlines(keepends=True)
    lines[2] = b'{"time": 1, "clo\n'
    path.write_bytes(b"".join(lines))
    with pytest.raises(StorageError, match=r"line 3 .* is damaged: restore the file"):
        read(path)
    assert path.read_bytes() == b"".join(lines)


@pytest.mark.parametrize("content", [b"dear diary", b"time,open\n", b"[1]\n", b'{"a": 1'])
def test_a_file_that_is_no_journal_is_left_as_it_is(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StorageError, match="is no journal and is left as it is"):
        read(path)
    assert path.read_bytes() == content


def test_a_journal_of_something_else_is_refused(path):
    content = written(path)
    with pytest.raises(ConfigError, match=r"another symbol \(symbol 'BTC/USDT', not 'ETH/USDT'\)"):
        Journal(path, HEADER | {"symbol": "ETH/USDT"})
    assert path.read_bytes() == content
    assert read(path) == RECORDS


def test_an_empty_file_becomes_a_journal(path):
    path.parent.mkdir()
    path.touch()
    written(path)
    assert read(path) == RECORDS


def test_a_second_writer_is_refused_until_the_first_has_ended(path):
    first = Journal(path, HEADER)
    with pytest.raises(StorageError, match="written by another process"):
        Journal(path, HEADER)
    first.close()
    assert read(path) == []


def test_a_disk_that_is_full_leaves_the_journal_as_it_was(path):
    content = written(path)
    journal = Journal(path, HEADER)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) + 10, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"cannot be read or written: .*Make room"):
            journal.append(RECORDS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert path.read_bytes() == content
    journal.append([{"time": 9}])
    journal.close()
    assert read(path) == [*RECORDS, {"time": 9}]


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be read or written"):
        Journal(tmp_path / "file" / "btc.jsonl", HEADER)


KILLED = """
import sys
from pathlib import Path
from lightning_models.intervals.journal import Journal

journal = Journal(Path(sys.argv[1]), {"journal": 1, "symbol": "BTC/USDT"})
number = 0
while True:
    journal.append([{"time": number, "padding": "x" * 3000}])
    print(number, flush=True)
    number += 1
"""


def test_a_killed_writer_leaves_all_that_it_was_told_is_written(path):
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, path], stdout=subprocess.PIPE, text=True
    ) as writer:
        for line in writer.stdout:
            if int(line) >= 20:
                writer.send_signal(signal.SIGKILL)
                break
        said = [int(line) for line in writer.stdout.read().split()]
        writer.wait()
    times = [record["time"] for record in read(path)]
    assert times == list(range(len(times)))
    assert len(times) > max([20, *said])


@given(
    records=st.lists(
        st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False)),
        max_size=6,
    ),
    cut=st.integers(0, 200),
)
def test_whatever_is_cut_from_the_end_a_beginning_of_the_records_is_left(
    tmp_path_factory, records, cut
):
    path = tmp_path_factory.mktemp("journal") / "it.jsonl"
    start = len(written(path, []))
    content = written(path, records)
    os.truncate(path, max(start, len(content) - cut))
    left = read(path)
    assert left == records[: len(left)]
    assert cut or left == records
