"""What is said while one waits: on a terminal for as long as it takes, elsewhere in a line."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from experiments.cli.tune_notes import STOPPING, stop_is_noted, under_way

from .terminal import Screen, in_terminal


def test_where_nobody_watches_it_is_a_line_from_the_beginning(capsys):
    with under_way("reading [candles]"):
        assert capsys.readouterr().err == "reading [candles]\n"
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_it_is_gone_afterwards():
    code, written = in_terminal(
        "from experiments.cli.tune_notes import under_way\n"
        "with under_way('reading candles'):\n    pass\nprint('done')",
        width=60,
    )
    assert code == 0
    screen = Screen(60).feed(written)
    assert any("reading candles" in line for lines in screen.seen for line in lines)
    assert screen.lines == ["done"]


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process alone")
class TestStop:
    def test_ctrl_c_is_answered_once_and_its_handler_is_called_each_time(self, capsys):
        taken = []
        before = signal.signal(signal.SIGINT, lambda number, frame: taken.append(number))
        try:
            with stop_is_noted():
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)
        finally:
            signal.signal(signal.SIGINT, before)
        assert taken == [signal.SIGINT, signal.SIGINT]
        assert capsys.readouterr().err == f"{STOPPING}\n"

    def test_ctrl_c_that_nobody_handles_ends_the_work_as_ever(self, capsys):
        with pytest.raises(KeyboardInterrupt), stop_is_noted():
            signal.raise_signal(signal.SIGINT)
        assert capsys.readouterr().err == f"{STOPPING}\n"

    def test_another_signal_is_no_wish_to_stop(self, capsys):
        before = signal.signal(signal.SIGUSR1, lambda number, frame: None)
        try:
            with stop_is_noted():
                signal.raise_signal(signal.SIGUSR1)
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert capsys.readouterr().err == ""

    def test_afterwards_nobody_listens_any_more(self, capsys):
        with stop_is_noted():
            pass
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert capsys.readouterr().err == ""
        assert signal.set_wakeup_fd(-1) == -1

    def test_outside_the_main_thread_signals_are_left_alone(self):
        done = []

        def work():
            with stop_is_noted():
                done.append(True)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert done == [True]
