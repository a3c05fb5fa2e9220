"""An alarm by a signal, which interrupts a job on the main thread even in a blocking call."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

SHORTEST_SECONDS = 1e-6
LONGEST_SECONDS = 1e9
"""Longer than any process lives. The system does not take much more."""


class SignalAlarm:
    """An `Alarm` made of SIGALRM, which interrupts `time.sleep`, `recv` and the like.

    Only for the main thread, and only one at a time in a process; an application that uses
    SIGALRM in its jobs cannot have a `max_runtime` beside it.
    """

    def __init__(self) -> None:
        self._callback: Callable[[], None] | None = None
        self._called_now: list[Callable[[], None]] = []

    def arm(self) -> None:
        signal.signal(signal.SIGALRM, self._handle)

    def set(self, after_seconds: float, callback: Callable[[], None]) -> None:
        self._callback = callback
        self.arm()
        seconds = min(max(after_seconds, SHORTEST_SECONDS), LONGEST_SECONDS)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def cancel(self) -> None:
        self._callback = None  # a signal that is already on its way finds nothing to call
        signal.setitimer(signal.ITIMER_REAL, 0)

    def call_now(self, callback: Callable[[], None]) -> None:
        self._called_now.append(callback)
        main_thread = threading.main_thread().ident
        assert main_thread is not None, "the main thread is what the alarm is for"  # noqa: S101
        signal.pthread_kill(main_thread, signal.SIGALRM)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        callbacks, self._called_now = self._called_now, []
        if self._callback is not None and not signal.getitimer(signal.ITIMER_REAL)[0]:
            callbacks.append(self._callback)
            self._callback = None
        for callback in callbacks:
            callback()
