"""A bell, by which a signal handler wakes the main thread."""

from __future__ import annotations

from queue import Empty, SimpleQueue


class Bell:
    """An event like `threading.Event` that a signal handler may set on the thread that waits.

    An event has a lock that is not reentrant. A handler that sets the event while its own thread
    holds that lock, at the beginning or end of a wait, never returns. `SimpleQueue.put` is safe.
    """

    def __init__(self) -> None:
        self._rung: SimpleQueue[None] = SimpleQueue()

    def ring(self) -> None:
        """End the wait, or the next one at once. From any thread, and from signal handlers."""
        self._rung.put(None)

    def wait(self, timeout_seconds: float) -> None:
        """Wait until the bell has been rung since the last wait, or the time is up."""
        try:
            self._rung.get(timeout=timeout_seconds)
            while True:
                self._rung.get_nowait()
        except Empty:
            return
