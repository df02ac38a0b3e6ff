"""Opinions are found again as they were kept, or not at all."""

from __future__ import annotations

import json
import logging
import threading

import pytest

from lstm_strategies.analyst import Opinion, cache
from lstm_strategies.analyst.cache import OpinionCache

PROMPT = "ab" * 32
OTHER = "cd" * 32
OPINION = Opinion(stance=0.1 + 0.2, confidence=1 / 3, reasoning="Rising 🚀.")


@pytest.fixture
def kept(tmp_path):
    found = OpinionCache(tmp_path / "opinions", "llama3.1")
    found.keep(PROMPT, OPINION)
    return found


def test_kept_opinion_is_found_to_the_last_digit(kept, tmp_path):
    assert OpinionCache(tmp_path / "opinions", "llama3.1").find(PROMPT) == OPINION
    assert kept.find(OTHER) is None
    assert [each.name for each in (tmp_path / "opinions").iterdir()] == [f"{PROMPT}.json"]


def test_other_model_finds_nothing(kept, tmp_path):
    assert OpinionCache(tmp_path / "opinions", "qwen3").find(PROMPT) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-10],
        lambda content: content.replace(b"0.333", b"0.433"),
        lambda content: content.replace(b"Rising", b"Fallin"),
        lambda content: content.replace(PROMPT.encode(), OTHER.encode()),
        lambda content: content + b"{}",
        lambda content: b"\xff" * 100,
        lambda content: b"[" * 100_000,
        lambda content: json.dumps({"opinion": 5}).encode(),
    ],
    ids=["empty", "cut", "digit", "word", "prompt", "longer", "bytes", "deep", "form"],
)
def test_damaged_file_counts_as_none_and_is_replaced(kept, tmp_path, caplog, damage):
    path = tmp_path / "opinions" / f"{PROMPT}.json"
    whole = path.read_bytes()
    assert damage(whole) != whole
    path.write_bytes(damage(whole))
    with caplog.at_level(logging.WARNING):
        assert kept.find(PROMPT) is None
        assert kept.find(PROMPT) is None
    assert caplog.text.count("is damaged, its question is asked anew") == 1
    kept.keep(PROMPT, OPINION)
    assert path.read_bytes() == whole
    assert kept.find(PROMPT) == OPINION


def test_folder_that_cannot_be_written_is_told_once_and_does_no_harm(tmp_path, caplog):
    (tmp_path / "file").write_text("not a folder")
    kept = OpinionCache(tmp_path / "file" / "opinions", "llama3.1")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with kept.one_asker(PROMPT, 1.0):
                kept.keep(PROMPT, OPINION)
            assert kept.find(PROMPT) is None
    assert len(caplog.records) == 1
    assert "opinions are not kept, each run asks anew" in caplog.text


def test_nothing_half_written_is_left(tmp_path, monkeypatch, caplog):
    def full(handle, mode):
        cache.os.close(handle)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "fdopen", full)
    kept = OpinionCache(tmp_path, "llama3.1")
    with caplog.at_level(logging.WARNING):
        kept.keep(PROMPT, OPINION)
    assert "No space left on device" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_one_asks_while_the_other_waits(tmp_path):
    inside, done = threading.Event(), threading.Event()
    order = []

    def ask():
        with OpinionCache(tmp_path, "llama3.1").one_asker(PROMPT, 30.0):
            inside.set()
            done.wait(30)
            order.append("first")

    first = threading.Thread(target=ask)
    first.start()
    assert inside.wait(30)
    # Another question does not wait, and patience ends.
    with OpinionCache(tmp_path, "llama3.1").one_asker(OTHER, 30.0):
        order.append("other")
    with OpinionCache(tmp_path, "llama3.1").one_asker(PROMPT, 0.05):
        order.append("impatient")
    done.set()
    with OpinionCache(tmp_path, "llama3.1").one_asker(PROMPT, 30.0):
        order.append("second")
    first.join()
    assert order == ["other", "impatient", "first", "second"]


def test_error_of_the_asker_frees_the_question(tmp_path):
    kept = OpinionCache(tmp_path, "llama3.1")
    with pytest.raises(ZeroDivisionError), kept.one_asker(PROMPT, 1.0):
        raise ZeroDivisionError
    entered = []
    other = threading.Thread(target=lambda: entered.append(_enter(tmp_path)))
    other.start()
    other.join()
    assert entered == [True]


def _enter(folder):
    lock = cache.FileLock(folder / f"{PROMPT[:2]}.lock")
    with lock.acquire(timeout=0):
        return lock.is_locked
