"""Statistics of attempts, by the minute, the hour and the day: portable SQLAlchemy Core.

Minutes are kept by worker, since each worker adds to rows of its own. Hours are kept of all workers
together. All have the same columns, apart from that. Days are sums of hours, which stay as well:
they make long windows quick to read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Row,
    Table,
    bindparam,
    case,
    cast,
    delete,
    func,
    literal,
    or_,
    select,
    tuple_,
)

from jobqueue.adapters.roles.stats import StatsRole
from jobqueue.adapters.sql.named import Named
from jobqueue.adapters.sql.readings import span, whole
from jobqueue.adapters.sql.role import SqlRole
from jobqueue.adapters.sql.tables import (
    BUCKETS,
    DAYS,
    HISTOGRAM_COLUMNS,
    HOURS,
    STATS,
    UtcDateTime,
    to_name,
    to_utc,
)
from jobqueue.adapters.stats_window import (
    DAY,
    HOUR,
    Span,
    day_of,
    hour_of,
    roll_up_span,
    split_by_days,
    window_between,
)
from jobqueue.records import LARGEST_ID, STATS_LIFETIME, Histogram, Stat, StatOfMinute

MOST_CLASSES = 1_000
MOST_ODD_HOURS = 100
MOST_SECONDS, MOST_IN_A_MINUTE, MOST_IN_AN_HOUR = 1e15, 2**31 - 1, 2**53
"""How much a row may have of what is added up, so that a sum stays in range."""

ENDS = ("succeeded", "retried", "failed", "cancelled")
NUMBERS = (*ENDS, *HISTOGRAM_COLUMNS)
DURATIONS = ("run_seconds", "wait_seconds")
SUMMED = (*NUMBERS, *DURATIONS)
LONGEST = "longest_seconds"
COLUMNS = (*SUMMED, LONGEST)

# The last flush of a worker may fall into the minute of the one before.
ADD_STATS = Named(
    f"""
INSERT INTO {{schema}}.background_stats (minute, worker_id, handler, queue, {", ".join(COLUMNS)})
VALUES (:minute, :worker_id, :handler, :queue, {", ".join(f":{name}" for name in COLUMNS)})
ON CONFLICT (minute, worker_id, handler, queue) DO UPDATE
SET {", ".join(f"{name} = background_stats.{name} + excluded.{name}" for name in SUMMED)},
    longest_seconds = CASE WHEN background_stats.longest_seconds > excluded.longest_seconds
                           THEN background_stats.longest_seconds
                           ELSE excluded.longest_seconds END
""",  # noqa: S608 - of constants
    bindparam("minute", type_=UtcDateTime),
)


def _within_sql(name: str, most: int) -> str:
    """The number in a column, or the nearest that a row may have."""
    most_here = most if name in NUMBERS else MOST_SECONDS
    return f"CASE WHEN {name} > {most_here} THEN {most_here} WHEN {name} < 0 THEN 0 ELSE {name} END"


def _rolling_up(into: str, moment: str, source: str, of: str, most: int) -> Named:
    """The statement that adds up the rows of a span of time.

    In order, so that two that do it at the same time wait for each other's rows in one direction.
    """
    return Named(
        f"""
INSERT INTO {{schema}}.{into} ({moment}, handler, queue, {", ".join(COLUMNS)})
SELECT :begin, handler, queue, {", ".join(f"sum({_within_sql(name, most)})" for name in SUMMED)},
       max({_within_sql(LONGEST, most)})
