"""Clocks and timers, which tests can replace by their own."""

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
    """A source of the current time."""

    def now(self) -> datetime:
        """Return the time as an aware UTC datetime."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """Return the machine's time as an aware UTC datetime."""
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
        """Return the time that the clock was last moved to."""
        with self._lock:
            return self._now

    def advance(self, by: timedelta | float) -> datetime:
        """Move the clock forward by a `timedelta`, or a number of seconds, and return the time."""
        step = by if isinstance(by, timedelta) else timedelta(seconds=by)
        with self._lock:
            self._now += step
            return self._now


class Timer(Protocol):
    """The means of a worker's threads to measure time and to wait."""

    def now(self) -> float:
        """Return seconds that only go up."""
        ...

    def wait(self, condition: Condition, seconds: float | None) -> None:
        """Wait until a condition is notified, for so many seconds at most; None for no limit.

        The caller holds the condition's lock.
        """
        ...


class SystemTimer:
    """The timer of this machine."""

    now = staticmethod(time.monotonic)

    def wait(self, condition: Condition, seconds: float | None) -> None:
        condition.wait(seconds)


SYSTEM_TIMER = SystemTimer()


def reconnect_pauses() -> Iterator[float]:
    """Yield, without end, how many seconds to wait before the next attempt to reach a database."""
    pause = FIRST_RECONNECT_SECONDS
    while True:
        yield pause * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load
        pause = min(pause * 2, LONGEST_RECONNECT_SECONDS)
