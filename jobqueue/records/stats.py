"""Counts and durations of attempts, by the minute and by the hour."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from jobqueue.records.histograms import NO_DURATIONS, Histogram, Quantile

STATS_LIFETIME = timedelta(days=7)


def sum_of(first: timedelta, second: timedelta) -> timedelta:
    """The sum of two durations; the longest there is, where it is beyond that.

    A thousand jobs that have been due since the year 1 have waited longer together.
    """
    try:
        return first + second
    except OverflowError:
        return timedelta.max


def duration_of(seconds: float) -> timedelta:
    """A number of seconds as a duration; the longest there is, where it is beyond that."""
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        return timedelta.max


@dataclass(frozen=True, slots=True)
class Stat:
    """Counts and durations of the attempts of a class in a queue, over some time.

    Args:
        handler: the name in their rows.
        queue: where they were claimed from.
        succeeded: how many attempts succeeded.
        retried: how many attempts failed and are followed by another.
        failed: how many attempts failed with none left.
        cancelled: how many jobs ended cancelled, by themselves or by others.
        run_time: how long all of these attempts took together.
        longest: how long the longest of them took.
        wait_time: how long their jobs together had been due before they were claimed.
        ran: how many of these attempts took how long. Workers of former releases count none.
        waited: how many of their jobs had been due for how long before they were claimed.
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
    ran: Histogram = NO_DURATIONS
    waited: Histogram = NO_DURATIONS

    @property
    def attempts(self) -> int:
        """How many attempts ended."""
        return self.succeeded + self.retried + self.failed + self.cancelled

    def run_quantile(self, share: float) -> Quantile | None:
        """Return how long a share of these attempts took at most, as far as that is known."""
        return self.ran.quantile(share, self.longest)

    def wait_quantile(self, share: float) -> Quantile | None:
        """Return how long a share of the jobs had been due at most, as far as that is known."""
        return self.waited.quantile(share)

    def plus(self, other: Stat) -> Stat:
        """Add another stat to this one. The class and the queue stay those of this one."""
        return replace(
            self,
            succeeded=self.succeeded + other.succeeded,
            retried=self.retried + other.retried,
            failed=self.failed + other.failed,
            cancelled=self.cancelled + other.cancelled,
            run_time=sum_of(self.run_time, other.run_time),
            longest=max(self.longest, other.longest),
            wait_time=sum_of(self.wait_time, other.wait_time),
            ran=self.ran.plus(other.ran),
            waited=self.waited.plus(other.waited),
        )


@dataclass(frozen=True, slots=True)
class StatOfMinute:
    """A stat of all workers, for the minute that began at `minute`."""

    minute: datetime
    stat: Stat
