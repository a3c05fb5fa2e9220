"""Samples: the depths of queues, by the minute: portable SQLAlchemy Core.

A sample has a row for each queue, and one without a name of a queue. That one comes first: whoever
inserts it takes the sample, and whoever finds it there does not. When the depths are stored, it
says of how many queues. A sample that was begun and not stored counts for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    CursorResult,
    Row,
    bindparam,
    delete,
    or_,
    select,
    tuple_,
)

from jobqueue.adapters.roles.samples import SamplesRole
from jobqueue.adapters.sql.named import Named
from jobqueue.adapters.sql.readings import span, whole
from jobqueue.adapters.sql.role import SqlRole
from jobqueue.adapters.sql.tables import SAMPLES, UtcDateTime, to_name, to_utc
from jobqueue.records import LARGEST_ID, QueueDepth, Sample, SampledDepth

NO_QUEUE = ""
NOT_STORED = -1
MOST_ROWS, MOST_NAMED = 100_000, 10_000
MINUTE, EPOCH = timedelta(minutes=1), datetime.fromtimestamp(0, UTC)

BEGIN = Named(
    """
INSERT INTO {schema}.background_samples (minute, queue, due, later, running, oldest_seconds, more)
VALUES (:minute, :queue, :due, 0, 0, 0, false)
ON CONFLICT (minute, queue) DO NOTHING
""",
    bindparam("minute", type_=UtcDateTime),
)
STORE = Named(
    """
INSERT INTO {schema}.background_samples (minute, queue, due, later, running, oldest_seconds, more)
VALUES (:minute, :queue, :due, :later, :running, :oldest_seconds, :more)
ON CONFLICT (minute, queue) DO UPDATE
SET due = excluded.due, later = excluded.later, running = excluded.running,
    oldest_seconds = excluded.oldest_seconds, more = excluded.more
""",
    bindparam("minute", type_=UtcDateTime),
)

_KEY = (SAMPLES.c.minute, SAMPLES.c.queue)


class SqlSamples(SqlRole, SamplesRole):
    """The depths of queues, by the minute, in a SQL database."""

    def begin_sample(self) -> datetime | None:
        minute, is_begun = self.database.read(self._look)
        if is_begun:
            return None

        def work(connection: Connection) -> bool:
            values = {"minute": minute, "queue": NO_QUEUE, "due": NOT_STORED}
            result = connection.execute(BEGIN.on(connection), values)
            assert isinstance(result, CursorResult)  # noqa: S101 - this is no SELECT
            return bool(result.rowcount)

        return minute if self.database.write(work) else None

    def store_sample(self, minute: datetime, depths: Sequence[QueueDepth]) -> None:
        rows = [_row(minute, depth) for depth in depths if depth.queue != NO_QUEUE]
        rows = [row for row in rows if row["due"] or row["later"] or row["running"]]
        stored = _row(minute, QueueDepth(NO_QUEUE, len(rows), 0, 0, timedelta(0), paused=False))
        self.database.write(lambda c: c.execute(STORE.on(c), [*rows, stored]))

    def samples(
        self,
        period: timedelta,
        queue: str | None = None,
        every: int = 1,
        until: timedelta = timedelta(0),
    ) -> list[Sample]:
        def work(connection: Connection) -> Sequence[Row[Any]]:
            last = self.time.read(connection) - until
            query = select(SAMPLES).where(_among(last - period, last, every))
            if queue is not None:
                query = query.where(SAMPLES.c.queue.in_((NO_QUEUE, queue)))
            # The latest ones, if there are more than anybody has honestly stored.
            query = query.order_by(*(column.desc() for column in _KEY)).limit(MOST_ROWS)
            return connection.execute(query).all()

        return list(_samples(self.database.look(work)))[::-1]

    def prune_samples(self, age: timedelta, limit: int) -> int:
        minute = SAMPLES.c.minute
        # Those of a minute to come were written by a clock that was ahead; nobody would take them.
        too_far = or_(minute <= self.time.later(-age), minute > self.time.later(MINUTE))
        rows = select(*_KEY).where(too_far).order_by(*_KEY).limit(limit)
        if not self.database.read(lambda c: c.execute(rows.limit(1)).first()):
            return 0
        unlocked = rows.with_for_update(skip_locked=True)
        return self._execute(delete(SAMPLES).where(tuple_(*_KEY).in_(unlocked)))

    def _look(self, connection: Connection) -> tuple[datetime, bool]:
        minute = self.time.read(connection).replace(second=0, microsecond=0)
        is_this = SAMPLES.c.minute == bindparam(None, minute, UtcDateTime)
        found = connection.execute(select(*_KEY).where(is_this, SAMPLES.c.queue == NO_QUEUE))
        return minute, found.first() is not None


def _among(since: datetime, until: datetime, every: int) -> ColumnElement[bool]:
    """The condition for minutes of a time: for all of them, or for every so many."""
    minute = SAMPLES.c.minute
    if every == 1:
        begin, end = (bindparam(None, bound, UtcDateTime) for bound in (since, until))
        return (minute > begin) & (minute <= end)
    step = MINUTE * every
    number = min((until - since) // step + 1, MOST_NAMED)
    last = until - (until - EPOCH) % step
    return minute.in_(one for n in range(number) if (one := last - n * step) > since)


def _row(minute: datetime, depth: QueueDepth) -> dict[str, Any]:
    return {
        "minute": minute,
        "queue": depth.queue,
        "due": depth.due,
        "later": depth.later,
        "running": depth.running,
        "oldest_seconds": depth.oldest_age.total_seconds(),
        "more": depth.more,
    }


def _samples(rows: Sequence[Row[Any]]) -> Iterator[Sample]:
    """The samples that are stored, of rows in which the one without a queue ends each minute."""
    for minute, of_minute in groupby(rows, key=lambda row: to_utc(row.minute)):
        depths = {to_name(row.queue): row for row in of_minute}
        first = depths.pop(NO_QUEUE, None)
        if first is not None and whole(first.due, NOT_STORED) != NOT_STORED:
            yield Sample(minute, tuple(_depth(name, depths[name]) for name in sorted(depths)))


def _depth(queue: str, row: Row[Any]) -> SampledDepth:
    return SampledDepth(
        queue,
        due=whole(row.due, 0, LARGEST_ID),
        later=whole(row.later, 0, LARGEST_ID),
        running=whole(row.running, 0, LARGEST_ID),
        oldest_age=span(row.oldest_seconds),
        more=bool(row.more),
    )
