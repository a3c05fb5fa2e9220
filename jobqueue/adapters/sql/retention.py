"""The removal of finished jobs that need not be kept: portable SQLAlchemy Core.

Each batch is a short transaction of its own, and reads only what it removes: the oldest end of one
class's finished rows, by the index (state, handler, finished_at). Ready rows are never touched, so
no claim waits for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Select, and_, delete, exists, or_, select, update
from sqlalchemy.sql.expression import ColumnElement

from jobqueue.adapters.roles.retention import RetentionRole
from jobqueue.adapters.sql.attempts import forget_attempts
from jobqueue.adapters.sql.named import Named
from jobqueue.adapters.sql.role import SqlRole
from jobqueue.adapters.sql.states import is_in
from jobqueue.adapters.sql.tables import FLOWS, JOBS, to_name
from jobqueue.records import JobState
from jobqueue.retention import Keep

AHEAD = timedelta(minutes=1)
"""A row that ended further in the future was dated by a clock that was ahead."""

# One probe of the index for each name, however many rows it has.
FINISHED_HANDLERS = Named("""
WITH RECURSIVE finished (handler) AS (
    SELECT (SELECT handler FROM {schema}.background_jobs
            WHERE state = :state AND finished_at IS NOT NULL ORDER BY handler LIMIT 1)
    UNION ALL
    SELECT (SELECT job.handler FROM {schema}.background_jobs AS job
            WHERE job.state = :state AND job.finished_at IS NOT NULL
              AND job.handler > finished.handler
            ORDER BY job.handler LIMIT 1)
    FROM finished WHERE finished.handler IS NOT NULL
)
SELECT handler FROM finished WHERE handler IS NOT NULL
""")


class SqlRetention(SqlRole, RetentionRole):
    """The removal of finished jobs that need not be kept, in a SQL database."""

    def finished_handlers(self, state: JobState) -> list[str]:
        values = {"state": state.value}
        rows = self.database.read(
            lambda c: c.execute(FINISHED_HANDLERS.on(c), values).scalars().all()
        )
        return sorted(set(map(to_name, rows)))

    def prune(self, state: JobState, handlers: Collection[str], keep: Keep, limit: int) -> int:
        of_class = _finished(state, handlers)
        self._end_now(of_class, limit)
        # Read before the transaction: on SQLite only one transaction at a time can write.
        if not self.database.read(lambda c: self._too_many(c, of_class, keep, 1)):
            return 0

        def work(connection: Connection) -> int:
            ids = self._too_many(connection, of_class, keep, limit, locked=True)
            connection.execute(delete(JOBS).where(JOBS.c.id.in_(ids)))
            forget_attempts(connection, ids)
            return len(ids)

        return self.database.write(work)

    def _end_now(self, of_class: ColumnElement[bool], limit: int) -> None:
        """Set `finished_at` to now where it lies ahead: such a row would count as the latest."""
        ahead = select(JOBS.c.id).where(of_class, JOBS.c.finished_at > self.time.later(AHEAD))
        ids = self.database.read(lambda c: c.execute(ahead.limit(limit)).scalars().all())
        if ids:
            now = self.time.now()
            self._execute(update(JOBS).where(JOBS.c.id.in_(ids)).values(finished_at=now))

    def _too_many(
        self,
        connection: Connection,
        of_class: ColumnElement[bool],
        keep: Keep,
        limit: int,
        *,
        locked: bool = False,
    ) -> list[int]:
        """The ids of the oldest rows that need not be kept, without those that others lock."""
        ids: list[int] = []
        for bound in self._bounds(connection, of_class, keep):
            oldest = select(JOBS.c.id).where(of_class, bound, JOBS.c.id.not_in(ids))
            oldest = oldest.order_by(JOBS.c.finished_at, JOBS.c.id).limit(limit - len(ids))
            if locked:
                oldest = oldest.with_for_update(skip_locked=True)
            ids += connection.execute(oldest).scalars().all()
        return ids

    def _bounds(
        self, connection: Connection, of_class: ColumnElement[bool], keep: Keep
    ) -> Iterator[ColumnElement[bool]]:
        """The conditions for rows that are too old, and for rows beyond the count."""
        if keep.age is not None:
            yield JOBS.c.finished_at <= self.time.later(-keep.age)
        if keep.count is not None:
            first = connection.execute(_first_beyond(of_class, keep.count)).first()
            if first is not None:
                yield _up_to(first)


def _finished(state: JobState, handlers: Collection[str]) -> ColumnElement[bool]:
    names = sorted(handlers)
    # Of a single name, the index has the rows in the order of their end.
    of_name = JOBS.c.handler == names[0] if len(names) == 1 else JOBS.c.handler.in_(names)
    # Others of its flow may wait for it, or ask for its result, as long as the flow is there.
    is_needed = and_(JOBS.c.flow_id.is_not(None), exists().where(FLOWS.c.id == JOBS.c.flow_id))
    return and_(is_in(JOBS.c.state, state), of_name, JOBS.c.finished_at.is_not(None), ~is_needed)


def _first_beyond(of_class: ColumnElement[bool], count: int) -> Select[Any]:
    """A query for the latest row of a class beyond its `count` newest ones."""
    newest = select(JOBS.c.finished_at, JOBS.c.id).where(of_class)
    return newest.order_by(JOBS.c.finished_at.desc(), JOBS.c.id.desc()).offset(count).limit(1)


def _up_to(row: Any) -> ColumnElement[bool]:
    """The condition for a row and older ones. Many rows can have ended at the same moment."""
    earlier = JOBS.c.finished_at < row.finished_at
    return and_(JOBS.c.finished_at <= row.finished_at, or_(earlier, JOBS.c.id <= row.id))
