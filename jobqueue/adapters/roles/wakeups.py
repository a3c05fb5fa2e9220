"""Wake-ups: waiting workers are told of jobs that become due."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from jobqueue.records import Wakeup


class Listener(Protocol):
    """A receiver of wake-ups, made by `Adapter.listen`."""

    def wait(self, timeout_seconds: float) -> Wakeup | None:
        """Wait for a wake-up and return it; None if there is none in time.

        Wake-ups since the last call are returned at once, merged into one.

        Only one thread may call this. It returns early when the listener is closed.

        Raises:
            DatabaseError: the connection is lost. Close this listener, and listen anew.
        """
        ...

    def silent_seconds(self) -> float:
        """The seconds since anything arrived; 0 where nothing on the way could keep wake-ups back.

        May be called from any thread.
        """
        ...

    def verify(self) -> None:
        """Verify that wake-ups still arrive, while another thread waits for one.

        It may take as long as the database takes to answer.

        Raises:
            DatabaseUnavailable: that cannot be verified now.
            DatabaseError: they do not arrive. Close this listener, and listen anew.
        """
        ...

    def close(self) -> None:
        """Stop listening. May be called from any thread, and more than once."""
        ...


class WakeupsRole(Protocol):
    """The role that wakes waiting workers when jobs become due."""

    def listen(self, url: str | None = None) -> Listener:
        """Listen for jobs that become due now: enqueued, retried, freed, or of a resumed queue.

        A wake-up can be lost, and jobs whose time comes later are not announced. So a worker that
        waits also polls now and then.

        Args:
            url: of a connection to listen on, where that differs from the adapter's own.

        Raises:
            DatabaseError: the database cannot be listened to now, or does not deliver.
        """
        ...

    def due_in(self) -> timedelta | None:
        """The time until the first ready job of any queue is due; None when there is none.

        Zero or less when a job is due now. Cheap, however many jobs wait.
        """
        ...
