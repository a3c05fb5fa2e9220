"""Waking the main thread from a signal handler."""

from __future__ import annotations

from queue import Empty, SimpleQueue


class Bell:
    """What `threading.Event` is, but safe to ring in a handler that interrupts the one who waits.

    An event has a lock that is not reentrant. A handler that sets it while the same thread holds
    that lock, just beginning or ending to wait, never returns. `SimpleQueue.put` may be called so.
    """

    def __init__(self) -> None:
        self._rung: SimpleQueue[None] = SimpleQueue()

    def ring(self) -> None:
        """End the waiting, or the next one at once. From any thread, and from signal handlers."""
        self._rung.put(None)

    def wait(self, timeout_seconds: float) -> None:
        """Return when it has been rung since the last time, or the time is up."""
        try:
            self._rung.get(timeout=timeout_seconds)
            while True:
                self._rung.get_nowait()
        except Empty:
            return
