"""Hearing of jobs that are due, instead of looking for them."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from jobqueue.records import Wakeup


class Listener(Protocol):
    """Hears of jobs that become due. Made by `Adapter.listen`."""

    def wait(self, timeout_seconds: float) -> Wakeup | None:
        """What has been heard since the last call, waiting for it; None when nothing has.

        Only one thread may call this. It returns early when the listener is closed.

        Raises:
            DatabaseError: the connection is lost. Close this listener, and listen anew.
        """
        ...

    def close(self) -> None:
        """Hear no more. May be called from any thread, and more than once."""
        ...


class WakeupsRole(Protocol):
    """Tells those who wait of jobs that are due."""

    def listen(self, url: str | None = None) -> Listener:
        """Hear of jobs that become due now: enqueued, retried, freed, or of a resumed queue.

        Nobody relies on it: a wake-up can be lost, and jobs whose time comes later are never
        announced, so who waits also looks by itself now and then.

        Args:
            url: of a connection to listen on, where that differs from the adapter's own.

        Raises:
            DatabaseError: it cannot be listened to now, or what is said is not delivered.
        """
        ...

    def due_in(self) -> timedelta | None:
        """How long until the first ready job is due, whatever its queue; None when there is none.

        Nothing (or less) when one is due. Cheap, however many jobs wait.
        """
        ...
