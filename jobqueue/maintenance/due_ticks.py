"""The ticks of a schedule that are due, and those that have been enqueued already.

A schedule goes on from its last tick, by the database's clock. That clock may have been wrong. If
it was ahead, the last tick lies in the future, and the schedule would be silent until then. If it
was behind, the same seems to be so. A schedule therefore remembers in spans which ticks have been
enqueued: its last tick can be put back, and no tick is enqueued twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from jobqueue.cron import Schedule
from jobqueue.records import ScheduleRecord, TickSpan

ON_TIME = timedelta(seconds=5)
MOST_AT_ONCE = 1000
MOST_SPANS = 20
SHORTEST = timedelta(microseconds=1)


def due_ticks(record: ScheduleRecord, schedule: Schedule, now: datetime) -> list[datetime]:
    """The ticks to enqueue now; after a long absence, only the first thousand.

    Ticks that are on time, within a few seconds, are all enqueued, since a ticker may be a little
    late. If the first tick is older, no ticker was running, and `catch_up` decides.
    """
    after = max(record.since, record.last_tick or record.since)
    first = next_tick(record, schedule, after)
    if first is None or first > now:
        return []
    if first > now - ON_TIME or record.catch_up == "all":
        return list(_ticks(record, schedule, after, now))
    if record.catch_up:
        latest = _latest_tick(record, schedule, after, now)
        return [] if latest is None else [latest]
    return list(_ticks(record, schedule, max(after, now - ON_TIME), now))


def next_tick(record: ScheduleRecord, schedule: Schedule, after: datetime) -> datetime | None:
    """The first tick after a moment that has not been enqueued."""
    tick = schedule.next_after(after)
    while tick is not None and (span := _span_with(record, tick)) is not None:
        tick = schedule.next_after(span.last)
    return tick


def _latest_tick(
    record: ScheduleRecord, schedule: Schedule, after: datetime, until: datetime
) -> datetime | None:
    tick = schedule.latest_between(after, until)
    while tick is not None and (span := _span_with(record, tick)) is not None:
        tick = schedule.latest_between(after, span.first - SHORTEST)
    return tick


def _ticks(
    record: ScheduleRecord, schedule: Schedule, after: datetime, until: datetime
) -> Iterator[datetime]:
    tick = next_tick(record, schedule, after)
    for _ in range(MOST_AT_ONCE):
        if tick is None or tick > until:
            return
        yield tick
        tick = next_tick(record, schedule, tick)


def _span_with(record: ScheduleRecord, tick: datetime) -> TickSpan | None:
    return next((span for span in record.enqueued if tick in span), None)


def enqueued_with(
    record: ScheduleRecord, schedule: Schedule, ticks: list[datetime]
) -> tuple[TickSpan, ...]:
    """The spans of enqueued ticks that a schedule remembers once these ticks are enqueued, too.

    They lengthen the span of the last tick if they follow it, and begin one otherwise.
    """
    first = ticks[0]
    if record.last_tick is not None and next_tick(record, schedule, record.last_tick) == first:
        before = _span_with(record, record.last_tick)
        first = record.last_tick if before is None else before.first
    grown = TickSpan(first, ticks[-1])
    others = [s for s in record.enqueued if not (s.first in grown and s.last in grown)]
    latest = sorted(others, key=lambda span: span.last)[1 - MOST_SPANS :]
    return tuple(sorted([*latest, grown], key=lambda span: span.first))


def is_ahead(record: ScheduleRecord, now: datetime) -> bool:
    """Whether a schedule goes on only from a moment in the future, since the clock was wrong.

    A few seconds are no reason to put it back.
    """
    return max(record.since, record.last_tick or record.since) > now + ON_TIME


def put_back(record: ScheduleRecord, schedule: Schedule, now: datetime) -> ScheduleRecord:
    """A schedule that is ahead, so that it goes on from now.

    It goes on from the latest tick before now that is known to have been enqueued. Without one, a
    tick of this very moment is the first.
    """
    enqueued = record.enqueued
    if record.last_tick is not None and _span_with(record, record.last_tick) is None:
        enqueued = (*enqueued, TickSpan(record.last_tick, record.last_tick))
    passed = [
        tick
        for span in enqueued
        if (tick := schedule.latest_between(span.first - SHORTEST, min(span.last, now))) is not None
    ]
    return replace(
        record,
        since=min(record.since, now) if passed else now - SHORTEST,
        last_tick=max(passed, default=None),
        enqueued=enqueued,
    )
