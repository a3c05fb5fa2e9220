"""Statistics of attempts, by the minute and by the hour."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Protocol

from jobqueue.records import Stat, StatOfMinute


class StatsRole(Protocol):
    """The role that keeps statistics of attempts, by the minute and by the hour."""

    def add_stats(self, worker_id: str, stats: Sequence[Stat]) -> None:
        """Add the statistics of a worker's attempts since its last call, about a minute ago."""
        ...

    def stats(self, period: timedelta) -> list[StatOfMinute]:
        """Return the statistics of all workers over a period, the latest minute last.

        They are without histograms, which `class_stats` has. No jobs are read.
        """
        ...

    def class_stats(
        self,
        since: timedelta,
        until: timedelta = timedelta(0),
        handlers: Collection[str] | None = None,
        queues: Collection[str] | None = None,
    ) -> list[Stat]:
        """Return the statistics of each class in each queue over a window, ordered by these names.

        Of more than a thousand, those with the most attempts. The window ends exactly where it is
        asked for as long as minutes are kept, and beyond that at full hours.

        Args:
            since: how long ago the window begins.
            until: how long ago it ends.
            handlers: only these classes, by the names in their rows.
            queues: only these queues.
        """
        ...

    def ended_by_queue(self, since: timedelta) -> dict[str, int]:
        """Return how many jobs of each queue have ended lately, however many classes there are.

        Attempts that others follow have ended none.

        Args:
            since: how long ago the window begins; it ends now.
        """
        ...

    def roll_up_stats(self, limit: int) -> int:
        """Add up the minutes of past hours, at most of `limit` hours; return of how many.

        Each hour is rolled up in a transaction of its own, a few minutes after its end. To do it
        again changes nothing.
        """
        ...

    def prune_stats(self, limit: int) -> int:
        """Remove stats that are older than a week, at most `limit`; return how many rows."""
        ...

    def prune_hours(self, age: timedelta, limit: int) -> int:
        """Remove stats by the hour that are older than `age`, at most `limit`; return how many."""
        ...
