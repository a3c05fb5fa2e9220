"""The supervisor's bell: rung by signals while its thread waits."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from jobqueue.runner.bell import Bell


@pytest.fixture
def rung_all_the_time() -> Iterator[Bell]:
    """Rung by a signal handler on this thread, two thousand times a second."""
    bell = Bell()
    before = signal.signal(signal.SIGALRM, lambda *_: bell.ring())
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    yield bell
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_a_handler_may_ring_while_its_own_thread_waits(rung_all_the_time: Bell) -> None:
    until = time.monotonic() + 1
    while time.monotonic() < until:
        rung_all_the_time.wait(0.0001)


def test_what_was_rung_before_ends_the_next_waiting_and_no_more() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()
    started = time.monotonic()
    bell.wait(20)
    assert time.monotonic() - started < 10
    bell.wait(0.01)
    assert time.monotonic() - started < 10
