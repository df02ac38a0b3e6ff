"""A candle that is still forming is neither trained nor traded on."""

from __future__ import annotations

import time

import numpy as np
import pytest

from experiments.cli.sources import closed_by_now
from lightning_models.candles import Candles
from lightning_models.errors import TooFewCandlesError

HOUR = 3_600_000


def ending_now(count: int) -> Candles:
    forming = time.time_ns() // 1_000_000 // HOUR * HOUR
    opens = forming - HOUR * np.arange(count)[::-1]
    return Candles("X/Y", "1h", "continuous", opens, np.ones((count, 5)))


def test_the_forming_candle_is_left_out_with_a_note(capsys):
    candles = ending_now(5)
    kept = closed_by_now(candles)
    assert kept.time.tolist() == candles.time[:-1].tolist()
    assert "have not closed yet" in capsys.readouterr().err


def test_finished_candles_are_kept_without_a_word(capsys):
    candles = closed_by_now(ending_now(5))
    assert len(closed_by_now(candles)) == 4
    capsys.readouterr()
    closed_by_now(candles)
    assert capsys.readouterr().err == ""


def test_nothing_closed_is_an_error():
    with pytest.raises(TooFewCandlesError, match="the first one closes at"):
        closed_by_now(ending_now(1))
