"""What the listeners of the SQL databases have in common: when the next job is due."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, literal_column, select

from jobqueue.adapters.sql.base import SqlBase
from jobqueue.adapters.sql.tables import UtcDateTime, to_utc
from jobqueue.records import JobRecord, Wakeup

# One probe of the claim index for each priority, as in the claim: by priority comes before by time.
FIRST_RUN_AT = """(
WITH RECURSIVE priorities (priority) AS (
    SELECT (SELECT priority FROM background_jobs WHERE state = 'ready' ORDER BY priority LIMIT 1)
    UNION ALL
    SELECT (SELECT job.priority FROM background_jobs AS job
            WHERE job.state = 'ready' AND job.priority > priorities.priority
            ORDER BY job.priority LIMIT 1)
    FROM priorities WHERE priorities.priority IS NOT NULL
)
SELECT min((SELECT job.run_at FROM background_jobs AS job
            WHERE job.state = 'ready' AND job.priority = priorities.priority
            ORDER BY job.run_at, job.id LIMIT 1))
FROM priorities WHERE priority IS NOT NULL)"""

MOST_JOBS_LOOKED_AT = 1000


class SqlWakeups(SqlBase):
    """The part of an adapter that tells when a worker has to look again."""

    def due_in(self) -> timedelta | None:
        """See `Adapter.due_in`."""
        query = select(literal_column(FIRST_RUN_AT, UtcDateTime), self._now())
        first, now = self.database.read(lambda c: _only_row(c, query))
        return None if first is None else to_utc(first) - to_utc(now)


def _only_row(connection: Connection, query: Any) -> Any:
    return connection.execute(query).one()


def wakeup_for(records: Sequence[JobRecord]) -> Wakeup | None:
    """Word of those among jobs just enqueued that are due now; None when none is."""
    if len(records) > MOST_JOBS_LOOKED_AT:
        return Wakeup(jobs=len(records))
    due = [record for record in records if record.run_at <= record.created_at]
    if not due:
        return None
    return Wakeup(
        queues=frozenset(record.queue for record in due),
        lowest=min((record.priority, record.run_at, record.id) for record in due),
        jobs=len(due),
    )
