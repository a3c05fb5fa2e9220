"""What became of attempts, by the minute."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from jobqueue.records import Stat, StatOfMinute


class StatsRole(Protocol):
    """Keeps what became of attempts, by the minute."""

    def add_stats(self, worker_id: str, stats: Sequence[Stat]) -> None:
        """Store what became of a worker's attempts since it did this last, about a minute ago."""
        ...

    def stats(self, period: timedelta) -> list[StatOfMinute]:
        """The stats of all workers since then, the latest minute last. Never reads jobs."""
        ...

    def prune_stats(self, limit: int) -> int:
        """Remove stats that are older than a week, at most `limit`; return how many rows."""
        ...
