"""Listeners in memory: one part of a process waits for jobs that another part enqueues."""

from __future__ import annotations

import threading

from jobqueue.records import Wakeup


class MemoryListener:
    """A listener for jobs that become due in the memory of this process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heard: Wakeup | None = None
        self._closed = False

    def receive(self, wakeup: Wakeup) -> None:
        """Take note of a wake-up."""
        with self._changed:
            if not self._closed:
                self._heard = wakeup if self._heard is None else self._heard.merged(wakeup)
                self._changed.notify_all()

    def wait(self, timeout_seconds: float) -> Wakeup | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._heard, timeout_seconds)
            heard, self._heard = self._heard, None
            return heard

    def silent_seconds(self) -> float:
        return 0.0

    def verify(self) -> None:
        """Do nothing: nothing on the way could keep wake-ups back."""

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
