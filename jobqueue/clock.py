"""Where the time comes from, so that tests can bring their own."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from threading import Condition, Lock
from typing import Protocol

FIRST_RECONNECT_SECONDS = 0.1
LONGEST_RECONNECT_SECONDS = 5.0


class Clock(Protocol):
    """Anything that tells the time."""

    def now(self) -> datetime:
        """The time as an aware UTC datetime."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """The machine's time, aware, in UTC."""
        return datetime.now(UTC)


class ManualClock:
    """A clock that stands still until it is moved: for tests.

    Args:
        start: an aware datetime; 2030-01-01 00:00 UTC when none is given.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._lock = Lock()
        self._now = (start or datetime(2030, 1, 1, tzinfo=UTC)).astimezone(UTC)

    def now(self) -> datetime:
        """The time that it was last moved to."""
        with self._lock:
            return self._now

    def advance(self, by: timedelta | float) -> datetime:
        """Move the clock forward by a `timedelta`, or a number of seconds, and return the time."""
        step = by if isinstance(by, timedelta) else timedelta(seconds=by)
        with self._lock:
            self._now += step
            return self._now


class Timer(Protocol):
    """What the threads of a worker measure time with, and wait with."""

    def now(self) -> float:
        """Seconds that only go up."""
        ...

    def wait(self, condition: Condition, seconds: float | None) -> None:
        """Wait for a condition, whose lock is held, to be notified; so long at most, or None."""
        ...


class SystemTimer:
    """The timer of this machine."""

    now = staticmethod(time.monotonic)

    def wait(self, condition: Condition, seconds: float | None) -> None:
        """See `Timer.wait`."""
        condition.wait(seconds)


SYSTEM_TIMER = SystemTimer()


def reconnect_pauses() -> Iterator[float]:
    """How many seconds to wait before each attempt at a database that is away, without end."""
    pause = FIRST_RECONNECT_SECONDS
    while True:
        yield pause * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load
        pause = min(pause * 2, LONGEST_RECONNECT_SECONDS)
