"""Statistics of attempts, by the minute: portable SQLAlchemy Core."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
    tuple_,
)

from jobqueue.adapters.roles.stats import StatsRole
from jobqueue.adapters.sql.named import Named
from jobqueue.adapters.sql.readings import span, whole
from jobqueue.adapters.sql.role import SqlRole
from jobqueue.adapters.sql.tables import STATS, UtcDateTime, to_name, to_utc
from jobqueue.records import LARGEST_ID, STATS_LIFETIME, Stat, StatOfMinute

# The last flush of a worker may fall into the minute of the one before.
ADD_STATS = Named(
    """
INSERT INTO {schema}.background_stats
    (minute, worker_id, handler, queue, succeeded, retried, failed, cancelled,
     run_seconds, longest_seconds, wait_seconds)
VALUES (:minute, :worker_id, :handler, :queue, :succeeded, :retried, :failed, :cancelled,
        :run_seconds, :longest_seconds, :wait_seconds)
ON CONFLICT (minute, worker_id, handler, queue) DO UPDATE
SET succeeded = background_stats.succeeded + excluded.succeeded,
    retried = background_stats.retried + excluded.retried,
    failed = background_stats.failed + excluded.failed,
    cancelled = background_stats.cancelled + excluded.cancelled,
    run_seconds = background_stats.run_seconds + excluded.run_seconds,
    wait_seconds = background_stats.wait_seconds + excluded.wait_seconds,
    longest_seconds = CASE WHEN background_stats.longest_seconds > excluded.longest_seconds
                           THEN background_stats.longest_seconds
                           ELSE excluded.longest_seconds END
""",
    bindparam("minute", type_=UtcDateTime),
)

MOST_SECONDS, MOST_ATTEMPTS = 1e15, 2**31 - 1
MOST_IN_A_MINUTE = {
    **dict.fromkeys(("succeeded", "retried", "failed", "cancelled"), MOST_ATTEMPTS),
    **dict.fromkeys(("run_seconds", "wait_seconds"), MOST_SECONDS),
}
"""What is summed up, and how much a row may have of it, so that a sum stays in range."""

_STATS_KEY = (STATS.c.minute, STATS.c.worker_id, STATS.c.handler, STATS.c.queue)


class SqlStats(SqlRole, StatsRole):
    """The statistics of attempts, by the minute, in a SQL database."""

    def add_stats(self, worker_id: str, stats: Sequence[Stat]) -> None:
        if not stats:
            return

        def work(connection: Connection) -> None:
            minute = self.time.read(connection).replace(second=0, microsecond=0)
            rows = [_stat_row(stat) | {"minute": minute, "worker_id": worker_id} for stat in stats]
            connection.execute(ADD_STATS.on(connection), rows)

        self.database.write(work)

    def stats(self, period: timedelta) -> list[StatOfMinute]:
        summed = [
            func.sum(_within(name, most)).label(name) for name, most in MOST_IN_A_MINUTE.items()
        ]
        longest = func.max(_within("longest_seconds", MOST_SECONDS))
        summed.append(longest.label("longest_seconds"))
        kinds = (STATS.c.minute, STATS.c.handler, STATS.c.queue)
        # Minutes in the future were written by a clock that was ahead.
        lately = (STATS.c.minute > self.time.later(-period), STATS.c.minute <= self.time.now())
        query = select(*kinds, *summed).where(*lately)
        query = query.group_by(*kinds).order_by(*kinds)
        rows = self.database.look(lambda connection: connection.execute(query).all())
        return [StatOfMinute(to_utc(row.minute), _stat(row)) for row in rows]

    def prune_stats(self, limit: int) -> int:
        too_far = or_(
            STATS.c.minute <= self.time.later(-STATS_LIFETIME),
            STATS.c.minute > self.time.later(STATS_LIFETIME),
        )
        too_old = select(*_STATS_KEY).where(too_far)
        too_old = too_old.order_by(*_STATS_KEY).limit(limit)
        if not self.database.read(lambda c: c.execute(too_old.limit(1)).first()):
            return 0
        unlocked = too_old.with_for_update(skip_locked=True)
        return self._execute(delete(STATS).where(tuple_(*_STATS_KEY).in_(unlocked)))


def _within(name: str, most: float) -> ColumnElement[Any]:
    """The number in a column, or the nearest that a row may have."""
    column = STATS.c[name]
    return case((column > most, most), (column < 0, 0), else_=column)


def _stat_row(stat: Stat) -> dict[str, Any]:
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
    }


def _stat(row: Row[Any]) -> Stat:
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
