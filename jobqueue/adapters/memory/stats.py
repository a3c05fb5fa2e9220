"""Statistics of attempts, by the minute and by the hour, in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from jobqueue.adapters.memory.store import MemoryRole, MemoryStore
from jobqueue.adapters.roles.stats import StatsRole
from jobqueue.adapters.stats_window import (
    HOUR,
    Span,
    hour_of,
    roll_up_span,
    window_between,
)
from jobqueue.records import NO_DURATIONS, STATS_LIFETIME, Stat, StatOfMinute

MOST_CLASSES = 1_000


class MemoryStats(MemoryRole, StatsRole):
    """The statistics of attempts, by the minute and by the hour, in memory."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self._stats: dict[tuple[datetime, str, str, str], Stat] = {}
        self._hours: dict[tuple[datetime, str, str], Stat] = {}

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
                    counted = replace(stat, ran=NO_DURATIONS, waited=NO_DURATIONS)
                    found[key] = found.get(key, Stat(handler, queue)).plus(counted)
        return [StatOfMinute(key[0], found[key]) for key in sorted(found)]

    def class_stats(
        self,
        since: timedelta,
        until: timedelta = timedelta(0),
        handlers: Collection[str] | None = None,
        queues: Collection[str] | None = None,
    ) -> list[Stat]:
        asked = (
            stat
            for stat in self._between(since, until)
            if (handlers is None or stat.handler in handlers)
            and (queues is None or stat.queue in queues)
        )
        most = sorted(_sums(asked), key=lambda stat: -stat.attempts)[:MOST_CLASSES]
        return sorted(most, key=lambda stat: (stat.handler, stat.queue))

    def ended_by_queue(self, since: timedelta) -> dict[str, int]:
        ended: Counter[str] = Counter()
        for stat in self._between(since, timedelta(0)):
            ended[stat.queue] += stat.attempts - stat.retried
        return dict(ended)

    def roll_up_stats(self, limit: int) -> int:
        with self._store.lock:
            now = self._store.now()
            span = roll_up_span(now, self._rolled_up_until(now))
            minutes = (key[0] for key in self._stats if span.begin <= key[0] < span.end)
            hours = sorted(set(map(hour_of, minutes)))[:limit]
            for hour in hours:
                for stat in _sums(self._of_minutes(Span(hour, hour + HOUR))):
                    self._hours[hour, stat.handler, stat.queue] = stat
        return len(hours)

    def prune_stats(self, limit: int) -> int:
        with self._store.lock:
            return _prune(self._stats, self._store.now(), STATS_LIFETIME, STATS_LIFETIME, limit)

    def prune_hours(self, age: timedelta, limit: int) -> int:
        with self._store.lock:
            return _prune(self._hours, self._store.now(), age, HOUR, limit)

    def _between(self, since: timedelta, until: timedelta) -> list[Stat]:
        with self._store.lock:
            now = self._store.now()
            window = window_between(now, since, until, self._rolled_up_until(now))
            return [
                *(stat for span in window.hours for stat in self._of_hours(span)),
                *(stat for span in window.minutes for stat in self._of_minutes(span)),
            ]

    def _rolled_up_until(self, now: datetime) -> datetime | None:
        last = max((key[0] for key in self._hours if key[0] < hour_of(now)), default=None)
        return None if last is None else last + HOUR

    def _of_hours(self, span: Span) -> Iterator[Stat]:
        return (stat for key, stat in self._hours.items() if span.begin <= key[0] < span.end)

    def _of_minutes(self, span: Span) -> Iterator[Stat]:
        return (stat for key, stat in self._stats.items() if span.begin <= key[0] < span.end)


def _sums(found: Iterable[Stat]) -> list[Stat]:
    """The sums of stats of the same class and queue."""
    sums: dict[tuple[str, str], Stat] = {}
    for stat in found:
        key = (stat.handler, stat.queue)
        sums[key] = sums[key].plus(stat) if key in sums else stat
    return list(sums.values())


def _prune(
    rows: dict[tuple[datetime, str, str], Stat] | dict[tuple[datetime, str, str, str], Stat],
    now: datetime,
    age: timedelta,
    ahead: timedelta,
    limit: int,
) -> int:
    """Remove the oldest rows, and those that a clock which was ahead has written."""
    too_far = sorted(key for key in rows if not now - age < key[0] <= now + ahead)[:limit]
    for key in too_far:
        del rows[key]  # type: ignore[arg-type]
    return len(too_far)
