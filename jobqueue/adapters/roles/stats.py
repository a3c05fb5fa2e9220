"""Statistics of attempts, by the minute."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from jobqueue.records import Stat, StatOfMinute


class StatsRole(Protocol):
    """The role that keeps statistics of attempts, by the minute."""

    def add_stats(self, worker_id: str, stats: Sequence[Stat]) -> None:
        """Add the statistics of a worker's attempts since its last call, about a minute ago."""
        ...

    def stats(self, period: timedelta) -> list[StatOfMinute]:
        """The statistics of all workers over a period, the latest minute last. Reads no jobs."""
        ...

    def prune_stats(self, limit: int) -> int:
        """Remove stats that are older than a week, at most `limit`; return how many rows."""
        ...
