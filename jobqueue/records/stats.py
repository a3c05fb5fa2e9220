"""What became of attempts, by the minute."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

STATS_LIFETIME = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Stat:
    """What became of the jobs of a class in a queue, over some time.

    Args:
        handler: the name in their rows.
        queue: where they were claimed from.
        succeeded: how many did.
        retried: how many attempts failed and are followed by another.
        failed: how many did, with no attempt left.
        cancelled: how many ended so, by themselves or by others.
        run_time: how long all of these attempts took together.
        longest: how long the longest of them took.
        wait_time: how long all of them together had been due before they were claimed.
    """

    handler: str
    queue: str
    succeeded: int = 0
    retried: int = 0
    failed: int = 0
    cancelled: int = 0
    run_time: timedelta = timedelta(0)
    longest: timedelta = timedelta(0)
    wait_time: timedelta = timedelta(0)

    @property
    def attempts(self) -> int:
        """How many attempts ended."""
        return self.succeeded + self.retried + self.failed + self.cancelled

    def plus(self, other: Stat) -> Stat:
        """Both in one, of the same class and queue as this."""
        return replace(
            self,
            succeeded=self.succeeded + other.succeeded,
            retried=self.retried + other.retried,
            failed=self.failed + other.failed,
            cancelled=self.cancelled + other.cancelled,
            run_time=self.run_time + other.run_time,
            longest=max(self.longest, other.longest),
            wait_time=self.wait_time + other.wait_time,
        )


@dataclass(frozen=True, slots=True)
class StatOfMinute:
    """The stat of a class and a queue, of all workers, in the minute that began at `minute`."""

    minute: datetime
    stat: Stat
