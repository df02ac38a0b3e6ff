"""SIGTERM is heard as Ctrl-C is, unless somebody else listens to it."""

from __future__ import annotations

import os
import signal
from threading import Thread

import pytest

from experiments.tuning.termination import sigterm_as_ctrl_c


def terminated_within():
    with sigterm_as_ctrl_c():
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()


def test_it_interrupts_and_is_put_back():
    with pytest.raises(KeyboardInterrupt):
        terminated_within()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_somebody_elses_way_to_hear_it_stays():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *told: heard.append(told))
    try:
        with sigterm_as_ctrl_c():
            os.kill(os.getpid(), signal.SIGTERM)
        assert len(heard) == 1
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_thread_that_can_listen_to_none_works_all_the_same():
    done = []

    def work():
        with sigterm_as_ctrl_c():
            done.append(signal.getsignal(signal.SIGTERM))

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert done == [signal.SIG_DFL]