FROM {{schema}}.{source}
WHERE {of} >= :begin AND {of} < :end
GROUP BY handler, queue
ORDER BY handler, queue
ON CONFLICT ({moment}, handler, queue) DO UPDATE
SET {", ".join(f"{name} = excluded.{name}" for name in COLUMNS)}
""",  # noqa: S608 - of constants
        bindparam("begin", type_=UtcDateTime),
        bindparam("end", type_=UtcDateTime),
    )


ROLL_UP_HOUR = _rolling_up(
    "background_hours", "hour", "background_stats", "minute", MOST_IN_A_MINUTE
)
ROLL_UP_DAY = _rolling_up("background_days", "day", "background_hours", "hour", MOST_IN_AN_HOUR)

_STATS_KEY = (STATS.c.minute, STATS.c.worker_id, STATS.c.handler, STATS.c.queue)
_HOURS_KEY = (HOURS.c.hour, HOURS.c.handler, HOURS.c.queue)
_DAYS_KEY = (DAYS.c.day, DAYS.c.handler, DAYS.c.queue)


@dataclass(frozen=True, slots=True)
class KeptStats:
    """A table of stats, and the column with their time."""

    table: Table
    moment: ColumnElement[Any]

    def sums(self, names: Iterable[str] = SUMMED) -> list[ColumnElement[Any]]:
        """Return the sum of each column that is added up, and the longest duration."""
        longest = func.max(self._within(LONGEST))
        return [*(self.sum_of(name).label(name) for name in names), longest.label(LONGEST)]

    def sum_of(self, name: str) -> ColumnElement[Any]:
        """Return the sum of a column. Of numbers as floats, since no such sum is out of range."""
        if name in NUMBERS:
            return func.sum(cast(self.table.c[name], Float))
        return func.sum(self._within(name))

    def _within(self, name: str) -> ColumnElement[Any]:
        """The duration in a column, or the nearest that a row may have."""
        column = self.table.c[name]
        return case((column > MOST_SECONDS, MOST_SECONDS), (column < 0, 0), else_=column)


BY_MINUTE = KeptStats(STATS, STATS.c.minute)
BY_HOUR = KeptStats(HOURS, HOURS.c.hour)
BY_DAY = KeptStats(DAYS, DAYS.c.day)
MOST_DAYS_AT_ONCE = 31


class SqlStats(SqlRole, StatsRole):
    """The statistics of attempts, by the minute and by the hour, in a SQL database."""

    def add_stats(self, worker_id: str, stats: Sequence[Stat]) -> None:
        if not stats:
            return

        def work(connection: Connection) -> None:
            minute = self.time.read(connection).replace(second=0, microsecond=0)
            rows = [_stat_row(stat) | {"minute": minute, "worker_id": worker_id} for stat in stats]
            connection.execute(ADD_STATS.on(connection), rows)

        self.database.write(work)

    def stats(self, period: timedelta) -> list[StatOfMinute]:
        kinds = (STATS.c.minute, STATS.c.handler, STATS.c.queue)
        # Minutes in the future were written by a clock that was ahead.
        lately = (STATS.c.minute > self.time.later(-period), STATS.c.minute <= self.time.now())
        query = select(*kinds, *BY_MINUTE.sums((*ENDS, *DURATIONS))).where(*lately)
        query = query.group_by(*kinds).order_by(*kinds)
        rows = self.database.look(lambda connection: connection.execute(query).all())
        return [StatOfMinute(to_utc(row.minute), _ends(row)) for row in rows]

    def class_stats(
        self,
        since: timedelta,
        until: timedelta = timedelta(0),
        handlers: Collection[str] | None = None,
        queues: Collection[str] | None = None,
    ) -> list[Stat]:
        def work(connection: Connection) -> list[Stat]:
            now = self.time.read(connection)
            window = window_between(now, since, until, _rolled_up_until(connection, now))
            days, hours = _by_days(connection, window.hours, now)
            return [
                *_of_classes(connection, BY_DAY, days, handlers, queues),
                *_of_classes(connection, BY_HOUR, hours, handlers, queues),
                *_of_classes(connection, BY_MINUTE, window.minutes, handlers, queues),
            ]

        sums: dict[tuple[str, str], Stat] = {}
        for stat in self.database.look(work):
            key = (stat.handler, stat.queue)
            sums[key] = sums[key].plus(stat) if key in sums else stat
        most = sorted(sums, key=lambda key: -sums[key].attempts)[:MOST_CLASSES]
        return [sums[key] for key in sorted(most)]

    def ended_by_queue(self, since: timedelta) -> dict[str, int]:
        def work(connection: Connection) -> list[Any]:
            now = self.time.read(connection)
            window = window_between(now, since, timedelta(0), _rolled_up_until(connection, now))
            return [
                *_ended_by_queue(connection, BY_HOUR, window.hours),
                *_ended_by_queue(connection, BY_MINUTE, window.minutes),
            ]

        ended: Counter[str] = Counter()
        for row in self.database.look(work):
            ended[to_name(row.queue)] += whole(row.ended, 0, LARGEST_ID)
        return dict(ended)

    def roll_up_stats(self, limit: int) -> int:
        rolled_up, left = 0, self.database.read(self._left_to_roll_up)
        while rolled_up < limit:
            hour = self._next_hour(left)
            if hour is None:
                self._roll_up_days(left.end)
                break
            self._roll_up(ROLL_UP_HOUR, hour, HOUR)
            rolled_up += 1
            left = Span(hour + HOUR, left.end)
        return rolled_up

    def _roll_up_days(self, until: datetime) -> None:
        """Add up the hours of each full day before a moment, until which hours are rolled up."""
        for _ in range(MOST_DAYS_AT_ONCE):
            day = self.database.read(lambda connection: self._next_day(connection, until))
            if day is None:
                return
            self._roll_up(ROLL_UP_DAY, day, DAY)

    def _next_day(self, connection: Connection, until: datetime) -> datetime | None:
        """The first full day that has hours, and is not rolled up."""
        done = _days_until(connection, self.time.read(connection))
        first = select(func.min(HOURS.c.hour))
        if done is not None:
            first = first.where(HOURS.c.hour >= bindparam(None, done, UtcDateTime))
        found = connection.execute(first).scalar_one()
        if found is None:
            return None
        day = day_of(to_utc(found))
        return day if (done is None or day >= done) and day + DAY <= until else None

    def prune_stats(self, limit: int) -> int:
        return self._prune(STATS, _STATS_KEY, STATS_LIFETIME, STATS_LIFETIME, limit)

    def prune_hours(self, age: timedelta, limit: int) -> int:
        number = self._prune(HOURS, _HOURS_KEY, age, HOUR, limit)
        if number < limit:  # a day outlives its hours, which are read where a window begins in it
            self._prune(DAYS, _DAYS_KEY, age + DAY, -DAY, limit)
        return number

    def _left_to_roll_up(self, connection: Connection) -> Span:
        now = self.time.read(connection)
        return roll_up_span(now, _rolled_up_until(connection, now))

    def _next_hour(self, left: Span) -> datetime | None:
        """The first hour of a span that has minutes. An hour is looked at if its rows are odd."""
        first = select(func.min(STATS.c.minute)).where(_in(STATS.c.minute, left))
        found = self.database.read(lambda connection: connection.execute(first).scalar_one())
        if found is None:
            return None
        hour = hour_of(to_utc(found))
        return hour if left.begin <= hour < left.end else left.begin

    def _roll_up(self, statement: Named, begin: datetime, length: timedelta) -> None:
        values = {"begin": begin, "end": begin + length}
        self.database.write(lambda c: c.execute(statement.on(c), values))

    def _prune(
        self,
        table: Table,
        key: Sequence[ColumnElement[Any]],
        age: timedelta,
        ahead: timedelta,
        limit: int,
    ) -> int:
        """Remove the oldest rows, and those that a clock which was ahead has written."""
        too_far = or_(key[0] <= self.time.later(-age), key[0] > self.time.later(ahead))
        rows = select(*key).where(too_far).order_by(*key).limit(limit)
        if not self.database.read(lambda c: c.execute(rows.limit(1)).first()):
            return 0
        unlocked = rows.with_for_update(skip_locked=True)
        return self._execute(delete(table).where(tuple_(*key).in_(unlocked)))


def _rolled_up_until(connection: Connection, now: datetime) -> datetime | None:
    """The end of the last hour that is rolled up. Somebody may have written later ones."""
    query = select(HOURS.c.hour).where(HOURS.c.hour < bindparam(None, hour_of(now), UtcDateTime))
    latest = query.order_by(*(column.desc() for column in _HOURS_KEY)).limit(MOST_ODD_HOURS)
    for hour in map(to_utc, connection.execute(latest).scalars()):
        if hour < hour_of(now):
            return hour_of(hour) + HOUR
    return None


def _days_until(connection: Connection, now: datetime) -> datetime | None:
    """The end of the last day that is rolled up. A clock that was ahead may have written others."""
    over = DAYS.c.day <= bindparam(None, day_of(now) - DAY, UtcDateTime)
    latest = select(func.max(DAYS.c.day)).where(over)
    found = connection.execute(latest).scalar_one()
    return None if found is None else day_of(to_utc(found)) + DAY


def _by_days(
    connection: Connection, hours: Iterable[Span], now: datetime
) -> tuple[list[Span], list[Span]]:
    """The days in spans of hours, and the hours that are left."""
    until = _days_until(connection, now)
    split = [split_by_days(one, until) for one in hours]
    days = [days for days, _ in split if not days.is_empty]
    return days, [one for _, left in split for one in left]


def _of_classes(
    connection: Connection,
    kept: KeptStats,
    spans: Iterable[Span],
    handlers: Collection[str] | None,
    queues: Collection[str] | None,
) -> list[Stat]:
    """The stats of each class in each queue, of some spans."""
    kinds = (kept.table.c.handler, kept.table.c.queue)
    attempts = sum((kept.sum_of(name) for name in ENDS[1:]), kept.sum_of(ENDS[0]))
    query = select(*kinds, *kept.sums()).group_by(*kinds)
    if handlers is not None:
        query = query.where(kinds[0].in_(handlers))
    if queues is not None:
        query = query.where(kinds[1].in_(queues))
    query = query.order_by(attempts.desc(), *kinds).limit(MOST_CLASSES)
    return [
        _stat(row)
        for one in spans
        for row in connection.execute(query.where(_in(kept.moment, one)))
    ]


def _ended_by_queue(connection: Connection, kept: KeptStats, spans: Iterable[Span]) -> list[Any]:
    """The jobs of each queue that have ended, in some spans."""
    ends = (kept.sum_of(name) for name in ENDS if name != "retried")
    queue = kept.table.c.queue
    query = select(queue, sum(ends, literal(0.0)).label("ended")).group_by(queue)
    return [row for one in spans for row in connection.execute(query.where(_in(kept.moment, one)))]


def _in(moment: ColumnElement[Any], one: Span) -> ColumnElement[bool]:
    begin, end = (bindparam(None, bound, UtcDateTime) for bound in (one.begin, one.end))
    return (moment >= begin) & (moment < end)


def _stat_row(stat: Stat) -> dict[str, Any]:
    counted = zip(HISTOGRAM_COLUMNS, (*stat.ran.counts, *stat.waited.counts), strict=True)
    return {
        "handler": stat.handler,
        "queue": stat.queue,
        "succeeded": stat.succeeded,
        "retried": stat.retried,
        "failed": stat.failed,
        "cancelled": stat.cancelled,
        "run_seconds": stat.run_time.total_seconds(),
        "longest_seconds": stat.longest.total_seconds(),
        "wait_seconds": stat.wait_time.total_seconds(),
        **dict(counted),
    }


def _stat(row: Row[Any]) -> Stat:
    return replace(_ends(row), ran=_histogram(row, "ran"), waited=_histogram(row, "waited"))


def _ends(row: Row[Any]) -> Stat:
    """The stat of a row, without its histograms."""
    return Stat(
        handler=to_name(row.handler),
        queue=to_name(row.queue),
        succeeded=whole(row.succeeded, 0, LARGEST_ID),
        retried=whole(row.retried, 0, LARGEST_ID),
        failed=whole(row.failed, 0, LARGEST_ID),
        cancelled=whole(row.cancelled, 0, LARGEST_ID),
        run_time=span(row.run_seconds),
        longest=span(row.longest_seconds),
        wait_time=span(row.wait_seconds),
    )


def _histogram(row: Row[Any], what: str) -> Histogram:
    counts = (getattr(row, f"{what}_{bucket}") for bucket in BUCKETS)
    return Histogram(tuple(whole(count, 0, LARGEST_ID) for count in counts))
