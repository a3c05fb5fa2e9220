"""Statistics of attempts, by the minute, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from jobqueue.adapters.memory.store import MemoryRole, MemoryStore
from jobqueue.adapters.roles.stats import StatsRole
from jobqueue.records import STATS_LIFETIME, Stat, StatOfMinute


class MemoryStats(MemoryRole, StatsRole):
    """The statistics of attempts, by the minute, in memory."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self._stats: dict[tuple[datetime, str, str, str], Stat] = {}

    def add_stats(self, worker_id: str, stats: Sequence[Stat]) -> None:
        minute = self._store.now().replace(second=0, microsecond=0)
        with self._store.lock:
            for stat in stats:
                key = (minute, worker_id, stat.handler, stat.queue)
                before = self._stats.get(key, Stat(stat.handler, stat.queue))
                self._stats[key] = before.plus(stat)

    def stats(self, period: timedelta) -> list[StatOfMinute]:
        now, found = self._store.now(), dict[tuple[datetime, str, str], Stat]()
        with self._store.lock:
            for (minute, _, handler, queue), stat in self._stats.items():
                if now - period < minute <= now:
                    key = (minute, handler, queue)
                    found[key] = found.get(key, Stat(handler, queue)).plus(stat)
        return [StatOfMinute(key[0], found[key]) for key in sorted(found)]

    def prune_stats(self, limit: int) -> int:
        since, until = self._store.now() - STATS_LIFETIME, self._store.now() + STATS_LIFETIME
        with self._store.lock:
            too_far = sorted(key for key in self._stats if not since < key[0] <= until)[:limit]
            for key in too_far:
                del self._stats[key]
            return len(too_far)
