"""The time when the next job is due: portable SQLAlchemy Core."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, literal_column, select

from jobqueue.adapters.roles.wakeups import Listener, WakeupsRole
from jobqueue.adapters.sql.role import SqlRole
from jobqueue.adapters.sql.states import is_in
from jobqueue.adapters.sql.tables import JOBS, UtcDateTime, to_utc
from jobqueue.records import JobState

# One probe of the claim index for each priority, since the index has the priority before the time.
# Of too many, one may be due. (PostgreSQL has a query of its own.)
FIRST_RUN_AT = """(
WITH RECURSIVE priorities (priority) AS (
    SELECT (SELECT priority FROM background_jobs WHERE state = 'ready' ORDER BY priority LIMIT 1)
    UNION ALL
    SELECT (SELECT job.priority FROM background_jobs AS job
            WHERE job.state = 'ready' AND job.priority > priorities.priority
            ORDER BY job.priority LIMIT 1)
    FROM priorities WHERE priorities.priority IS NOT NULL
    LIMIT 2000
)
SELECT CASE WHEN count(*) >= 1999 THEN '0001-01-03 00:00:00.000000' ELSE min((
            SELECT job.run_at FROM background_jobs AS job
            WHERE job.state = 'ready' AND job.priority = priorities.priority
            ORDER BY job.run_at, job.id LIMIT 1)) END
FROM priorities WHERE priority IS NOT NULL)"""


class SqlWakeups(SqlRole, WakeupsRole):
    """The time until the next due job, in a SQL database. Each database listens in its own way."""

    @abstractmethod
    def listen(self, url: str | None = None) -> Listener: ...

    def due_in(self) -> timedelta | None:
        first, now = self.first_run_at()
        times = [each for each in (first, self._first_gated_after(now)) if each is not None]
        return min(times) - now if times else None

    def _first_gated_after(self, now: datetime) -> datetime | None:
        """The time when the first of the jobs at gates is due that are not due yet.

        When others may start, the end of a running job tells, or the claim that found them.
        """
        run_at = select(JOBS.c.run_at).where(
            is_in(JOBS.c.state, JobState.GATED),
            JOBS.c.run_at > bindparam("now", now, type_=UtcDateTime),
        )
        query = run_at.order_by(JOBS.c.run_at).limit(1)
        found = self.database.read(lambda connection: connection.execute(query).scalar())
        return None if found is None else to_utc(found)

    def first_run_at(self) -> tuple[datetime | None, datetime]:
        """The time when the first ready job is due, None without one; and the current time."""
        query = select(literal_column(FIRST_RUN_AT, UtcDateTime), self.time.now())
        first, now = self.database.read(lambda c: _only_row(c, query))
        return None if first is None else to_utc(first), to_utc(now)


def _only_row(connection: Connection, query: Any) -> Any:
    return connection.execute(query).one()
